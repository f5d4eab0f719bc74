"""What an operation asks of the database: its statements, what it costs, and how the database would run them. Nothing is run.

What goes in: the text of a document and its variables. What comes out: an `Explanation`. What may be refused here: what refuses
the operation itself; a subscription, whose statement is that of the query it repeats.

A query is one statement. Of a mutation it is what reads the payloads: what it writes depends on its input and on the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import OperationType

from graph.context import Context
from graph.operations.engine import Engine
from graph.operations.learning import within_stack
from graph.operations.request_errors import refused
from graph.read.planning.cost import Cost, cost_of
from graph.read.rows import with_viewer
from graph.read.sql.statement import KEYS, LIMIT, META, Statement
from graph.read.sql.viewer_json import KNOWN


@dataclass(frozen=True, slots=True)
class Explained:
    """A statement. `path` are the response keys of what it answers, none where that is the whole operation; `plan` its lines."""

    path: tuple[str, ...]
    sql: str
    plan: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an operation costs and asks. Of a list in a mutation's input the cost is that of one entry."""

    cost: Cost
    statements: tuple[Explained, ...]

    @property
    def report(self) -> dict[str, Any]:
        """As clients are told."""
        told = [{"path": list(each.path), "sql": each.sql, "plan": list(each.plan)} for each in self.statements]
        return {"cost": self.cost.report, "statements": told}


async def explain(
    engine: Engine, context: Context, text: str, raw_variables: Mapping[str, Any], operation_name: str | None = None
) -> Explanation:
    """Explain one operation as whoever asks would run it. Raises what `Engine.run` raises before anything runs.

    The context's session must not be in a transaction: the database is asked in one of its own.
    """
    document = await engine.document(text, operation_name)
    variables = engine.variables(document, raw_variables, context)
    if document.kind is OperationType.SUBSCRIPTION:
        raise refused("BAD_REQUEST", "A subscription has no statement of its own: explain a query with its selection.")
    values: dict[str, Any] = {**with_viewer(variables.coerced, context.scope), LIMIT: engine.settings.max_answer_bytes}
    if document.kind is OperationType.QUERY:
        with within_stack():
            compiled = engine.compile(document, variables, context.scope)
        values[META] = dict.fromkeys(compiled.meta, "null")
        if context.viewer is not None:
            values[KNOWN] = context.viewer.known
        return Explanation(compiled.cost, (await _explained(context, (), compiled.statement, values),))
    planned = await engine.planned(document, variables, context.scope)
    planned.judge(variables)
    values[KEYS] = []
    statements = [each for shown in planned.entities.values() for each in shown]
    prices = [*planned.single, *(price for field in planned.fields for price in field.each)]
    return Explanation(
        cost_of(prices, engine.settings.max_cost),
        tuple([await _explained(context, path, statement, values) for path, statement in statements]),
    )


async def _explained(context: Context, path: tuple[str, ...], statement: Statement, values: Mapping[str, Any]) -> Explained:
    database, session = context.database, context.session
    asked = f"{database.capabilities.explain} {statement.sql}"
    arguments = statement.arguments(values)
    rows = await database.transaction(session, lambda: database.rows_within(session, asked, arguments), context.deadline)
    return Explained(path, database.placed(statement.sql), tuple(database.capabilities.explained(rows)))
