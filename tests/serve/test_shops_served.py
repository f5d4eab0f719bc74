"""Many shops behind servers as an operator starts them: one on files, several workers on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from graph.feed.positions import cursor_at
from graph.settings import Settings
from graph.shops.deployment import Deployment
from tests.serve.test_drain import log_of
from tests.serve.test_workers import served_by
from tests.servers import Served
from tests.sockets import PATIENCE, until
from tests.subscribers import socket
from tests.test_commands import forks

__all__ = ["forks"]

NAMES = ("acme", "bolt", "cork")
ITEMS = "{ items { nodes { sku } } }"
CREATE = 'mutation { createItem(input: {sku: "%s", name: "A", price: "1"}) { errors { code } } }'
FOLLOW = f'subscription {{ changes(after: "{cursor_at(0)}") {{ entityId }} }}'


async def post(served: Served, host: str, query: str) -> Any:
    """The answer on a connection of its own, which any worker may have taken."""
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:  # to read certificates takes longer than the test
        return await http.post(f"{served.url}/graphql", json={"query": query}, headers={"host": host})


@pytest.fixture
async def deployment(shops_url: str) -> Deployment:
    """A deployment of three shops, each with a host name."""
    made = Deployment(Settings(database_url=shops_url, shops=True))
    for name in NAMES:
        await made.create(name, [f"{name}.example"])
    return made


@asynccontextmanager
async def serving(url: str, folder: Path) -> AsyncIterator[Served]:
    """As many workers as the database lets, before shops that host names tell apart."""
    workers = 1 if url.startswith("sqlite") else 2
    async with served_by(workers, url, folder, ORDERGRAPH_SHOPS="on", ORDERGRAPH_SHOP_FROM="host") as served:
        await until(lambda: "Serving " in log_of(served, folder))
        yield served


async def test_each_shop_is_served_whichever_worker_is_asked(shops_url: str, deployment: Deployment, tmp_path: Path) -> None:
    async with serving(shops_url, tmp_path) as served:
        assert "Many shops are served: the host name of a request says which one it means." in log_of(served, tmp_path)
        for name in NAMES:
            assert (await post(served, f"{name}.example", CREATE % name.upper())).json()["data"]["createItem"]["errors"] == []
        answers = await asyncio.gather(*(post(served, f"{name}.example:80", ITEMS) for name in NAMES * 6))
        expected = [{"data": {"items": {"nodes": [{"sku": name.upper()}]}}} for name in NAMES * 6]
        assert [answer.json() for answer in answers] == expected
        for host in ("evil.example", "127.0.0.1"):
            answer = await post(served, host, ITEMS)
            assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (404, "SHOP_NOT_FOUND")


async def test_who_listens_hears_of_his_shop_whichever_worker_writes(
    shops_url: str, deployment: Deployment, tmp_path: Path
) -> None:
    async with (
        serving(shops_url, tmp_path) as served,
        socket(served.port, name="acme.example") as one,
        socket(served.port, name="acme.example") as another,
        socket(served.port, name="bolt.example") as other,
    ):
        for client in (one, another, other):
            await client.init()
            await client.subscribe("1", FOLLOW)
        for number in range(8):
            await post(served, "acme.example", CREATE % f"A{number}")
        await post(served, "bolt.example", CREATE % "B")
        for client in (one, another):
            told = [(await client.hears("1"))["data"]["changes"]["entityId"] for _ in range(8)]
            assert told == [f"Item:{number}" for number in range(1, 9)]
        assert (await other.hears("1"))["data"]["changes"]["entityId"] == "Item:1"


async def test_every_worker_hears_that_a_shop_is_archived_and_made(
    shops_url: str, deployment: Deployment, tmp_path: Path
) -> None:
    async with serving(shops_url, tmp_path) as served:
        async with socket(served.port, name="acme.example") as client:
            await client.init()
            await deployment.archive("acme")
            assert (await client.closed())[0] == 4404
            async with asyncio.timeout(PATIENCE):
                while 200 in [(await post(served, "acme.example", ITEMS)).status_code for _ in range(6)]:
                    pass
            assert (await post(served, "bolt.example", ITEMS)).status_code == 200
        await deployment.create("dusk", ["dusk.example"])
        answers = await asyncio.gather(*(post(served, "dusk.example", ITEMS) for _ in range(6)))
        assert [answer.status_code for answer in answers] == [200] * 6
