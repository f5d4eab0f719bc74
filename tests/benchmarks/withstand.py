"""What a running server withstands: `python -m tests.benchmarks.withstand`.

What goes in: options. What comes out: for each fault a line: what happened, a figure, and FAIL where it was not what must happen.
The server is a process of its own under its default settings, and every fault has a fresh one. What is refused here: nothing; the
exit status is 1 where a line says FAIL.

Another fault is an async function that takes a `Scene` and returns what `Outcome` holds, marked with `@fault("its name")`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx2
from graphql import get_introspection_query

from graph import migrate
from graph.settings import Settings
from tests import postgres
from tests.audit import audit_url, rows_of
from tests.networks import Network, network
from tests.pgbouncer import pooler
from tests.servers import Served, start
from tests.slow_readers import CREATE, CUSTOMERS, LARGE, asking_without_reading, resident

REQUEST_SECONDS = Settings().request_timeout_seconds
#: What a request may take beyond its limit, on a machine that does other things as well.
GRACE_SECONDS = 1.0

#: A query with its variables: clients send few documents many times, and many new ones at once are another fault.
Asked = str | tuple[str, dict[str, Any]]

READ = "{ items { totalCount } }"
STOCK = 'mutation { adjustStock(input: {item: {sku: "A"}, delta: -1}) { item { stock } errors { code } } }'
NESTED = """mutation ($name: String!, $email: String!, $key: String!) { createCustomer(
  input: {name: $name, email: $email, orders: [{items: [{item: {sku: "B"}, quantity: 1}]}]}
) @idempotent(key: $key) { customer { id orders { nodes { totalAmount items { quantity } } } } errors { code } } }"""


def create(name: str, key: str = "") -> Asked:
    """A customer with an order and a line; without a key of its own it is sent without any."""
    query = NESTED if key else NESTED.replace(" @idempotent(key: $key)", "").replace(", $key: String!", "")
    return query, {"name": name, "email": f"{name}@x.example", **({"key": key} if key else {})}


@dataclass(frozen=True)
class Reply:
    """What a client got, and after how long."""

    asked: Asked
    seconds: float
    #: `OK`, or the code that says why not.
    code: str
    body: dict[str, Any]


@dataclass
class Outcome:
    """What came of a fault: the figure for the table, and what should not have been."""

    figure: str
    wrong: list[str] = field(default_factory=list)

    def must(self, holds: bool, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.wrong.append(what)


@dataclass
class Scene:
    """A server behind a network, before a database of its own."""

    url: str
    net: Network
    served: Served
    client: httpx2.AsyncClient
    folder: Path

    async def send(self, asked: Asked, variables: dict[str, Any] | None = None) -> Reply:
        """One request, whatever becomes of it."""
        query, variables = asked if isinstance(asked, tuple) else (asked, variables)
        began = time.monotonic()
        try:
            answer = await self.client.post(
                f"{self.served.url}/graphql", json={"query": query, "variables": variables}, timeout=4 * REQUEST_SECONDS
            )
        except httpx2.TransportError as error:
            return Reply(asked, time.monotonic() - began, type(error).__name__, {})
        body = answer.json()
        payload = next(iter((body.get("data") or {}).values()), None) or {}
        errors = [*payload.get("errors", ()), *(error["extensions"] for error in body.get("errors", ()))]
        return Reply(asked, time.monotonic() - began, errors[0]["code"] if errors else "OK", body)

    async def all(self, queries: Sequence[Asked]) -> list[Reply]:
        """Requests, all at once."""
        return await asyncio.gather(*(self.send(query) for query in queries))

    async def warm(self) -> None:
        """Open every connection, on each the statements known."""
        for _ in range(2):
            await self.all([create(f"warm{time.monotonic_ns()}x{n}") for n in range(Settings().pool_size)])

    async def rows(self, query: str) -> Sequence[Any]:
        """What a query finds, past the server and its network."""
        (found,) = await rows_of(self.url, query)
        return found

    async def healed(self) -> float:
        """How long it takes until everything is answered again."""

        async def serves() -> bool:
            return all(reply.code == "OK" for reply in await self.all([STOCK, READ] * 5))

        return await until(serves)


async def until(holds: Callable[[], Awaitable[bool]]) -> float:
    """How long it takes until a condition holds, which it must at some time."""
    began = time.monotonic()
    async with asyncio.timeout(10 * REQUEST_SECONDS):
        while not await holds():  # noqa: ASYNC110  # nobody tells when a server has done something
            await asyncio.sleep(0.05)
    return time.monotonic() - began


Fault = Callable[[Scene], Awaitable[Outcome]]
FAULTS: dict[str, Fault] = {}
#: Those that need a file on SQLite.
OF_FILES: set[str] = set()


def fault(name: str, *, file: bool = False) -> Callable[[Fault], Fault]:
    """Name a fault."""

    def named(function: Fault) -> Fault:
        FAULTS[name] = function
        if file:
            OF_FILES.add(name)
        return function

    return named


def summary(replies: Sequence[Reply]) -> str:
    """How many answers of each kind there were, and the slowest."""
    counted = Counter(reply.code for reply in replies).most_common()
    return ", ".join(f"{number} {code}" for code, number in counted) + f"; slowest {slowest(replies):.1f} s"


def slowest(replies: Sequence[Reply]) -> float:
    return max(reply.seconds for reply in replies)


def in_time(outcome: Outcome, replies: Sequence[Reply]) -> None:
    """Every request is answered within its limit and a second."""
    limit = REQUEST_SECONDS + GRACE_SECONDS
    outcome.must(slowest(replies) <= limit, f"an answer took {slowest(replies):.1f} s")


async def told_rightly(scene: Scene, outcome: Outcome, replies: Sequence[Reply]) -> None:
    """What is said to have happened did, and what is said to have failed did not."""
    there = {name for (name,) in await scene.rows("SELECT name FROM customer")}
    for reply in replies:
        if isinstance(reply.asked, str):
            continue
        name = reply.asked[1]["name"]
        if reply.code == "OK":
            outcome.must(name in there, f"{name} was acknowledged and is not there")
        elif reply.code != "COMMIT_UNKNOWN":
            outcome.must(name not in there, f"{name} was answered {reply.code} and is there")


@fault("a connection falls silent at message n of a write, for every n")
async def silent_at_any_message(scene: Scene) -> Outcome:
    await scene.warm()
    wires = scene.net.wires[-Settings().pool_size :]
    for n, wire in enumerate(wires):
        wire.sent, wire.last, wire.answers = 0, n // 2, n % 2 > 0
    replies = await scene.all([create(f"n{n}") for n in range(len(wires))])
    outcome = Outcome(summary(replies))
    in_time(outcome, replies)
    await told_rightly(scene, outcome, replies)
    outcome.must(await scene.healed() < REQUEST_SECONDS, "it did not heal")
    return outcome


@fault("every idle connection was forgotten")
async def forgotten(scene: Scene) -> Outcome:
    await scene.warm()
    count = scene.net.silence()
    replies = await scene.all([create(f"first{n}") for n in range(3)] + [READ] * 3)
    later = await scene.all([create(f"later{n}") for n in range(20)] + [READ] * 20)
    outcome = Outcome(f"{count} connections: first {summary(replies)}; then {summary(later)}")
    in_time(outcome, [*replies, *later])
    outcome.must({reply.code for reply in [*replies, *later]} == {"OK"}, "somebody was refused")
    return outcome


@fault("nobody answers, new connections neither")
async def dark(scene: Scene) -> Outcome:
    await scene.warm()
    scene.net.dark = True
    scene.net.silence()
    replies = await scene.all([create(f"d{n}") for n in range(20)] + [READ] * 20)
    scene.net.dark = False
    healed = await scene.healed()
    outcome = Outcome(f"{summary(replies)}; healed in {healed:.1f} s")
    in_time(outcome, replies)
    outcome.must(healed <= 5, "it took longer than 5 s to heal")
    await told_rightly(scene, outcome, replies)
    return outcome


@fault("the server's processes are stopped for 15 s")
async def processes_stopped(scene: Scene) -> Outcome:
    await scene.warm()
    pids = [pid for (pid,) in await scene.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'ordergraph'")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        replies: list[Reply] = []
        while time.monotonic() < began + 15:
            replies += await scene.all([create(f"s{len(replies)}x{n}") for n in range(2)] + [READ] * 2)
            await asyncio.sleep(0.2)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    outcome = Outcome(f"{len(pids)} processes: {summary(replies)}")
    in_time(outcome, replies)
    await told_rightly(scene, outcome, replies)
    return outcome


@fault("a client is lost in the middle of its transaction")
async def dead_transaction(scene: Scene) -> Outcome:
    await scene.warm()

    async def locked() -> bool:
        return await scene.rows("SELECT FROM pg_locks WHERE locktype = 'transactionid'") != []

    async def unlocked() -> bool:
        return not await locked()

    scene.net.lose(behind=b"UPDATE item", more=1)
    lost = asyncio.ensure_future(scene.send(STOCK))
    await until(locked)
    scene.net.lose()
    free = await until(unlocked)
    outcome = Outcome(f"its locks were free after {free:.1f} s; it was answered {summary([await lost])}")
    outcome.must(free <= REQUEST_SECONDS + GRACE_SECONDS, "its locks stayed")
    in_time(outcome, [await lost])
    return outcome


@fault("the answers to COMMITs are lost")
async def answers_lost(scene: Scene) -> Outcome:
    await scene.warm()
    scene.net.lose(behind=b"COMMIT;")
    half = Settings().pool_size // 2
    replies = await scene.all([create(f"u{n}") for n in range(half)] + [create(f"k{n}", f"k{n}") for n in range(half)])
    scene.net.lose()
    outcome = Outcome(summary(replies))
    in_time(outcome, replies)
    outcome.must({reply.code for reply in replies} == {"COMMIT_UNKNOWN"}, "a COMMIT was claimed to be known")
    again = await scene.all([create(f"k{n}", f"k{n}") for n in range(half)])
    outcome.must({reply.code for reply in again} == {"OK"}, "asked again, a key was not answered")
    (count,) = (await scene.rows("SELECT count(*) FROM customer WHERE name LIKE 'k%'"))[0]
    outcome.must(count == half, f"{half} keys made {count} customers")
    return outcome


@fault("COMMITs wait for a standby that is missing")
async def standby_missing(scene: Scene) -> Outcome:
    await scene.warm()
    for statement in ("ALTER SYSTEM SET synchronous_standby_names = 'missing'", "SELECT pg_reload_conf()"):
        await scene.rows(statement)
    try:
        replies = await scene.all([create(f"w{n}") for n in range(10)])
        outcome = Outcome(summary(replies))
        in_time(outcome, replies)
        outcome.must({reply.code for reply in replies} == {"COMMIT_UNKNOWN"}, "a COMMIT was claimed to be known")
        shown = await scene.rows("SELECT count(*) FROM customer WHERE name LIKE 'w_'")
        outcome.must(shown == [(0,)], "what no standby has was shown")
    finally:
        for statement in ("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"):
            await scene.rows(statement)
    return outcome


@fault("SIGTERM while nobody answers")
async def ended_in_the_dark(scene: Scene) -> Outcome:
    await scene.warm()
    scene.net.dark = True
    scene.net.silence()
    asked = [asyncio.ensure_future(scene.send(query)) for query in [create("t"), READ] * 10]
    await asyncio.sleep(0.5)
    began = time.monotonic()
    scene.served.process.terminate()
    await asyncio.to_thread(scene.served.process.wait, 6 * REQUEST_SECONDS)
    ended = time.monotonic() - began
    replies = await asyncio.gather(*asked)
    outcome = Outcome(f"the process ended after {ended:.1f} s; its requests {summary(replies)}")
    outcome.must(ended <= REQUEST_SECONDS + 5, "it did not end")
    in_time(outcome, replies)
    return outcome


@fault("servers start behind PgBouncer")
async def behind_pgbouncer(scene: Scene) -> Outcome:
    tries, up = 8, 0
    with pooler(scene.url) as pooled:
        for _ in range(tries):
            try:
                served = await start(pooled, scene.folder, ORDERGRAPH_PGBOUNCER="true")
            except AssertionError:
                continue
            up += 1
            served.kill()
    outcome = Outcome(f"{up} of {tries} came up")
    outcome.must(up == tries, "not all came up")
    return outcome


async def rate(scene: Scene, clients: Sequence[Callable[[int], str]], seconds: float = 5.0) -> tuple[float, Counter[str], int]:
    """Clients that send one request after the other: answers a second, how many of each code, deadlocks."""
    counted = Counter[str]()
    over = time.monotonic() + seconds
    deadlocks = await deadlocks_so_far(scene)

    async def send(query: Callable[[int], str]) -> None:
        number = 0
        while time.monotonic() < over:
            counted[(await scene.send(query(number))).code] += 1
            number += 1

    began = time.monotonic()
    await asyncio.gather(*map(send, clients))
    took = time.monotonic() - began
    await asyncio.sleep(1)  # what sessions count is told once a second
    return counted["OK"] / took, counted, await deadlocks_so_far(scene) - deadlocks


async def deadlocks_so_far(scene: Scene) -> int:
    """How many deadlocks the server has found in the database."""
    ((found,),) = await scene.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(found)


def order(_: int = 0) -> str:
    """An order of the first customer for an item whose stock is counted."""
    line = '{item: {sku: "A"}, quantity: 1}'
    return f'mutation {{ createOrder(input: {{customer: {{id: "Customer:1"}}, items: [{line}]}}) {{ errors {{ code }} }} }}'


@fault("locks: orders and changes of one customer and item meet")
async def one_customer(scene: Scene) -> Outcome:
    await scene.warm()

    def rename(key: int) -> Callable[[int], str]:
        return lambda n: f'mutation {{ updateCustomer(input: {{id: "Customer:{key}", name: "N{n}"}}) {{ errors {{ code }} }} }}'

    apart, _, _ = await rate(scene, [rename(key) for key in range(2, 10)])
    found, codes, deadlocks = await rate(scene, [order] * 4 + [rename(1)] * 4)
    outcome = Outcome(f"4 + 4 clients: {found:.0f} writes a second, {deadlocks} deadlocks; {apart:.0f} by 8 who meet nobody")
    outcome.must(found >= 100 or found >= apart, "fewer than 100 a second, and than those who meet nobody")
    outcome.must(deadlocks == 0, "writes waited for each other in a ring")
    outcome.must(codes.keys() == {"OK"}, f"somebody was refused: {dict(codes)}")
    return outcome


@fault("locks: the fields of @atomic mutations cross")
async def crossing(scene: Scene) -> Outcome:
    await scene.warm()
    await scene.all([order(), order()])
    keys = [key for (key,) in await scene.rows("SELECT id FROM orders ORDER BY id LIMIT 2")]

    def both(keys: Sequence[int]) -> Callable[[int], str]:
        fields = [
            f'{name}: updateOrder(input: {{id: "Order:{key}", note: "%s"}}) {{ errors {{ code }} }}'
            for name, key in zip("ab", keys, strict=True)
        ]
        return lambda number: "mutation @atomic { " + " ".join(field % number for field in fields) + " }"

    alike, _, _ = await rate(scene, [both(keys)] * 4)
    crossed, codes, deadlocks = await rate(scene, [both(keys), both(keys[::-1])] * 2)
    outcome = Outcome(f"4 clients: {alike:.0f} a second in one order, {crossed:.0f} crossing, {deadlocks} deadlocks")
    outcome.must(crossed >= alike / 2, "less than half")
    outcome.must(codes.keys() == {"OK"}, f"somebody was refused: {dict(codes)}")
    return outcome


@fault("a hundred clients read nothing of large answers")
@fault("a hundred clients read nothing of large answers, on SQLite", file=True)
async def nobody_reads(scene: Scene) -> Outcome:
    for customer in CUSTOMERS:
        await scene.send(CREATE, {"input": customer})
    large = await scene.send(LARGE)
    before = resident(scene.served.process.pid) or 0
    most, points = 0, list[Reply]()
    async with asking_without_reading(scene.served.port, LARGE, 100):
        for _ in range(50):
            points.append(await scene.send('{ order(by: {id: "Order:1"}) { status } }'))
            most = max(most, resident(scene.served.process.pid) or 0)
            await asyncio.sleep(0.1)
        began = time.monotonic()
        scene.served.process.terminate()
        await asyncio.to_thread(scene.served.process.wait, 6 * REQUEST_SECONDS)
        ended = time.monotonic() - began
    grown = (most - before) / 2**20
    outcome = Outcome(f"{grown:.0f} MB more; a point read took {slowest(points):.2f} s at most; it ended after {ended:.1f} s")
    outcome.must(len(large.body.get("data", {}).get("orders", {}).get("nodes", ())) == 100, "there was nothing to be read")
    outcome.must(grown < 300, "memory grew")
    outcome.must({reply.code for reply in points} == {"OK"}, "others were not served")
    outcome.must(ended <= REQUEST_SECONDS + 5, "it did not end")
    return outcome


@fault("four clients read what takes long, on SQLite", file=True)
async def long_reads(scene: Scene) -> Outcome:
    insert = "mutation($rows: [ItemInput!]!) { insertItems(input: {rows: $rows}) { inserted errors { code } } }"
    for part in range(5):
        rows = [{"sku": f"L{part}-{number}", "name": f"item {number}", "price": 1} for number in range(8_000)]
        await scene.send(insert, {"rows": rows})
    wanted = ", ".join(f'{{name: {{contains: "zq{number}"}}}}' for number in range(8))
    long = "{ " + " ".join(f"i{number}: items(where: {{or: [{wanted}]}}) {{ totalCount }}" for number in range(12)) + " }"

    async def points(seconds: float) -> int:
        began, count = time.monotonic(), 0
        while time.monotonic() < began + seconds:
            count += (await scene.send(READ)).code == "OK"
        return count

    alone = await points(5)
    over = asyncio.Event()

    async def go_on() -> list[Reply]:
        replies: list[Reply] = []
        while not over.is_set():
            replies.append(await scene.send(long))
        return replies

    clients = [asyncio.ensure_future(go_on()) for _ in range(4)]
    beside = await points(5)
    over.set()
    replies = [reply for each in await asyncio.gather(*clients) for reply in each]
    outcome = Outcome(f"{beside / 5:.0f} point reads a second beside them, {alone / 5:.0f} alone; they {summary(replies)}")
    outcome.must(beside * 10 >= alone, "short reads were starved")
    return outcome


def someone(name: str) -> dict[str, Any]:
    """A customer with an order."""
    return {"name": name, "email": f"c{name}@x.example", "orders": [{"note": "n"}]}


@fault("a thousand clients write, on SQLite", file=True)
async def crowd(scene: Scene) -> Outcome:
    async def writes(clients: int, seconds: float) -> float:
        over = time.monotonic() + seconds

        async def client(number: int) -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", scene.served.port)
            count = tries = 0
            while time.monotonic() < over:
                tries += 1
                body = json.dumps({"query": CREATE, "variables": {"input": someone(f"{clients}-{number}-{tries}")}}).encode()
                head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
                writer.write(head.encode() + b"\r\n\r\n" + body)
                told = await reader.readuntil(b"\r\n\r\n")
                answer = await reader.readexactly(int(told.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
                count += b'"errors":[]' in answer
            writer.close()
            return count

        return sum(await asyncio.gather(*map(client, range(clients)))) / seconds

    few, many = await writes(64, 8), await writes(1_000, 12)
    outcome = Outcome(f"{many:.0f} writes a second by 1,000 clients, {few:.0f} by 64")
    outcome.must(many * 2 >= few, "a crowd writes less than half of what few do")
    return outcome


# ---- floods: clients without a library's weight, each a connection that is kept


@dataclass
class Lean:
    """A client that writes bytes and reads an answer."""

    port: int
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def ask(self, query: str, **variables: str) -> int:
        """The status of the answer; 0 where there is none. The body is read and thrown away."""
        try:
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            assert self.reader is not None
            body = json.dumps({"query": query, "variables": variables}).encode()
            head = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            self.writer.write(head % len(body) + body)
            answer = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            await self.reader.readexactly(int(answer.partition(b"content-length: ")[2].split(b"\r", 1)[0]))
        except (OSError, EOFError):
            self.close()
            return 0
        return int(answer.split(b" ", 2)[1])

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None


@dataclass
class Load:
    """How often each status came, and what the answers with 200 took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def add(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        if status == 200:
            self.seconds.append(seconds)

    def p(self, share: float) -> float:
        """A percentile, in milliseconds."""
        return sorted(self.seconds)[int(len(self.seconds) * share)] * 1_000 if self.seconds else 0.0


async def closed_loop(port: int, clients: int, seconds: float, ask: Callable[[Lean], Awaitable[int]]) -> Load:
    """Clients that ask again as soon as they are answered."""
    load, until_ = Load(), time.monotonic() + seconds

    async def work() -> None:
        client = Lean(port)
        while (began := time.monotonic()) < until_:
            load.add(await ask(client), time.monotonic() - began)
        client.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return load


async def open_loop(port: int, rate: float, seconds: float, ask: Callable[[Lean], Awaitable[int]]) -> Load:
    """Requests that come at their time, however those before them fare."""
    load, free, running = Load(), list[Lean](), set[asyncio.Task[None]]()

    async def work(due: float) -> None:
        client = free.pop() if free else Lean(port)
        load.add(await ask(client), time.monotonic() - due)
        free.append(client)

    began = time.monotonic()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(work(due))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    for client in free:
        client.close()
    return load


NUMBERS = itertools.count()


def new_customer(client: Lean) -> Awaitable[int]:
    """A known mutation."""
    name = f"load{next(NUMBERS)}"
    return client.ask(
        """mutation ($name: String!, $email: String!) { createCustomer(
          input: {name: $name, email: $email, orders: [{items: [{item: {sku: "B"}, quantity: 1}]}]}
        ) { customer { id orders { nodes { totalAmount } } } errors { code } } }""",
        name=name,
        email=f"{name}@x.example",
    )


@fault("five times the load that can be served")
async def overload(scene: Scene) -> Outcome:
    port = scene.served.port
    await closed_loop(port, 16, 2, new_customer)  # warm
    alone = await closed_loop(port, 1, 3, new_customer)
    peak = len((await closed_loop(port, 16, 4, new_customer)).seconds) / 4
    load = await open_loop(port, 5 * peak, 6, new_customer)
    served = len(load.seconds) / 6
    refused, lost = load.statuses[503], load.statuses.total() - load.statuses[503] - load.statuses[200]
    outcome = Outcome(
        f"creates: peak {peak:.0f}/s, p99 alone {alone.p(0.99):.0f} ms; at five times that {served:.0f}/s served, p50"
        f" {load.p(0.5):.0f}, p99 {load.p(0.99):.0f} ms, {refused} refused at once, {lost} lost"
    )
    outcome.must(served >= 0.8 * peak, "less than 0.8 of the peak is served")
    outcome.must(load.p(0.99) <= 4 * alone.p(0.99), "the p99 of those let in is more than four times that of one alone")
    outcome.must(not lost, "connections were reset")
    return outcome


@fault("a flood of new documents")
async def new_documents(scene: Scene) -> Outcome:
    port = scene.served.port
    known, flood = (
        '{ item(by: {sku: "A"}) { id name price } }',
        "orders(first: 3) { nodes { id note customer { name } items { quantity } } }",
    )
    await closed_loop(port, 1, 1, lambda client: client.ask(known))
    idle = await closed_loop(port, 1, 3, lambda client: client.ask(known))
    beside, new = await asyncio.gather(
        closed_loop(port, 1, 6, lambda client: client.ask(known)),
        closed_loop(port, 64, 6, lambda client: client.ask(f"{{ a{next(NUMBERS)}: {flood} }}")),
    )
    outcome = Outcome(
        f"a known point read's p99: {idle.p(0.99):.1f} ms alone, {beside.p(0.99):.1f} ms beside it;"
        f" {new.statuses[200]} new ones answered, {new.statuses[503]} refused"
    )
    outcome.must(beside.p(0.99) <= 10 * idle.p(0.99), "the known one's p99 is more than ten times as long")
    outcome.must(set(beside.statuses) == {200}, "a known one was refused")
    return outcome


@fault("the heaviest requests, while the loop is watched")
async def stalls(scene: Scene) -> Outcome:
    """`/livez` needs nothing but the loop; what it takes is what the loop is held up."""
    port, ended = scene.served.port, False
    longest = 0.0
    schema = get_introspection_query()
    documents = [
        schema,
        schema.replace("__schema", "a: __schema", 1),
        "{ " + " ".join(f"a{n}: __schema {{ types {{ name }} }}" for n in range(20)) + " }",
        "#" + "x" * 3_000_000 + "\n" + READ,
        '{ customer(by: {email: """' + "x" * 1_000_000 + '"""}) { id } }',
        "{ items { nodes { " + " ".join(f"unknown{n}" for n in range(1_900)) + " } } }",
    ]

    async def watch() -> None:
        nonlocal longest
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not ended:
            began = time.monotonic()
            writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            await reader.readuntil(b"ok\n")
            longest = max(longest, time.monotonic() - began)
        writer.close()

    watching = asyncio.create_task(watch())
    for document in documents * 2:
        await Lean(port).ask(document)
    ended = True
    await watching
    outcome = Outcome(f"longest {longest * 1_000:.0f} ms")
    outcome.must(longest <= 0.1, "the loop was held up for more than 100 ms")
    return outcome


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open; 0 where the system does not tell."""
    place = Path(f"/proc/{pid}/fd")
    return len(list(place.iterdir())) if place.exists() else 0


@fault("2,000 silent connections, as many slow heads, a head of 128 MB")
async def silent_connections(scene: Scene) -> Outcome:
    port, opened = scene.served.port, list[asyncio.StreamWriter]()
    for start_of_head in (b"", b"POST /graphql HTTP/1.1\r\na:"):
        for _ in range(2_000):
            opened.append((await asyncio.open_connection("127.0.0.1", port))[1])
            opened[-1].write(start_of_head)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /graphql HTTP/1.1\r\na: " + b"x" * 2**27)
    status = (await reader.readuntil(b"\r\n")).split()[1].decode()
    replies = await scene.all([READ, STOCK] * 10)
    await asyncio.sleep(Settings().head_timeout_seconds + 3)
    left = descriptors(scene.served.process.pid)
    for each in (*opened, writer):
        each.transport.abort()
    outcome = Outcome(f"the head {status}; others {summary(replies)}; descriptors left after 13 s: {left}")
    outcome.must(status == "431", "the head was not refused")
    outcome.must(all(reply.code == "OK" for reply in replies), "others were not served")
    outcome.must(left < 200, "connections were not closed")
    return outcome


@asynccontextmanager
async def scene_at(url: str, folder: Path) -> AsyncIterator[Scene]:
    """A server behind a network, before a new database with two items."""
    await migrate.upgrade(url)
    async with network(url) as net, httpx2.AsyncClient(limits=httpx2.Limits(max_connections=200)) as client:
        served = await start(net.url, folder)
        try:
            scene = Scene(url, net, served, client, folder)
            for item in ('sku: "A", name: "A", price: "1", stock: 10000', 'sku: "B", name: "B", price: "1"'):
                await scene.send(f"mutation {{ createItem(input: {{{item}}}) {{ errors {{ code }} }} }}")
            yield scene
        finally:
            served.kill()
    await audit_url(url)


@asynccontextmanager
async def scene_of_file(url: str, folder: Path) -> AsyncIterator[Scene]:
    """A server before a new file with two items."""
    await migrate.upgrade(url)
    nothing: Any = None
    async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None)) as client:
        served = await start(url, folder)
        try:
            scene = Scene(url, nothing, served, client, folder)
            for item in ('sku: "A", name: "A", price: "1", stock: 10000', 'sku: "B", name: "B", price: "1"'):
                await scene.send(f"mutation {{ createItem(input: {{{item}}}) {{ errors {{ code }} }} }}")
            yield scene
        finally:
            served.kill()
    await audit_url(url)


async def withstand(chosen: Sequence[str]) -> int:
    """Run faults one after the other and print a line for each; how many failed."""
    failed = 0
    folder = Path(tempfile.mkdtemp(prefix="withstand-"))
    options = ("wal_level=replica", "max_wal_senders=2", "synchronous_commit=on", "max_connections=200")
    try:
        with postgres.started(postgres.binaries(), *options) as own:
            for number, name in enumerate(chosen):
                if name in OF_FILES:
                    there = scene_of_file(f"sqlite:///{folder}/withstand{number}.db", folder)
                else:
                    url = await asyncio.to_thread(postgres.Server(own.url).create, f"withstand{number}")
                    there = scene_at(url, folder)
                async with there as scene:
                    outcome = await FAULTS[name](scene)
                failed += bool(outcome.wrong)
                click.echo(f"{'FAIL' if outcome.wrong else 'ok  '} {name}: {outcome.figure}")
                for wrong in outcome.wrong:
                    click.echo(f"       {wrong}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return failed


@click.command()
@click.option("--only", default="", metavar="WORDS", help="Only faults whose names contain one of these, comma-separated.")
def main(only: str) -> None:
    """Break a running server in every way there is a name for."""
    chosen = [name for name in FAULTS if any(word in name for word in only.split(","))]
    sys.exit(1 if asyncio.run(withstand(chosen)) else 0)


if __name__ == "__main__":
    main()
