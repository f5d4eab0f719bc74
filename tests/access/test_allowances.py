"""What each may spend: by identity or address, over HTTP, sockets and streams, and for how long it is waited."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest

from graph.access import allowances
from graph.access.allowances import Allowances, who_is_at
from graph.operations.request_errors import RequestRefused
from tests.conftest import Ask, Statements
from tests.later import Clock
from tests.sockets import listening, until
from tests.subscribers import event_stream, socket
from tests.tokens import AUTH, bearer, speaking_as

SHOP = "varied"
AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

QUERY = "{ items(first: 20) { nodes { name } } }"
CREATE = 'mutation { createItem(input: {sku: "NEW", name: "New", price: "1"}) { item { sku } } }'
FOLLOW = "subscription { changes { cursor } }"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(allowances, "monotonic", clock)
    return clock


def wait_of(made: Allowances, who: str, cost: int) -> int:
    """How long somebody is told to wait; 0 where he may spend."""
    refusal = None
    try:
        made.spend(who, cost)
    except RequestRefused as error:
        refusal = error
    if refusal is None:
        return 0
    extensions = refusal.errors[0].extensions or {}
    assert (refusal.status, extensions["code"], extensions["limit"]) == (429, "THROTTLED", made.per_second)
    assert refusal.headers == ((b"retry-after", b"%d" % extensions["retryAfter"]),)
    found: int = extensions["retryAfter"]
    return found


def test_who_has_spent_all_waits_for_as_long_as_he_is_told(clock: Clock) -> None:
    made = Allowances(10)
    assert wait_of(made, "ada", 12_000) == 0  # more than there is: nothing that fits the limits is refused for ever
    wait = wait_of(made, "ada", 1)
    assert wait == (12_000 - 100) // 10 + 1
    assert wait_of(made, "bea", 1) == 0
    clock.now += wait - 1
    assert wait_of(made, "ada", 1) == 1
    clock.now += 1
    assert wait_of(made, "ada", 1) == 0
    for _ in range(1_000):
        wait_of(made, "ada", 0)  # to be refused costs nothing
    clock.now += 2
    assert wait_of(made, "ada", 1) == 0


def test_over_time_nobody_spends_more_than_comes_back(clock: Clock) -> None:
    made, spent = Allowances(10), 0
    for _ in range(1_000):
        clock.now += 0.1
        while not wait_of(made, "ada", 7):
            spent += 7
    assert 100 * 10 <= spent <= 100 * 10 + 10 * 10 + 7
    clock.now += 10_000
    assert sum(wait_of(made, "ada", 7) == 0 for _ in range(100)) == 15, "what is not spent is kept for ten seconds"


def test_what_costs_nothing_costs_one(clock: Clock) -> None:
    made = Allowances(1)
    assert [wait_of(made, "ada", 0) for _ in range(11)] == [0] * 10 + [1]


def test_a_bounded_number_is_counted(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowances, "MOST", 3)
    made = Allowances(1)
    for who in ("a", "b", "c", "a", "d"):
        wait_of(made, who, 100)
    assert len(made._left) == 3
    assert wait_of(made, "a", 1) > 0, "who came last is counted"
    assert wait_of(made, "b", 1) == 0


@pytest.mark.parametrize(
    ("client", "who"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("192.0.2.1", 2), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::"),
        (("2001:db8:1:2::9", 1), "2001:db8:1:2::"),
        (("fe80::1%eth0", 1), "fe80::"),
        (("", 0), ""),
        (("testclient", 1), "testclient"),
        (None, ""),
    ],
)
def test_who_has_many_addresses_is_one(client: Any, who: str) -> None:
    assert who_is_at(client) == who


async def test_who_has_spent_all_is_told_when_to_come_back_and_nothing_runs(
    shop_with: AskWith, clock: Clock, statements: Statements
) -> None:
    async with shop_with(budget_per_second=1) as ask:
        assert (await ask.data(QUERY))["items"]["nodes"]
        assert (await ask.client.post("/graphql", json={"query": "{ nothing }"})).status_code == 422, "costs nothing"
        statements.clear()
        for query, method in ((QUERY, "POST"), (CREATE, "POST"), (QUERY, "GET"), ("{ __typename }", "POST")):
            sent: dict[str, Any] = {"json": {"query": query}} if method == "POST" else {"params": {"query": query}}
            answer = await ask.client.request(method, "/graphql", **sent)
            error = answer.json()["errors"][0]["extensions"]
            assert (answer.status_code, error["code"]) == (429, "THROTTLED")
            assert answer.headers["retry-after"] == str(error["retryAfter"])
            assert "data" not in answer.json()
        assert len(statements) == 0
        clock.now += error["retryAfter"]
        assert '"NEW"' not in str(await ask.data(QUERY))


async def test_sockets_and_streams_spend_what_their_sender_has(shop_with: AskWith, clock: Clock) -> None:
    async with shop_with(budget_per_second=1) as ask, listening(ask.app) as server:
        async with socket(server.port) as client:
            await client.init()
            await client.subscribe("1", QUERY)
            assert (await client.hears("1"))["data"]
            assert (await client.hear())["type"] == "complete"
            for query in (QUERY, CREATE, FOLLOW):
                await client.subscribe("2", query)
                refusal = await client.hear()
                assert (refusal["type"], refusal["payload"][0]["extensions"]["code"]) == ("error", "THROTTLED")
                assert refusal["payload"][0]["extensions"]["retryAfter"] >= 1
        async with event_stream(server.port, FOLLOW) as stream:
            assert (await stream.hears())["errors"][0]["extensions"]["code"] == "THROTTLED"
            assert await stream.hear() == ("", None), "it is to be asked for again"
        clock.now += 10_000
        async with event_stream(server.port, FOLLOW):
            await until(lambda: ask.app.state.hub.members == 1)
        async with httpx2.AsyncClient(verify=False) as other:  # from the same address
            answer = await other.post(f"http://127.0.0.1:{server.port}/graphql", json={"query": QUERY})
        assert answer.status_code == 429


async def test_each_identity_has_its_own_wherever_it_sends_from(shop_with: AskWith, clock: Clock) -> None:
    async with shop_with(**AUTH, budget_per_second=1) as ask:
        for who in ("ada", "bea"):
            with speaking_as(ask, sub=who):
                assert (await ask.data(QUERY))["items"]["nodes"]
                assert "THROTTLED" in str(await ask(QUERY))
        with speaking_as(ask, "write", sub="ada"):  # another token of hers
            assert "THROTTLED" in str(await ask(QUERY))
        assert (await ask.client.post("/graphql", json={"query": QUERY})).status_code == 401
        assert (await ask.client.post("/graphql", json={"query": QUERY}, headers=bearer(sub="cyd"))).status_code == 200


async def test_without_a_budget_nobody_is_counted(ask: Ask) -> None:
    assert ask.app.state.gatekeeper is None
