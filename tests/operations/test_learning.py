"""New operations beside known ones: no request holds the loop up, and a flood of new documents does not starve what is known."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from graphql import get_introspection_query
from httpx2 import Response

from graph.operations.engine import Engine
from graph.operations.learning import Learner
from tests.conftest import Ask, asking
from tests.engines import Sqlite
from tests.sockets import until
from tests.unhurried import unhurried

NUMBERS = count()
KNOWN = "{ items { totalCount } }"
ANSWER = {"data": {"items": {"totalCount": 0}}}


@pytest.fixture
async def ask(sqlite_engines: Sqlite) -> AsyncIterator[Ask]:
    """An app that knows nothing yet. What is learned is the same on both databases."""
    url = sqlite_engines.new("empty")
    async with asking(unhurried(url, max_plans=500 + next(NUMBERS))) as asker:  # alike settings share what they know
        yield asker
    sqlite_engines.drop(url)


async def post(ask: Ask, body: bytes) -> Response:
    return await ask.client.post("/graphql", content=body, headers={"content-type": "application/json"})


def code(answer: Response) -> tuple[int, str]:
    [error] = answer.json()["errors"]
    return answer.status_code, error["extensions"]["code"]


class Blocked:
    """The learner, stopped at its next piece of work until it is let go."""

    def __init__(self, engine: Engine) -> None:
        self.begun, self.go = asyncio.Event(), threading.Event()
        self.engine = engine

    async def __aenter__(self) -> Blocked:
        loop = asyncio.get_running_loop()

        def wait() -> None:
            loop.call_soon_threadsafe(self.begun.set)
            assert self.go.wait(30)

        self.task = asyncio.create_task(self.engine.learner.learn("blocked", wait, lambda _: None))
        await self.begun.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go.set()
        await self.task


async def test_known_operations_do_not_wait_for_new_ones(ask: Ask) -> None:
    """Fault 10: the learner stands still, and what is known is answered all the same, what is new when it goes on."""
    mutation = 'mutation { createItem(input: {sku: "%s", name: "A", price: "1"}) { errors { code } } }'
    introspection = "{ __schema { queryType { name } } }"
    for known in (KNOWN, mutation % "A", introspection):
        await ask.data(known)
    async with Blocked(ask.app.state.engine):
        new = [asyncio.create_task(ask(query)) for query in ("{ items { totalCount __typename } }", "{ nothing }")]
        assert (await ask(mutation % "A"))["data"]["createItem"]["errors"] == [{"code": "UNIQUE"}]
        assert (await ask(introspection))["data"] == {"__schema": {"queryType": {"name": "Query"}}}
        assert (await ask(KNOWN))["data"]["items"]["totalCount"] == 1
        assert not any(task.done() for task in new)
    first, second = await asyncio.gather(*new)
    assert first["data"]["items"]["totalCount"] == 1
    assert second["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_the_same_new_operation_is_learned_once_for_all_who_ask(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ask.app.state.engine
    learn, waiting = engine.learner.learn, list[Any]()

    def noted(key: Any, *rest: Any) -> Any:
        waiting.append(key)
        return learn(key, *rest)

    async with Blocked(engine):
        monkeypatch.setattr(engine.learner, "learn", noted)
        asked = [asyncio.create_task(ask(KNOWN)) for _ in range(20)]
        bad = [asyncio.create_task(ask("{ nothing }")) for _ in range(5)]
        gone = asyncio.create_task(ask(KNOWN))
        await until(lambda: len(waiting) == 26)
        gone.cancel()
    assert await asyncio.gather(*asked) == [ANSWER] * 20
    refusals = await asyncio.gather(*bad)
    assert {refusal["errors"][0]["extensions"]["code"] for refusal in refusals} == {"GRAPHQL_VALIDATION_FAILED"}
    assert len({refusal["errors"][0]["extensions"]["requestId"] for refusal in refusals}) == 5
    assert (engine.counters.parsed, engine.counters.planned) == (2, 1)


async def test_who_would_wait_too_long_to_be_learned_is_refused_at_once(ask: Ask) -> None:
    await ask.data(KNOWN)
    learner: Learner = ask.app.state.engine.learner
    async with Blocked(ask.app.state.engine):
        learner._each_seconds = 0.3 * learner.patience_seconds
        waiting = [asyncio.create_task(post(ask, json.dumps({"query": f"{{ a{n}: __typename }}"}).encode())) for n in range(9)]
        refused = [await task for task in waiting[3:]]  # the first three fill the time that one may wait
        assert [code(answer) for answer in refused] == [(503, "SERVICE_UNAVAILABLE")] * 6
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        assert await ask(KNOWN) == ANSWER
    assert [(await task).status_code for task in waiting[:3]] == [200] * 3
    assert learner._waiting == 0


async def test_a_request_that_is_given_up_leaves_nothing_to_be_waited_for(ask: Ask) -> None:
    learner: Learner = ask.app.state.engine.learner
    async with Blocked(ask.app.state.engine):
        gone = asyncio.create_task(ask("{ nothing }"))
        await asyncio.sleep(0.05)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    await ask.data(KNOWN)
    assert learner._waiting == 0
    assert learner._making == {}


# ---- introspection


async def test_the_whole_schema_is_answered_once_and_then_known(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Engine = ask.app.state.engine
    query = "query ($old: Boolean!) { __schema { types { name fields(includeDeprecated: $old) { name } } } items { totalCount } }"
    full = get_introspection_query()
    first = [await ask.data(query, {"old": True}), await ask.data(query, {"old": False}), await ask.data(full)]
    monkeypatch.setattr(engine.introspection, "_executed", None)
    again = [await ask.data(query, {"old": True}), await ask.data(query, {"old": False}), await ask.data(full)]
    assert again == first


@pytest.mark.parametrize("way", ["aliases", "fragments", "nested"])
async def test_an_operation_asks_for_the_schema_no_more_often_than_tools_do(ask: Ask, way: str) -> None:
    def document(times: int) -> str:
        fields = [f"a{n}: __schema {{ queryType {{ name }} }}" for n in range(times)]
        if way == "aliases":
            return f"{{ {' '.join(fields)} }}"
        fragments = " ".join(f"fragment f{n} on Query {{ {field} }}" for n, field in enumerate(fields))
        spreads = " ".join(f"...f{n}" for n in range(times))
        return (
            f"{{ {spreads} }} {fragments}" if way == "fragments" else f"{{ ... on Query {{ ... {{ {spreads} }} }} }} {fragments}"
        )

    assert len(await ask.data(document(2))) == 2
    answer = await ask(document(3))
    assert answer["errors"][0]["extensions"]["code"] == "OPERATION_TOO_LARGE"


# ---- sizes


async def test_a_document_has_a_limit_whatever_fills_it(ask: Ask) -> None:
    limit = 2**20
    engine = ask.app.state.engine
    for fill in (
        "#" + "x" * limit,
        '{ customer(by: {email: """' + "x" * limit + '"""}) { id } }',
        " " * limit,
        "{" + "a" * limit,
    ):
        parsed = engine.counters.parsed
        assert code(await post(ask, json.dumps({"query": f"{fill}\n{KNOWN}"}).encode())) == (413, "BODY_TOO_LARGE")
        assert engine.counters.parsed == parsed
    assert await ask(KNOWN.ljust(limit - 100)) == ANSWER


INSERT = "mutation ($rows: [ItemRow!]!) { a: insertItems(input: {rows: $rows}) { errors { code } } %s }"


async def test_only_inserts_of_plain_rows_may_be_large(ask: Ask) -> None:
    rows = [{"sku": f"S{n}", "name": "x" * 9_000, "price": "1"} for n in range(150)]
    type_name = next(
        str(field.type.of_type.of_type.of_type)
        for name, field in ask.app.state.engine.schema.type_map["InsertItemsInput"].fields.items()
        if name == "rows"
    )
    insert = INSERT.replace("ItemRow", type_name)
    for more in ('item: createItem(input: {sku: "B", name: "B", price: "1"}) { errors { code } }', "...f", "b: __typename"):
        body = {
            "query": insert % more + (" fragment f on Mutation { __typename }" if more == "...f" else ""),
            "variables": {"rows": rows},
        }
        assert code(await post(ask, json.dumps(body).encode())) == (413, "BODY_TOO_LARGE")
    padded = json.dumps({"query": KNOWN}).encode()
    assert code(await post(ask, padded.ljust(2**20 + 1))) == (413, "BODY_TOO_LARGE")
    assert (await post(ask, padded.ljust(2**20))).json() == ANSWER
    assert (await ask.data(insert % "", {"rows": rows}))["a"]["errors"] == []
    assert (await ask.data(KNOWN))["items"]["totalCount"] == 150


async def test_json_may_not_hold_more_values_than_any_request_needs(ask: Ask) -> None:
    def body(value: str) -> bytes:
        return f'{{"query": "{KNOWN}", "variables": {{"v": {value}}}}}'.encode()

    for many in ("1.5", "[]", "{}", '""', '{"a":1}', '"\\\\"'):
        assert code(await post(ask, body(f"[{','.join([many] * 100_001)}]"))) == (413, "BODY_TOO_LARGE")
    for marks in (",[{" * 100_000, ',\\"[' * 100_000, "\\\\,\\u0022{" * 60_000):  # within a text they are none
        assert (await post(ask, body(f'"{marks}"'))).json() == ANSWER
    assert (await post(ask, body(f"[{','.join(['1'] * 90_000)}]"))).json() == ANSWER
