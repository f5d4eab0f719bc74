"""Who asks over WebSockets and event streams, and that he may only as long as his credentials hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from time import time
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from graph.access.credentials import NEEDED, OVER, Credentials
from graph.context import Context
from graph.settings import Settings
from tests.conftest import Ask, asking
from tests.sockets import Listening, listening, until
from tests.subscribers import Socket, event_stream, socket
from tests.tokens import AUTH, bearer, credentials_of, speaking_as, token
from tests.unhurried import unhurried

FOLLOW = "subscription { changes { cursor } }"
CREATE = 'mutation { createItem(input: {sku: "NEW", name: "New", price: "1"}) { item { sku } } }'


class Clock:
    """The time by which grants are held; tests move it on."""

    ahead = 0.0

    def __call__(self) -> float:
        return time() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("graph.access.credentials.time", clock)
    return clock


@pytest.fixture
async def ask(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ask]:
    monkeypatch.setattr("graph.access.credentials.LOOK_SECONDS", 0.05)
    async with asking(unhurried(empty_url, init_timeout_seconds=60, jwt_leeway_seconds=0.001, **AUTH)) as asker:
        yield asker


@pytest.fixture
async def server(ask: Ask) -> AsyncIterator[Listening]:
    async with listening(ask.app) as server:
        yield server
        await until(lambda: ask.app.state.streams.open == 0)


@pytest.fixture
def viewers(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Who asks, as each context has it."""
    seen: list[str | None] = []
    made = Context.__post_init__

    def noted(self: Context) -> None:
        seen.append(self.viewer.identity if self.viewer else None)
        made(self)

    monkeypatch.setattr(Context, "__post_init__", noted)
    return seen


def payload(**claims: Any) -> dict[str, Any]:
    return {"payload": {"Authorization": f"Bearer {token(**claims)}"}}


async def answers(client: Socket) -> bool:
    await client.subscribe("1", "{ __typename }")
    answer = await client.hears("1")
    return bool(answer == {"data": {"__typename": "Query"}} and (await client.hear())["type"] == "complete")


async def test_a_socket_is_whose_its_credentials_are(server: Listening, viewers: list[str | None]) -> None:
    """By the first message, or by the head of the handshake, over which the first message wins."""
    async with socket(server.port) as client:
        assert await answers(await client.init(**payload(sub="bea")))
    async with socket(server.port) as client:
        assert await answers(await client.init(payload={"authorization": bearer(sub="cyd")["authorization"], "other": 1}))
    async with socket(server.port, additional_headers=bearer(sub="dan")) as client:
        assert await answers(await client.init())
    async with socket(server.port, additional_headers=bearer(sub="dan")) as client:
        assert await answers(await client.init(**payload(sub="eve")))
    assert viewers == ["bea", "cyd", "dan", "eve"]


BAD: list[dict[str, Any]] = [
    {},
    {"payload": None},
    {"payload": {}},
    {"payload": {"token": token()}},
    {"payload": {"Authorization": token()}},
    {"payload": {"Authorization": None}},
    {"payload": {"Authorization": [f"Bearer {token()}"]}},
    {"payload": {"Authorization": {"Bearer": token()}}},
    {"payload": {"Authorization": "Bearer \ud800.x.x"}},
    {"payload": {"Authorization": f"Bearer {token()}", "authorization": "Bearer x"}},
    payload(key="x" * 32),
    payload(customer=None),
]


async def test_a_socket_of_nobody_is_closed(server: Listening, viewers: list[str | None]) -> None:
    for message in BAD:
        async with socket(server.port) as client:
            await client.send(json.dumps({"type": "connection_init", **message}))
            assert await client.closed() == (4403, NEEDED), message
    async with socket(server.port) as client:
        await client.init(**payload())
        await client.say("connection_init", **payload())
        assert (await client.closed())[0] == 4429
    async with socket(server.port) as client:
        await client.say("connection_init", **payload(exp=int(time()) - 10))
        assert await client.closed() == (4403, OVER)
    for head in ({"authorization": "Bearer x"}, {"authorization": "Basic x"}):
        with pytest.raises(InvalidStatus) as refusal:
            async with socket(server.port, additional_headers=head):
                pass
        assert refusal.value.response.status_code == 401
        assert refusal.value.response.headers["www-authenticate"].startswith("Bearer")
    assert viewers == []


async def test_a_socket_is_closed_when_its_credentials_are_over(server: Listening, ask: Ask, clock: Clock) -> None:
    """Whatever it listens to; what others may goes on."""
    async with socket(server.port) as client, socket(server.port) as other:
        await other.init(**payload(sub="bea", exp=int(time()) + 200_000))
        await client.init(**payload())
        await client.subscribe("1", FOLLOW)
        await until(lambda: ask.app.state.hub.members == 1)
        clock.ahead = 100_000
        assert await client.closed() == (4403, OVER)
        assert await answers(other)
        await until(lambda: ask.app.state.hub.members == 0)


async def test_an_operation_is_refused_from_the_moment_on_at_which_its_credentials_are_over(
    server: Listening, viewers: list[str | None], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Credentials, "look", nothing)
    async with socket(server.port) as client:
        await client.init(**payload())
        clock.ahead = 100_000
        await client.subscribe("1", CREATE)
        assert await client.closed() == (4403, OVER)
    assert viewers == []


async def nothing(_: Credentials) -> None:
    """Nobody looks."""


async def test_an_event_stream_is_whose_its_credentials_are_and_ends_with_them(
    server: Listening, ask: Ask, viewers: list[str | None], clock: Clock
) -> None:
    async with event_stream(server.port, FOLLOW, head=bearer(sub="bea")) as stream:
        await until(lambda: ask.app.state.hub.members == 1)
        assert viewers[0] == "bea"
        with speaking_as(ask, "write"):
            assert (await ask.data(CREATE))["createItem"]["item"] == {"sku": "NEW"}
        assert (await stream.hears())["data"]["changes"]["cursor"]
        clock.ahead = 100_000
        event, told = await stream.hear()
        assert (event, told["errors"][0]["extensions"]["code"], told["errors"][0]["message"]) == ("next", "UNAUTHENTICATED", OVER)
        assert await stream.hear() == ("complete", None)
        assert await stream.hear() == ("", None)


async def test_who_looks_goes_on_whatever_goes_wrong(
    server: Listening, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look, failures = Credentials.look, iter((RuntimeError("a bug"),))

    async def failing(self: Credentials) -> None:
        for failure in failures:
            raise failure
        await look(self)

    monkeypatch.setattr(Credentials, "look", failing)
    async with socket(server.port) as client:
        await client.init(**payload())
        clock.ahead = 100_000
        assert await client.closed() == (4403, OVER)
    assert [record.levelname for record in caplog.records if record.name == "ordergraph.access"] == ["ERROR"]


async def test_an_event_stream_of_nobody_does_not_begin(server: Listening, ask: Ask) -> None:
    answer = await ask.client.post("/graphql", json={"query": FOLLOW}, headers={"accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (401, "application/graphql-response+json")
    assert ask.app.state.streams.open == 0


async def test_who_watches_credentials_that_are_over_is_told_at_once() -> None:
    credentials = credentials_of(Settings(**AUTH))
    grant = await credentials.grant(bearer()["authorization"], None)
    told: list[str] = []
    with grant.watched(lambda: told.append("first")):
        pass
    grant.end()
    with grant.watched(lambda: told.append("late")):
        grant.end()
    assert told == ["late"]
    await asyncio.sleep(0)
