"""Writes: input to object graph, one unit of work, refusals as data. Nothing here knows an entity."""
