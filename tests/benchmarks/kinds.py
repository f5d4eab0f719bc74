"""The kinds of operations that capacity is computed from, and how what one costs is measured.

What goes in: a server, its database. What comes out: a `Measured` a kind: processor time of the server and of the database, bytes
of an answer, of the database's log, rows of the outbox. What is refused here: an answer with errors.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urlencode

import asyncpg

from graph.context import Context
from graph.database import Database
from graph.observations import StatementBegan, listening
from graph.schema import schema
from graph.settings import Settings
from tests.benchmarks.operations import EVERY_DATE, OPERATIONS, Facts
from tests.benchmarks.processes import cpu_of_all
from tests.benchmarks.serving import Running

#: Rows of one request that changes many, and of one that inserts many.
BULK_ROWS, IMPORTED_ROWS = 100, 500
#: Connections of the load: enough to keep a worker busy.
CONNECTIONS = 4
#: Answers of a measurement at least.
LEAST = 40

Variables = Callable[[random.Random, Facts, str], dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """A kind of operation; `rows` says how many rows one request is for, where its cost is told by the row."""

    name: str
    query: str
    variables: Variables
    rows: int = 1
    kept: bool = False

    @property
    def writes(self) -> bool:
        return self.query.startswith("mutation")


@dataclass(frozen=True)
class Measured:
    """What one request takes: microseconds of processor, bytes, statements, rows of the outbox."""

    server_us: float
    database_us: float
    answer_bytes: int
    log_bytes: int
    changes: float
    statements: int
    locks_at: int | None
    rows: int = 1


def _known(name: str) -> tuple[str, Variables]:
    operation = next(each for each in OPERATIONS if each.name == name)
    return operation.query, lambda *given: operation.values(*given)[0]


def _order(chance: random.Random, facts: Facts, _: str) -> dict[str, Any]:
    return {"id": f"Order:{chance.randint(1, facts.orders)}"}


def _note(chance: random.Random, facts: Facts, unique: str) -> dict[str, Any]:
    return {"input": {**_order(chance, facts, ""), "note": f"changed {unique}"}}


def _stock(chance: random.Random, facts: Facts, _: str) -> dict[str, Any]:
    return {"input": {"item": {"id": f"Item:{chance.randint(1, facts.items)}"}, "delta": 1}}


def _many(chance: random.Random, facts: Facts, unique: str) -> dict[str, Any]:
    first = chance.randint(1, max(1, facts.orders - BULK_ROWS))
    ids = [f"Order:{key}" for key in range(first, first + BULK_ROWS)]
    return {"input": {"where": {"id": {"in": ids}}, "set": {"note": f"bulk {unique}"}}}


def _imported(chance: random.Random, facts: Facts, unique: str) -> dict[str, Any]:
    return {"input": {"rows": [{"name": "New", "email": f"{unique}-{n}@import.example"} for n in range(IMPORTED_ROWS)]}}


def _month(chance: random.Random, facts: Facts, _: str) -> dict[str, Any]:
    return _known("20 nested orders")[1](chance, facts, "")


SUMMARY = (
    "query($from:DateTime!,$to:DateTime!){orderSummary(groupBy:[STATUS],where:{orderDate:{gte:$from,lt:$to}})"
    "{status count quantity totalAmount{sum}}}"
)
POINT = _known("order by id")
HOT = "mutation($input:AdjustStockInput!){adjustStock(input:$input){item{id stock} errors{code}}}"
KINDS = {
    kind.name: kind
    for kind in (
        Kind("point read", *POINT),
        Kind("kept answer, 304", *POINT, kept=True),
        Kind("list of 50", *_known("page of 50")),
        Kind("20 nested orders", *_known("20 nested orders")),
        Kind("summary of a month", SUMMARY, _month),
        Kind("nested create", *_known("nested create")),
        Kind("update", "mutation($input:UpdateOrderInput!){updateOrder(input:$input){order{id version} errors{code}}}", _note),
        Kind("stock move", HOT, _stock),
        Kind(
            f"bulk change of {BULK_ROWS}",
            "mutation($input:UpdateOrdersInput!){updateOrders(input:$input){count errors{code}}}",
            _many,
            BULK_ROWS,
        ),
        Kind(
            f"import of {IMPORTED_ROWS} rows",
            "mutation($input:InsertCustomersInput!){insertCustomers(input:$input){inserted errors{code}}}",
            _imported,
            IMPORTED_ROWS,
        ),
    )
}
assert EVERY_DATE in KINDS["20 nested orders"].query


class Connection:
    """One connection to a server, asked with requests as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Status, head and body of the answer."""
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
        status = int(head[9:12])
        return status, head, b"" if status == 304 else await self.reader.readexactly(size)


async def connected(port: int) -> Connection:
    return Connection(*await asyncio.open_connection("127.0.0.1", port, limit=2**22))


def posted(query: str, variables: dict[str, Any]) -> bytes:
    body = json.dumps({"query": query, "variables": variables}).encode()
    head = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


def got(query: str, variables: dict[str, Any], tag: bytes = b"") -> bytes:
    path = urlencode({"query": query, "variables": json.dumps(variables)}).encode()
    condition = b"if-none-match: %s\r\n" % tag if tag else b""
    return b"GET /graphql?%s HTTP/1.1\r\nhost: localhost\r\n%s\r\n" % (path, condition)


async def requests(kind: Kind, facts: Facts, server: Running, seed: str) -> Iterator[bytes]:
    """Requests of a kind without end; no write is sent twice."""
    chance = random.Random(seed)
    if not kind.kept:
        return (posted(kind.query, kind.variables(chance, facts, f"{seed}-{n}")) for n in count())
    asker, asked = await connected(server.port), []
    for _ in range(100):
        variables = kind.variables(chance, facts, seed)
        _, head, _ = await asker.ask(got(kind.query, variables))
        tag = head.partition(b"etag: w")[2].partition(b"\r")[0]
        asked.append(got(kind.query, variables, b"W" + tag))
    asker.writer.close()
    return (asked[n % len(asked)] for n in count())


async def drive(server: Running, sent: Iterator[bytes], seconds: float, wanted: int = 200) -> tuple[int, int]:
    """Send over some connections for so long; how many were answered, and the bytes of all answers."""
    until = time.perf_counter() + seconds
    answers = size = 0

    async def one() -> None:
        nonlocal answers, size
        connection = await connected(server.port)
        while time.perf_counter() < until or answers < LEAST:
            status, head, body = await connection.ask(next(sent))
            if status != wanted or b'"errors":[{' in body:
                raise RuntimeError(f"{status}: {body[:1000].decode(errors='replace')}")
            answers += 1
            size += len(head) + len(body)
        connection.writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return answers, size


async def written_so_far(connection: asyncpg.Connection) -> tuple[int, int]:
    """Bytes of the log, and rows of the outbox."""
    row = await connection.fetchrow(
        "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, (SELECT coalesce(max(id), 0) FROM changes)"
    )
    return int(row[0]), int(row[1])


async def measure(kind: Kind, facts: Facts, server: Running, url: str, database_pid: int, seconds: float, seed: str) -> Measured:
    """One round of a kind, by a server that has seen it."""
    statements, locks_at = await asked_of_the_database(kind, facts, url, seed)
    sent = await requests(kind, facts, server, seed)
    wanted = 304 if kind.kept else 200
    connection = await asyncpg.connect(url)
    try:
        await drive(server, sent, seconds / 4, wanted)
        await connection.execute("ANALYZE")  # as a server does by itself where tables have grown
        log, changes = await written_so_far(connection)
        before = [cpu_of_all(pid) for pid in (server.pid, database_pid)]
        answers, size = await drive(server, sent, seconds, wanted)
        used = [cpu_of_all(pid) - past for pid, past in zip((server.pid, database_pid), before, strict=True)]
        log_after, changes_after = await written_so_far(connection)
    finally:
        await connection.close()
    return Measured(
        used[0] / answers * 1e6,
        used[1] / answers * 1e6,
        round(size / answers),
        round((log_after - log) / answers) if kind.writes else 0,
        round((changes_after - changes) / answers, 1) if kind.writes else 0,
        statements,
        locks_at,
        kind.rows,
    )


async def asked_of_the_database(kind: Kind, facts: Facts, url: str, seed: str) -> tuple[int, int | None]:
    """How many statements one operation sends, COMMIT one of them, and which of them is the first to lock an item."""
    seen: list[str] = []
    database = Database(Settings(database_url=url))
    try:
        engine = schema.engine(database)
        for turn in range(2):  # a connection's first one is asked more
            seen.clear()
            variables = kind.variables(random.Random(seed), facts, f"{seed}-alone{turn}")
            with listening(StatementBegan, lambda each: seen.append(each.sql)):
                await engine.run(kind.query, variables, None, Context(database))
    finally:
        await database.close()
    locking = [number for number, sql in enumerate(seen) if "item" in sql and ("FOR " in sql or sql.startswith("UPDATE"))]
    return len(seen), locking[0] if locking and kind.writes else None
