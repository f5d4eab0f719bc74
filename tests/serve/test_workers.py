"""Several processes on one port: each request is one for all, who is lost or hangs is replaced, all end together (fault 22)."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from graph import migrate
from graph.feed.positions import cursor_at
from graph.serve.admission import FEW
from tests import postgres
from tests.conftest import Ask
from tests.engines import Postgres
from tests.forks import environment
from tests.serve.test_drain import RENAME, WATCHED, client_of, ended, locked, log_of, until_running
from tests.servers import Served, start, start_anew
from tests.sockets import PATIENCE, until
from tests.stock import customer
from tests.subscribers import socket as opened_socket
from tests.test_commands import Run, forks, refused, run

__all__ = ["forks", "run"]

SHOP = [customer("Ada", email="ada@example.org")]
CREATE = """mutation Make { createCustomer(input: {name: "Eve", email: "eve@example.org"}) @idempotent(key: "one") {
    customer { id } errors { code } } }"""
FOLLOW = f'subscription {{ changes(after: "{cursor_at(0)}") {{ entityId version kind }} }}'
ON_POSTGRESQL = pytest.mark.parametrize("engines", ["postgresql"], indirect=True)


def workers_of(served: Served) -> set[int]:
    """The processes of a server's workers."""
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
    return {int(pid) for pid in children.read_text().split()}


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def post(url: str, query: str) -> Any:
    """The answer on a connection of its own, which any worker may have taken."""
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:  # to read certificates takes longer than the test
        return (await http.post(f"{url}/graphql", json={"query": query})).json()


@asynccontextmanager
async def served_by(
    number: int, url: str, folder: Path, code: str = "", *, anew: bool = False, **settings: Any
) -> AsyncIterator[Served]:
    """So many workers, `anew` as a user starts them; `code` is what starts the server instead of the command."""
    if anew or code:
        served = await start_anew(url, folder, None, number, code, **settings)
    else:
        served = await start(url, folder, None, number, **settings)
    workers = workers_of(served)
    try:
        yield served
    finally:
        workers |= workers_of(served) if served.process.poll() is None else set()
        served.kill()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@ON_POSTGRESQL
async def test_workers_serve_as_one(empty_url: str, shop: Ask, tmp_path: Path) -> None:
    async with served_by(2, empty_url, tmp_path, anew=True, **WATCHED, ORDERGRAPH_ACCESS_LOG="true") as served:
        await until(lambda: "Serving " in log_of(served, tmp_path))
        assert len(workers_of(served)) == 2

        # One key is one row, whoever is asked; these are no crowd, even if one worker has all of them.
        answers = await asyncio.gather(*(post(served.url, CREATE) for _ in range(FEW)))
        payloads = [answer["data"]["createCustomer"] for answer in answers]
        made = {payload["customer"]["id"] for payload in payloads if payload["customer"]}
        assert len(made) == 1
        assert {error["code"] for payload in payloads for error in payload["errors"]} <= {"IDEMPOTENCY_IN_PROGRESS", "TRY_AGAIN"}
        assert await shop.data("{ customers { totalCount } }") == {"customers": {"totalCount": 2}}

        # Each worker tells of all of them, and of whom it is.
        for _ in range(20):
            await post(served.url, "query Find { __typename }")
        await until(lambda: log_of(served, tmp_path).count(" ordergraph.access: ") == FEW + 20)
        lines = [line for line in log_of(served, tmp_path).splitlines() if " ordergraph.access: " in line]
        took = Counter(re.findall(r"\(worker (\d), ", "\n".join(lines)))
        assert took.total() == FEW + 20
        assert took.keys() <= {"1", "2"}
        async with client_of(served) as http:
            text = (await http.get("/metrics")).text
        assert 'ordergraph_operation_seconds_count{kind="query",operation="Find",outcome="ok"} 20.0' in text
        assert re.search(r'ordergraph_connections\{state="most"\} (15|30)\.0', text)
        assert set(re.findall(r'process_cpu_seconds_total\{pid="(\d+)"\}', text)) <= {str(pid) for pid in workers_of(served)}
        assert re.search(r'process_resident_memory_bytes\{pid="\d+"\} [1-9]', text)

        # Who listens to one hears what is written by all, in order.
        async with opened_socket(served.port) as listener:
            await (await listener.init()).subscribe("1", FOLLOW)
            assert [(await listener.hears("1"))["data"]["changes"]["kind"] for _ in range(2)] == ["CREATED"] * 2  # it has begun
            renamed = await asyncio.gather(*(post(served.url, RENAME.replace("Eve", f"Eve {n}")) for n in range(10)))
            assert [answer["data"]["updateCustomer"]["errors"] for answer in renamed] == [[]] * 10
            heard = [(await listener.hears("1"))["data"]["changes"] for _ in range(10)]
        versions = [change["version"] for change in heard]
        assert versions == sorted(set(versions))
        assert {(change["entityId"], change["kind"]) for change in heard} == {("Customer:1", "UPDATED")}
    assert "Traceback" not in log_of(served, tmp_path)


@ON_POSTGRESQL
async def test_workers_are_replaced_and_end_together(empty_url: str, shop: Ask, tmp_path: Path) -> None:
    async with served_by(2, empty_url, tmp_path, anew=True, **WATCHED) as served:
        await until(lambda: "Serving " in log_of(served, tmp_path))

        # One that is killed is replaced, and nobody waits for it.
        lost, kept = workers_of(served)
        os.kill(lost, signal.SIGKILL)
        await until(lambda: len(workers_of(served) - {lost}) == 2)
        # One who is told to end before that just does.
        await until(lambda: log_of(served, tmp_path).count("Started server process") == 3)
        assert kept in workers_of(served)
        assert await post(served.url, "query Find { __typename }") == {"data": {"__typename": "Query"}}
        assert re.search(rf"Worker \d is lost \(process {lost}, signal 9\); another takes its place", log_of(served, tmp_path))

        # All end as one does.
        workers = workers_of(served)
        async with locked(empty_url):
            running = [asyncio.create_task(post(served.url, RENAME)) for _ in range(4)]
            await until_running(served, 4)
            served.process.send_signal(signal.SIGTERM)
            await until(lambda: log_of(served, tmp_path).count("The server ends;") == 2)
        for task in running:
            assert (await task)["data"]["updateCustomer"]["errors"] == []
        assert await ended(served) == 0
        assert not any(is_alive(pid) for pid in workers)
        with pytest.raises(httpx2.TransportError):
            await post(served.url, "{ __typename }")
    said = log_of(served, tmp_path)
    assert said.count("Serving ") == 1
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if " ERROR " in line and " is lost " not in line] == []


#: A server that takes a worker for one that hangs sooner than usual.
IMPATIENT = """
import sys
from graph.serve import workers
from graph.__main__ import main
workers.HANGS_SECONDS = 1.0
main(sys.argv[1:])
"""


@ON_POSTGRESQL
async def test_a_worker_that_hangs_is_replaced(empty_url: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"ORDERGRAPH_DRAIN_SECONDS": "1"}
    async with served_by(2, empty_url, tmp_path, IMPATIENT, **settings) as served:
        await until(lambda: "Serving " in log_of(served, tmp_path))
        stopped = min(workers_of(served))
        os.kill(stopped, signal.SIGSTOP)
        said = (rf"Worker \d hangs \(process {stopped}\)", rf"Worker \d is lost \(process {stopped}, signal 9\)")
        await until(lambda: all(re.search(each, log_of(served, tmp_path)) for each in said))
        await until(lambda: not is_alive(stopped) and len(workers_of(served)) == 2)
        async with asyncio.timeout(PATIENCE):
            while True:  # it may be impatient with the other one, too
                with suppress(httpx2.TransportError):
                    assert await post(served.url, "{ __typename }") == {"data": {"__typename": "Query"}}
                    break


@ON_POSTGRESQL
async def test_workers_end_when_nobody_looks_after_them(empty_url: str, tmp_path: Path) -> None:
    async with served_by(2, empty_url, tmp_path) as served:
        await until(lambda: "Serving " in log_of(served, tmp_path))
        workers = workers_of(served)
        served.kill()
        await until(lambda: not any(is_alive(pid) for pid in workers))
    assert "Traceback" not in log_of(served, tmp_path)


def test_what_is_wrong_is_told_once(run: Run, tmp_path: Path, postgres_engines: Postgres) -> None:
    done = run("serve", "--workers", "2")
    assert done.returncode == 2
    assert done.stderr == (
        "Error: --workers needs a PostgreSQL: a file on SQLite has one writer, and one process serves it best\n"
    )
    assert list(tmp_path.iterdir()) == []
    url = postgres_engines.new("nothing")
    assert "run `ordergraph migrate`" in refused(run("serve", "--workers", "2", "--port", "0", DATABASE_URL=url))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert refused(run("serve", "--workers", "2", "--port", port, DATABASE_URL=url)).endswith("it is taken")
    postgres_engines.drop(url)
    assert "cannot use" in refused(run("serve", "--workers", "2", "--port", "0", DATABASE_URL="postgresql://shop@127.0.0.1:1/x"))


def test_workers_that_never_serve_are_not_begun_again(tmp_path: Path) -> None:
    code = """
import sys
from graph.serve.workers import Workers
from graph.settings import Settings
sys.exit(Workers(2, lambda number, started, orphaned: 3, Settings(), [], lambda: print("serving"), lambda pid: None).run())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(r"Worker \d ended before it served \(exit status 3\); the server ends\n", done.stderr)
    assert done.stdout == ""


async def test_a_restart_of_the_database_under_load_heals_in_all_workers(tmp_path: Path) -> None:
    with postgres.started(postgres.binaries(), "synchronous_commit=on") as own:
        await migrate.upgrade(own.url)
        async with served_by(2, own.url, tmp_path) as served:
            await until(lambda: "Serving " in log_of(served, tmp_path))
            seen: list[tuple[int, str]] = []
            told: set[tuple[int, str]] = set()
            over = asyncio.Event()
            unserved = {(503, "SERVICE_UNAVAILABLE"), (200, "TRY_AGAIN"), (200, "COMMIT_UNKNOWN")}

            async def ask(client: httpx2.AsyncClient, query: str) -> None:
                while not over.is_set():
                    answer = await client.post("/graphql", json={"query": query})
                    body = answer.json()
                    codes = [error["extensions"]["code"] for error in body.get("errors", ())]
                    codes += [error["code"] for error in (body.get("data") or {}).get("createItem", {}).get("errors", ())]
                    seen.append((answer.status_code, codes[0] if codes else ""))

            create = 'mutation { createItem(input: {sku: "one", name: "One", price: "1"}) { errors { code } } }'
            async with asyncio.TaskGroup() as group:
                clients = [client_of(served) for _ in range(8)]
                for n, client in enumerate(clients):
                    group.create_task(ask(client, create if n % 2 else "{ items { totalCount } }"))
                await until(lambda: len(seen) > 8)
                await asyncio.to_thread(own.stop, "immediate")
                await until(lambda: not unserved.isdisjoint(seen))
                told |= set(seen)
                await asyncio.to_thread(own.start)
                async with asyncio.timeout(PATIENCE):
                    while True:
                        seen.clear()
                        await asyncio.sleep(0.3)
                        if len(seen) > 8 and set(seen) <= {(200, ""), (200, "UNIQUE")}:
                            break
                        told |= set(seen)
                over.set()
            for client in clients:
                await client.aclose()
            assert len(workers_of(served)) == 2
            assert told <= {(200, ""), (200, "UNIQUE"), *unserved}
    assert "Traceback" not in log_of(served, tmp_path)
