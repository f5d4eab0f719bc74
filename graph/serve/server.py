"""A server from its start to its end: uvicorn's, which ends in good order and in a bounded time.

What goes in: an application, sockets that listen. What comes out: the answers to requests, until a signal. What may be refused
here: requests that come after the signal (503 and `Connection: close`), and what is not done when the time is over, whose clients
are cut off. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from graph.serve import logs
from graph.serve.http1 import BoundedProtocol, protocol_of
from graph.serve.taking import OpenConnections, Taking
from graph.settings import Settings

logger = logging.getLogger("ordergraph.serve")

#: How long requests that were on their way when the signal came may still be read on connections that were idle.
GRACE_SECONDS = 0.1
#: What of the time to drain is kept for the end itself, and at most.
SHARE_OF_END, END_SECONDS = 0.2, 1.0
#: How often a process says that it is alive.
ALIVE_SECONDS = 1
#: How often it is looked whether all is done.
LOOK_SECONDS = 0.02


class DrainingServer(uvicorn.Server):
    """One process that serves. `started` is called when it does, and `alive` each second from then on.

    Where it is alone on its port, it goes on listening while it drains, to say so. With `connections`, which are counted beside
    those of others, they take what comes, if it leaves it to them.
    """

    def __init__(
        self,
        app: Starlette,
        settings: Settings,
        started: Callable[[], None],
        *,
        root_path: str = "",
        connections: OpenConnections | None = None,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.say_started = started
        self.orphaned: int | None = None
        self.counted = connections
        self.taking: Taking | None = None
        self.draining: asyncio.Event = app.state.streams.draining
        self.protocol: type[BoundedProtocol] = protocol_of(settings, app.state.admission)

        async def say_alive() -> None:
            alive()

        super().__init__(
            uvicorn.Config(
                app,
                http=self.protocol,
                access_log=False,
                server_header=False,
                log_config=None,
                root_path=root_path.rstrip("/"),
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                callback_notify=say_alive,
                timeout_notify=ALIVE_SECONDS,
            )
        )

    def ends_with(self, orphaned: int) -> None:
        """End when a descriptor can be read: whoever looked after this process is gone."""
        self.orphaned = orphaned

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.counted is None:
            await super().startup(sockets)
        else:
            self.server_state.connections = self.counted
            await super().startup([])
            self.taking = Taking(sockets or (), self._protocol, self.counted)
        if self.orphaned is not None:
            asyncio.get_running_loop().add_reader(self.orphaned, self._orphan)
        self.say_started()

    def _protocol(self) -> asyncio.Protocol:
        """What speaks on a new connection."""
        made: asyncio.Protocol = self.protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return made

    def _orphan(self) -> None:
        assert self.orphaned is not None
        asyncio.get_running_loop().remove_reader(self.orphaned)
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; at once where that was asked for before. uvicorn would raise the signal anew in the end."""
        if sig == signal.SIGINT and self.orphaned is not None:
            return  # a terminal sends it to all; whoever looks after this process says what it means
        if self.should_exit:
            os._exit(1)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what runs come to its end, within the time that the settings give."""
        seconds, time = self.settings.drain_seconds, asyncio.get_running_loop().time
        over = time() + seconds
        last = threading.Timer(seconds, give_up)  # where something holds up the loop, or the interpreter's own end
        last.daemon = True
        last.start()
        self.draining.set()
        self.protocol.draining = True
        logger.info("The server ends; what runs has %s seconds", f"{seconds:g}")
        if self.taking is not None:
            self._stop_listening(sockets)
        for connection in list(self.server_state.connections):
            if not is_idle(connection):
                connection.shutdown()
        await asyncio.sleep(min(GRACE_SECONDS, seconds / 10))
        for connection in list(self.server_state.connections):
            connection.shutdown()
        cut = over - min(END_SECONDS, SHARE_OF_END * seconds)
        while self._is_busy() and time() < cut:  # noqa: ASYNC110  # uvicorn tells nobody
            await asyncio.sleep(LOOK_SECONDS)
        self._stop_listening(sockets)
        await self._cut_off()
        await asyncio.wait([asyncio.ensure_future(self.lifespan.shutdown())], timeout=max(0.1, over - time()))

    def _stop_listening(self, sockets: list[socket.socket] | None) -> None:
        if self.taking is not None:
            self.taking.end()
        for server in self.servers:
            server.close()
        for each in sockets or ():
            each.close()

    def _is_busy(self) -> bool:
        """Whether a request runs, or bytes of an answer are on their way. Who only holds a connection is not waited for."""
        return bool(self.server_state.tasks) or any(is_sending(each) for each in self.server_state.connections)

    async def _cut_off(self) -> None:
        """End what is not done."""
        tasks = list(self.server_state.tasks)
        if tasks:
            logger.warning("The time to end is over: %d requests are cut off", len(tasks))
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=LOOK_SECONDS)  # who waits for his client learns that it is gone
            logging.getLogger("uvicorn.error").addFilter(is_news)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=END_SECONDS / 2)


def is_idle(connection: Any) -> bool:
    """Whether a connection has no request that is answered now; a socket always has."""
    cycle = getattr(connection, "cycle", connection)
    return cycle is None or (cycle is not connection and cycle.response_complete)


def is_sending(connection: Any) -> bool:
    transport = connection.transport
    return transport is not None and transport.get_write_buffer_size() > 0


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record tells more than that a request was cut off, which was told."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


def give_up() -> None:
    """End the process as it is: nothing is lost that a power cut would not lose."""
    logger.warning("The time to end is over: the process ends as it is")
    logs.finish()
    os._exit(0)
