"""Constraints that the driver calls otherwise, or not at all, as Citus does: a shard's own have a number behind their names.

What goes in: how they are called. What comes out: the errors of constraints that were met. Nothing else about an error changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from graph.database.failures import breaks_constraint
from graph.observations import StatementFinished, listening

#: What a name becomes.
NAMES = {"with a shard's number": r"\g<0>_102009", "nameless": "?"}
#: Names of this product's constraints, and of columns as SQLite names them in their place.
CALLED = re.compile(r"\b(?:uq|ck|fk|pk|ix)_\w+|(?<=constraint failed: )\S.*")


@contextmanager
def renamed(how: str) -> Iterator[list[str]]:
    """Let every error of a constraint call it so."""
    met: list[str] = []

    def rename(finished: StatementFinished) -> None:
        error: Any = finished.error
        if error is None or not breaks_constraint(error):
            return
        met.append(str(error))
        for each in (error, error.__cause__):
            if each is not None:
                each.args = tuple(CALLED.sub(NAMES[how], str(part)) for part in each.args)
                if getattr(each, "constraint_name", None):
                    each.constraint_name = CALLED.sub(NAMES[how], each.constraint_name).strip("?")

    with listening(StatementFinished, rename):
        yield met
