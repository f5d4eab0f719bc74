"""Compiled reads: a selection becomes a plan, a plan becomes one SQL statement that builds the JSON of the answer."""
