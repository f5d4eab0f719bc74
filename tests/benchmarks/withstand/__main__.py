"""What a running server withstands: `python -m tests.benchmarks.withstand`.

What goes in: options. What comes out: for each fault a line: what happened, a figure, and FAIL where it was not what must happen.
Every fault has a fresh server. What is refused here: nothing; the exit status is 1 where a line says FAIL.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from tests import postgres
from tests.benchmarks.withstand import files, floods, locks, silence
from tests.benchmarks.withstand.scene import (
    FAULTS,
    OF_FILES,
    scene_at,
)

#: Faults are known once their module is imported.
ROOMS = (silence, locks, floods, files)


async def withstand(chosen: Sequence[str]) -> int:
    """Run faults one after the other and print a line for each; how many failed."""
    failed = 0
    gc.disable()  # what this process stands still for is not the server's
    folder = Path(tempfile.mkdtemp(prefix="withstand-"))
    options = ("wal_level=replica", "max_wal_senders=2", "synchronous_commit=on", "max_connections=200")
    try:
        with postgres.started(postgres.binaries(), *options) as own:
            for number, name in enumerate(chosen):
                url = f"sqlite:///{folder}/withstand{number}.db"
                if name not in OF_FILES:
                    url = await asyncio.to_thread(postgres.Server(own.url).create, f"withstand{number}")
                async with scene_at(url, folder) as scene:
                    outcome = await FAULTS[name](scene)
                failed += bool(outcome.wrong)
                click.echo(f"{'FAIL' if outcome.wrong else 'ok  '} {name}: {outcome.figure}")
                for wrong in outcome.wrong:
                    click.echo(f"       {wrong}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return failed


@click.command()
@click.option("--only", default="", metavar="WORDS", help="Only faults whose names contain one of these, comma-separated.")
def main(only: str) -> None:
    """Break a running server in every way there is a name for."""
    chosen = [name for name in FAULTS if any(word in name for word in only.split(","))]
    sys.exit(1 if asyncio.run(withstand(chosen)) else 0)


if __name__ == "__main__":
    main()
