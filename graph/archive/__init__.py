"""What is archived, and its end."""
