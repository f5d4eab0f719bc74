"""An import: a file or folder read, put together, and written batch by batch, each in a transaction of its own.

What goes in: a database, a `Reading` of files, and what is to be told as it goes. What comes out: a `Tally`. What may be refused
here: rows, which go to the rejects with all others of their order, and the import goes on.

What is broken off leaves whole orders; the next run passes over what is there and goes on. A dry run is one transaction that is
undone.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import DBAPIError

from graph.context import Context
from graph.database import Database
from graph.database.failures import TransientError, told
from graph.exchange.arrivals import Arrival, write_orders, write_people, write_products
from graph.exchange.entries import Entry, Fault, Order, Person
from graph.exchange.incoming import Reading
from graph.scope import SERVER
from graph.write.record import recorded, savepoint
from graph.write.unit import Unit

#: The code of rows that are fine, but not their order.
ORDER_REFUSED = "ORDER_REFUSED"


@dataclass(slots=True)
class Tally:
    """What became of the `rows`: how many customers, items, orders and lines were `made` or `there`; rows that were refused.

    `left_out` are lines that the terms leave out, and `emptied` the orders that had no others.
    """

    rows: int = 0
    made: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    left_out: int = 0
    emptied: int = 0


class _Undone(Exception):  # nothing is wrong
    """A dry run is over."""


class Import:
    """One import. `progress` is called after each batch."""

    def __init__(self, database: Database, reading: Reading, progress: Callable[[Tally], None] = lambda _: None) -> None:
        self.database = database
        self.reading = reading
        self.progress = progress
        self.tally = Tally()
        assert database.before_commit, "what it writes would be told to nobody: `schema.engine(database)` sees to that"

    async def run(self) -> Tally:
        """Import all. Raises what a transaction may be refused for, `CannotRead`; what was written before stays."""
        with rarely_collecting():
            for batch in self.reading.batches():
                for arrival in await self._written(self._judged(batch)):
                    self._count(arrival)
                self._end(batch)
        return self.tally

    async def rehearse(self) -> Tally:
        """Do all and undo it."""
        context = Context(self.database, scope=SERVER)

        async def all_() -> None:
            self.tally = Tally()
            for batch in self.reading.batches():
                for arrival in await self._tried(context, self._judged(batch)):
                    self._count(arrival)
                self._end(batch)
            raise _Undone

        try:
            await recorded(context, all_, undone=True)
        except _Undone:
            pass
        finally:
            await context.close()
        return self.tally

    def _end(self, batch: Sequence[Entry]) -> None:
        for entry in batch:
            self.tally.rows += len(entry.rows)
            if isinstance(entry, Order):
                self.tally.left_out += entry.left_out
        self.progress(self.tally)

    def _judged(self, batch: Sequence[Entry]) -> list[Any]:
        """What has no fault; the rest is rejected. An order of which nothing is left is none."""
        fine: list[Entry] = []
        for entry in batch:
            if entry.faults:
                self._reject(entry, entry.faults)
            elif isinstance(entry, Order) and entry.left_out and not entry.skus:
                self.tally.emptied += 1
            else:
                fine.append(entry)
        return fine

    async def _written(self, entries: list[Any]) -> list[Arrival]:
        """Write a batch in a transaction; where the database refuses it, in halves, down to what it minds."""
        if not entries:
            return []
        context = Context(self.database, scope=SERVER)
        try:
            return [await recorded(context, lambda: _write(context, entries))]
        except (DBAPIError, TransientError) as error:
            return await self._halves(entries, error, self._written)
        finally:
            await context.close()

    async def _tried(self, context: Context, entries: list[Any]) -> list[Arrival]:
        """The same within a transaction."""
        if not entries:
            return []
        try:
            async with savepoint(context.session):
                return [await _write(context, entries)]
        except DBAPIError as error:
            return await self._halves(entries, error, lambda half: self._tried(context, half))

    async def _halves(
        self, entries: list[Any], error: Exception, write: Callable[[list[Any]], Awaitable[list[Arrival]]]
    ) -> list[Arrival]:
        if len(entries) == 1:
            if isinstance(error, TransientError):
                raise error
            return [Arrival(refused=[(entries[0], Fault(0, "REFUSED_BY_DATABASE", told(error)))])]
        middle = len(entries) // 2
        return [*await write(entries[:middle]), *await write(entries[middle:])]

    def _count(self, arrival: Arrival) -> None:
        self.tally.made += arrival.made
        self.tally.there += arrival.there
        faults: dict[int, tuple[Entry, list[Fault]]] = {}
        for entry, fault in arrival.refused:
            faults.setdefault(id(entry), (entry, []))[1].append(fault)
        for entry, found in faults.values():
            self._reject(entry, found)

    def _reject(self, entry: Entry, faults: Sequence[Fault]) -> None:
        first = faults[0]
        by_row: dict[int, list[Fault]] = {}
        for fault in faults:
            by_row.setdefault(fault.row, []).append(fault)
        for index, (file, at, raw, _) in enumerate(entry.rows):
            found = by_row.get(index)
            code = found[0].code if found else ORDER_REFUSED
            line = entry.rows[first.row][1]
            reason = "; ".join(fault.reason for fault in found) if found else f"line {line} of this order is refused"
            self.reading.rejects.add(file, at, raw, code, reason)
            self.tally.refused += 1


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Look for garbage seldom: a batch is many objects that live for a while, and to go through them was a third of an import."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


async def _write(context: Context, entries: list[Any]) -> Arrival:
    unit = Unit(context, explaining=False)
    if isinstance(entries[0], Order):
        return await write_orders(unit, entries)
    return await (write_people if isinstance(entries[0], Person) else write_products)(unit, entries)
