"""What the payloads of mutations show: rows read back by compiled statements, spliced in."""
