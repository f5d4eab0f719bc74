"""Viewers of tests, and what an operation answers to one: without HTTP, by the same engine and in the same bytes.

What goes in: a database, an operation, a `Viewer`. What comes out: the status and the decoded answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from graph.context import Context
from graph.database import Database
from graph.schema import schema
from graph.scope import Viewer
from graph.serve.responses import answer_body, refusal_body


def viewer(*scopes: str, customer: int | None = None) -> Viewer:
    """Somebody with these words, who belongs to a customer or to the house."""
    name = " ".join(("bound" if customer else "staff", *scopes))
    return Viewer(name if customer is None else f"{name} {customer}", name.title(), frozenset(scopes), customer)


NOBODY = viewer()
READER = viewer("read")
WRITER = viewer("write")
ADMIN = viewer("admin")


async def answered(
    database: Database, who: Viewer | None, query: str, variables: Mapping[str, Any] | None = None, **more: Any
) -> tuple[int, Any]:
    """What an operation answers to a viewer."""
    context = Context(database, viewer=who)
    try:
        answer = await schema.engine(database).run(query, variables or {}, None, context, **more)
    except Exception as error:  # what is refused has an answer, too
        status, body = refusal_body(error, "request")
    else:
        status, body = answer_body(answer, "request", 2**24, with_cost=False)
    finally:
        await context.close()
    return status, orjson.loads(body)
