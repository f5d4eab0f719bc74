"""Random mutations against a model: the shop in plain Python, the play of both, and a rule for each mutation."""
