"""What a type shows: its fields, its scalars, its filters, held against the mapped class."""
