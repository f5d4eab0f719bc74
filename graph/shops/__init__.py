"""Many shops in one deployment: the list of them, and the schema or the file that each has."""
