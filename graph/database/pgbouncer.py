"""Poolers: PgBouncer or another one that stands before a PostgreSQL server, and must be known of.

What goes in: how connections are opened. What comes out: nothing, when they meet a server. What is refused here: `Unavailable`,
in a sentence for whoever starts the process, when a pooler answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncpg.exceptions import (
    DuplicatePreparedStatementError,
    FeatureNotSupportedError,
    InvalidSQLStatementNameError,
    ProtocolViolationError,
)

from graph.database.failures import Unavailable
from graph.database.link import of_driver
from graph.database.server_limits import CHECKS

#: Which session runs a statement.
SESSION = "SELECT pg_backend_pid()"
#: What poolers refuse of a connection that takes them for a server: settings at its start, statements that it knows by name.
SIGNS_OF_A_POOLER = (
    ProtocolViolationError,
    FeatureNotSupportedError,
    DuplicatePreparedStatementError,
    InvalidSQLStatementNameError,
)
POOLED = "Where PgBouncer or another pooler stands before the server set ORDERGRAPH_PGBOUNCER=true"


async def see_no_pooler(arguments: Mapping[str, Any], limits: Mapping[str, str]) -> None:
    """See that connections opened with these arguments of SQLAlchemy's meet a server that keeps the limits. Raises `Unavailable`.

    Through a pooler in transaction mode a connection has another session in each transaction, and another one may get
    its session meanwhile; a pooler in any mode may take no limits at the start of a connection, or take and forget them.
    """
    links: list[Any] = []

    async def opened() -> Any:
        links.append(await arguments["async_creator_fn"](**of_driver(arguments)))
        return links[-1]

    try:
        one, other = await opened(), await opened()
        session = await one.fetchval(SESSION)
        async with other.transaction():
            if await other.fetchval(SESSION) == session or await one.fetchval(SESSION) != session:
                raise Unavailable(f"its connections share sessions. {POOLED}")
        for name, value in limits.items():
            if name != CHECKS and await one.fetchval("SELECT setting FROM pg_settings WHERE name = $1", name) != value:
                raise Unavailable(f"{name} is not what its connections ask for. {POOLED}")
    except SIGNS_OF_A_POOLER as error:
        raise Unavailable(f"{error.args[0]}. {POOLED}") from error
    finally:
        for link in links:
            link.terminate()
