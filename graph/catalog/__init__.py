"""The catalog: items that orders sell."""
