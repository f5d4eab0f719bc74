"""The log of a server: one line an event, no value that anybody sent, a few lines for an outage."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from asyncpg.exceptions import PostgresError

from graph import migrate
from graph.database import Database
from graph.serve import logs
from tests import postgres
from tests.conftest import Ask
from tests.faults import Places, places, refusing
from tests.servers import Client, start
from tests.sockets import PATIENCE, until
from tests.stock import customer, item

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) [\w.]+: \S.*")
#: Values that must not be in a log, whoever would put them there.
HOSTILE = ["Ada-Secret-Name", "ada.secret@example.com", "Secret-SKU", "4242424242", "pa55word"]


class Caught:
    """What the log of `serve` would say."""

    def __init__(self) -> None:
        self.handler = logs.Quiet(60)
        self.handler.setFormatter(logs.LogLine())
        self.handler.setStream(io.StringIO())

    @property
    def text(self) -> str:
        stream: Any = self.handler.stream
        return str(stream.getvalue())

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@pytest.fixture
def caught() -> Iterator[Caught]:
    """What is logged, the libraries' records from INFO on as `serve` has them, and all of ours."""
    caught, root, ours = Caught(), logging.getLogger(), logging.getLogger("ordergraph")
    before = root.level, ours.level
    root.addHandler(caught.handler)
    root.setLevel("INFO")
    ours.setLevel("DEBUG")
    yield caught
    root.removeHandler(caught.handler)
    root.setLevel(before[0])
    ours.setLevel(before[1])
    caught.handler.close()


SHOP = [item("Secret-SKU", 1, 5, name="Ada-Secret-Name"), customer("Ada-Secret-Name", email="ada.secret@example.com")]


pytestmark = pytest.mark.usefixtures("tried_again_at_once")


CREATE = """mutation ($input: CreateCustomerInput!) { createCustomer(input: $input) @idempotent(key: "pa55word") {
    customer { id } errors { code } } }"""
INPUT = {
    "name": "Ada-Secret-Name",
    "email": "new.ada.secret@example.com",
    "orders": [{"note": "pa55word", "items": [{"item": {"sku": "Secret-SKU"}, "quantity": 1, "pricePaid": "42424242.42"}]}],
}


def postgresql_error(state: str) -> Exception:
    """As the driver raises it, with values in every part."""
    fields = {
        "S": "ERROR",
        "C": state,
        "M": 'invalid input syntax for type integer: "ada.secret@example.com"',
        "D": "Key (email)=(ada.secret@example.com) already exists.",
        "H": "Perhaps you meant pa55word.",
        "W": "unnamed portal parameter $1 = 'Ada-Secret-Name'",
        "n": "uq_customer_email",
    }
    error: Exception = PostgresError.new(fields)
    return error


def raising(database: Database, kind: str) -> Callable[[Places], Exception]:
    """What happens at a statement: a bug, or an error of the database that nobody expected."""
    if kind == "a value error":
        return lambda place: ValueError(f"invalid literal: {HOSTILE}")
    if kind == "a group":
        return lambda place: ExceptionGroup("ada.secret@example.com", [KeyError("pa55word"), ValueError("4242424242")])
    if kind == "a long text":
        return lambda place: RuntimeError("ada.secret@example.com\nINFO forged: Secret-SKU\x1b[2J")
    if database.dialect.name == "sqlite":
        return lambda place: refusing(database, place, "SQLITE_ERROR", f"near {HOSTILE}: syntax error")

    def error(place: Places) -> Exception:
        driver = postgresql_error("22P02")
        dbapi: Any = database.dialect.loaded_dbapi
        wrapped: Exception = dbapi.DataError(str(driver), driver)
        return driver if place.straight else wrapped

    return error


@pytest.mark.parametrize("kind", ["a value error", "a group", "a long text", "an unknown error of the database"])
@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_what_fails_is_told_without_a_value(shop: Ask, caught: Caught, kind: str, directive: str) -> None:
    database: Database = shop.app.state.database
    bug = raising(database, kind)
    for n in range(1, 100):

        def fail(place: Places, n: int = n) -> None:
            if place.last == n:
                raise bug(place)

        with places(database, fail) as passed:
            answer = await shop(CREATE.replace("{ create", f"{directive} {{ create"), {"input": INPUT})
        if passed.last < n:
            break
        if passed.seen != ["BEGIN IMMEDIATE"] or kind != "an unknown error of the database":  # which is refused to begin
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["INTERNAL_SERVER_ERROR"], passed.seen
            assert any("A request failed: " in line and " < graph/" in line for line in caught.lines)
    assert n > 3
    check(caught)
    # Places differ, and so do the events: as many lines as places, or a bug would hide behind another.
    assert sum("A request failed: " in line for line in caught.lines) > 3


def check(caught: Caught) -> None:
    assert caught.lines
    for line in caught.lines:
        assert LINE.fullmatch(line), line
    for value in [*HOSTILE, "42424242", "forged: Secret"]:
        assert value not in caught.text, value


async def test_what_is_refused_is_told_without_a_value(shop: Ask, caught: Caught) -> None:
    """A refusal of the domain is the client's affair; one of the environment is told as the server says it of itself."""
    database: Database = shop.app.state.database
    taken = {**INPUT, "email": "ada.secret@example.com"}
    assert (await shop(CREATE, {"input": taken}))["data"]["createCustomer"]["errors"] == [{"code": "UNIQUE"}]
    bad = '{ customer(by: {email: "ada.secret@example.com\\u0000"}) { id } item(by: {sku: {pa55word: 1}}) { id } }'
    for query, code in ((bad, "BAD_USER_INPUT"), ("mutation { pa55word(input: {}) { id } }", "GRAPHQL_VALIDATION_FAILED")):
        assert {error["extensions"]["code"] for error in (await shop(query))["errors"]} == {code}
    code = "SQLITE_FULL" if database.dialect.name == "sqlite" else "53100"
    for lost in (code, "SQLITE_BUSY" if code.startswith("SQL") else "40001"):

        def fail(place: Places, lost: str = lost) -> None:
            if place.seen[-1].startswith("INSERT INTO"):
                raise refusing(database, place, lost)

        with places(database, fail):
            await shop(CREATE, {"input": INPUT})
    logging.getLogger("ordergraph").debug("There is always a line")
    check(caught)
    assert sum("The database does not serve" in line for line in caught.lines) == 1


async def test_what_nobody_waited_for_is_told_without_a_value(caught: Caught) -> None:
    """asyncio tells the exception of a lost future with all its words."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().default_exception_handler(
        {"message": "Future exception was never retrieved", "exception": KeyError("ada.secret@example.com"), "future": future}
    )
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=ValueError("pa55word"))
    check(caught)
    assert [line.partition(" ERROR ")[2] for line in caught.lines[-2:]] == [
        "asyncio: Future exception was never retrieved: KeyError at an unknown place",
        "uvicorn.error: Exception in ASGI application: ValueError at an unknown place",
    ]


def record(text: str, *arguments: object, level: int = logging.WARNING, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("ordergraph.test", level, "", 0, text, arguments, None)
    made.__dict__.update(more)
    return made


def test_what_repeats_is_told_once_and_then_counted() -> None:
    caught = Caught()
    for n in range(1_000):
        caught.handler.handle(record("It is %s", "gone", request_id=f"r{n}"))
        caught.handler.handle(record("It is %s", "back", request_id=f"r{n}"))
    assert [line.partition(": ")[2] for line in caught.lines] == ["It is gone (request r0)", "It is back (request r0)"]
    caught.handler.sum_up()
    assert [line.partition(": ")[2] for line in caught.lines[2:]] == ["999 more: It is gone", "999 more: It is back"]
    caught.handler.handle(record("It is %s", "gone"))
    assert len(caught.lines) == 5
    caught.handler.handle(record("It is %s", "gone"))
    caught.handler.close()
    assert caught.lines[-1].endswith("1 more: It is gone")


def test_a_task_that_was_ended_is_told_by_whoever_ended_it_alone() -> None:
    caught, logger = Caught(), logging.Logger("uvicorn.error")
    logger.addHandler(caught.handler)
    logger.error("Cancel %s running task(s)", 2)
    for error in (asyncio.CancelledError("the time is over"), RuntimeError()):
        logger.error("Exception in ASGI application\n", exc_info=error)
    assert [line.partition("ERROR ")[2] for line in caught.lines] == [
        "uvicorn.error: Cancel 2 running task(s)",
        "uvicorn.error: Exception in ASGI application: RuntimeError at an unknown place",
    ]


def test_an_event_is_one_line_and_names_constraint_and_place() -> None:
    caught = Caught()
    try:
        try:
            raise sqlite3.IntegrityError("UNIQUE constraint failed: customer.email = 'ada.secret@example.com'")
        except sqlite3.IntegrityError as error:
            raise RuntimeError("pa55word") from error
    except RuntimeError as error:
        exc_info = (type(error), error, error.__traceback__)
    caught.handler.handle(record("A\tpart\x1b[2J\nforged", exc_info=exc_info, request_id="r1"))
    check(caught)
    assert "A\\tpart\\x1b[2J: RuntimeError at test_logs.py:" in caught.text
    assert "; caused by IntegrityError at test_logs.py:" in caught.text
    caught.handler.handle(record("x", exc_info=(PostgresError, postgresql_error("23505"), None)))
    assert "x: UniqueViolationError 23505 uq_customer_email at an unknown place" in caught.text


async def test_an_outage_under_load_is_a_few_lines(tmp_path: Path) -> None:
    """A server is asked by twenty clients without a pause while its database is stopped, stays away and comes back."""
    with postgres.started(postgres.binaries(), "synchronous_commit=on") as own:  # a stop at once keeps what was committed
        await migrate.upgrade(own.url)
        served = await start(own.url, tmp_path)
        path = tmp_path / f"server-{served.port}.log"
        statuses: list[int] = []
        over = asyncio.Event()
        create = 'mutation { createItem(input: {sku: "Secret-SKU", name: "Ada-Secret-Name", price: "1"}) { errors { code } } }'

        async def ask(client: httpx2.AsyncClient, query: str) -> None:
            while not over.is_set():
                answer = await client.post(f"{served.url}/graphql", json={"query": query}, timeout=PATIENCE)
                statuses.append(answer.status_code)

        try:
            async with httpx2.AsyncClient(verify=False) as http:
                async with asyncio.TaskGroup() as group:
                    for n in range(20):
                        group.create_task(ask(http, create if n % 2 else "{ items { totalCount } }"))
                    await until(lambda: statuses.count(200) > 40)
                    await asyncio.to_thread(own.stop, "immediate")
                    await until(lambda: "The database does not serve: " in path.read_text() and statuses.count(503) > 400)
                    back = len(statuses)
                    await asyncio.to_thread(own.start)
                    await until(lambda: statuses[back:].count(200) > 40)
                    over.set()  # who asks beside a crowd may be turned away; once each of it has its answer, nobody is
                assert await Client(http, served.url).data("{ items { totalCount } }") == {"items": {"totalCount": 1}}
        finally:
            served.process.terminate()
            served.process.wait()
    said = path.read_text()
    lines = [line for line in said.splitlines() if not line.startswith("Serving ")]
    assert all(LINE.fullmatch(line) for line in lines), said
    assert any(" more: The database does not serve" in line for line in lines)
    assert len(lines) < 40, said
    assert not any(value in said for value in HOSTILE)
