"""Connections are taken by the handful: one that waits to be taken is seen by nobody who could refuse it."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack

import uvloop

from graph.serve.listening import AT_ONCE, listen, repeated

WAITING = 10 * AT_ONCE


class Taken(asyncio.Protocol):
    """Counts the connections that were taken."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Taken.count += 1
        transport.close()


async def turns_until_all_are_taken(made: list[socket.socket]) -> int:
    loop = asyncio.get_running_loop()
    Taken.count = turns = 0
    servers = [await loop.create_server(Taken, sock=each) for each in made]
    while Taken.count < WAITING:
        await asyncio.sleep(0)
        turns += 1
        assert turns < 100 * WAITING, f"{Taken.count} of {WAITING} were taken"
    for server in servers:
        server.close()
    return turns


def test_several_connections_are_taken_in_a_turn_of_the_loop() -> None:
    made = listen("127.0.0.1", 0)
    with ExitStack() as waiting:
        for _ in range(WAITING):
            waiting.enter_context(socket.create_connection(made[0].getsockname()[:2]))
        assert uvloop.run(turns_until_all_are_taken(repeated(made))) <= WAITING // AT_ONCE + 20


def test_a_duplicate_made_by_one_process_lets_no_other_wait() -> None:
    """All share one mode: a worker that begins while another takes connections may not change it."""
    made = listen("127.0.0.1", 0)
    with ExitStack() as opened:
        for each in made:
            opened.enter_context(each)
            again = opened.enter_context(each.dup())
            assert not os.get_blocking(each.fileno())
            assert not os.get_blocking(again.fileno())
