"""Where the time of a nested create goes, layer by layer: `python -m tests.benchmarks.layers`.

What goes in: options. What comes out: for each layer the processor time it takes itself and the time it waits, medians over
requests sent one after the other to the application in this process, without a socket. What is refused here: an answer with
errors.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import click
import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from graph.database import Database
from graph.database.file_connections import File
from graph.database.server_connections import Server
from graph.operations import engine as engine_module
from graph.operations.engine import Engine
from graph.serve.app import create_app, tune_collector
from graph.settings import Settings
from graph.write import perform, unit
from graph.write.object_graph import Graph
from graph.write.unit import Unit
from tests.benchmarks import data
from tests.benchmarks.__main__ import database
from tests.benchmarks.operations import OPERATIONS, Facts

HTTP = "HTTP: routes, body, answer"
LAYERS: list[tuple[Any, str, str]] = [
    (Engine, "run", "GraphQL: graphql-core, Strawberry"),
    (engine_module, "coerce_variables", "variables coerced"),
    (Database, "transaction", "transaction: turns, tries"),
    (Server, "begin", "connection from the pool"),
    (File, "begin", "connection from the pool"),
    (Graph, "create", "objects made from the input"),
    (Unit, "look_up", "items looked up, keys drawn (1 statement)"),
    (Unit, "flush", "changes collected, rows put into the session"),
    (Database, "flush", "SQLAlchemy's flush, and what it inserts"),
    (perform, "payload_of", "payload read back (1 statement)"),
    (AsyncSession, "commit", "SQLAlchemy's commit"),
    (AsyncSession, "add", "changes collected, rows put into the session"),
]
RULES = "rules of the shop"
WARM_UP = 50


class Layers:
    """Times by layer, of one request after the other. Time inside an inner layer is not the outer one's."""

    def __init__(self) -> None:
        self.requests: list[dict[str, tuple[float, float]]] = []
        self._inner: list[list[float]] = []

    @contextmanager
    def inside(self, layer: str) -> Iterator[None]:
        """Time this block."""
        self._inner.append([0.0, 0.0])
        wall, processor = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            whole = time.perf_counter() - wall, time.thread_time() - processor
            inner = self._inner.pop()
            known = self.requests[-1].get(layer, (0.0, 0.0))
            self.requests[-1][layer] = known[0] + whole[0] - inner[0], known[1] + whole[1] - inner[1]
            if self._inner:
                self._inner[-1][0] += whole[0]
                self._inner[-1][1] += whole[1]

    def timed(self, function: Callable[..., Any], layer: str) -> Callable[..., Any]:
        """The function, timed."""
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def later(*args: Any, **kwargs: Any) -> Any:
                with self.inside(layer):
                    return await function(*args, **kwargs)

            return later

        @wraps(function)
        def now(*args: Any, **kwargs: Any) -> Any:
            with self.inside(layer):
                return function(*args, **kwargs)

        return now


async def measure(url: str, facts: Facts, requests: int) -> Layers:
    """Send nested creates, one after the other."""
    app = create_app(Settings(database_url=url))
    operation = next(operation for operation in OPERATIONS if operation.name == "nested create")
    chance = random.Random(3)
    layers = Layers()
    answers: list[bytes] = []
    headers = [(b"content-type", b"application/json"), (b"accept", b"application/json")]

    async def send(message: Any) -> None:
        answers.append(message.get("body", b""))

    async def ask(number: int) -> None:
        variables, _ = operation.values(chance, facts, f"layers-{number}")
        body = orjson.dumps({"query": operation.query, "variables": variables})

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}
        layers.requests.append({})
        with layers.inside(HTTP):
            await app(scope, receive, send)

    with ExitStack() as patches:
        for owner, name, layer in LAYERS:
            patches.enter_context(patch.object(owner, name, layers.timed(getattr(owner, name), layer)))
        patches.enter_context(patch.object(unit, "RULES", [layers.timed(each, RULES) for each in unit.RULES]))
        async with app.router.lifespan_context(app):
            tune_collector()
            for number in range(WARM_UP + requests):
                await ask(number)
    assert not any(b'"errors"' in answer for answer in answers), answers[-1]
    del layers.requests[:WARM_UP]
    return layers


@click.command()
@click.option("--requests", default=1_000, show_default=True, type=click.IntRange(1), help="Requests that are timed.")
@click.option("--sqlite", is_flag=True, help="Measure on SQLite instead of PostgreSQL.")
def main(requests: int, sqlite: bool) -> None:
    """Where the time of a nested create goes: a customer with an order of three items."""
    orders = 2_000
    with database(orders, sqlite) as url:
        layers = asyncio.run(measure(url, Facts(orders, *data.sizes(orders), []), requests))
    names = list(dict.fromkeys([HTTP, *(layer for _, _, layer in LAYERS), RULES]))
    click.echo(f"{'layer':<48} {'CPU us':>8} {'waits us':>9} {'of CPU':>7}")
    rows = []
    for name in names:
        found = [request.get(name, (0.0, 0.0)) for request in layers.requests]
        processor = statistics.median(used for _, used in found) * 1e6
        rows.append((name, processor, statistics.median(max(0.0, whole - used) for whole, used in found) * 1e6))
    total = sum(processor for _, processor, _ in rows)
    for name, processor, waits in rows:
        click.echo(f"{name:<48} {processor:>8,.0f} {waits:>9,.0f} {processor / total:>7.1%}")
    click.echo(f"{'together':<48} {total:>8,.0f} {sum(waits for _, _, waits in rows):>9,.0f}")


if __name__ == "__main__":
    main()
