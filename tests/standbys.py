"""A real primary with a real standby that follows it, whose replay can be held.

What goes in: options of both servers. What comes out: a `Pair`. Both are PostgreSQL of the test extra.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from graph import migrate
from graph.database import Database
from graph.observations import ReplicaAsked, listening
from graph.settings import Settings
from tests import postgres
from tests.audit import rows_of
from tests.conftest import Ask, asking
from tests.remote import until
from tests.unhurried import UNHURRIED

OPTIONS = (
    *("wal_level=replica", "max_wal_senders=8", "hot_standby=on", "hot_standby_feedback=on", "wal_retrieve_retry_interval=100ms"),
    "synchronous_commit=on",  # else the log is sent when its writer wakes up
)


@dataclass(frozen=True)
class Pair:
    """A primary and its standby."""

    primary: postgres.Own
    standby: postgres.Own

    async def pause(self) -> None:
        """Replay nothing more."""
        await rows_of(self.standby.url, "SELECT pg_wal_replay_pause()")

        async def paused() -> bool:
            return await rows_of(self.standby.url, "SELECT pg_get_wal_replay_pause_state()") == [[("paused",)]]

        await until(paused)

    async def resume(self) -> None:
        await rows_of(self.standby.url, "SELECT pg_wal_replay_resume()")

    async def caught_up(self) -> None:
        """Wait until the standby shows all that the primary has now."""
        [[(position,)]] = await rows_of(self.primary.url, "SELECT pg_current_wal_insert_lsn()::text")

        async def there() -> bool:
            found = await rows_of(self.standby.url, f"SELECT pg_last_wal_replay_lsn() >= '{position}'")
            return found == [[(True,)]]

        await until(there)

    def promote(self) -> None:
        """Make the standby a primary."""
        self.standby.run("pg_ctl", "-w", "promote")

    @property
    def url(self) -> str:
        """The URL of whichever of them can be written."""
        places = ",".join(str(own.folder) for own in (self.primary, self.standby))
        return f"postgresql://postgres@/postgres?host={places}&target_session_attrs=read-write"


@contextmanager
def paired(*more: str) -> Iterator[Pair]:
    """A migrated database on a primary, and a standby of it."""
    programs = postgres.binaries()
    with postgres.started(programs, *OPTIONS, *more) as primary:
        asyncio.run(migrate.upgrade(primary.url))
        with postgres.started(programs, *OPTIONS, *more, source=primary) as standby:
            yield Pair(primary, standby)


class Told(list[str]):
    """What became of queries at replicas, in order."""


NUMBERS = count(1)


def new_item() -> tuple[str, str]:
    """A SKU that no test has, and the mutation that makes an item of it."""
    sku = f"R{next(NUMBERS)}"
    return (
        sku,
        f'mutation {{ createItem(input: {{sku: "{sku}", name: "x", price: "1"}}) {{ item {{ id sku }} errors {{ code }} }} }}',
    )


#: With the SKU as a variable, for those who ask often.
CREATE = 'mutation ($sku: String!) { createItem(input: {sku: $sku, name: "x", price: "1"}) { item { sku } errors { code } } }'
FIND = "query ($sku: String!) { item(by: {sku: $sku}) { sku } }"


def item_by(sku: str) -> str:
    """The query of an item."""
    return f'{{ item(by: {{sku: "{sku}"}}) {{ sku }} }}'


async def beaten(database: Database, pair: Pair) -> None:
    """Wait until a database's heart has beaten, and the standby shows it and so all that was there before."""
    assert database.replicas is not None
    heartbeat = database.replicas.heartbeat

    async def shown() -> bool:
        beat = heartbeat.required()  # it may be on its way
        table = f"{heartbeat.place}heartbeat"
        sql = f"SELECT beat FROM {table} WHERE process = {heartbeat.process} AND beat >= {beat}"
        return beat is not None and await rows_of(pair.standby.url, sql) != [[]]

    await until(shown)


@asynccontextmanager
async def replicated(pair: Pair, **settings: Any) -> AsyncIterator[tuple[Ask, Told]]:
    """The product before both, once its heart has beaten; what it tells of replicas."""
    told = Told()
    given = {**UNHURRIED, "database_url": pair.primary.url, "replica_urls": (pair.standby.url,), **settings}
    with listening(ReplicaAsked, lambda seen: told.append(seen.outcome)):
        async with asking(Settings(**given)) as ask:
            await beaten(ask.database, pair)
            yield ask, told
