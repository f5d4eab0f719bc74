"""PostgreSQL: what every connection to the server is told.

What goes in: an engine. What comes out: connections on which every time from year 1 to 9999 is the time it is, in UTC. The
driver's own encoding makes infinities of the first and the last of them, which neither come back nor have a month.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

#: What PostgreSQL counts from, and in.
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def prepare_postgresql(engine: AsyncEngine) -> None:
    """Tell every connection of an engine how times are encoded, alone and in arrays."""
    event.listen(engine.sync_engine, "connect", _on_connect)


def _on_connect(connection: Any, record: Any) -> None:
    # A built-in type is known to the driver: this asks the server nothing.
    connection.run_async(
        lambda driver: driver.set_type_codec("timestamptz", schema="pg_catalog", format="tuple", encoder=_encode, decoder=_decode)
    )


def _encode(time: datetime) -> tuple[int]:
    return ((time - EPOCH) // MICROSECOND,)


def _decode(parts: tuple[int]) -> datetime:
    return EPOCH + MICROSECOND * parts[0]
