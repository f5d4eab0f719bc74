"""Many shops behind one server: each request reaches the shop that it names and no other, whatever else it brings."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import sqlalchemy as sa
from websockets.exceptions import InvalidStatus

from graph.database.failures import Unavailable
from graph.feed.positions import cursor_at
from graph.operations.persisted import hash_of
from graph.serve import health, kept_shops
from graph.shops import registry
from graph.shops.directory import Directory
from tests.conftest import Statements
from tests.many_shops import Shops, many_shops
from tests.serve.test_logs import Caught, caught
from tests.sockets import Listening, listening, until
from tests.subscribers import Socket, event_stream, socket
from tests.tokens import AUTH, token
from tests.unhurried import unhurried

__all__ = ["caught"]

ITEMS = "{ items { nodes { sku } } }"
CREATE = 'mutation ($sku: String!) { createItem(input: {sku: $sku, name: $sku, price: "1"}) { item { id sku } errors { code } } }'
FOLLOW = "subscription { changes { entityId cursor } }"

#: Opens a deployment with the shops `acme` and `bolt` under some settings.
ShopsWith = Callable[..., AbstractAsyncContextManager[Shops]]


@pytest.fixture
def shops_with(shops_url: str) -> ShopsWith:
    return lambda *names, **more: many_shops(unhurried(shops_url, shops=True, **more), *(names or ("acme", "bolt")))


WAYS: dict[str, dict[str, Any]] = {
    "header": {},
    "host": {"shop_from": "host"},
    "claim": {"shop_from": "claim", **AUTH},
}


@pytest.fixture(params=WAYS)
async def shops(request: pytest.FixtureRequest, shops_with: ShopsWith) -> AsyncIterator[Shops]:
    """Two shops without rows, told apart in each of the ways."""
    async with shops_with(**WAYS[request.param]) as made:
        yield made


@pytest.fixture
async def by_header(shops_with: ShopsWith) -> AsyncIterator[Shops]:
    """Two shops without rows, told apart by a header."""
    async with shops_with() as made:
        yield made


@pytest.fixture
async def server(shops: Shops) -> AsyncIterator[Listening]:
    async with listening(shops.app) as server:
        yield server
        await until(lambda: shops.app.state.streams.open == 0)


def refusal(answer: Any) -> tuple[int, str]:
    (error,) = answer.json()["errors"]
    return answer.status_code, error["extensions"]["code"]


async def test_a_request_reaches_the_shop_that_it_names(shops: Shops) -> None:
    for shop, sku in (("acme", "A"), ("bolt", "B")):
        made = await shops.data(shop, CREATE, {"sku": sku})
        assert made["createItem"] == {"item": {"id": "Item:1", "sku": sku}, "errors": []}
    answers = await asyncio.gather(*(shops.data(shop, ITEMS) for shop in ("acme", "bolt") * 8))
    assert answers == [{"items": {"nodes": [{"sku": sku}]}} for sku in "AB"] * 8
    assert len(shops.kept.fronts()) == 2


NAMES = ("", "cork", "ACME", "acme, bolt", "shop_acme", '"; DROP', "a" * 9_000)
HOSTS = ("", "cork.example", "acme", "127.0.0.1", "[::1]:80", "acme.example:x", "acme.example, x")
NO_SHOP: dict[str, list[dict[str, str]]] = {
    "header": [{}, *({"x-ordergraph-shop": name} for name in NAMES)],
    "host": [{"host": name} for name in HOSTS],
    "claim": [{"authorization": f"Bearer {token('admin', shop='cork')}"}],
}


@pytest.mark.parametrize("way", NO_SHOP)
async def test_a_request_that_names_no_shop_is_told_so_before_its_body_is_there(shops_with: ShopsWith, way: str) -> None:
    """By POST, GET and HEAD, and to a page that asks."""
    async with shops_with(**WAYS[way]) as shops, listening(shops.app) as server:
        for head in NO_SHOP[way]:
            lines = [f"{name}: {value}".encode() for name, value in {"host": "x", **head}.items()]
            answer = await server.asked(b"\r\n".join([b"POST /graphql HTTP/1.1", *lines, b"content-length: 90", b"", b"{"]))
            assert answer[0] == 404, head
            assert b'"code":"SHOP_NOT_FOUND"' in answer[1], head
            found = await shops.client.get("/graphql", params={"query": ITEMS}, headers=head)
            assert refusal(found) == (404, "SHOP_NOT_FOUND"), head
            assert "data" not in found.json(), head
            assert (await shops.client.head("/graphql", params={"query": ITEMS}, headers=head)).status_code == 404, head
            assert shops.kept.fronts() == [], head


async def test_a_browser_is_shown_the_playground_where_it_can_say_which_shop_it_is_for(shops: Shops) -> None:
    """By a host name its address says it, else the request or the token that it sends."""
    head = {"accept": "text/html", "host": "cork.example"}
    answer = await shops.client.get("/graphql", headers=head)
    assert answer.headers["content-type"].startswith("text/html")
    told = (404, True) if way(shops) == "host" else (200, False)
    assert (answer.status_code, "There is no such shop." in answer.text) == told
    answer = await shops.client.get("/graphql", headers={**head, "host": "acme.example"})
    assert (answer.status_code, "ordergraph" in answer.text) == (200, True)
    assert (await shops.client.options("/graphql", headers={"host": "cork.example"})).status_code == 204


def way(shops: Shops) -> str:
    return shops.settings.shop_from


async def test_what_is_no_shops_is_served_without_one(shops_with: ShopsWith) -> None:
    async with shops_with(shop_from="host", metrics=True) as shops:
        for path in ("/", "/docs", "/schema.graphql", "/livez", "/readyz", "/metrics"):
            assert (await shops.client.get(path)).status_code == 200, path
        assert "host name" in (await shops.client.get("/")).text
        assert "host name" in (await shops.client.get("/", headers={"accept": "text/html"})).text
        await shops.data("acme", ITEMS)
        await shops.client.post("/graphql", json={"query": ITEMS})
        told = (await shops.client.get("/metrics")).text
        assert 'ordergraph_refusals_total{code="SHOP_NOT_FOUND"} 1.0' in told
        assert "acme" not in told


async def test_answers_are_kept_apart_by_caches(shops: Shops) -> None:
    answer = await shops.client.get("/graphql", params={"query": ITEMS}, headers=shops.names("acme"))
    assert answer.status_code == 200
    assert ("X-Ordergraph-Shop" in answer.headers["vary"]) == (way(shops) == "header")
    assert "Authorization" in answer.headers["vary"]


async def test_a_header_of_another_name_says_it_where_the_settings_do(shops_with: ShopsWith) -> None:
    async with shops_with(shop_header="X-Store") as shops:
        await shops.data("acme", CREATE, {"sku": "A"})
        answer = await shops.client.post("/graphql", json={"query": ITEMS}, headers={"x-ordergraph-shop": "acme"})
        assert refusal(answer) == (404, "SHOP_NOT_FOUND")


async def test_hosts_are_found_however_they_are_written(shops_with: ShopsWith) -> None:
    async with shops_with(shop_from="host") as shops:
        await shops.data("acme", CREATE, {"sku": "A"})
        for host in ("acme.example", "ACME.Example:80", "acme.example.", "acme.example:"):
            answer = await shops.client.post("/graphql", json={"query": ITEMS}, headers={"host": host})
            assert answer.json()["data"] == {"items": {"nodes": [{"sku": "A"}]}}, host
        await shops.deployment.set_hosts("bolt", ["new.example"])
        await shops.told()
        assert refusal(await shops.post("bolt", ITEMS)) == (404, "SHOP_NOT_FOUND")
        answer = await shops.client.post("/graphql", json={"query": ITEMS}, headers={"host": "new.example"})
        assert answer.json()["data"] == {"items": {"nodes": []}}


# ---- sockets and streams


def named(shops: Shops, shop: str) -> dict[str, Any]:
    """What has a socket name a shop in its handshake."""
    if way(shops) == "host":
        return {"name": f"{shop}.example"}
    return {"additional_headers": shops.names(shop)}


async def follows(shops: Shops, shop: str, client: Socket) -> None:
    """See that a socket hears of a shop and of no other."""
    other = "bolt" if shop == "acme" else "acme"
    await client.subscribe("1", FOLLOW)
    await client.subscribe("2", ITEMS)
    assert (await client.hears("2"))["data"] == await shops.data(shop, ITEMS)
    await client.hear()
    front = await shops.kept.named(shop)
    await until(lambda: front.subscriptions.hub.members > 0)
    await shops.data(other, CREATE, {"sku": f"{shop} 1"})
    await shops.data(shop, CREATE, {"sku": f"{shop} 2"})
    made = len((await shops.data(shop, ITEMS))["items"]["nodes"])
    assert (await client.hears("1"))["data"]["changes"]["entityId"] == f"Item:{made}"
    await client.say("complete", id="1")


async def test_a_socket_is_for_the_shop_that_its_handshake_names(shops: Shops, server: Listening) -> None:
    async with socket(server.port, **named(shops, "acme")) as acme, socket(server.port, **named(shops, "bolt")) as bolt:
        await acme.init()
        await bolt.init()
        await follows(shops, "acme", acme)
        await follows(shops, "bolt", bolt)


@pytest.mark.parametrize("way", ["header", "claim"])
async def test_a_socket_is_for_the_shop_that_its_first_message_names(shops_with: ShopsWith, way: str) -> None:
    """As browsers must: they send no headers with a handshake."""
    async with shops_with(**WAYS[way]) as shops, listening(shops.app) as server:
        for shop in ("acme", "bolt"):
            async with socket(server.port) as client:
                await client.say("ping")
                assert await client.hear() == {"type": "pong"}
                await client.init(payload=shops.names(shop))
                await follows(shops, shop, client)
        async with socket(server.port) as client:
            await client.subscribe("1", ITEMS)
            assert await client.closed() == (4401, "Unauthorized")


async def test_a_socket_that_names_no_shop_in_its_handshake_does_not_open(shops: Shops, server: Listening) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket(server.port, **named(shops, "cork")):
            pass
    assert refused.value.response.status_code == 404
    assert b"SHOP_NOT_FOUND" in (refused.value.response.body or b"")


NO_SHOP_IN_MESSAGE: list[Any] = [
    None,
    {},
    {"x-ordergraph-shop": "cork"},
    {"X-Ordergraph-Shop": 1},
    {"X-Ordergraph-Shop": ["acme"]},
    {"X-Ordergraph-Shop": "acme", "x-ordergraph-shop": "bolt"},
    {"\ud800": "acme"},
    {"X-Ordergraph-Shop": "\ud800"},
]


async def test_a_socket_that_names_no_shop_in_its_first_message_is_closed(by_header: Shops) -> None:
    async with listening(by_header.app) as server:
        for payload in NO_SHOP_IN_MESSAGE:
            async with socket(server.port) as client:
                await client.send(json.dumps({"type": "connection_init", "payload": payload}))
                assert (await client.closed())[0] == 4404, payload


async def test_a_first_message_does_not_name_another_shop_than_the_handshake(by_header: Shops) -> None:
    async with listening(by_header.app) as server:
        async with socket(server.port, additional_headers=by_header.names("acme")) as client:
            await client.say("connection_init", payload=by_header.names("bolt"))
            assert (await client.closed())[0] == 4404
        async with socket(server.port, additional_headers=by_header.names("acme")) as client:
            await client.init(payload=by_header.names("acme"))
            await follows(by_header, "acme", client)


async def test_a_shop_that_is_archived_between_handshake_and_first_message_is_gone(by_header: Shops) -> None:
    async with listening(by_header.app) as server, socket(server.port, additional_headers=by_header.names("acme")) as client:
        await by_header.deployment.archive("acme")
        await by_header.told()
        await client.say("connection_init")
        assert (await client.closed())[0] == 4404


async def test_a_token_in_a_first_message_without_a_shop_of_its_own_opens_nothing(shops_with: ShopsWith) -> None:
    async with shops_with(**WAYS["claim"]) as shops, listening(shops.app) as server:
        for head, code in (({}, 4403), ({"shop": "cork"}, 4404), ({"shop": None}, 4403)):
            async with socket(server.port) as client:
                await client.say("connection_init", payload={"Authorization": f"Bearer {token('admin', **head)}"})
                assert (await client.closed())[0] == code
        async with socket(server.port, additional_headers=shops.names("acme")) as client:
            await client.say("connection_init", payload=shops.names("bolt"))
            assert (await client.closed())[0] == 4403


async def test_an_event_stream_is_for_the_shop_that_it_names(shops: Shops, server: Listening) -> None:
    async with (
        event_stream(server.port, FOLLOW, head=shops.names("acme")) as acme,
        event_stream(server.port, FOLLOW, method="GET", head=shops.names("bolt")) as bolt,
    ):
        fronts = [await shops.kept.named(shop) for shop in ("acme", "bolt")]
        await until(lambda: all(front.subscriptions.hub.members for front in fronts))
        await shops.data("bolt", CREATE, {"sku": "B"})
        await shops.data("bolt", CREATE, {"sku": "C"})
        await shops.data("acme", CREATE, {"sku": "A"})
        assert [(await bolt.hears())["data"]["changes"]["entityId"] for _ in range(2)] == ["Item:1", "Item:2"]
        assert (await acme.hears())["data"]["changes"]["entityId"] == "Item:1"
    answer = await shops.client.post(
        "/graphql", json={"query": FOLLOW}, headers={**shops.names("cork"), "accept": "text/event-stream"}
    )
    assert answer.status_code == 404


# ---- shops that come and go


async def test_who_is_in_a_shop_when_it_is_archived_is_told(shops: Shops, server: Listening) -> None:
    await shops.data("acme", CREATE, {"sku": "A"})
    async with (
        socket(server.port, **named(shops, "acme")) as client,
        socket(server.port, **named(shops, "bolt")) as other,
        event_stream(server.port, FOLLOW, head=shops.names("acme")) as stream,
    ):
        await client.init()
        await client.subscribe("1", FOLLOW)
        await other.init()
        front = await shops.kept.named("acme")
        await until(lambda: front.subscriptions.hub.members == 2)
        await shops.deployment.archive("acme")
        await shops.told()
        assert await client.closed() == (4404, "This shop is served no more.")
        assert (await stream.hears())["errors"][0]["extensions"]["code"] == "SHOP_NOT_FOUND"
        assert await stream.hear() == ("complete", None)
        assert refusal(await shops.post("acme", ITEMS)) == (404, "SHOP_NOT_FOUND")
        await other.subscribe("1", ITEMS)
        assert (await other.hears("1"))["data"] == {"items": {"nodes": []}}
    await until(lambda: [front.database.shop for front in shops.kept.fronts()] == ["bolt"])
    await shops.deployment.restore("acme")
    assert (await shops.data("acme", ITEMS))["items"]["nodes"] == [{"sku": "A"}]


async def test_a_shop_that_gets_the_name_of_one_that_was_dropped_has_nothing_of_it(by_header: Shops) -> None:
    shops = by_header
    await shops.data("acme", CREATE, {"sku": "A"})
    await shops.deployment.archive("acme")
    await shops.told()
    await shops.deployment.drop("acme")
    assert refusal(await shops.post("acme", ITEMS)) == (404, "SHOP_NOT_FOUND")
    await shops.deployment.create("acme")
    assert (await shops.data("acme", ITEMS))["items"]["nodes"] == []
    made = await shops.data("acme", CREATE, {"sku": "A"})
    assert made["createItem"] == {"item": {"id": "Item:1", "sku": "A"}, "errors": []}


async def test_a_shop_that_waits_for_its_migration_is_asked_for_later(by_header: Shops) -> None:
    shops = by_header
    await shops.data("acme", CREATE, {"sku": "A"})
    assert await shops.deployment.migrate(["acme"], "-1") == {}
    await shops.told()
    answer = await shops.post("acme", ITEMS)
    assert refusal(answer) == (503, "SHOP_NOT_MIGRATED")
    assert answer.headers["retry-after"] == "1"
    async with listening(shops.app) as server, socket(server.port) as client:
        await client.say("connection_init", payload=shops.names("acme"))
        assert await client.closed() == (1013, "Try again later")
    await shops.data("bolt", ITEMS)
    assert (await shops.client.get("/readyz")).status_code == 200
    assert await shops.deployment.migrate(["acme"]) == {}
    assert (await shops.data("acme", ITEMS))["items"]["nodes"] == [{"sku": "A"}]


async def test_a_new_shop_is_served_at_once(by_header: Shops) -> None:
    await by_header.data("acme", ITEMS)
    assert refusal(await by_header.post("cork", ITEMS)) == (404, "SHOP_NOT_FOUND")
    await by_header.deployment.create("cork")
    await by_header.data("cork", ITEMS)


async def test_names_that_somebody_makes_up_cost_next_to_nothing(by_header: Shops, statements: Statements) -> None:
    await by_header.data("acme", ITEMS)
    statements.clear()
    answers = await asyncio.gather(*(by_header.post(f"made-up-{number}", ITEMS) for number in range(50)))
    assert {refusal(answer) for answer in answers} == {(404, "SHOP_NOT_FOUND")}
    assert len(statements) <= 10
    assert [front.database.shop for front in by_header.kept.fronts()] == ["acme"]


async def test_shops_that_nobody_asks_for_are_left_and_opened_again(by_header: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_shops, "LOOKS", 2)
    shops = by_header
    await shops.data("acme", CREATE, {"sku": "A"})
    async with listening(shops.app) as server, event_stream(server.port, FOLLOW, head=shops.names("bolt")):
        for _ in range(3):
            shops.kept.look()
        await until(lambda: [front.database.shop for front in shops.kept.fronts()] == ["bolt"])
        assert (await shops.data("acme", ITEMS))["items"]["nodes"] == [{"sku": "A"}]
    await until(lambda: shops.app.state.streams.open == 0)


async def test_more_shops_than_are_kept_are_served_one_after_another(by_header: Shops) -> None:
    shops = by_header
    shops.kept.most = 1
    for sku in "ABC":
        for shop in ("acme", "bolt"):
            await shops.data(shop, CREATE, {"sku": sku})
            assert len(shops.kept.fronts()) == 1
    answers = await asyncio.gather(*(shops.data(shop, ITEMS) for shop in ("acme", "bolt") * 5))
    assert all(answer == {"items": {"nodes": [{"sku": sku} for sku in "ABC"]}} for answer in answers)


# ---- what one shop gave means nothing in another


IDEMPOTENT = """mutation ($sku: String!) {
    createItem(input: {sku: $sku, name: $sku, price: "1"}) @idempotent(key: "k") { item { sku } errors { code } }
}"""


async def test_an_idempotency_key_is_one_shops(by_header: Shops) -> None:
    for shop, sku in (("acme", "A"), ("bolt", "B"), ("acme", "A"), ("bolt", "B")):
        made = await by_header.data(shop, IDEMPOTENT, {"sku": sku})
        assert made["createItem"] == {"item": {"sku": sku}, "errors": []}


async def test_a_cursor_of_another_shop_shows_nothing_of_it(by_header: Shops) -> None:
    shops = by_header
    for sku in ("A", "B", "C"):
        await shops.data("acme", CREATE, {"sku": sku})
    await shops.data("bolt", CREATE, {"sku": "D"})
    page = "query ($after: String) { items(after: $after) { nodes { sku } pageInfo { endCursor } } }"
    end = (await shops.data("acme", page))["items"]["pageInfo"]["endCursor"]
    assert (await shops.data("bolt", page, {"after": end}))["items"]["nodes"] == []
    feed = "query ($after: String) { changes(after: $after) { nodes { entityId } } }"
    front = await shops.kept.named("bolt")
    await front.subscriptions.outlook.bounds()  # all have their positions
    assert (await shops.data("bolt", feed, {"after": cursor_at(0)}))["changes"]["nodes"] == [{"entityId": "Item:1"}]
    for position in (2, 3):
        assert refusal(await shops.post("bolt", feed, {"after": cursor_at(position)})) == (422, "CURSOR_EXPIRED")
    async with (
        listening(shops.app) as server,
        event_stream(server.port, FOLLOW, cursor_at(3), head=shops.names("bolt")) as stream,
    ):
        assert (await stream.hears())["errors"][0]["extensions"]["code"] == "CURSOR_EXPIRED"


async def test_a_documents_name_is_known_in_every_shop(by_header: Shops) -> None:
    """It is a text that says nothing of rows."""
    text = f"{ITEMS} # {by_header.settings.database_url}"
    await by_header.data("acme", CREATE, {"sku": "A"})
    for shop, more in (("acme", {"query": text}), ("bolt", {})):
        body = {"documentId": hash_of(text), **more}
        answer = await by_header.client.post("/graphql", json=body, headers=by_header.names(shop))
        assert answer.json()["data"] == {"items": {"nodes": [{"sku": "A"}] if shop == "acme" else []}}


# ---- what an operator sees


async def test_the_log_says_of_which_shop_it_tells(shops_with: ShopsWith, caught: Caught) -> None:
    async with shops_with(audit_log=True, access_log=True) as shops:
        await shops.data("bolt", CREATE, {"sku": "B"})
        await shops.post("cork", ITEMS)
        async with listening(shops.app) as server, socket(server.port, **named(shops, "acme")) as client:
            await client.init()
            await client.subscribe("1", ITEMS)
            await client.hears("1")
    audit, access, unknown, over_socket = [line for line in caught.lines if " ordergraph.a" in line]
    assert re.search(r" ordergraph.audit: createItem \(request [0-9a-f]+, shop bolt, ", audit)
    assert re.search(r" ordergraph.access: mutation \(request [0-9a-f]+, shop bolt, ", access)
    assert "SHOP_NOT_FOUND" in unknown
    assert "shop" not in unknown
    assert re.search(r" ordergraph.access: query \(request [0-9a-f]+, shop acme, ", over_socket)


async def test_a_server_is_ready_as_long_as_there_is_the_list_of_shops(
    shops_with: ShopsWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "KEPT_SECONDS", 0)
    monkeypatch.setattr(health, "BUSY_SECONDS", 0)
    async with shops_with() as shops:
        assert await shops.deployment.migrate(["acme"], "-1") == {}
        answer = await shops.client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready"})

        async def lost(*_: Any) -> Any:
            raise Unavailable("gone")

        with monkeypatch.context() as patch:
            patch.setattr(shops.premises.database, "fetch", lost)
            answer = await shops.client.get("/readyz")
            assert (answer.status_code, answer.json()["reasons"]) == (503, [health.UNREACHABLE])
        async with shops.premises.database.engine.begin() as connection:
            await connection.execute(sa.delete(registry.NUMBERS))
        answer = await shops.client.get("/readyz")
        assert (answer.status_code, answer.json()["reasons"]) == (503, [health.NO_REGISTRY])


async def test_a_server_that_cannot_read_the_list_of_shops_yet_reads_it_later(
    shops_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = unhurried(shops_url, shops=True)
    async with many_shops(settings, "acme"):
        pass

    async def lost(_: Directory) -> None:
        raise Unavailable("gone")

    monkeypatch.setattr(Directory, "start", lost)
    async with many_shops(settings) as shops:
        assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
            "The list of shops cannot be read yet: gone"
        ]
        await shops.data("acme", ITEMS)


async def test_how_an_operation_is_done_is_explained_in_its_own_shop(by_header: Shops) -> None:
    body = {"query": ITEMS, "extensions": {"explain": True}}
    answer = await by_header.client.post("/graphql", json=body, headers=by_header.names("acme"))
    (statement,) = answer.json()["extensions"]["explain"]["statements"]
    assert statement["plan"]
    assert "[shop]" not in statement["sql"]
