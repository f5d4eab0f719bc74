"""Import and export of what a shop holds: files of rows on one side, the write door and compiled reads on the other.

A file's way in: `openings` (bytes to text), `tables` (text to rows by our names), `values` (texts to values), `assembly` (rows to
customers, items, orders), `incoming` (files to batches), `arrivals` (a batch into the database), `rejects` (what was refused, to
be mended), all driven by `imports`. The way out: `exports` (rows of pages), `outgoing` (their files).
"""
