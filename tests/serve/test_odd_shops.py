"""Odd ways to name a shop: bytes as somebody sends them who wants the rows of another shop, or a cache to mix them up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from tests.many_shops import Shops, many_shops
from tests.sockets import Listening, listening
from tests.subscribers import socket
from tests.tokens import AUTH, token
from tests.unhurried import unhurried

ITEMS = "{ items { nodes { sku } } }"
QUERY = b"/graphql?query=" + quote(ITEMS).encode()
MANY = "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Item { sku } } }"
CREATE = 'mutation ($sku: String!) { createItem(input: {sku: $sku, name: $sku, price: "1"}) { item { id sku } errors { code } } }'

Opened = Callable[..., AbstractAsyncContextManager[tuple[Shops, Listening]]]


@asynccontextmanager
async def opened_at(url: str, way: str, **more: Any) -> AsyncIterator[tuple[Shops, Listening]]:
    """The shops `acme` and `bolt`, with an item each that is called after it, before a server."""
    auth = AUTH if way == "claim" else {}
    settings = unhurried(url, shops=True, shop_from=way, **auth, **more)
    async with many_shops(settings, "acme", "bolt") as shops, listening(shops.app) as server:
        for shop in ("acme", "bolt"):
            head = {"authorization": f"Bearer {token('admin', shop=shop)}"} if more else {}
            made = (await shops.post(shop, CREATE, {"sku": shop}, head)).json()
            assert made["data"]["createItem"]["errors"] == []
        yield shops, server


@pytest.fixture
def opened(shops_url: str) -> Opened:
    return partial(opened_at, shops_url)


async def found(server: Listening, *lines: bytes, path: bytes = QUERY) -> str:
    """What a request finds: the sku of the item there, or a code."""
    _, body = await server.asked(b"\r\n".join([b"GET %b HTTP/1.1" % path, *lines, b"", b""]))
    answer = orjson.loads(body)
    if "errors" in answer:
        assert "data" not in answer
        return str(answer["errors"][0]["extensions"]["code"])
    (node,) = answer["data"]["items"]["nodes"]
    return str(node["sku"])


NAMED = b"x-ordergraph-shop: "
NO_SHOP = (
    [NAMED + b"acme", NAMED + b"bolt"],
    [NAMED + b"acme", NAMED + b"acme"],
    [NAMED + b"acme", NAMED],
    [NAMED + b"ACME"],
    [NAMED + "ácme".encode()],
    [NAMED + "\uff41cme".encode()],
    [NAMED + b"acme\x00bolt"],
    [NAMED + b"shop_acme"],
    [NAMED + b"acme/../bolt"],
    [NAMED + b"shops"],
    [NAMED + b"public"],
    [b"x_ordergraph_shop: acme"],
    [b"x-forwarded-shop: acme"],
)


async def test_a_header_names_one_shop_or_none(opened: Opened) -> None:
    async with opened("header") as (_, server):
        for shop in (b"acme", b"bolt"):
            assert await found(server, b"host: x", b"X-ORDERGRAPH-SHOP: \t" + shop + b" \t") == shop.decode()
        for lines in NO_SHOP:
            assert await found(server, b"host: x", *lines) in ("SHOP_NOT_FOUND", "BAD_REQUEST"), lines
        assert await found(server, b"host: x", path=QUERY + b"&X-Ordergraph-Shop=acme") == "SHOP_NOT_FOUND"


NO_HOST = (
    "acme.example..",
    "acme.example:abc",
    "acme.example, bolt.example",
    "me@acme.example",
    "acme.example/bolt.example",
    "acme.example\\bolt.example",
    "acme.example%00",
    "acme.example#",
    "\uff41cme.example",
    "acme\u3002example",
    "ac\u00adme.example",
    ":80",
    "[acme.example]",
    "a" * 5_000,
)


async def test_a_host_leads_to_one_shop_whatever_else_says_another(opened: Opened) -> None:
    async with opened("host") as (_, server):
        host = b"host: acme.example"
        assert await found(server, host, b"x-forwarded-host: bolt.example", b"forwarded: host=bolt.example") == "acme"
        assert await found(server, host, NAMED + b"bolt", b"x-original-host: bolt.example") == "acme"
        assert await found(server, host, b"host: bolt.example") == "BAD_REQUEST"
        for name in ("ACME.example", "acme.example.", "acme.example:99999"):
            assert await found(server, b"host: " + name.encode()) == "acme"
        for name in NO_HOST:
            assert await found(server, b"host: " + name.encode()) == "SHOP_NOT_FOUND", name


async def test_a_url_that_names_a_host_names_the_shop(opened: Opened) -> None:
    """A cache before the server keeps the answer under that URL."""
    async with opened("host") as (_, server):
        assert await found(server, b"host: acme.example", path=b"http://bolt.example" + QUERY) == "bolt"
        assert await found(server, b"host: acme.example", path=b"http://cork.example" + QUERY) == "SHOP_NOT_FOUND"


NO_CLAIM: tuple[Any, ...] = (["acme", "bolt"], {"acme": 1}, "ACME", "acme ", "acme\0", "\uff41cme", "", None, True, 1)


async def test_a_claim_is_one_shop_whatever_a_header_says(opened: Opened) -> None:
    async with opened("claim") as (_, server):
        acme, bolt = (b"authorization: Bearer " + token("admin", shop=shop).encode() for shop in ("acme", "bolt"))
        assert await found(server, b"host: bolt.example", acme, NAMED + b"bolt") == "acme"
        assert await found(server, b"host: x", acme, bolt) == "UNAUTHENTICATED"
        for claim in NO_CLAIM:
            lines = b"host: x", b"authorization: Bearer " + token("admin", shop=claim).encode()
            assert await found(server, *lines) == "UNAUTHENTICATED", claim


async def test_a_token_of_one_shop_is_none_at_another(opened: Opened) -> None:
    """In a request and in the first message of a socket, also right after it was good where it is."""
    async with opened("header", **AUTH) as (shops, server):
        key = token("admin", shop="acme")
        for _ in range(2):
            for shop, wanted in (("acme", "acme"), ("bolt", "UNAUTHENTICATED")):
                lines = NAMED + shop.encode(), b"authorization: Bearer " + key.encode()
                assert await found(server, b"host: x", *lines) == wanted
        async with socket(server.port) as client:
            await client.say("connection_init", payload={**shops.names("bolt"), "Authorization": f"Bearer {key}"})
            assert (await client.closed())[0] == 4403


@pytest.mark.parametrize("way", ["header", "host", "claim"])
async def test_a_shared_cache_keeps_shops_apart(opened: Opened, way: str) -> None:
    """By the URL and by what `Vary` names: answers, refusals, what is compressed and what has not changed."""
    async with opened(way) as (shops, _):
        kept: dict[Any, str] = {}

        async def ask(shop: str, query: str, **more: str) -> Any:
            given = {"accept-encoding": "identity", **shops.names(shop), **more}
            head = {name.lower(): value for name, value in given.items()}
            params = {"query": query, "variables": '{"ids":["Item:1"]}'}
            answer = await shops.client.get("/graphql", params=params, headers=head)
            varies = {name.strip().lower() for value in answer.headers.get_list("vary") for name in value.split(",")}
            key = (head.get("host"), query, *((name, head.get(name)) for name in sorted(varies)))
            assert kept.setdefault(key, shop) == shop
            return answer

        for query in (ITEMS, MANY, "{ nothing }", "{ " + " ".join(f"a{n}: __typename" for n in range(30)) + " }"):
            for shop in ("acme", "bolt", "cork", "acme"):
                answer = await ask(shop, query)
                assert answer.headers["cache-control"] == (
                    shops.settings.cache_control if answer.status_code == 200 else "no-store"
                )
                await ask(shop, query, **{"accept-encoding": "gzip"})
        tags = {shop: (await ask(shop, ITEMS)).headers["etag"] for shop in ("acme", "bolt")}
        for shop, other in (("acme", "bolt"), ("bolt", "acme")):
            assert (await ask(shop, ITEMS, **{"if-none-match": tags[shop]})).status_code == 304
            answer = await ask(shop, ITEMS, **{"if-none-match": tags[other]})
            assert answer.json()["data"]["items"]["nodes"] == [{"sku": shop}]
            assert (await ask("cork", ITEMS, **{"if-none-match": "*"})).status_code == 404
