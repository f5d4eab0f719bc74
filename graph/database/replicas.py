"""Replicas: servers that follow the primary, and answer queries where they show what the query must see.

What goes in: a query, what it must see. What comes out: its answer, or nothing where the primary is to be asked. What is refused
here: an answer that is too large, and a request that comes too late under too much load. Whatever else goes wrong on a replica,
a conflict with what it replays, its end, its promotion, is no reason to refuse: the primary is asked.

What must be seen is asked for in the statement itself, in whose one snapshot the answer is made: where it is not there nothing is
read, and the answer is null. So no query is ever answered from before a write that it must see, however many servers stand behind
one URL, and it costs one round trip more at most.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from time import monotonic, perf_counter
from typing import Any

from graph.database.failures import Overloaded, Trouble, Unavailable, is_too_large, told, trouble
from graph.database.heartbeat import Heartbeat
from graph.database.places import place_of, placed, unmarked
from graph.database.protocol import Connections
from graph.database.read_after import BY_PRIMARY, SHOWN, ReadAfter
from graph.database.telling import Watch
from graph.observations import ReplicaAsked

logger = logging.getLogger("ordergraph.database")

#: How long a replica is left alone that did not serve, and one that was too far behind; then one query tries it again.
REST_SECONDS, BEHIND_SECONDS = 1.0, 0.1


@lru_cache(500)  # a new text each time would be read through by whoever keeps statements by their texts
def guarded(sql: str, parameters: int, beats: str) -> str:
    """A query that answers null where its server does not show what it must. Four more parameters say what that is.

    They are values: whatever must be seen, the text is one, and the server plans it once. `beats` is what stands before the name
    of the table of heartbeats; where that is nothing no table is marked.
    """
    change, at, process, beat = range(parameters + 1, parameters + 5)
    shown = SHOWN.format(change, at)
    return (
        f"SELECT CASE WHEN (${change}::bigint IS NULL OR {shown if beats else unmarked(shown)})"  # noqa: S608  # no value is in it
        f" AND EXISTS (SELECT FROM {beats}heartbeat WHERE process = ${process}::bigint AND beat >= ${beat}::bigint)"
        f" THEN ({sql}) END"
    )


class Standby:
    """One of them. `watch` tells its statements; `resting_until` is when it may be asked again."""

    def __init__(self, server: Connections, watch: Watch, shown: str) -> None:
        self.server = server
        self.watch = watch
        self.shown = shown
        self.resting_until = 0.0
        self.serves = True
        self._schemas: dict[str, Connections] = {}

    async def fetch(self, sql: str, arguments: Sequence[Any], max_bytes: int, schema: str | None) -> Any:
        """The first value of the first row of a query, of a shop's schema where there are many."""
        server = self.server
        if schema is not None:
            server, sql = self._at(schema), placed(sql, place_of(schema))
        began = self.watch.began(sql)
        try:
            found = await server.fetch(sql, arguments, max_bytes)
        except BaseException as error:
            self.watch.ended(sql, began, error)
            raise
        self.watch.ended(sql, began)
        return found

    def _at(self, schema: str) -> Connections:
        found = self._schemas.get(schema)
        if found is None:
            found = self._schemas[schema] = self.server.at(schema)
        return found

    def answered(self) -> None:
        """It serves."""
        if not self.serves:
            logger.info("%s serves again", self.shown)
        self.serves, self.resting_until = True, 0.0

    def failed(self, error: Exception, now: float) -> None:
        """It did not answer a query. Where that was not about the query alone it is left alone for a moment."""
        cause = error.__cause__ or error
        if isinstance(cause, Unavailable):  # no turn came
            if perf_counter() - self.watch.answered < REST_SECONDS:
                return  # it is busy, and no less alive
        elif trouble(cause) not in (Trouble.LOST, Trouble.REFUSED):
            return
        if self.serves:
            reason = str(error) if isinstance(error, Unavailable) else told(error)
            logger.warning("%s does not serve, and is left alone for a moment: %s", self.shown, reason)
        self.serves, self.resting_until = False, now + REST_SECONDS


class Replicas:
    """All replicas of a process."""

    def __init__(self, replicas: Sequence[Standby], heartbeat: Heartbeat, clock: Callable[[], float] = monotonic) -> None:
        self.all = list(replicas)
        self.heartbeat = heartbeat
        self._clock = clock
        self._next = 0

    async def fetch(
        self, sql: str, arguments: Sequence[Any], max_bytes: int, after: ReadAfter | None, schema: str | None = None
    ) -> Any:
        """The answer of a query that must see `after`, if that is given; nothing where the primary is to be asked.

        Raises what says that a result is too large, `Overloaded`.
        """
        beat = None if after is not None and after.change == BY_PRIMARY.change else self.heartbeat.required()
        replica = None if beat is None else self._chosen()
        if replica is None:
            return self._told("none")
        change, at = (None, None) if after is None else (after.change, after.microseconds)
        wanted = [*arguments, change, at, self.heartbeat.process, beat]
        try:
            found = await replica.fetch(guarded(sql, len(arguments), self.heartbeat.place), wanted, max_bytes, schema)
        except Overloaded:
            raise
        except Exception as error:
            if is_too_large(error):
                raise
            replica.failed(error, self._clock())
            return self._told("failed")
        replica.answered()
        if found is None:
            if after is None:
                replica.resting_until = self._clock() + BEHIND_SECONDS
            return self._told("behind")
        self._told("answered")
        return found

    def _chosen(self) -> Standby | None:
        """The one that has least to do of those that are not left alone; one after the other where all have as little."""
        now = self._clock()
        self._next += 1
        order = (self.all[(self._next + place) % len(self.all)] for place in range(len(self.all)))
        chosen = min(
            (each for each in order if each.resting_until <= now),
            key=lambda each: each.server.turns.taken + each.server.turns.waiting,
            default=None,
        )
        if chosen is not None and chosen.resting_until:
            chosen.resting_until = now + REST_SECONDS  # this query tries it for the others
        return chosen

    def _told(self, outcome: str) -> None:
        if ReplicaAsked.listeners:
            ReplicaAsked(outcome).tell()

    async def probe(self) -> None:
        """See that their connections are what the settings say; one that does not answer is left alone. Raises `Unavailable`."""
        for replica in self.all:
            try:
                await replica.server.probe()
            except Unavailable as error:
                raise Unavailable(f"{replica.shown}: {error}") from error
            except Exception as error:
                replica.failed(error, self._clock())

    async def close(self) -> None:
        """Close every connection, those of the heartbeat too."""
        for replica in self.all:
            await replica.server.close()
        await self.heartbeat.close()
