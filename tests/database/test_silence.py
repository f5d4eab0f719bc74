"""Connections that fall silent without a word, and servers that stop: requests are answered, nobody waits for the dead."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from graph import migrate
from graph.database import Database
from graph.database.failures import TransientError
from graph.database.server_connections import SILENCE_SECONDS
from graph.settings import Settings
from tests import postgres
from tests.audit import checked_out
from tests.conftest import RemoteWith, asking, fill_with
from tests.engines import Sqlite
from tests.later import as_time_flies, end_of_transactions, put_forward
from tests.networks import Wire
from tests.remote import HANGS_SECONDS, READ, Asked, Remote, payload, remote_at, until
from tests.stock import item
from tests.test_commands import free_port

SHOP = [item("A", 1, 500), item("B", 1)]

CREATE = """
mutation ($name: String!, $email: String!) { createCustomer(
  input: {name: $name, email: $email, orders: [{items: [{item: {sku: "B"}, quantity: 1}]}]}
) { customer { name orders { nodes { totalAmount items { quantity } } } } errors { code path retryable } } }"""
#: A write of few messages.
SMALL = """
mutation ($name: String!, $email: String!) { createCustomer(input: {name: $name, email: $email}) {
  customer { name } errors { code path retryable }
} }"""
STOCK = 'mutation { adjustStock(input: {item: {sku: "A"}, delta: -1}) { item { stock } errors { code path retryable } } }'


#: Limits by which what is over first is the time of a statement.
STATEMENTS = {"request_timeout_seconds": 900.0, "statement_timeout_seconds": 60.0, "lock_timeout_seconds": 60.0}


def end_of_statements() -> None:
    """The time of statements is over that begin under `STATEMENTS`, and that in which one hears whether they are."""
    put_forward(60.0 + SILENCE_SECONDS)


def named(query: str, name: str) -> Asked:
    """A query about a customer of this name."""
    return query, {"name": name, "email": f"{name}@x.example"}


async def test_a_connection_may_fall_silent_at_any_message(remote_with: RemoteWith) -> None:
    """Each write meets silence one message later than the one before it, with and without an answer to the last one."""
    async with remote_with(pool_size=14) as shop:
        numbers = count()

        async def writes() -> bool:
            answers = await shop.all(*(named(SMALL, f"w{next(numbers)}") for _ in range(14)))
            return [payload(answer).get("errors") for answer in answers] == [[]] * 14

        for _ in range(2):  # the second time each connection knows the statements
            await until(writes)
        wires = [wire for wire in shop.net.wires if not wire.client.is_closing()]
        assert len(wires) > 10
        for n, wire in enumerate(wires):
            wire.sent, wire.last, wire.answers = 0, n // 2, n % 2 > 0
        names = [f"c{n}" for n in range(len(wires))]
        asked = (named(SMALL, name) for name in names)
        answers = dict(zip(names, await shop.meet_silence(end_of_transactions, *asked), strict=True))
        told = Counter[str]()
        there = {name for (name,) in await shop.rows("SELECT name FROM customer")}
        for name, answer in answers.items():
            codes = [error["code"] for error in payload(answer).get("errors", ())]
            told[codes[0] if codes else str(answer.status)] += 1
            if answer.refused or codes == ["TRY_AGAIN"]:
                assert name not in there
            elif codes == []:
                assert not answer.codes, answer
                assert name in there
            else:
                assert codes == ["COMMIT_UNKNOWN"]
        assert told["TRY_AGAIN"] > 2, told
        assert told["200"] > 2, told
        assert told["COMMIT_UNKNOWN"] > 0, told
        # What is silent is used by nobody again, and keeps nobody from writing.
        for wire in wires:
            wire.last = None
        await until(writes)


async def test_connections_that_were_forgotten_while_they_lay_in_the_pool(remote_with: RemoteWith) -> None:
    """Where the driver hears nothing within its time another connection is taken, and the old ones by nobody who comes later."""
    async with remote_with(**STATEMENTS) as shop:
        await shop.all(*([named(CREATE, f"warm{n}") for n in range(8)] + [READ] * 7))
        opened = shop.net.silence()
        write, read = await shop.meet_silence(end_of_statements, named(CREATE, "first"), READ)
        assert payload(write)["errors"] == []
        assert read.body == {"data": {"items": {"totalCount": 2}}}
        later = await shop.all(*([named(CREATE, f"later{n}") for n in range(opened)] + [READ] * opened))
        assert not any(answer.codes for answer in later)
        assert [wire.heard for wire in shop.net.wires].count(True) == 2, "only the first two met silence"


async def test_nobody_answers_at_all(remote: Remote) -> None:
    """Also new connections are silent: every request is refused in its time, and served again when the network is back."""
    await remote.all(*[READ] * 5)
    remote.net.dark = True
    remote.net.silence()
    answers = await as_time_flies(remote.all(*[STOCK, READ] * 10))
    assert all(answer.refused for answer in answers), answers
    assert checked_out(remote.database) == 0
    remote.net.dark = False
    sold = 0

    async def serves() -> bool:
        nonlocal sold
        answers = await remote.all(*[STOCK, READ] * 5)
        sold += [payload(answer).get("errors") for answer in answers].count([])
        return not any(answer.codes for answer in answers)

    await until(serves)
    assert await remote.rows("SELECT stock FROM item WHERE sku = 'A'") == [(500 - sold,)]


async def test_nobody_waits_for_a_rollback(remote_with: RemoteWith) -> None:
    """What is refused, or only tried, is answered as it is also where the network loses the ROLLBACK."""
    dry = CREATE.replace("{ createCustomer", "@dryRun { createCustomer")
    atomic = CREATE.replace("{ createCustomer", "@atomic { createCustomer")
    async with remote_with(**STATEMENTS) as shop:
        assert payload(await shop.send(named(CREATE, "taken")))["errors"] == []
        shop.net.lose(before=b"ROLLBACK")
        refused, tried, together = await shop.meet_silence(
            end_of_statements, named(CREATE, "taken"), named(dry, "dry"), named(atomic, "taken")
        )
        shop.net.lose()
        assert refused.refused or [error["code"] for error in payload(refused)["errors"]] == ["UNIQUE"], refused
        assert tried.refused or payload(tried)["errors"] == [], tried
        assert together.refused or [error["code"] for error in payload(together)["errors"]] == ["UNIQUE"], together
        assert checked_out(shop.database) == 0
        assert await shop.rows("SELECT name FROM customer") == [("taken",)]
        assert payload(await shop.send(named(CREATE, "next")))["errors"] == []


@pytest.mark.usefixtures("missed_soon")
async def test_what_a_dead_transaction_holds_is_let_go(remote: Remote) -> None:
    async def held() -> bool:
        return await remote.rows("SELECT FROM pg_locks WHERE locktype = 'transactionid'") != []

    async def free() -> bool:
        return not await held()

    remote.net.lose(behind=b"UPDATE item", more=1)
    asked = asyncio.ensure_future(remote.send(STOCK))
    await until(held)
    remote.net.lose()
    end_of_transactions()
    assert [error["code"] for error in payload(await asked)["errors"]] == ["TRY_AGAIN"]
    await until(free)
    assert payload(await remote.send(STOCK))["errors"] == []
    assert await remote.rows("SELECT stock FROM item WHERE sku = 'A'") == [(499,)]


async def test_who_is_cancelled_ends_his_statement_on_the_server(remote_with: RemoteWith) -> None:
    """A request that is given up waits for a lock: the server does not wait on, and nothing of it is written."""
    async with remote_with() as shop:

        async def waiting() -> int:
            ((count,),) = await shop.rows("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return int(count)

        async def waits() -> bool:
            return await waiting() == 1

        async def waits_no_more() -> bool:
            return await waiting() == 0

        holder = await asyncpg.connect(shop.url)
        async with holder.transaction():
            await holder.execute("SELECT FROM item FOR UPDATE")
            asked = asyncio.ensure_future(shop.send(STOCK))
            await until(waits)
            asked.cancel()
            with suppress(asyncio.CancelledError):
                await asked
            assert checked_out(shop.database) == 0
            await until(waits_no_more)
        await holder.close()
        assert not (await shop.send(READ)).codes
        assert await shop.rows("SELECT stock FROM item WHERE sku = 'A'") == [(500,)]


@contextmanager
def stopped(pids: Sequence[tuple[int]]) -> Iterator[None]:
    """Processes that do nothing, and do not end."""
    assert pids
    for (pid,) in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for (pid,) in pids:
            os.kill(pid, signal.SIGCONT)


async def test_server_processes_that_stop() -> None:
    """Requests are answered while the processes of their connections are stopped, and by new ones from then on."""
    with postgres.started(postgres.binaries()) as own:  # whose processes are ours to stop
        await migrate.upgrade(own.url)
        await fill_with(SHOP, own.url)
        async with remote_at(own.url, **STATEMENTS) as shop:
            await shop.all(*([named(CREATE, f"warm{n}") for n in range(8)] + [READ] * 7))
            said = {wire: wire.sent for wire in shop.net.wires}

            def waits(wire: Wire) -> bool:
                return wire.sent > said.get(wire, wire.sent)

            with stopped(await shop.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'ordergraph'")):
                for answer in await shop.meet_silence(end_of_statements, *[STOCK, READ] * 4, silent=waits):
                    codes = [error["code"] for error in payload(answer).get("errors", ())]
                    assert answer.refused or (not answer.codes and codes in ([], ["TRY_AGAIN"])), answer
                assert checked_out(shop.database) == 0

                async def serves() -> bool:
                    return not any(answer.codes for answer in await shop.all(STOCK, READ))

                await until(serves)


async def test_both_ends_look_after_a_connection() -> None:
    options = [(socket.IPPROTO_TCP, name) for name in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)]
    wanted = {
        "statement_timeout": b"5s",
        "lock_timeout": b"2s",
        "idle_in_transaction_session_timeout": b"7s",
        "client_connection_check_interval": b"1s",
        "tcp_user_timeout": b"10000",  # milliseconds, as the server says it
        "tcp_keepalives_idle": b"30",
        "tcp_keepalives_interval": b"5",
        "tcp_keepalives_count": b"3",
    }
    port = free_port()
    with postgres.started(postgres.binaries(), "listen_addresses=127.0.0.1", f"port={port}"):  # a network is what it is about
        database = Database(Settings(database_url=f"postgresql://postgres@127.0.0.1:{port}/postgres"))
        found = {name: await database.fetch("SELECT current_setting($1)", [name]) for name in wanted}
        session = database.session()

        async def options_of() -> list[int]:
            made = session.info["driver"]._transport.get_extra_info("socket")
            return [made.getsockopt(*option) for option in (*options, (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))]

        assert await database.transaction(session, options_of) == [30, 5, 3, 5000]
        assert found == wanted
        await database.close()


async def test_a_server_that_cannot_look_after_its_clients_is_taken_without(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.database.server_limits.CHECK_SECONDS", -1)  # refused as any value but 0 is on Windows
    async with asking(Settings(database_url=postgres_url)) as ask:
        assert await ask.data(READ) == {"items": {"totalCount": 0}}
        database: Database = ask.app.state.database
        assert await database.fetch("SELECT current_setting($1)", ["client_connection_check_interval"]) == b"0"
        assert await database.fetch("SELECT current_setting($1)", ["lock_timeout"]) == b"2s"


async def test_a_write_that_runs_too_long_on_sqlite_keeps_nobody_waiting(sqlite_engines: Sqlite) -> None:
    """The thread that runs the statement is interrupted, and the file is free for the next one."""
    url = sqlite_engines.new("empty")
    database = Database(Settings(database_url=url))
    session = database.session()
    endless = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    async def forever() -> None:
        await session.execute(sa.text("DELETE FROM item"))
        asyncio.get_running_loop().call_soon(put_forward, 20.0)
        await session.execute(sa.text(endless))

    async def short() -> Any:
        return (await session.execute(sa.text("SELECT 1"))).scalar()

    async with asyncio.timeout(HANGS_SECONDS):
        with pytest.raises(TransientError):
            await database.transaction(session, forever, asyncio.get_running_loop().time() + 20)
        assert await database.transaction(session, short) == 1
    assert checked_out(database) == 0
    await database.close()
    sqlite_engines.drop(url)
