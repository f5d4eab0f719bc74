"""Scenes of faults: a server in a process of its own under its default settings, a database of its own, and a network between.

What goes in: a URL. What comes out: a `Scene`, the replies of its server, and an `Outcome` to be filled. A fault is an async
function that takes a `Scene` and returns an `Outcome`, marked with `@fault("its name")`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from graph import migrate
from graph.settings import Settings
from tests.audit import audit_url, rows_of
from tests.networks import Network, network
from tests.servers import Served, start_anew

REQUEST_SECONDS = Settings().request_timeout_seconds
#: What a request may take beyond its limit, on a machine that does other things as well.
GRACE_SECONDS = 1.0

#: A query with its variables: clients send few documents many times, and many new ones at once are another fault.
Asked = str | tuple[str, dict[str, Any]]

READ = "{ items { totalCount } }"
STOCK = 'mutation { adjustStock(input: {item: {sku: "A"}, delta: -1}) { item { stock } errors { code } } }'
NESTED = """mutation ($name: String!, $email: String!, $key: String!) { createCustomer(
  input: {name: $name, email: $email, orders: [{items: [{item: {sku: "B"}, quantity: 1}]}]}
) @idempotent(key: $key) { customer { id orders { nodes { totalAmount items { quantity } } } } errors { code } } }"""


def create(name: str, key: str = "") -> Asked:
    """A customer with an order and a line; without a key of its own it is sent without any."""
    query = NESTED if key else NESTED.replace(" @idempotent(key: $key)", "").replace(", $key: String!", "")
    return query, {"name": name, "email": f"{name}@x.example", **({"key": key} if key else {})}


@dataclass(frozen=True)
class Reply:
    """What a client got, and after how long."""

    asked: Asked
    seconds: float
    #: `OK`, or the code that says why not.
    code: str
    body: dict[str, Any]


@dataclass
class Outcome:
    """What came of a fault: the figure for the table, and what should not have been."""

    figure: str
    wrong: list[str] = field(default_factory=list)

    def must(self, holds: bool, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.wrong.append(what)


@dataclass
class Scene:
    """A server behind a network, before a database of its own."""

    url: str
    net: Network
    served: Served
    client: httpx2.AsyncClient
    folder: Path

    async def send(self, asked: Asked, variables: dict[str, Any] | None = None) -> Reply:
        """One request, whatever becomes of it."""
        query, variables = asked if isinstance(asked, tuple) else (asked, variables)
        began = time.monotonic()
        try:
            answer = await self.client.post(
                f"{self.served.url}/graphql", json={"query": query, "variables": variables}, timeout=4 * REQUEST_SECONDS
            )
        except httpx2.TransportError as error:
            return Reply(asked, time.monotonic() - began, type(error).__name__, {})
        body = answer.json()
        payload = next(iter((body.get("data") or {}).values()), None) or {}
        errors = [*payload.get("errors", ()), *(error["extensions"] for error in body.get("errors", ()))]
        return Reply(asked, time.monotonic() - began, errors[0]["code"] if errors else "OK", body)

    async def all(self, queries: Sequence[Asked]) -> list[Reply]:
        """Requests, all at once."""
        return await asyncio.gather(*(self.send(query) for query in queries))

    async def warm(self) -> None:
        """Open every connection, on each the statements known."""
        for _ in range(2):
            await self.all([create(f"warm{time.monotonic_ns()}x{n}") for n in range(Settings().pool_size)])

    async def rows(self, query: str) -> Sequence[Any]:
        """What a query finds, past the server and its network."""
        (found,) = await rows_of(self.url, query)
        return found

    async def healed(self) -> float:
        """How long it takes until everything is answered again."""

        async def serves() -> bool:
            return all(reply.code == "OK" for reply in await self.all([STOCK, READ] * 5))

        return await until(serves)


async def until(holds: Callable[[], Awaitable[bool]]) -> float:
    """How long it takes until a condition holds, which it must at some time."""
    began = time.monotonic()
    async with asyncio.timeout(10 * REQUEST_SECONDS):
        while not await holds():  # noqa: ASYNC110  # nobody tells when a server has done something
            await asyncio.sleep(0.05)
    return time.monotonic() - began


Fault = Callable[[Scene], Awaitable[Outcome]]
FAULTS: dict[str, Fault] = {}
#: Those that need a file on SQLite.
OF_FILES: set[str] = set()


def fault(name: str, *, file: bool = False) -> Callable[[Fault], Fault]:
    """Name a fault."""

    def named(function: Fault) -> Fault:
        FAULTS[name] = function
        if file:
            OF_FILES.add(name)
        return function

    return named


def summary(replies: Sequence[Reply]) -> str:
    """How many answers of each kind there were, and the slowest."""
    counted = Counter(reply.code for reply in replies).most_common()
    return ", ".join(f"{number} {code}" for code, number in counted) + f"; slowest {slowest(replies):.1f} s"


def slowest(replies: Sequence[Reply]) -> float:
    return max(reply.seconds for reply in replies)


def in_time(outcome: Outcome, replies: Sequence[Reply]) -> None:
    """Every request is answered within its limit and a second."""
    limit = REQUEST_SECONDS + GRACE_SECONDS
    outcome.must(slowest(replies) <= limit, f"an answer took {slowest(replies):.1f} s")


async def told_rightly(scene: Scene, outcome: Outcome, replies: Sequence[Reply]) -> None:
    """What is said to have happened did, and what is said to have failed did not."""
    there = {name for (name,) in await scene.rows("SELECT name FROM customer")}
    for reply in replies:
        if isinstance(reply.asked, str):
            continue
        name = reply.asked[1]["name"]
        if reply.code == "OK":
            outcome.must(name in there, f"{name} was acknowledged and is not there")
        elif reply.code != "COMMIT_UNKNOWN":
            outcome.must(name not in there, f"{name} was answered {reply.code} and is there")


@asynccontextmanager
async def scene_at(url: str, folder: Path) -> AsyncIterator[Scene]:
    """A server before a new database with two items; before a server of databases it stands behind a network."""
    await migrate.upgrade(url)
    async with AsyncExitStack() as stack:
        net: Any = None if url.startswith("sqlite") else await stack.enter_async_context(network(url))
        limits = httpx2.Limits(max_connections=None if net is None else 200)
        client = await stack.enter_async_context(httpx2.AsyncClient(limits=limits))
        served = await start_anew(url if net is None else net.url, folder)
        try:
            scene = Scene(url, net, served, client, folder)
            for item in ('sku: "A", name: "A", price: "1", stock: 10000', 'sku: "B", name: "B", price: "1"'):
                await scene.send(f"mutation {{ createItem(input: {{{item}}}) {{ errors {{ code }} }} }}")
            yield scene
        finally:
            served.kill()
    await audit_url(url)
