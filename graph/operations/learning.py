"""What is done once for an operation, parsing, validation, planning, is done beside the loop: known ones do not wait for it.

What goes in: a function without side effects. What comes out: what it returns, once for all who ask for the same at a time. What
is refused here: `RequestRefused` with status 503 where so much of this work waits that another would wait too long, and what
is nested more deeply than Python's stack is high (`ORDERGRAPH_MAX_DEPTH` may allow it).

It is one thread: it takes its turns at the interpreter's lock, however long one piece of work is, and no more than half of the
processor while known operations want it (`graph.serve.app` makes the turns short). On the loop, each new document would hold all
others up for as long as it takes, and a client that sends nothing but new ones would have the server for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

from graphql import GraphQLError

from graph.operations.aside import aside
from graph.operations.request_errors import RequestRefused, refused

V = TypeVar("V")

#: How long a refusal takes: a client that sends the next one at once would have the loop do nothing but refuse.
PAUSE_SECONDS = 0.25
BUSY = "Too many new operations arrive at a time; try again."


@contextmanager
def within_stack() -> Iterator[None]:
    """Refuse what is nested too deeply for whoever walks through it in this block."""
    try:
        yield
    except RecursionError:
        error = GraphQLError("The operation is nested too deeply.", extensions={"code": "OPERATION_TOO_LARGE"})
        raise RequestRefused([error]) from None


class Learner:
    """One thread for all new operations of a process, in the order they came."""

    def __init__(self, patience_seconds: float) -> None:
        #: How long the work of a request may have to wait for that of others.
        self.patience_seconds = patience_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="learn")
        self._making: dict[Hashable, asyncio.Task[Any]] = {}
        self._waiting = 0
        self._each_seconds = 0.0  # what the last ones took, the newest counting most

    async def learn(self, key: Hashable, make: Callable[[], V], keep: Callable[[V], None]) -> V:
        """What `make` returns, or is returning to another who asked by the same key. Who asks later finds what `keep` kept."""
        with aside():
            return await self._learn(key, make, keep)

    async def _learn(self, key: Hashable, make: Callable[[], V], keep: Callable[[V], None]) -> V:
        making = self._current(key)
        if making is None and self._is_busy():
            await asyncio.sleep(PAUSE_SECONDS)
            making = self._current(key)
            if making is None and self._is_busy():
                raise refused("SERVICE_UNAVAILABLE", BUSY, 503)
        if making is None:
            self._waiting += 1
            making = self._making[key] = asyncio.create_task(self._make(make, keep))
            making.add_done_callback(lambda done: self._made(key, done))
        made: V = await asyncio.shield(making)  # others may wait for it, too
        return made

    def _current(self, key: Hashable) -> asyncio.Task[Any] | None:
        making = self._making.get(key)
        return making if making is not None and making.get_loop() is asyncio.get_running_loop() else None

    def _is_busy(self) -> bool:
        return self._waiting * self._each_seconds > self.patience_seconds

    async def _make(self, make: Callable[[], V], keep: Callable[[V], None]) -> V:
        made = await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, make)
        keep(made)
        return made

    def _timed(self, make: Callable[[], V]) -> V:
        start = perf_counter()
        try:
            with within_stack():
                return make()
        finally:
            self._each_seconds += (perf_counter() - start - self._each_seconds) / 8

    def _made(self, key: Hashable, done: asyncio.Task[Any]) -> None:
        self._waiting -= 1
        if self._making.get(key) is done:
            del self._making[key]
        if not done.cancelled():
            done.exception()  # whoever asked may be gone
