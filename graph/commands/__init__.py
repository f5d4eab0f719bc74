"""The commands of the command line, one module for each kind; `graph/__main__.py` puts them together."""
