"""Measurements: the project against the limit of the machine, against its peers, and the plans of the databases."""
