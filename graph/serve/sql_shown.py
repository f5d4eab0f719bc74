"""`extensions: {explain: true}`: SQL, cost and plan beside an answer.

What goes in: a request that asks for it. What comes out: what stands in the answer's `extensions.explain`. What is refused here:
everybody where it is switched off, and whoever is no admin where people have to say who they are; what `graph.operations.explain`
refuses.
"""

from __future__ import annotations

from typing import Any

from graph.context import Context
from graph.operations.engine import Engine
from graph.operations.explain import explain
from graph.operations.request_errors import refused
from graph.serve.guarded import not_yours
from graph.serve.requests import Asked

OFF = refused("FORBIDDEN", "Explanations are switched off here (ORDERGRAPH_EXPLAIN).", 403)


async def explanation(engine: Engine, asked: Asked, context: Context) -> dict[str, Any]:
    """What a request is told of its operation, which is not run for it."""
    if not engine.settings.explain:
        raise OFF
    if context.viewer is not None and not context.viewer.is_operator:
        raise not_yours(context.viewer.scopes)
    own = Context(context.database, context.viewer, deadline=context.deadline)
    try:
        return (await explain(engine, own, asked.query, asked.variables, asked.operation_name)).report
    finally:
        await own.close()
