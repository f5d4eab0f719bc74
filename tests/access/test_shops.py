"""Credentials are good at one shop of many, whatever a header or a host says, and however well they are known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from time import time
from typing import Any

import pytest

from graph.access import api_keys, credentials
from graph.settings import Settings
from tests.conftest import Statements
from tests.many_shops import Shops, many_shops
from tests.sockets import listening, until
from tests.subscribers import event_stream, socket
from tests.tokens import AUTH, LEFT_OUT, token
from tests.unhurried import unhurried

COUNT = "{ items { totalCount } }"
FOLLOW = "subscription { changes { cursor } }"


@pytest.fixture
async def shops(shops_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shops]:
    """Two shops that a header tells apart. Nobody looks again by himself whether credentials hold: that is for tests to do."""
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 3_600)
    async with many_shops(unhurried(shops_url, shops=True, metrics=True, **AUTH), "acme", "bolt") as made:
        yield made


async def status(shops: Shops, shop: str, text: str, query: str = COUNT) -> int:
    return (await shops.post(shop, query, head={"authorization": f"Bearer {text}"})).status_code


@pytest.mark.parametrize("way", ["header", "host"])
async def test_a_token_is_good_at_the_shop_that_it_is_bound_to(shops_url: str, way: str) -> None:
    settings = unhurried(shops_url, shops=True, shop_from=way, **AUTH)
    async with many_shops(settings, "acme", "bolt") as shops:
        for _ in range(2):  # when it is not known, and when it is
            for bound in ("acme", "bolt"):
                text = token(shop=bound)
                found = {shop: await status(shops, shop, text) for shop in ("acme", "bolt")}
                assert found == {shop: 200 if shop == bound else 401 for shop in found}


async def test_a_token_that_is_bound_to_no_shop_reaches_none(shops: Shops) -> None:
    claims: list[Any] = [LEFT_OUT, None, "", "*", "ACME", "cork", 1, ["acme"], {"acme": True}, "acme bolt"]
    for claim, shop in product(claims, ("acme", "bolt")):
        answer = await shops.post(shop, COUNT, head={"authorization": f"Bearer {token('admin', shop=claim)}"})
        assert (answer.status_code, answer.headers["www-authenticate"].encode()) == (401, credentials.INVALID), claim
        assert "data" not in answer.json(), claim


async def test_the_claim_is_passed_over_where_there_is_one_shop() -> None:
    known = credentials.Credentials(Settings(**AUTH))
    for claim in ("acme", None, 1):
        assert (await known.grant(f"Bearer {token(shop=claim)}", None)).holds()


async def test_an_api_key_is_one_shops(shops: Shops, statements: Statements) -> None:
    """Also where another shop has one of the same name; one that is known costs no statement in either."""
    acme, bolt = (shops.premises.databases.of(shop) for shop in ("acme", "bolt"))
    of_acme, of_bolt = await api_keys.create(acme, "nightly", ["read"]), await api_keys.create(bolt, "nightly", ["read"])
    for _ in range(2):
        assert [await status(shops, shop, of_acme) for shop in ("acme", "bolt")] == [200, 401]
        assert [await status(shops, shop, of_bolt) for shop in ("acme", "bolt")] == [401, 200]
    statements.clear()
    assert [await status(shops, "acme", of_acme), await status(shops, "bolt", of_bolt)] == [200, 200]
    assert not any("api_key" in sql for sql in statements.sql)
    known = shops.premises.entrance.credentials
    assert known is not None
    async with listening(shops.app) as server:
        head = {**shops.names("acme"), "authorization": f"Bearer {of_acme}"}
        async with socket(server.port, additional_headers=head) as client:
            await client.init()
            await api_keys.revoke(acme, "nightly")
            statements.clear()
            await known.look()
            assert len(statements) == 2
            assert (await client.closed())[0] == 4403
    assert [await status(shops, "acme", of_acme), await status(shops, "bolt", of_bolt)] == [401, 200]


async def test_keys_of_shops_that_nobody_asks_for_are_not_looked_up(
    shops: Shops, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme, known = shops.premises.databases.of("acme"), shops.premises.entrance.credentials
    assert known is not None
    made = await api_keys.create(acme, "nightly", ["read"])
    assert await status(shops, "acme", made) == 200
    for _ in range(2):
        shops.kept.look()
    statements.clear()
    await known.look()
    assert len(statements) == 0
    await api_keys.revoke(acme, "nightly")
    monkeypatch.setattr(credentials, "time", lambda: time() + credentials.SURE_SECONDS)
    assert await status(shops, "acme", made) == 401


async def test_what_was_granted_in_a_shop_ends_when_it_is_left(shops: Shops) -> None:
    acme, known = shops.premises.databases.of("acme"), shops.premises.entrance.credentials
    assert known is not None
    made = await api_keys.create(acme, "nightly", ["read"])
    front = await shops.kept.named("acme")
    assert front.gatekeeper is not None
    grant = (await front.gatekeeper.admit(f"Bearer {made}", None)).grant
    assert grant is not None
    assert grant.holds()
    await shops.deployment.archive("acme")
    await shops.told()
    await until(lambda: not grant.holds())
    assert not len(known._known)
    await shops.deployment.restore("acme")
    assert await status(shops, "acme", made) == 200


async def test_an_api_key_names_no_shop(shops_url: str) -> None:
    settings = unhurried(shops_url, shops=True, shop_from="claim", **AUTH)
    async with many_shops(settings, "acme") as shops:
        made = await api_keys.create(shops.premises.databases.of("acme"), "nightly", ["admin"])
        answer = await shops.client.post("/graphql", json={"query": COUNT}, headers={"authorization": f"Bearer {made}"})
        assert (answer.status_code, answer.headers["www-authenticate"].encode()) == (401, credentials.INVALID)
        answer = await shops.client.post("/graphql", json={"query": COUNT})
        assert (answer.status_code, answer.headers["www-authenticate"].encode()) == (401, credentials.MISSING)


async def test_metrics_are_for_who_is_no_shops(shops: Shops) -> None:
    made = await api_keys.create(shops.premises.databases.of("acme"), "nightly", ["admin"])
    for text, expected in ((token("admin"), 200), (token("read"), 403), (token("admin", shop="acme"), 401), (made, 401)):
        answer = await shops.client.get("/metrics", headers={"authorization": f"Bearer {text}"})
        assert answer.status_code == expected


async def test_what_somebody_spends_at_one_shop_he_has_at_another(shops_url: str) -> None:
    """Whoever is known by his address alone has one allowance for all."""
    dear = "{ items(first: 100) { nodes { id } } }"
    for is_asked, expected in ((True, [200, 429, 200, 429]), (False, [200, 429, 429, 429])):
        asked: dict[str, Any] = AUTH if is_asked else {}
        settings = unhurried(shops_url, shops=True, budget_per_second=1, **asked)
        async with many_shops(settings, *(("acme", "bolt") if is_asked else ())) as shops:
            found = []
            for shop in ("acme", "acme", "bolt", "bolt"):
                head = {"authorization": f"Bearer {token(shop=shop)}"} if is_asked else {}
                found.append((await shops.post(shop, dear, head=head)).status_code)
            assert found == expected


async def test_a_stream_ends_with_the_token_that_opened_it(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    known = shops.premises.entrance.credentials
    assert known is not None
    head = {**shops.names("acme"), "authorization": f"Bearer {token(shop='acme')}"}
    async with listening(shops.app) as server, event_stream(server.port, FOLLOW, head=head) as stream:
        front = await shops.kept.named("acme")
        await until(lambda: front.subscriptions.hub.members == 1)
        monkeypatch.setattr(credentials, "time", lambda: time() + 100_000)
        await known.look()
        assert (await stream.hears())["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    await asyncio.sleep(0)
