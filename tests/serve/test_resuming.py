"""Subscribers that outlive servers: nothing is missed, nothing told twice, no version goes back, whatever is killed.

Fault 20 of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import WebSocketException

from graph import migrate
from graph.feed.positions import position_of
from tests import postgres
from tests.conftest import asking
from tests.serve.test_workers import ON_POSTGRESQL, served_by, workers_of
from tests.servers import Client, Served, start
from tests.sockets import PATIENCE, listening, until
from tests.subscribers import event_stream, socket
from tests.unhurried import unhurried

QUERY = "subscription ($after: String) { orderChanged(after: $after) { cursor orderId order { id version note } } }"
CHANGE = "cursor kind type entityId version fields at"
CHANGES = f"subscription ($after: String) {{ changes(after: $after) {{ {CHANGE} }} }}"
LISTED = f"""query ($after: String) {{
  changes(first: 100, after: $after) {{ nodes {{ {CHANGE} }} pageInfo {{ endCursor hasNextPage }} }} }}"""
CREATE = """mutation {
  createItem(input: {sku: "A", name: "A", price: "1.00"}) { errors { code } }
  createCustomer(input: {name: "A", email: "a@b.org", orders: [%s]}) {
    customer { orders { nodes { id items { id } } } } errors { code } } }""" % (4 * '{items: [{item: {sku: "A"}, quantity: 1}]}')
#: An order and its line, whose changes have the version of the order.
UPDATE = """mutation ($id: ID!, $note: String, $line: ID!, $quantity: Int!) {
  updateOrder(input: {id: $id, note: $note, items: {update: [{id: $line, quantity: $quantity}]}}) {
    order { version } errors { code } } }"""
READ = "{ orders(first: 100) { nodes { id version } } }"
BEGIN = b'["Change position+",0]'.hex().upper()

#: What a server that is killed, or a client before none, says.
GONE = (httpx2.HTTPError, OSError, WebSocketException, AssertionError, TimeoutError)


@dataclass
class Follower:
    """A subscriber that comes back with its last cursor, wherever there is a server."""

    over: str
    query: str = QUERY
    after: str = BEGIN
    told: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0

    @property
    def versions(self) -> dict[str, int]:
        """The last version of each order."""
        return {each["orderId"]: each["order"]["version"] for each in self.told}

    async def follow(self, port: Callable[[], int]) -> None:
        while True:
            with suppress(*GONE):
                await (self._socket(port()) if self.over == "socket" else self._stream(port()))
            await asyncio.sleep(0.02)

    def note(self, response: dict[str, Any]) -> None:
        assert "errors" not in response
        self.told += response["data"].values()
        self.after = self.told[-1]["cursor"]

    async def _socket(self, port: int) -> None:
        async with socket(port, open_timeout=2, close_timeout=0.1) as client:
            await client.init()
            await client.subscribe("1", self.query, variables={"after": self.after})
            self.connections += 1
            while True:
                self.note(await client.hears("1"))

    async def _stream(self, port: int) -> None:
        async with event_stream(port, self.query, self.after) as stream:
            self.connections += 1
            while True:
                self.note(await stream.hears())


class Deployment:
    """Servers before one database, each at times killed and started again; writers and followers that go on."""

    def __init__(self, url: str, folder: Path, client: httpx2.AsyncClient) -> None:
        self.url, self.folder, self.client = url, folder, client
        self.servers: list[Served] = []
        self.lines: dict[str, str] = {}  # by order
        self.numbers = count(2)  # so that each write changes all that it sends
        self.written: dict[str, int] = defaultdict(int)

    def port(self) -> int:
        if not self.servers:
            raise ConnectionRefusedError
        return self.servers[0].port  # which is killed next

    async def ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        port = random.choice(self.servers).port if self.servers else self.port()
        return await Client(self.client, f"http://127.0.0.1:{port}").data(query, variables)

    async def create(self) -> None:
        created = (await self.ask(CREATE))["createCustomer"]
        self.lines = {order["id"]: order["items"][0]["id"] for order in created["customer"]["orders"]["nodes"]}

    async def write(self) -> None:
        for number in self.numbers:
            with suppress(*GONE):
                id_, line = random.choice(list(self.lines.items()))
                sent = {"id": id_, "note": f"{number}", "line": line, "quantity": number}
                payload = (await self.ask(UPDATE, sent))["updateOrder"]
                if payload and payload["order"]:
                    self.written[id_] = max(self.written[id_], payload["order"]["version"])
            await asyncio.sleep(0.01)

    async def versions(self) -> dict[str, int]:
        """What each order has come to."""
        return {node["id"]: node["version"] for node in (await self.ask(READ))["orders"]["nodes"]}

    async def changes(self) -> list[dict[str, Any]]:
        """All changes that are kept, as the query lists them."""
        found: list[dict[str, Any]] = []
        page = {"endCursor": None, "hasNextPage": True}
        while page["hasNextPage"]:
            listed = (await self.ask(LISTED, {"after": page["endCursor"]}))["changes"]
            found, page = found + listed["nodes"], listed["pageInfo"]
        return found

    async def kill_one(self) -> None:
        """Where it was the only one, another is started in its place."""
        self.servers.pop(0).kill()
        if not self.servers:
            self.servers.append(await start(self.url, self.folder))


@asynccontextmanager
async def deployed(url: str, folder: Path, number: int) -> AsyncIterator[Deployment]:
    async with httpx2.AsyncClient(verify=False) as client:
        made = Deployment(url, folder, client)
        try:
            made.servers += await asyncio.gather(*(start(url, folder) for _ in range(number)))
            yield made
        finally:
            for server in made.servers:
                server.kill()


async def follow_over_kills(made: Deployment, kill: Callable[[], Awaitable[None]], times: int) -> None:
    """Follow while others write and servers are killed; see that everybody was told what there was to tell."""
    await made.create()
    states = [Follower(over) for over in ("socket", "socket", "stream")]
    steps = [Follower(over, CHANGES) for over in ("socket", "stream")]
    followers = [*states, *steps]
    tasks = [asyncio.create_task(each.follow(made.port)) for each in followers]
    writers = [asyncio.create_task(made.write()) for _ in range(3)]
    try:
        await heard(followers, 3)
        for _ in range(times):
            await kill()
            await heard(followers, 3)
        for task in writers:
            task.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        async with asyncio.timeout(PATIENCE):
            while True:  # what was on its way when the writers were ended may come later
                last, changes = await made.versions(), await made.changes()
                told_all = all(len(each.told) >= len(changes) for each in steps)
                if told_all and all(each.versions == last for each in states) and last == await made.versions():
                    break
                await asyncio.sleep(0.05)
    finally:
        for task in (*tasks, *writers):
            task.cancel()
        await asyncio.gather(*tasks, *writers, return_exceptions=True)
    assert all(made.written[id_] <= version for id_, version in last.items())
    assert sum(last.values()) > len(made.lines)  # something was written
    assert all(each.connections > 1 for each in followers)
    for follower in states:
        see_in_order(follower.told)
    for follower in steps:
        assert follower.told == changes  # each once, and in one order
    roots = {line: order for order, line in made.lines.items()}
    for id_, version in last.items():
        moved = [each["version"] for each in changes if roots.get(each["entityId"], each["entityId"]) == id_]
        assert moved == sorted(2 * [*range(1, version + 1)])  # of the order and its line, by each write


async def test_followers_over_killed_servers(empty_url: str, tmp_path: Path) -> None:
    number = 2 if empty_url.startswith("postgresql") else 1
    async with deployed(empty_url, tmp_path, number) as made:
        await follow_over_kills(made, made.kill_one, 1)


@ON_POSTGRESQL
async def test_followers_over_killed_workers(empty_url: str, tmp_path: Path) -> None:
    async with served_by(2, empty_url, tmp_path) as served, deployed(empty_url, tmp_path, 0) as made:
        made.servers.append(served)
        first = workers_of(served)

        async def kill() -> None:
            os.kill(first.pop(), signal.SIGKILL)

        await follow_over_kills(made, kill, 2)


@pytest.fixture
def own_server() -> Iterator[postgres.Own]:
    """A server of this test alone, which may be stopped."""
    with postgres.started(postgres.binaries(), "synchronous_commit=on") as own:  # a stop at once keeps what was committed
        yield own


async def test_subscribers_outlive_a_restart_of_the_database_on_their_connections(own_server: postgres.Own) -> None:
    await migrate.upgrade(own_server.url)
    async with asking(unhurried(own_server.url)) as ask, listening(ask.app) as server:
        order = (await ask.data(CREATE))["createCustomer"]["customer"]["orders"]["nodes"][0]
        sent = {"id": order["id"], "line": order["items"][0]["id"]}
        async with socket(server.port) as client, event_stream(server.port, QUERY) as stream:
            await client.init()
            await client.subscribe("1", QUERY)
            await until(lambda: ask.app.state.hub.members == 2)
            for version, mode in enumerate(("immediate", "fast"), 2):
                await asyncio.to_thread(own_server.stop, mode)
                update = sent | {"note": mode, "quantity": version}
                while "errors" not in await ask(READ):  # until it is seen that nobody is there
                    pass
                await asyncio.to_thread(own_server.start)
                while not is_done(await ask(UPDATE, update)):  # noqa: ASYNC110  # it is asked again
                    await asyncio.sleep(0.1)
                for told in (await client.hears_any(), (await stream.hears())["data"]["orderChanged"]):
                    assert told["order"] == {"id": order["id"], "version": version, "note": mode}


def is_done(answer: dict[str, Any]) -> bool:
    """Whether a write is answered, and by no refusal."""
    return "errors" not in answer and answer["data"]["updateOrder"]["errors"] == []


async def heard(followers: list[Follower], more: int) -> None:
    """Wait until each has been told of so many more."""
    wanted = [len(each.told) + more for each in followers]
    await until(lambda: all(len(each.told) >= number for each, number in zip(followers, wanted, strict=True)))


def see_in_order(told: list[dict[str, Any]]) -> None:
    """Positions rise, and no version of an order goes back."""
    positions = [position_of(each["cursor"]) for each in told]
    assert positions == sorted(set(positions))
    versions: dict[str, int] = defaultdict(int)
    for each in told:
        assert each["order"]["version"] >= versions[each["orderId"]]
        versions[each["orderId"]] = each["order"]["version"]
