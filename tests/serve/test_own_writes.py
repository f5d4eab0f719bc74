"""How clients read their own writes from replicas: the header, the extension and the cookie, over every transport."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from starlette.types import Scope

from graph.database.read_after import BY_PRIMARY, ReadAfter, read_after
from graph.serve.own_writes import COOKIE, brought, told
from graph.settings import Settings
from tests.sockets import listening
from tests.standbys import Pair, item_by, new_item, replicated
from tests.subscribers import socket

TOKEN = "x-ordergraph-read-after"
LAG = {"replica_max_lag_seconds": 600.0}


async def test_every_way_to_bring_it(pair: Pair) -> None:
    async with replicated(pair, **LAG, read_after_cookie=True) as (ask, seen):
        await pair.pause()
        try:
            sku, mutation = new_item()
            written = await ask.client.post("/graphql", json={"query": mutation})
            ask.client.cookies.clear()
            token, query = written.headers[TOKEN], item_by(sku)
            extensions = orjson.dumps({"readAfter": token}).decode()
            body: dict[str, Any] = {"query": query}
            ways: list[Any] = [
                ("POST", "/graphql", {"json": body, "headers": {TOKEN: token}}),
                ("POST", "/graphql", {"json": {**body, "extensions": {"readAfter": token}}}),
                ("POST", "/graphql", {"json": body, "headers": {"cookie": f"theme=dark; {COOKIE}={token}"}}),
                ("QUERY", "/graphql", {"json": body, "headers": {TOKEN: token}}),
                ("GET", "/graphql?" + urlencode({"query": query, "extensions": extensions}), {}),
                ("GET", "/graphql?" + urlencode({"query": query}), {"headers": {"cookie": f"{COOKIE}={token}"}}),
            ]
            for method, url, given in ways:
                answer = await ask.client.request(method, url, **given)
                assert answer.json() == {"data": {"item": {"sku": sku}}}, (method, given)
                assert TOKEN not in answer.headers, "a query writes nothing"
            assert seen == ["behind"] * len(ways)
            assert (await ask.client.post("/graphql", json=body)).json() == {"data": {"item": None}}
        finally:
            await pair.resume()


async def test_over_a_websocket_it_stands_in_extensions(pair: Pair) -> None:
    async with replicated(pair, **LAG) as (ask, seen), listening(ask.app) as server, socket(server.port) as client:
        await pair.pause()
        try:
            await client.init()
            sku, mutation = new_item()
            await client.subscribe("1", mutation)
            written = await client.hears("1")
            assert (await client.hear())["type"] == "complete"
            await client.subscribe("2", item_by(sku))
            assert await client.hears("2") == {"data": {"item": None}}
            assert (await client.hear())["type"] == "complete"
            await client.subscribe("3", item_by(sku), extensions=written["extensions"])
            assert await client.hears("3") == {"data": {"item": {"sku": sku}}}
            assert seen == ["answered", "behind"]
        finally:
            await pair.resume()


async def test_pages_of_other_origins_may_bring_and_read_it_and_caches_tell_answers_apart(pair: Pair) -> None:
    settings = {"cors_origins": ("https://shop.example",), "cors_credentials": True, "read_after_cookie": True}
    async with replicated(pair, **LAG, **settings) as (ask, _):
        origin = {"origin": "https://shop.example"}
        wanted = {**origin, "access-control-request-method": "POST", "access-control-request-headers": f"content-type,{TOKEN}"}
        asked = await ask.client.options("/graphql", headers=wanted)
        assert asked.status_code == 200
        assert TOKEN in asked.headers["access-control-allow-headers"].lower()
        written = await ask.client.post("/graphql", json={"query": new_item()[1]}, headers=origin)
        assert TOKEN in written.headers["access-control-expose-headers"].lower()
        morsel = SimpleCookie(written.headers["set-cookie"])[COOKIE]
        assert morsel.value == written.headers[TOKEN]
        assert (morsel["path"], morsel["samesite"], morsel["secure"], morsel["httponly"]) == ("/graphql", "None", True, True)
        got = await ask.client.get("/graphql?query={__typename}")
        again = await ask.client.get("/graphql?query={__typename}", headers={"if-none-match": got.headers["etag"]})
        assert again.status_code == 304
        for answer in (got, again):
            assert {TOKEN, "cookie"} <= {name.strip().lower() for name in answer.headers["vary"].split(",")}


async def test_whether_it_happened_is_asked_for_where_that_is_not_known(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A COMMIT that is not answered may have happened: whoever shows it answers what comes next, else the primary."""
    from graph.database.failures import CommitUnknown
    from graph.database.server_connections import Server

    async def lost(server: Server, session: Any) -> None:
        await commit(server, session)
        raise CommitUnknown("lost")

    commit = Server.commit
    async with replicated(pair, **LAG) as (ask, seen):
        sku, mutation = new_item()
        with monkeypatch.context() as patch:
            patch.setattr(Server, "commit", lost)
            written = await ask.client.post("/graphql", json={"query": mutation})
        assert written.json()["data"]["createItem"]["errors"] == [{"code": "COMMIT_UNKNOWN"}]
        await pair.caught_up()
        answer = await ask.client.post("/graphql", json={"query": item_by(sku)}, headers={TOKEN: written.headers[TOKEN]})
        assert answer.json() == {"data": {"item": {"sku": sku}}}
        assert seen == ["answered"]


def scope(**headers: str) -> Scope:
    return {"type": "http", "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]}


def test_who_brings_two_is_answered_by_the_primary() -> None:
    """Of two transactions a standby may show either alone."""
    settings = Settings(read_after_cookie=True)
    one, two = read_after("1.1"), read_after("2.2")
    assert brought(settings, scope(), {}) is None
    assert brought(settings, scope(**{TOKEN: "1.1"}), {"readAfter": "1.1"}) == one
    assert brought(settings, scope(**{TOKEN: "1.1"}), {"readAfter": "2.2"}) == BY_PRIMARY
    assert brought(settings, scope(cookie=f"{COOKIE}=2.2"), {"readAfter": None}) == two
    assert brought(settings, scope(**{TOKEN: "1.1, 2.2"}), {}) == BY_PRIMARY
    assert brought(Settings(), scope(cookie=f"{COOKIE}=2.2"), {}) is None, "only where it is set so"


@pytest.mark.parametrize(
    "text", [f"{COOKIE}=\x00", f"{COOKIE}", f"{COOKIE}=", f'{COOKIE}="', f"a b={COOKIE}; {COOKIE}=é", f"x{COOKIE}=1"]
)
def test_a_cookie_that_cannot_be_read_refuses_nothing(text: str) -> None:
    assert brought(Settings(read_after_cookie=True), scope(cookie=text), {}) in {None, BY_PRIMARY}


def test_shops_of_one_host_have_a_cookie_each() -> None:
    settings, wrote = Settings(read_after_cookie=True), ReadAfter(1, 0)
    kept = scope(cookie=f"{COOKIE}=2.2; {COOKIE}-acme=1.1; {COOKIE}-acme-2=3.3")
    assert [str(brought(settings, kept, {}, shop)) for shop in (None, "acme", "acme-2", "bolt")] == ["2.2", "1.1", "3.3", "None"]
    assert dict(told(settings, scope(), wrote, "acme"))[b"set-cookie"].startswith(f"{COOKIE}-acme=1.0; ".encode())


def test_a_cookie_goes_where_the_page_is_served() -> None:
    wrote = ReadAfter(1, 0)
    made = dict(told(Settings(read_after_cookie=True), {"root_path": "/shop", "scheme": "https"}, wrote))
    assert made[b"set-cookie"] == f"{COOKIE}=1.0; Path=/shop/graphql; Max-Age=3600; HttpOnly; SameSite=Lax; Secure".encode()
    assert b"set-cookie" not in dict(told(Settings(), {}, wrote))
