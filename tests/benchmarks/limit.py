"""The LIMIT server: what a machine can do. Bare Starlette and the driver, one hand-written statement, no GraphQL.

What goes in: `{"op": name, "arguments": [...]}`; the environment names the database. What comes out: `{"data": ...}` as the
database made it. It shares nothing with the project but the tables; a slow `LIMIT` would flatter the project.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.benchmarks.statements import POSTGRESQL, SQLITE

URL = os.environ.get("DATABASE_URL", "")
CONNECTIONS = 10

Fetch = Callable[[str, list[Any]], Awaitable[str]]


@asynccontextmanager
async def postgresql() -> AsyncIterator[Fetch]:
    """Answers from PostgreSQL, with asyncpg's pool as it comes."""
    import asyncpg

    pool = await asyncpg.create_pool(URL, min_size=CONNECTIONS, max_size=CONNECTIONS)

    async def fetch(name: str, arguments: list[Any]) -> str:
        sql, times = POSTGRESQL[name]
        for index in times:
            arguments[index] = datetime.fromisoformat(arguments[index])
        async with pool.acquire() as connection:
            found: str = await connection.fetchval(sql, *arguments)
            return found

    yield fetch
    await pool.close()


@asynccontextmanager
async def sqlite() -> AsyncIterator[Fetch]:
    """Answers from SQLite, on threads with a connection each."""
    path, local = URL.removeprefix("sqlite:///"), threading.local()
    threads = ThreadPoolExecutor(CONNECTIONS)

    def run(name: str, arguments: list[Any]) -> str:
        connection: sqlite3.Connection | None = getattr(local, "connection", None)
        if connection is None:
            connection = local.connection = sqlite3.connect(path, isolation_level=None)
        sql, times = SQLITE[name]
        for index in times:
            arguments[index] = f"{datetime.fromisoformat(arguments[index]):%Y-%m-%d %H:%M:%S.%f}"
        found: str = connection.execute(sql, arguments).fetchone()[0]
        return found

    async def fetch(name: str, arguments: list[Any]) -> str:
        return await asyncio.get_running_loop().run_in_executor(threads, run, name, arguments)

    yield fetch
    threads.shutdown()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with sqlite() if URL.startswith("sqlite") else postgresql() as fetch:
        app.state.fetch = fetch
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 20, 50)
        yield


async def answer(request: Request) -> Response:
    asked = orjson.loads(await request.body())
    text = await request.app.state.fetch(asked["op"], asked["arguments"])
    return Response(b'{"data":' + text.encode() + b"}", media_type="application/json")


app = Starlette(routes=[Route("/graphql", answer, methods=["POST"])], lifespan=lifespan)
