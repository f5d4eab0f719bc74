"""API keys over GraphQL: whose they are, what they cost, and that they end when they are taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from time import time
from typing import Any

import pytest
import sqlalchemy as sa

from graph.access import api_keys, credentials
from graph.access.api_keys import API_KEYS, KeyRefused
from graph.access.claims import BadCredentials
from graph.access.credentials import EXPIRED, INVALID, NEEDED
from graph.base import utc_now
from graph.database import Database
from graph.database.failures import Unavailable
from graph.scope import Viewer
from tests.conftest import Ask, Statements, asking
from tests.sockets import listening, until
from tests.subscribers import event_stream, socket
from tests.tokens import token
from tests.unhurried import unhurried

SHOP = "varied"
COUNT = "{ items { totalCount } }"


@pytest.fixture
async def ask(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ask]:
    """Nobody looks again by himself: that is for tests to do, and takes its time."""
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 3_600)
    monkeypatch.setattr(credentials, "ANSWER_SECONDS", 60)
    async with asking(unhurried(empty_url, auth=True)) as asker:
        yield asker


async def post(ask: Ask, text: str, query: str = COUNT) -> Any:
    return await ask.client.post("/graphql", json={"query": query}, headers={"authorization": f"Bearer {text}"})


def gate(ask: Ask) -> credentials.Credentials:
    found: credentials.Credentials = ask.app.state.gatekeeper.credentials
    return found


async def granted(ask: Ask, text: str) -> credentials.Grant:
    return await gate(ask).grant(f"Bearer {text}", ask.app.state.gatekeeper.api_keys)


async def viewer_of(ask: Ask, text: str) -> Viewer:
    return (await granted(ask, text)).viewer


async def change(database: Database, name: str, **values: Any) -> None:
    """Change what is stored of a key, as time or somebody else would."""
    async with database.engine.begin() as connection:
        await connection.execute(sa.update(API_KEYS).where(API_KEYS.c.name == name).values(values))


async def test_a_key_names_its_viewer(shop: Ask) -> None:
    end = utc_now().replace(microsecond=0) + timedelta(days=1)
    made = {
        "reader": await api_keys.create(shop.database, "reader", ["read"]),
        "Ädmin of all": await api_keys.create(shop.database, "Ädmin of all", ["admin", "read"], None, end),
        "shop-1": await api_keys.create(shop.database, "shop-1", ["write"], "Customer:1"),
    }
    assert await viewer_of(shop, made["reader"]) == Viewer("key:reader", "reader", frozenset({"read"}))
    assert await viewer_of(shop, made["Ädmin of all"]) == Viewer(
        "key:Ädmin of all", "Ädmin of all", frozenset({"read", "write", "admin"}), None, end.timestamp()
    )
    assert await viewer_of(shop, made["shop-1"]) == Viewer("key:shop-1", "shop-1", frozenset({"read", "write"}), 1)
    assert (await post(shop, made["reader"])).status_code == 200
    async with shop.database.engine.connect() as connection:
        stored = str((await connection.execute(sa.select(API_KEYS))).all())
    assert not any(text.rpartition("_")[2] in stored for text in made.values())
    listed = {
        key.name: (key.prefix, key.scopes, key.customer, key.state, key.expires_at) for key in await api_keys.every(shop.database)
    }
    assert listed == {
        "reader": (made["reader"][4:16], "read", "", "good", None),
        "Ädmin of all": (made["Ädmin of all"][4:16], "admin read", "", "good", end),
        "shop-1": (made["shop-1"][4:16], "write", "Customer:1", "good", None),
    }


async def test_a_key_that_is_none_is_refused(shop: Ask, statements: Statements) -> None:
    good = await api_keys.create(shop.database, "reader", ["read"])
    other = await api_keys.create(shop.database, "other", ["admin"])
    _, prefix, secret = good.split("_")
    bad = [
        f"ogk_{prefix}_{other[-64:]}",
        f"ogk_{other[4:16]}_{secret}",
        f"ogk_{'0' * 12}_{secret}",
        f"ogk_{prefix}_{secret[:-1]}{'0' if secret[-1] != '0' else '1'}",
    ]
    no_form = [
        good.upper(),
        good[:-1],
        f"{good}0",
        f"x{good}",
        f"{prefix}_{secret}",
        secret,
        f"ogk_{prefix}_",
        api_keys.digest_of(good),
        token(),
        "' OR 1=1 --",
    ]
    for text in [*bad, *no_form]:
        statements.clear()
        answer = await post(shop, text)
        assert (answer.status_code, answer.headers["www-authenticate"].encode()) == (401, INVALID), text
        assert answer.json()["errors"][0]["message"] == NEEDED
        assert len(statements) == (text in bad), "texts that are no key ask nothing of the database, and others one thing"
    assert (await post(shop, good)).status_code == 200


async def test_a_key_that_is_over_is_told_apart_and_only_to_who_has_it(shop: Ask) -> None:
    made = await api_keys.create(shop.database, "short", ["read"], None, utc_now() + timedelta(days=1))
    await change(shop.database, "short", expires_at=utc_now() - timedelta(seconds=1))
    answer = await post(shop, made)
    assert (answer.status_code, answer.headers["www-authenticate"].encode()) == (401, EXPIRED)
    assert (await post(shop, f"{made[:-64]}{'0' * 64}")).headers["www-authenticate"].encode() == INVALID
    assert [key.state for key in await api_keys.every(shop.database)] == ["expired"]


async def test_a_key_ends_when_its_time_comes_however_well_it_is_known(shop: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "SURE_SECONDS", 86_400)
    made = await api_keys.create(shop.database, "short", ["read"], None, utc_now() + timedelta(hours=1))
    grant = await granted(shop, made)
    assert grant.holds()
    assert grant.until == grant.viewer.expires
    monkeypatch.setattr(credentials, "time", lambda: time() + 3_600)
    monkeypatch.setattr("graph.access.key_lookup.time", lambda: time() + 3_600)
    assert (await post(shop, made)).headers["www-authenticate"].encode() == EXPIRED


async def test_a_key_that_is_stored_as_nothing_known_is_none_and_harms_no_other(shop: Ask) -> None:
    made = {name: await api_keys.create(shop.database, name, ["read"]) for name in ("good", "odd")}
    await change(shop.database, "odd", scopes="read everything")  # as a later version might
    good, odd = await asyncio.gather(*(post(shop, text) for text in made.values()))
    assert (good.status_code, odd.status_code) == (200, 401)


async def test_known_keys_cost_no_statement_and_all_are_looked_at_by_one(
    shop: Ask, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "SURE_SECONDS", 3_600)
    made = [await api_keys.create(shop.database, f"key {number}", ["read"]) for number in range(4)]
    for text in made:
        await post(shop, text)
    statements.clear()
    for text in made * 2:
        assert (await post(shop, text)).status_code == 200
    assert not any("api_key" in sql for sql in statements.sql)
    statements.clear()
    await gate(shop).look()
    assert len(statements) == 1


async def test_many_new_keys_are_looked_up_one_statement_at_a_time(
    shop: Ask, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [await api_keys.create(shop.database, f"key {number}", ["read"]) for number in range(9)]
    statements.clear()
    found = await asyncio.gather(*(granted(shop, text) for text in made))
    assert [grant.viewer.name for grant in found] == [f"key {number}" for number in range(9)]
    assert len(statements) == 1
    reached, gate_, fetch, running = asyncio.Event(), asyncio.Event(), shop.database.fetch, 0

    async def held(*arguments: Any) -> Any:
        nonlocal running
        running += 1
        assert running == 1
        reached.set()
        await gate_.wait()
        running -= 1
        return await fetch(*arguments)

    monkeypatch.setattr(shop.database, "fetch", held)
    lookup = shop.app.state.gatekeeper.api_keys
    first = asyncio.create_task(lookup.find(made[0]))
    await reached.wait()
    others = [asyncio.create_task(lookup.find(text)) for text in [*made[1:], f"ogk_{'0' * 76}", f"ogk_{'0' * 12}_{'0' * 64}"]]
    gone = asyncio.create_task(lookup.find(made[1]))
    await asyncio.sleep(0)
    gone.cancel()
    statements.clear()
    gate_.set()
    assert (await first)[0].name == "key 0"
    *good, no_form, nobodys = await asyncio.gather(*others, return_exceptions=True)
    assert [each[0].name for each in good if isinstance(each, tuple)] == [f"key {number}" for number in range(1, 9)]
    assert isinstance(no_form, BadCredentials)
    assert isinstance(nobodys, BadCredentials)
    assert len(statements) == 2


async def test_a_key_that_is_taken_back_is_refused_when_it_is_next_looked_at(shop: Ask) -> None:
    """Sockets are closed and streams end; keys of others go on."""
    made = {name: await api_keys.create(shop.database, name, ["read"]) for name in ("a", "b")}
    follow = "subscription { changes { cursor } }"
    async with listening(shop.app) as server, socket(server.port) as client, socket(server.port) as other:
        await client.init(payload={"Authorization": f"Bearer {made['a']}"})
        await other.init(payload={"Authorization": f"Bearer {made['b']}"})
        async with event_stream(server.port, follow, head={"authorization": f"Bearer {made['a']}"}) as stream:
            await until(lambda: shop.app.state.hub.members == 1)
            assert await api_keys.revoke(shop.database, "a") == "a"
            await gate(shop).look()
            assert await client.closed() == (4403, NEEDED)
            assert (await stream.hears())["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
            assert await stream.hear() == ("complete", None)
        assert (await post(shop, made["a"])).headers["www-authenticate"].encode() == INVALID
        await other.subscribe("1", "{ __typename }")
        assert await other.hears("1") == {"data": {"__typename": "Query"}}
        assert (await post(shop, made["b"])).status_code == 200


async def test_a_key_that_was_taken_back_counts_no_longer_than_it_is_sure(shop: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody has looked, as where the database does not answer whoever does."""
    made = await api_keys.create(shop.database, "a", ["read"])
    assert (await post(shop, made)).status_code == 200
    await api_keys.revoke(shop.database, "a")
    assert credentials.SURE_SECONDS <= 5
    monkeypatch.setattr(credentials, "time", lambda: time() + credentials.SURE_SECONDS)
    assert (await post(shop, made)).status_code == 401


async def test_without_the_database_no_key_is_good_for_long(shop: Ask, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    made = await api_keys.create(shop.database, "a", ["read"])
    async with listening(shop.app) as server, socket(server.port) as client:
        await client.init(payload={"Authorization": f"Bearer {made}"})
        fetch = shop.database.fetch

        async def silent(*_: Any) -> Any:
            raise Unavailable("nobody answers")

        monkeypatch.setattr(shop.database, "fetch", silent)
        for _ in range(3):
            await gate(shop).look()
        assert (await post(shop, made, "{ __typename }")).status_code != 401
        monkeypatch.setattr(credentials, "time", lambda: time() + 6)
        answer = await post(shop, made)
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        await gate(shop).look()
        assert await client.closed() == (1013, "Try again later")
        async with socket(server.port) as another:
            await another.say("connection_init", payload={"Authorization": f"Bearer {made}"})
            assert await another.closed() == (1013, "Try again later")
        monkeypatch.setattr(shop.database, "fetch", fetch)
        assert (await post(shop, made)).status_code == 200
    looked = [record for record in caplog.records if record.name == "ordergraph.access"]
    assert [record.levelname for record in looked] == ["WARNING"]


async def test_what_is_asked_of_keys_and_cannot_be_done_changes_nothing(shop: Ask) -> None:
    await api_keys.create(shop.database, "taken", ["read"])
    await api_keys.create(shop.database, "gone", ["read"])
    await api_keys.revoke(shop.database, "gone")
    before = await api_keys.every(shop.database)
    refused: list[tuple[str, Any]] = [
        ("taken already", api_keys.create(shop.database, "taken", ["admin"])),
        ("was once", api_keys.create(shop.database, "gone", ["admin"])),
        ("1 to 100", api_keys.create(shop.database, "", ["read"])),
        ("1 to 100", api_keys.create(shop.database, "x" * 101, ["read"])),
        ("can be seen", api_keys.create(shop.database, "a\nb", ["read"])),
        ("no blanks", api_keys.create(shop.database, " a", ["read"])),
        ("Customer:42", api_keys.create(shop.database, "a", ["read"], "Order:1")),
        ("there is no Customer:999", api_keys.create(shop.database, "a", ["read"], "Customer:999")),
        ("expired already", api_keys.create(shop.database, "a", ["read"], None, utc_now())),
        ("no key is called 'a'", api_keys.revoke(shop.database, "a")),
        ("revoked already", api_keys.revoke(shop.database, "gone")),
    ]
    for message, work in refused:
        with pytest.raises(KeyRefused) as refusal:
            await work
        assert message.split()[-1] in str(refusal.value)
    assert await api_keys.every(shop.database) == before
    one = await api_keys.create(shop.database, "one", ["read"])
    await api_keys.create(shop.database, one[4:16], ["read"])  # named as another's prefix
    with pytest.raises(KeyRefused, match="several"):
        await api_keys.revoke(shop.database, one[4:16])
