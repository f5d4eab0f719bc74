"""What it costs to be somebody: `python -m tests.benchmarks.viewers`, one point read as asked by each kind of viewer, in turn.

What goes in: options. What comes out: for each kind the processor time of a request and its ratio to `open`, a server that asks
nobody who he is. `scoped` has a token with scopes, `bound` one that belongs to the customer whose orders all of them read. What
is refused here: an answer that is not a 200 with data.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack

import click
import jwt

from graph.context import Context
from graph.database import Database
from graph.schema import schema
from graph.settings import Settings
from tests.benchmarks.__main__ import PROJECT, SETTINGS, database
from tests.benchmarks.comparing import compare, options
from tests.benchmarks.operations import ORDER
from tests.benchmarks.serving import running, share_cores

SECRET, AUDIENCE = "of the benchmark, and long enough", "benchmark"
AUTH = {"ORDERGRAPH_AUTH": "on", "ORDERGRAPH_JWT_SECRET": SECRET, "ORDERGRAPH_JWT_AUDIENCE": AUDIENCE}
OPEN = "open"
CUSTOMER = 'query { customer(by: {id: "Customer:1"}) { id orders(first: 100) { nodes { id } } } }'
READ = f"query($id: ID!) {{ order(by: {{id: $id}}) {{ {ORDER} }} }}"


@click.command()
@options
def main(rounds: int, seconds: float, connections: int, sqlite: bool) -> None:
    """Measure what a token costs a point read."""
    core = share_cores()
    with database(2_000, sqlite) as url, ExitStack() as stack:
        customer, orders = asyncio.run(of_one_customer(url))
        bodies = [json.dumps({"query": READ, "variables": {"id": order}}) for order in orders]
        tokens = {OPEN: "", "scoped": token(), "bound": token(customer=customer)}
        environments = {name: {"DATABASE_URL": url, **SETTINGS, **(AUTH if sent else {})} for name, sent in tokens.items()}
        servers = [stack.enter_context(running(name, PROJECT, given, core)) for name, given in environments.items()]
        compare(servers, lambda name, _: (bodies, tokens[name]), rounds, seconds, connections)


def token(**claims: str) -> str:
    """What `Authorization` says for an hour."""
    given = {"sub": "somebody", "scope": "read", "aud": AUDIENCE, "exp": int(time.time()) + 3_600, **claims}
    return f"Bearer {jwt.encode(given, SECRET, 'HS256')}"


async def of_one_customer(url: str) -> tuple[str, list[str]]:
    """A customer and his orders, by their ids."""
    opened = Database(Settings(database_url=url))
    try:
        answer = await schema.engine(opened).run(CUSTOMER, {}, None, Context(opened))
    finally:
        await opened.close()
    customer = json.loads(answer.data or b"")["customer"]
    return customer["id"], [order["id"] for order in customer["orders"]["nodes"]]


if __name__ == "__main__":
    main()
