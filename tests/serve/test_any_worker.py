"""Whichever process is asked, the answer is the same, byte for byte: what a worker keeps for itself is never seen in one.

Two workers behind one port on PostgreSQL, each reached by connections of its own; two servers before one file on SQLite. Reads
are asked of both. Writes cannot be asked twice of one shop: the same run of them is played before two copies, once at one worker
and once at both by turns, and all that is answered on the way must be the same. Budgets and documents by name are a process's
own; what clients see of that is told here, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from hashlib import sha256
from itertools import count, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from graphql import get_introspection_query

from graph.database import Database
from graph.read.types.permissions import root_types
from graph.schema import schema
from graph.scope import OPEN
from graph.settings import Settings
from tests.access.test_root_fields import operation
from tests.audit import rows_of
from tests.conftest import made
from tests.drawn import Inputs, document
from tests.engines import Engines
from tests.serve.test_workers import served_by, workers_of
from tests.servers import Served, serving
from tests.sockets import PATIENCE
from tests.standbys import Pair
from tests.stock import customer, item, line
from tests.subscribers import event_stream, socket
from tests.test_golden import CASES, FOLDER, WRITES
from tests.walk import load

pytestmark = pytest.mark.long

SHOP = [item("A", 1, 99), item("B", 2), customer("Ada", [line("A", 2), line("B")], [line("A")]), customer("Bo", [line("B", 3)])]
#: What may differ between two answers.
OWN = ("date",)
#: A connection that was silent for longer may be closed by the server soon.
IDLE_SECONDS = 2.0
SETTINGS = {
    "ORDERGRAPH_TRUST_REQUEST_ID": "true",
    "ORDERGRAPH_LOG_FORMAT": "json",
    "ORDERGRAPH_ACCESS_LOG": "true",
    "ORDERGRAPH_METRICS": "true",
    "ORDERGRAPH_MAX_ALIASES": "1000",
    "ORDERGRAPH_MAX_COST": "1000000",
}
PROBES = count(1)

#: Method, path, headers, body: a request as both are asked it.
Asked = tuple[str, str, dict[str, str], Any]
#: Status, headers and body.
Answer = tuple[int, list[tuple[str, str]], bytes]


class Process:
    """One process that serves: `others` are stopped while it is connected to, so that none of them takes the connection."""

    def __init__(self, served: Served, others: Sequence[int] = ()) -> None:
        self.served, self.others = served, others
        self.client = httpx2.AsyncClient(verify=False, timeout=20)
        self.used = 0.0
        self.probes: list[str] = []

    async def ask(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> Answer:
        if time.monotonic() - self.used > IDLE_SECONDS:
            await self._connect()
        sent = await self.client.request(method, self.served.url + path, headers=headers, **({"json": body} if body else {}))
        self.used = time.monotonic()
        kept = sorted((name, value) for name, value in sent.headers.multi_items() if name not in OWN)
        return sent.status_code, kept, sent.content

    async def data(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        status, _, body = await self.ask("POST", "/graphql", {}, {"query": query, "variables": variables or {}, **more})
        answer = json.loads(body)
        assert (status, "errors" in answer) == (200, False), body
        found: dict[str, Any] = answer["data"]
        return found

    async def _connect(self) -> None:
        await self.client.aclose()
        self.client = httpx2.AsyncClient(verify=False, timeout=20)
        self.probes.append(f"probe-{next(PROBES)}")
        for pid in self.others:
            os.kill(pid, signal.SIGSTOP)
        try:
            await self.client.post(
                f"{self.served.url}/graphql", json={"query": "{ __typename }"}, headers={"x-request-id": self.probes[-1]}
            )
        finally:
            for pid in self.others:
                os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def processes(url: str, folder: Path, **settings: str) -> AsyncIterator[list[Process]]:
    """Two processes before one database."""
    async with AsyncExitStack() as stack:
        if url.startswith("sqlite"):
            servers = await stack.enter_async_context(serving(url, folder, 2, **SETTINGS, **settings))
            found = [Process(served) for served in servers]
        else:
            served = await stack.enter_async_context(served_by(2, url, folder, **dict[str, Any](SETTINGS | settings)))
            pids = sorted(workers_of(served))
            assert len(pids) == 2
            found = [Process(served, [each for each in pids if each != pid]) for pid in pids]
        yield found
        for each in found:
            await each.client.aclose()
        answered = [set(workers_that_answered(each, folder)) for each in found]
        assert [len(each) for each in answered] == [1, 1], answered
        assert found[0].served is not found[1].served or answered[0] != answered[1], "one worker answered all"


def workers_that_answered(process: Process, folder: Path) -> Iterator[str]:
    """The workers that say that they answered the first request of a connection."""
    for text in (folder / f"server-{process.served.port}.log").read_text(encoding="utf-8").splitlines():
        told = json.loads(text) if text.startswith("{") else {}  # the first line is no event
        if told.get("request") in process.probes:
            yield told.get("worker", "alone")


# ---- reads


def reads() -> Iterator[Asked]:
    """Every query there is: of all root fields, of the golden cases, by every method, of the schema, and what is refused."""
    query_type, *_ = root_types(schema._schema)
    cases = [tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")) for name in CASES if name not in WRITES]
    bodies: list[dict[str, Any]] = [
        *(dict(zip(("query", "variables"), operation(query_type, name), strict=True)) for name in query_type.fields),
        *({"query": case["query"], "variables": json.loads(case.get("variables", "{}"))} for case in cases),
        {"query": get_introspection_query(input_value_deprecation=True)},
        {"query": "{ customers { nodes { orders { nodes { items { item { sku } } } } } } }", "extensions": {"cost": True}},
        {"query": '{ customer(by: {id: "Customer:1"}) { name } }', "extensions": {"explain": True}},
        {"query": "query A { items { totalCount } } query B { items { nodes { sku } } }", "operationName": "B"},
        {"query": "{ noSuchField }"},
        {"query": "{ items(first: 100000) { totalCount } }"},
        {"query": "{ items {"},
        {"query": "{ customers(first: 100) { nodes { orders(first: 100) { nodes { items { item { changes { totalCount }}}}}}}}"},
        {"query": "query ($id: ID!) { order(by: {id: $id}) { id } }", "variables": {"id": True}},
        {"documentId": "0" * 64},
        {"query": 5},
    ]
    for body in bodies:
        yield "POST", "/graphql", {}, body
        yield "QUERY", "/graphql", {}, body
        yield "POST", "/graphql", {"accept": "application/json", "accept-encoding": "identity"}, body
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
        if len(path := f"/graphql?{urlencode(texts)}") < 8_000:
            yield "GET", path, {}, None
            yield "HEAD", path, {}, None
    for path in ("/", "/docs", "/docs/limits.md", "/graphql", "/schema.graphql", "/livez", "/readyz", "/nowhere"):
        yield "GET", path, {}, None
        yield "GET", path, {"accept": "text/html"}, None
    yield "OPTIONS", "/graphql", {}, None
    yield "DELETE", "/graphql", {}, None
    yield "POST", "/graphql", {"content-type": "text/plain"}, {"query": "{ __typename }"}


async def test_reads_are_answered_alike_by_all(engines: Engines, tmp_path: Path) -> None:
    """Twice by each: where a plan is made, and where it is kept."""
    with made(engines, "varied") as url:
        async with processes(url, tmp_path) as both:
            await numbered(url)
            statuses: set[int] = set()
            for number, (method, path, headers, body) in enumerate(reads()):
                head = {**headers, "x-request-id": f"ask-{number}"}
                first = await both[number % 2].ask(method, path, head, body)
                for process in (*both, *both):
                    assert await process.ask(method, path, head, body) == first, (method, path, body)
                statuses.add(first[0])
                tags = [value for name, value in first[1] if name == "etag"]
                if method == "GET" and tags:
                    for process in both:
                        status, found, content = await process.ask(method, path, {**head, "if-none-match": tags[0]}, None)
                        assert (status, content, ("etag", tags[0]) in found) == (304, b"", True)
            assert statuses >= {200, 204, 400, 404, 405, 415, 422}


# ---- writes

CHANGES = """{ changes(first: 100) { totalCount pageInfo { endCursor hasNextPage } nodes {
    cursor kind type entityId version fields count by node { id } } } }"""
SHOWN = """{ items(first: 100) { nodes { id version sku price stock archived } } customers(first: 100) { nodes {
    id version name email archived orders { nodes { id version number status totalAmount items { id quantity } } } } } }"""


def writes(rows: dict[str, list[Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """Every mutation there is, with inputs drawn by chance: dry, and to be done."""
    drawn: Any = SimpleNamespace(rows=rows, kind=OPEN)
    inputs = Inputs(drawn, 5)
    mutation_type: Any = schema._schema.mutation_type
    found = []
    for name, field in mutation_type.fields.items():
        given = {"input": inputs.value(field.args["input"].type, "", "input")}
        found.append((document(name, dry=True), document(name, dry="all" in given["input"]), given))
    return found


async def numbered(url: str) -> None:
    """Wait until every change has its place: what a write tells of those before it would depend on the time."""
    async with asyncio.timeout(PATIENCE):
        while await rows_of(url, "SELECT id FROM changes WHERE position IS NULL LIMIT 1") != [[]]:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.01)


async def played(url: str, folder: Path, asked: list[tuple[str, str, dict[str, Any]]], *, by_turns: bool) -> list[Answer]:
    """The answers to a run of writes, each at one process and again, by its key, at the next; what is read in between, too."""
    found: list[Answer] = []
    async with processes(url, folder) as both:
        turns = both if by_turns else both[:1] * 2
        for number, (dry, query, variables) in enumerate(asked):
            one, other = turns[number % 2], turns[(number + 1) % 2]
            keyed = query.replace("(input: $input)", f'(input: $input) @idempotent(key: "{number}")')
            told = []
            for process, text in ((other, dry), (one, keyed), (other, keyed)):
                await numbered(url)
                body = {"query": text, "variables": variables}
                told.append(await process.ask("POST", "/graphql", {"x-request-id": f"write-{number}"}, body))
            await numbered(url)
            for process, text in product((one, other), (CHANGES, SHOWN)):
                told += [await process.ask("POST", "/graphql", {"x-request-id": f"read-{number}"}, {"query": text})]
            assert told[-4:-2] == told[-2:]
            found += told
        for process in both:
            await process.data("{ __typename }")
    return found


async def test_writes_are_answered_alike_whoever_does_them(engines: Engines, tmp_path: Path) -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(made(engines, "varied")) for _ in range(2))
        database = Database(Settings(database_url=one))
        try:
            asked = writes(await load(database))
        finally:
            await database.close()
        alone = await played(one, tmp_path, asked, by_turns=False)
        together = await played(two, tmp_path, asked, by_turns=True)
    for number, (mine, theirs) in enumerate(zip(alone, together, strict=True)):
        assert mine == theirs, asked[number // 7]
    done = [body for status, _, body in alone[1::7] if status == 200 and b'"errors":[]' in body]
    assert len(done) > len(asked) // 4, "most was refused"


# ---- what one gives, another takes


async def test_a_page_is_turned_and_a_change_is_told_wherever(shop_url: str, tmp_path: Path) -> None:
    """Cursors lead on at another process. Those who listen hear the same, and come back wherever they like."""
    page = "query ($after: String) { items(first: 1, after: $after) { nodes { sku } pageInfo { endCursor hasNextPage } } }"
    told = "subscription ($after: String) { changes(after: $after) { cursor kind entityId version fields } }"
    async with processes(shop_url, tmp_path) as (one, other):
        first = (await one.data(page))["items"]
        second = (await other.data(page, {"after": first["pageInfo"]["endCursor"]}))["items"]
        assert [first["nodes"], second["nodes"]] == [[{"sku": "A"}], [{"sku": "B"}]]

        await numbered(shop_url)
        begun = (await one.data("{ changes(last: 1) { nodes { cursor } } }"))["changes"]["nodes"][0]["cursor"]
        rename = 'mutation {{ updateItem(input: {{id: "Item:1", name: "{}"}}) {{ errors {{ code }} }} }}'
        async with AsyncExitStack() as stack:
            heard: list[list[Any]] = []
            ports = [one.served.port, other.served.port] * (1 if one.served is not other.served else 4)
            sockets = [await stack.enter_async_context(socket(port)) for port in ports]
            for each in sockets:
                await (await each.init()).subscribe("1", told, variables={"after": begun})
            for number in range(4):
                await (one, other)[number % 2].data(rename.format(f"Name {number}"))
            heard = [[(await each.hears("1"))["data"]["changes"] for _ in range(4)] for each in sockets]
        assert all(events == heard[0] for events in heard)
        assert [event["version"] for event in heard[0]] == [2, 3, 4, 5]
        for port in ports:
            async with event_stream(port, told, heard[0][1]["cursor"]) as stream:
                assert [(await stream.hears())["data"]["changes"] for _ in range(2)] == heard[0][2:]


async def test_a_document_that_one_knows_by_name_is_asked_for_once_by_the_other(shop_url: str, tmp_path: Path) -> None:
    """Apollo's protocol: the name; where it is not known, the name and the text; from then on the name."""
    text = "query Skus { items { nodes { sku } } }"
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": sha256(text.encode()).hexdigest()}}
    wanted = {"data": {"items": {"nodes": [{"sku": "A"}, {"sku": "B"}]}}}
    async with processes(shop_url, tmp_path) as both:
        head = {"x-request-id": "named"}
        answers = []
        for process in both:
            status, _, body = await process.ask("POST", "/graphql", head, {"extensions": extensions})
            [error] = json.loads(body)["errors"]
            assert (status, error["message"]) == (404, "PersistedQueryNotFound")
            assert error["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
            answers += [await process.ask("POST", "/graphql", head, {"query": text, "extensions": extensions})]
        answers += [await process.ask("POST", "/graphql", head, {"extensions": extensions}) for process in (*both, *both)]
        assert json.loads(answers[0][2]) == wanted
        assert all(answer == answers[0] for answer in answers)


async def test_each_has_a_budget_of_its_own(shop_url: str, tmp_path: Path) -> None:
    """As `ORDERGRAPH_BUDGET_PER_SECOND` says: who asks N processes may spend N times as much."""
    body = {"query": "{ customers(first: 100) { nodes { orders { nodes { id } } } } }"}
    async with processes(shop_url, tmp_path, ORDERGRAPH_BUDGET_PER_SECOND="1") as (one, other):
        assert (await one.ask("POST", "/graphql", {}, body))[0] == 200
        assert (await one.ask("POST", "/graphql", {}, body))[0] == 429
        assert (await other.ask("POST", "/graphql", {}, body))[0] == 200
        assert (await other.ask("POST", "/graphql", {}, body))[0] == 429


async def test_what_one_has_written_is_read_at_another_though_the_standby_is_late(pair: Pair, tmp_path: Path) -> None:
    create = 'mutation ($sku: String!) { createItem(input: {sku: $sku, name: "x", price: "1"}) { item { id } errors { code } } }'
    find = "query ($sku: String!) { item(by: {sku: $sku}) { sku } }"
    settings = {"ORDERGRAPH_REPLICA_URLS": pair.standby.url, "ORDERGRAPH_REPLICA_MAX_LAG_SECONDS": "600"}
    async with processes(pair.primary.url, tmp_path, **settings) as both:
        await pair.caught_up()
        await pair.pause()
        try:
            for number, (one, other) in enumerate((both, both[::-1])):
                variables = {"sku": f"ANY-{number}"}
                _, headers, _ = await one.ask("POST", "/graphql", {}, {"query": create, "variables": variables})
                token = dict(headers)["x-ordergraph-read-after"]
                for process in (one, other):
                    asked = {"query": find, "variables": variables}
                    _, _, body = await process.ask("POST", "/graphql", {"x-ordergraph-read-after": token}, asked)
                    assert json.loads(body) == {"data": {"item": variables}}
        finally:
            await pair.resume()


async def test_each_counts_for_all(postgres_url: str, tmp_path: Path) -> None:
    """On one port any worker tells what all have done."""
    async with processes(postgres_url, tmp_path) as both:
        for number in range(10):
            await both[number % 2].data("query Counted { __typename }")
        texts = [(await process.ask("GET", "/metrics", {}))[2].decode() for process in both]
    for text in texts:
        assert 'ordergraph_operation_seconds_count{kind="query",operation="Counted",outcome="ok"} 10.0' in text
