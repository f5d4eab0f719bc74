"""What a running server withstands: see `__main__`."""
