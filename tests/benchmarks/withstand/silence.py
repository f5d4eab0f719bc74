"""Faults between the server and its database: silence, lost answers, stopped processes, a missing standby, a pooler."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from graph.settings import Settings
from tests.benchmarks.withstand.scene import (
    GRACE_SECONDS,
    READ,
    REQUEST_SECONDS,
    STOCK,
    Outcome,
    Reply,
    Scene,
    create,
    fault,
    in_time,
    summary,
    told_rightly,
    until,
)
from tests.pgbouncer import pooler
from tests.servers import start_anew


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
                served = await start_anew(pooled, scene.folder, ORDERGRAPH_PGBOUNCER="true")
            except AssertionError:
                continue
            up += 1
            served.kill()
    outcome = Outcome(f"{up} of {tries} came up")
    outcome.must(up == tries, "not all came up")
    return outcome
