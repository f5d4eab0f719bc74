"""What is told of operations, statements, turns and tries; that nothing is made for nobody; the lines that are logged of it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Any

import pytest

from graph import observations
from graph.database.failures import Unavailable
from graph.database.turns import Turns
from graph.environment import from_environment
from graph.observations import (
    Observation,
    Operation,
    OperationBegan,
    OperationFinished,
    StatementBegan,
    StatementFinished,
    TransactionRetried,
    TurnWaited,
    listening_to,
)
from graph.serve import logs
from graph.serve.correlation import traceparent
from graph.settings import Settings, SettingsError
from tests.conftest import NOT_COUNTED, Ask
from tests.faults import passing, places
from tests.serve.test_logs import Caught, caught, record
from tests.sockets import NEVER
from tests.stock import customer

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]
__all__ = ["caught"]

SHOP = [customer("Ada", email="ada@example.org")]
CREATE = (
    'mutation Make($email: String!) { createCustomer(input: {name: "Eve", email: $email}) { customer { id } errors { code } } }'
)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

KINDS = [kind for kind in Observation.__subclasses__() if kind.__module__ == observations.__name__ and "listeners" in vars(kind)]


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    """All that is told."""
    found: list[Any] = []
    with listening_to(*((kind, found.append) for kind in KINDS)):
        yield found


def of(heard: list[Any], kind: type) -> list[Any]:
    return [each for each in heard if type(each) is kind]


async def test_an_operation_is_told_with_name_cost_statement_and_outcome(shop: Ask, heard: list[Any]) -> None:
    query = "query Find($email: String!) { customer(by: {email: $email}) { id } }"
    answer = await shop.client.post("/graphql", json={"query": query, "variables": {"email": "ada@example.org"}})
    (began,), (finished,) = of(heard, OperationBegan), of(heard, OperationFinished)
    (issued,), (answered,) = of(heard, StatementBegan), of(heard, StatementFinished)
    told = finished.operation
    assert began.operation is told
    assert (told.name, told.kind, told.cost, told.outcome, told.codes, told.status) == ("Find", "query", 1, "ok", [], 200)
    assert told.request_id == answer.headers["x-request-id"]
    assert issued.direct
    assert issued.sql == answered.sql == told.sql
    assert answered.error is None
    assert finished.seconds > answered.ended - answered.began == told.sql_seconds > 0
    assert not any("ada@example.org" in repr(each) for each in (issued, answered))
    assert observations.running() is None


async def test_statements_of_sqlalchemy_are_told_once_each(shop: Ask, heard: list[Any], statements: Any) -> None:
    await shop.data(CREATE, {"email": "eve@example.org"})
    told = [each.sql for each in of(heard, StatementBegan)]
    assert [sql for sql in told if not sql.lstrip().upper().startswith(NOT_COUNTED)] == statements.sql
    assert len(of(heard, StatementFinished)) == len(told) >= 2
    (finished,) = of(heard, OperationFinished)
    assert (finished.operation.name, finished.operation.kind) == ("Make", "mutation")
    assert finished.operation.cost is not None
    assert finished.operation.sql in told


@pytest.mark.parametrize(
    ("body", "outcome", "codes"),
    [
        ({"query": "{ nothing }"}, "refused", ["GRAPHQL_VALIDATION_FAILED"]),
        ({"query": "{"}, "refused", ["GRAPHQL_PARSE_FAILED"]),
        ([], "refused", ["BAD_REQUEST"]),
    ],
)
async def test_what_is_refused_has_its_codes_and_no_name(
    shop: Ask, heard: list[Any], body: Any, outcome: str, codes: list[str]
) -> None:
    await shop.client.post("/graphql", json=body)
    (finished,) = of(heard, OperationFinished)
    assert (finished.operation.name, finished.operation.outcome, finished.operation.codes) == ("", outcome, codes)
    assert not of(heard, StatementBegan)


async def test_a_database_that_fails_and_a_bug_have_outcomes_of_their_own(shop: Ask, heard: list[Any]) -> None:
    for error, outcome in ((Unavailable("gone"), "unavailable"), (ValueError("a bug"), "failed")):
        heard.clear()

        def fail(_: StatementBegan, error: Exception = error) -> None:
            raise error

        with observations.listening(StatementBegan, fail):
            await shop("{ customers(first: 1) { nodes { id } } }")
        assert [each.operation.outcome for each in of(heard, OperationFinished)] == [outcome]


async def test_tries_and_turns_are_told(shop: Ask, heard: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.database.transactions.JITTER_SECONDS", (0, 0))
    database = shop.app.state.database

    def fail(place: Any) -> None:
        if place.last == 3:
            raise passing(database, place)

    with places(database, fail):
        await shop.data(CREATE, {"email": "eve@example.org"})
    assert [each.attempt for each in of(heard, TransactionRetried)] == [1]

    turns = Turns(1, 0.05)
    async with turns:
        assert (turns.taken, turns.waiting) == (1, 0)
        waiting = asyncio.create_task(turns.__aenter__())
        await asyncio.sleep(0)
        assert (turns.taken, turns.waiting) == (1, 1)
        with pytest.raises(Unavailable):
            await waiting
    assert (turns.taken, turns.waiting) == (0, 0)
    assert [(each.place, each.came) for each in of(heard, TurnWaited)] == [("connection", False)]


async def test_nothing_is_made_that_nobody_hears(shop: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "{ customers(first: 1) { nodes { id } } }"
    await shop.data(query)
    kept = {kind: kind.listeners[:] for kind in KINDS}
    made: list[type] = []
    for kind in KINDS:
        kind.listeners.clear()
        monkeypatch.setattr(kind, "__init__", lambda self, *_, **__: made.append(type(self)))
    try:
        await shop.data(query)
        await shop.data(CREATE, {"email": "nobody@example.org"})
    finally:
        for kind, listeners in kept.items():
            kind.listeners[:] = listeners
    assert made == []


# ---- identifiers


@pytest.mark.parametrize("trusted", [True, False])
async def test_an_id_that_came_is_taken_from_those_who_are_trusted(ask_with: AskWith, trusted: bool) -> None:
    async with ask_with(trust_request_id=trusted) as ask:
        for given, is_id in (("abc-1.X_2", True), ("a b", False), ("x" * 65, False), ("", False), ("a\x1b[2J", False)):
            answer = await ask.client.post("/graphql", json={"query": "{"}, headers={"x-request-id": given})
            assert (answer.headers["x-request-id"] == given) is (is_id and trusted)
            assert answer.json()["errors"][0]["extensions"]["requestId"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (TRACE, TRACE),
        (TRACE.replace("00-", "01-", 1), TRACE),
        (TRACE.replace("00-", "01-", 1) + "-more", TRACE),
        (TRACE + "-more", ""),
        (TRACE.replace("00-", "ff-", 1), ""),
        (TRACE.upper(), ""),
        (TRACE + "\n", ""),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", ""),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01", ""),
        ("", ""),
        ("x" * 10_000, ""),
    ],
)
def test_a_malformed_trace_is_passed_over(given: str, taken: str) -> None:
    assert traceparent(given) == taken


async def test_a_trace_that_came_is_answered(shop: Ask) -> None:
    ask = shop.client.post
    assert (await ask("/graphql", json={"query": "{"}, headers={"traceparent": TRACE})).headers["traceresponse"] == TRACE
    assert "traceresponse" not in (await ask("/graphql", json={"query": "{"}, headers={"traceparent": "x"})).headers


# ---- logs


def ours(caught: Caught) -> list[str]:
    """What the client of the tests says is none of ours."""
    return [line for line in caught.lines if "ordergraph." in line]


def logging_with(**settings: Any) -> ExitStack:
    return logs.observing(Settings(**settings))


async def test_an_operation_is_logged_where_the_settings_say_so(shop_with: AskWith, caught: Caught) -> None:
    query, never = "query Find { customers(first: 1) { nodes { id } } }", {"slow_seconds": NEVER}
    async with shop_with(**never) as shop:
        with logging_with(**never):
            await shop.data(query)
        assert ours(caught) == []
        with logging_with(access_log=True, **never):
            for _ in range(2):
                await shop.client.post("/graphql", json={"query": query}, headers={"traceparent": TRACE})
            await shop("{ nothing }")
    assert len(ours(caught)) == 3  # each is told, though they are alike
    assert re.search(
        r" INFO ordergraph.access: query \(request [0-9a-f]{16}, operation Find, trace 4bf92f3577b34da6a3ce929d0e0e4736,"
        r" status 200, outcome ok, seconds [0-9.e-]+, cost \d+\)$",
        ours(caught)[0],
    )
    assert "codes GRAPHQL_VALIDATION_FAILED" in ours(caught)[2]


async def test_a_slow_operation_is_logged_with_its_statement_and_without_values(shop_with: AskWith, caught: Caught) -> None:
    caught.handler.setFormatter(logs.JsonLine())
    async with shop_with(slow_seconds=NEVER) as shop:
        async with shop.database.engine.connect():
            pass  # what is asked on a new connection is not the operation's
        with logging_with(slow_seconds=0.000001):
            await shop.data(CREATE, {"email": "pa55word@example.org"})
            await shop.data(CREATE, {"email": "second@example.org"})
        (line,) = ours(caught)  # what repeats is counted
        told = json.loads(line)
        assert told["event"] == "A slow operation: mutation Make"
        assert (told["operation"], told["logger"], told["level"]) == ("Make", "ordergraph.slow", "WARNING")
        assert told["cost"] > 0
        assert told["seconds"] >= told["sql_seconds"]
        assert re.match(r"\s*(SELECT|INSERT|WITH|BEGIN|COMMIT)", told["sql"])
        assert "pa55word" not in line
        assert "Eve" not in line
        caught.handler.sum_up()
        assert json.loads(ours(caught)[1])["event"] == "1 more: A slow operation: mutation Make"


def test_a_client_that_is_slow_makes_no_slow_operation(caught: Caught) -> None:
    for status, kind, lines in ((408, "", 0), (0, "", 0), (0, "query", 1), (422, "", 2)):
        with logging_with(slow_seconds=1e-12), Operation("id") as operation:
            operation.status, operation.kind = status, kind
        assert len(ours(caught)) == lines


def test_a_long_statement_is_cut(caught: Caught) -> None:
    caught.handler.setFormatter(logs.JsonLine())
    with logging_with(slow_seconds=1e-12), Operation("id") as operation:
        operation.kind, operation.sql = "query", "SELECT " + "x" * 100_000
    assert len(json.loads(ours(caught)[0])["sql"]) == logs.LONGEST_SQL


async def test_what_is_logged_in_a_request_names_it(shop: Ask, caught: Caught) -> None:
    def tell(_: StatementBegan) -> None:
        logging.getLogger("ordergraph.test").warning("Here")

    with observations.listening(StatementBegan, tell):
        answer = await shop.client.post("/graphql", json={"query": "query Find { customers(first: 1) { nodes { id } } }"})
    assert ours(caught)[0].endswith(f"ordergraph.test: Here (request {answer.headers['x-request-id']}, operation Find)")


@pytest.mark.parametrize("line", [logs.LogLine(), logs.JsonLine()])
def test_no_text_forges_a_line(line: logging.Formatter, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "a\nb\r\u2028c\x1b[2J\u202e\x00d"
    monkeypatch.setattr(logs, "worker", hostile)
    made = line.format(record("It is %s", "gone", request_id=hostile, measured={"sql": hostile}))
    assert made.isprintable()
    assert len(made.splitlines()) == 1


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="ORDERGRAPH_LOG_FORMAT must be text or json, not 'xml'"):
        from_environment({"ORDERGRAPH_LOG_FORMAT": "xml"})
