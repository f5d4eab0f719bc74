"""How a plan is written: one SQL statement that builds the JSON of the answer."""
