"""Subscribers that outlive servers: nothing is missed, nothing told twice, no version goes back, whatever is killed.

Fault 20 of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import WebSocketException

from graph import migrate
from graph.feed.positions import position_of
from graph.settings import Settings
from tests import postgres
from tests.conftest import asking
from tests.servers import Client, Served, start
from tests.sockets import PATIENCE, listening, until
from tests.subscribers import event_stream, socket

QUERY = "subscription ($after: String) { orderChanged(after: $after) { cursor orderId order { id version note } } }"
CREATE = """mutation { createCustomer(input: {name: "A", email: "a@b.org", orders: [{}, {}, {}, {}]}) {
  customer { orders { nodes { id } } } errors { code } } }"""
UPDATE = "mutation ($id: ID!, $note: String) { updateOrder(input: {id: $id, note: $note}) { order { version } errors { code } } }"
READ = "{ orders(first: 100) { nodes { id version } } }"

#: What a server that is killed, or a client before none, says.
GONE = (httpx2.HTTPError, OSError, WebSocketException, AssertionError, TimeoutError)


@dataclass
class Follower:
    """A subscriber that comes back with its last cursor, wherever there is a server."""

    over: str
    after: str
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
        self.told.append(response["data"]["orderChanged"])
        self.after = self.told[-1]["cursor"]

    async def _socket(self, port: int) -> None:
        async with socket(port, open_timeout=2, close_timeout=0.1) as client:
            await client.init()
            await client.subscribe("1", QUERY, variables={"after": self.after})
            self.connections += 1
            while True:
                self.note(await client.hears("1"))

    async def _stream(self, port: int) -> None:
        async with event_stream(port, QUERY, self.after) as stream:
            self.connections += 1
            while True:
                self.note(await stream.hears())


class Deployment:
    """Servers before one database, each at times killed and started again; writers and followers that go on."""

    def __init__(self, url: str, folder: Path, client: httpx2.AsyncClient) -> None:
        self.url, self.folder, self.client = url, folder, client
        self.servers: list[Served] = []
        self.written: dict[str, int] = defaultdict(int)

    def port(self) -> int:
        if not self.servers:
            raise ConnectionRefusedError
        return self.servers[0].port  # which is killed next

    async def ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        port = random.choice(self.servers).port if self.servers else self.port()
        return await Client(self.client, f"http://127.0.0.1:{port}").data(query, variables)

    async def write(self, orders: list[str]) -> None:
        for number in range(10**6):
            with suppress(*GONE):
                id_ = random.choice(orders)
                payload = (await self.ask(UPDATE, {"id": id_, "note": f"{number}"}))["updateOrder"]
                if payload and payload["order"]:
                    self.written[id_] = max(self.written[id_], payload["order"]["version"])
            await asyncio.sleep(0.01)

    async def kill_one(self) -> None:
        """Where it was the only one, another is started in its place."""
        self.servers.pop(0).kill()
        if not self.servers:
            self.servers.append(await start(self.url, self.folder))


@asynccontextmanager
async def deployed(url: str, folder: Path, number: int) -> AsyncIterator[Deployment]:
    async with httpx2.AsyncClient() as client:
        made = Deployment(url, folder, client)
        try:
            made.servers += await asyncio.gather(*(start(url, folder) for _ in range(number)))
            yield made
        finally:
            for server in made.servers:
                server.kill()


async def test_followers_over_killed_servers(empty_url: str, tmp_path: Path) -> None:
    number = 2 if empty_url.startswith("postgresql") else 1
    async with deployed(empty_url, tmp_path, number) as made:
        created = (await made.ask(CREATE))["createCustomer"]
        orders = [node["id"] for node in created["customer"]["orders"]["nodes"]]
        begin = b'["Change position+",0]'.hex().upper()
        followers = [Follower(over, begin) for over in ("socket", "socket", "stream")]
        tasks = [asyncio.create_task(each.follow(made.port)) for each in followers]
        writers = [asyncio.create_task(made.write(orders)) for _ in range(3)]
        try:
            await heard(followers, 3)
            await made.kill_one()
            await heard(followers, 3)
            for task in writers:
                task.cancel()
            await asyncio.gather(*writers, return_exceptions=True)
            async with asyncio.timeout(PATIENCE):
                while True:  # what was on its way when the writers were ended may come later
                    last = {node["id"]: node["version"] for node in (await made.ask(READ))["orders"]["nodes"]}
                    if all(each.versions == last for each in followers):
                        break
                    await asyncio.sleep(0.05)
        finally:
            for task in (*tasks, *writers):
                task.cancel()
            await asyncio.gather(*tasks, *writers, return_exceptions=True)
        assert all(made.written[id_] <= version for id_, version in last.items())
        assert sum(last.values()) > len(orders)  # something was written
        assert all(each.connections > 1 for each in followers)
        for each in followers:
            see_in_order(each.told)


@pytest.fixture
def own_server() -> Iterator[postgres.Own]:
    """A server of this test alone, which may be stopped."""
    with postgres.started(postgres.binaries(), "synchronous_commit=on") as own:  # a stop at once keeps what was committed
        yield own


async def test_subscribers_outlive_a_restart_of_the_database_on_their_connections(own_server: postgres.Own) -> None:
    await migrate.upgrade(own_server.url)
    async with asking(Settings(database_url=own_server.url)) as ask, listening(ask.app) as server:
        created = (await ask.data(CREATE))["createCustomer"]
        order = created["customer"]["orders"]["nodes"][0]["id"]
        async with socket(server.port) as client, event_stream(server.port, QUERY) as stream:
            await client.init()
            await client.subscribe("1", QUERY)
            await until(lambda: ask.app.state.hub.members == 2)
            for version, mode in enumerate(("immediate", "fast"), 2):
                await asyncio.to_thread(own_server.stop, mode)
                await asyncio.sleep(0.3)
                await asyncio.to_thread(own_server.start)
                while "errors" in await ask(UPDATE, {"id": order, "note": mode}):  # noqa: ASYNC110  # it is asked again
                    await asyncio.sleep(0.1)
                for told in (await client.hears_any(), (await stream.hears())["data"]["orderChanged"]):
                    assert told["order"] == {"id": order, "version": version, "note": mode}


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
