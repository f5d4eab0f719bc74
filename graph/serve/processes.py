"""What `serve` starts: one server, or several processes with one each.

What goes in: settings, sockets that listen already. What comes out: nothing until a signal ends it. What may be refused here:
nothing; what a worker cannot do its log tells.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable

from graph.database import Database
from graph.schema import schema
from graph.serve.app import create_app, tune_collector
from graph.serve.listening import repeated
from graph.serve.metrics import SHARED_FOLDER, forget
from graph.serve.server import DrainingServer
from graph.serve.taking import Headcount, OpenConnections
from graph.serve.workers import Workers
from graph.settings import Settings


def serve_alone(settings: Settings, sockets: list[socket.socket], root_path: str, serving: Callable[[], None]) -> None:
    """Serve from this process. `serving` is called when it does."""
    DrainingServer(create_app(settings), settings, serving, root_path=root_path).run(repeated(sockets))


def serve_together(
    number: int, settings: Settings, sockets: list[socket.socket], root_path: str, serving: Callable[[], None]
) -> int:
    """Serve from as many processes. Returns the exit status."""

    headcount = Headcount(number)

    def work(worker: int, alive: Callable[[], None], orphaned: int) -> int:
        mine = OpenConnections(headcount, worker - 1)
        server = DrainingServer(create_app(settings), settings, alive, root_path=root_path, connections=mine, alive=alive)
        server.ends_with(orphaned)
        server.run(sockets)
        return 0

    schema.engine(Database(settings))  # what is wrong with a file of documents is told once
    tune_collector()  # so that what all have in common stays so
    with tempfile.TemporaryDirectory(prefix="ordergraph-") as folder:
        if settings.metrics:
            os.environ.setdefault(SHARED_FOLDER, folder)
        workers = Workers(number, work, settings, sockets, serving, forget if settings.metrics else lambda _: None)
        return workers.run()
