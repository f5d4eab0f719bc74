"""What changed, told once and in order: an outbox that every write fills, numbered, read as a list and by subscribers."""
