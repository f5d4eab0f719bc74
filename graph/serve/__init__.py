"""HTTP: a request is read and bounded, handed on, and its answer written."""
