"""Processes that share a socket take as many connections each, and none waits for one that does not take its own."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from graph.serve import taking as taking_
from graph.serve.taking import LOOK_SECONDS, LOOKS, Headcount, OpenConnections, Taking
from tests.later import put_forward
from tests.sockets import PATIENCE

#: A loop's own clock decides who is first; whoever has more leaves to the other.
NUMBER = 40


class Held(asyncio.Protocol):
    """A connection that is kept until its client leaves."""

    def __init__(self, connections: OpenConnections) -> None:
        self.connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.setblocking(False)
        yield made


@asynccontextmanager
async def taking(listener: socket.socket, connections: OpenConnections) -> AsyncIterator[Taking]:
    """One that takes from the listener as a process of its own would, by a descriptor of its own."""
    with listener.dup() as shared:
        shared.setblocking(False)
        made = Taking([shared], lambda: Held(connections), connections)
        try:
            yield made
        finally:
            made.end()


async def until_taken(number: int, *takers: OpenConnections) -> None:
    async with asyncio.timeout(PATIENCE):
        while sum(map(len, takers)) != number:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.001)


async def connected(listener: socket.socket) -> asyncio.StreamWriter:
    return (await asyncio.open_connection(*listener.getsockname()))[1]


@pytest.mark.parametrize("processes", [2, 3])
async def test_connections_are_shared_evenly(listener: socket.socket, processes: int) -> None:
    headcount = Headcount(processes)
    takers = [OpenConnections(headcount, process) for process in range(processes)]
    async with AsyncExitStack() as stack:
        for each in takers:
            await stack.enter_async_context(taking(listener, each))
        clients = []
        for number in range(1, NUMBER + 1):
            clients.append(await connected(listener))
            await until_taken(number, *takers)
            assert max(map(len, takers)) - min(map(len, takers)) <= 1
        first = set(takers[0])
        for client in clients[::2]:
            client.close()
        await until_taken(NUMBER // 2, *takers)
        assert len(takers[0]) < len(first), "those that left do not count any more"
        for number in range(NUMBER // 2 + 1, 2 * NUMBER + 1):
            clients.append(await connected(listener))
            await until_taken(number, *takers)
        assert max(map(len, takers)) - min(map(len, takers)) <= 1
        for client in clients:
            client.close()
        await until_taken(0, *takers)


async def test_nobody_waits_for_one_that_takes_nothing(listener: socket.socket) -> None:
    """It has fewer, since it hangs, or has ended and is not replaced yet."""
    headcount = Headcount(2)
    takers = [OpenConnections(headcount, process) for process in range(2)]
    async with taking(listener, takers[0]):
        clients = [await connected(listener) for _ in range(NUMBER)]
        await until_taken(NUMBER, *takers)
        assert (len(takers[0]), len(takers[1])) == (NUMBER, 0)
    for client in clients:
        client.close()


@asynccontextmanager
async def second_left(listener: socket.socket) -> AsyncIterator[tuple[Headcount, OpenConnections]]:
    """One of two processes, which has the first connection and the second one comes."""
    headcount = Headcount(2)
    connections = OpenConnections(headcount, 0)
    async with taking(listener, connections):
        clients = [await connected(listener)]
        await until_taken(1, connections)
        clients.append(await connected(listener))
        yield headcount, connections
        await until_taken(2, connections)
    for client in clients:
        client.close()


async def test_what_is_left_to_one_that_lives_is_left_to_him_while_he_has_fewer(listener: socket.socket) -> None:
    """He may have left an earlier one a moment ago, and be about to come back."""
    async with second_left(listener) as (headcount, connections):
        for _ in range(5 * LOOKS):
            headcount.took(1)
            await asyncio.sleep(LOOK_SECONDS)
        assert len(connections) == 1


async def test_who_stood_still_looks_again_before_he_takes_what_he_left(listener: socket.socket) -> None:
    """All may have stood still, and he to whom it was left be about to look."""
    async with second_left(listener) as (_, connections):
        await asyncio.sleep(LOOK_SECONDS / 2)
        put_forward(2 * LOOKS * LOOK_SECONDS)
        for _ in range(LOOKS // 2):
            await asyncio.sleep(0)
        assert connections.coming == 0
        assert len(connections) == 1


async def test_what_was_left_is_taken_once_nobody_has_fewer(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where connections are short, he to whom it was left may have left it himself a moment before."""
    monkeypatch.setattr(taking_, "LOOKS", 1_000_000)
    async with second_left(listener) as (headcount, connections):
        await asyncio.sleep(20 * LOOK_SECONDS)
        assert len(connections) == 1
        headcount.tell(1, 1)


class Full(socket.socket):
    """A listener of a process that may open no more files, until it may."""

    full = True

    def accept(self) -> tuple[socket.socket, object]:
        if self.full:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_who_may_open_no_more_files_takes_it_when_he_may(listener: socket.socket) -> None:
    connections = OpenConnections(Headcount(1), 0)
    with Full(fileno=listener.dup().detach()) as full:
        full.setblocking(False)
        made = Taking([full], lambda: Held(connections), connections)
        client = await connected(listener)
        await asyncio.sleep(0.05)
        assert len(connections) == 0
        full.full = False
        await until_taken(1, connections)
        client.close()
        await until_taken(0, connections)
        made.end()


async def test_who_has_ended_takes_no_more(listener: socket.socket) -> None:
    headcount = Headcount(2)
    takers = [OpenConnections(headcount, process) for process in range(2)]
    async with taking(listener, takers[0]) as ended, taking(listener, takers[1]):
        ended.end()
        clients = [await connected(listener) for _ in range(3)]
        await until_taken(3, *takers)
        assert (len(takers[0]), len(takers[1])) == (0, 3)
    for client in clients:
        client.close()
