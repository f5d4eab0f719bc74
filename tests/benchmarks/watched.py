"""What it costs to be watched: `python -m tests.benchmarks.watched`, the point read of one server in several settings, in turn.

What goes in: options. What comes out: for each setting the processor time of a request and its ratio to `deaf`, a server in which
nothing is observed at all. `plain` is the server as it is started; `metrics` counts, `access` writes a line a request, `traces`
makes two spans of each, for a collector that is not there. What is refused here: an answer that is not a 200 with data.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from typing import Any

import click

from tests.benchmarks.__main__ import BODIES, SETTINGS, bodies, database, learn
from tests.benchmarks.comparing import compare, options
from tests.benchmarks.operations import OPERATIONS
from tests.benchmarks.serving import running, share_cores

DEAF = "deaf"
SERVERS: dict[str, dict[str, str]] = {
    DEAF: {},
    "plain": {},
    "metrics": {"ORDERGRAPH_METRICS": "true"},
    "access": {"ORDERGRAPH_METRICS": "true", "ORDERGRAPH_ACCESS_LOG": "true"},
    "traces": {"ORDERGRAPH_METRICS": "true", "ORDERGRAPH_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
}
POINT = "order by id"


@click.command()
@options
def main(rounds: int, seconds: float, connections: int, sqlite: bool) -> None:
    """Measure what observation costs a point read."""
    core = share_cores()
    (operation,) = [each for each in OPERATIONS if each.name == POINT]
    with database(2_000, sqlite) as url, ExitStack() as stack:
        facts = asyncio.run(learn(url, 2_000))
        servers = []
        for name, more in SERVERS.items():
            command = ["-m", "tests.benchmarks.watched" if name == DEAF else "graph", "serve", "--no-sample"]
            servers.append(stack.enter_context(running(name, command, {"DATABASE_URL": url, **SETTINGS, **more}, core)))
        compare(servers, lambda _, number: (bodies(operation, facts, BODIES, f"{number}")[1], ""), rounds, seconds, connections)


def serve_deaf() -> None:
    """`serve`, where nothing is observed."""
    from graph.__main__ import main as command
    from graph.database.telling import Watch
    from graph.observations import Operation

    nothing: Any = lambda self, *_: self  # noqa: E731  # it stands for several
    operation: Any = Operation
    operation.__enter__, operation.__exit__ = nothing, lambda *_: None
    watch: Any = Watch
    watch.__init__ = lambda self, *_: setattr(self, "answered", 0.0)
    watch.began = watch.ended = nothing
    command(prog_name="ordergraph")


if __name__ == "__main__":
    serve_deaf() if sys.argv[1:2] == ["serve"] else main()
