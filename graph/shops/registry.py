"""The registry: which shops there are, under which host names, at which revision.

What goes in: a connection in a transaction, on which the tables of the registry are found by their names. What comes out:
`Shop`s, and changes of them. What is refused here: a name or a host that is taken, a shop that is not there, each as
`ShopRefused`.

A change takes the next number and leaves it in the row: who knows all up to one number asks for what has a higher one. The row of
the numbers is locked until COMMIT, so a number that is seen is followed by higher ones alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from graph.base import UtcDateTime
from graph.texts import CodePointText

#: What statements run on: a command's connection, a server's session.
Executor = AsyncConnection | AsyncSession

#: These tables are no shop's, so they are none of those that migrations make.
METADATA = sa.MetaData()
SHOPS = sa.Table(
    "shop",
    METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
    sa.Column("name", CodePointText, nullable=False, unique=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("archived_at", UtcDateTime),
    #: That of its migrations: written in their transaction.
    sa.Column("revision", CodePointText),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
HOSTS = sa.Table(
    "shop_host",
    METADATA,
    sa.Column("host", CodePointText, primary_key=True),
    sa.Column("shop", sa.ForeignKey(SHOPS.c.id, ondelete="CASCADE"), nullable=False, index=True),
)
NUMBERS = sa.Table(
    "shop_changes",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
)


class ShopRefused(Exception):
    """What cannot be done with a shop; the message is a sentence for an operator."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop. Another one that gets its name when it is dropped has another `id`."""

    id: int
    name: str
    hosts: tuple[str, ...]
    created_at: datetime
    archived_at: datetime | None
    revision: str | None


async def is_made(connection: AsyncConnection) -> bool:
    """Whether the registry's tables are there."""
    return await connection.run_sync(lambda c: sa.inspect(c).has_table(NUMBERS.name))


async def make(connection: AsyncConnection) -> None:
    """Make the registry's tables where they are missing."""
    await connection.run_sync(METADATA.create_all)
    if await connection.scalar(sa.select(NUMBERS.c.number)) is None:
        await connection.execute(sa.insert(NUMBERS).values(id=1, number=0))


async def latest(executor: Executor) -> int:
    """The number of the latest change that is seen."""
    return int(await executor.scalar(sa.select(NUMBERS.c.number)) or 0)


async def count(executor: Executor) -> int:
    """How many shops there are, archived ones too."""
    return int(await executor.scalar(sa.select(sa.func.count()).select_from(SHOPS)) or 0)


async def every(executor: Executor, *conditions: sa.ColumnElement[bool]) -> list[Shop]:
    """All shops by their names, or those for which conditions hold."""
    hosts: dict[int, list[str]] = {}
    query = sa.select(HOSTS.c.shop, HOSTS.c.host).join(SHOPS).where(*conditions).order_by(HOSTS.c.host)
    for shop, host in await executor.execute(query):
        hosts.setdefault(shop, []).append(host)
    rows = await executor.execute(sa.select(SHOPS).where(*conditions).order_by(SHOPS.c.name))
    return [Shop(row.id, row.name, tuple(hosts.get(row.id, ())), row.created_at, row.archived_at, row.revision) for row in rows]


async def since(executor: Executor, number: int) -> list[Shop]:
    """Those that changed after a number."""
    return await every(executor, SHOPS.c.changed > number)


async def named(connection: AsyncConnection, name: str) -> Shop:
    """The shop of a name. Raises `ShopRefused`."""
    found = await every(connection, SHOPS.c.name == name)
    if not found:
        raise ShopRefused(f"there is no shop {name}")
    return found[0]


async def add(connection: AsyncConnection, name: str, hosts: Sequence[str]) -> None:
    """Add a shop, which is not seen before its revision is written. Raises `ShopRefused`."""
    there = (await connection.execute(sa.select(SHOPS.c.archived_at).where(SHOPS.c.name == name))).one_or_none()
    if there is not None:
        raise ShopRefused(f"there is a shop {name} already" + (", which is archived" if there.archived_at else ""))
    values = {"name": name, "created_at": datetime.now(UTC), "changed": 0}
    try:
        key = await connection.scalar(sa.insert(SHOPS).values(values).returning(SHOPS.c.id))
    except sa.exc.IntegrityError:  # made by another process meanwhile
        raise ShopRefused(f"there is a shop {name} already") from None
    await _add_hosts(connection, int(key or 0), hosts)


async def set_hosts(connection: AsyncConnection, name: str, hosts: Sequence[str]) -> None:
    """Have these hosts, and no others, lead to a shop. Raises `ShopRefused`."""
    shop = await named(connection, name)
    await connection.execute(sa.delete(HOSTS).where(HOSTS.c.shop == shop.id))
    await _add_hosts(connection, shop.id, hosts)
    await change(connection, name, {})


async def _add_hosts(connection: AsyncConnection, key: int, hosts: Sequence[str]) -> None:
    for host in dict.fromkeys(hosts):
        taken = await connection.scalar(sa.select(SHOPS.c.name).join(HOSTS).where(HOSTS.c.host == host))
        if taken is not None:
            raise ShopRefused(f"the host {host} leads to the shop {taken}")
        try:
            await connection.execute(sa.insert(HOSTS).values(host=host, shop=key))
        except sa.exc.IntegrityError:
            raise ShopRefused(f"the host {host} leads to another shop") from None


async def change(connection: AsyncConnection, name: str, values: dict[str, Any]) -> None:
    """Change a shop. Raises `ShopRefused`."""
    taken = await _next(connection)
    done = await connection.execute(sa.update(SHOPS).where(SHOPS.c.name == name).values(changed=taken, **values))
    if not done.rowcount:
        raise ShopRefused(f"there is no shop {name}")


async def set_revisions(connection: AsyncConnection, names: Iterable[str], revision: str | None) -> None:
    """Write the revision that shops have come to."""
    taken = await _next(connection)
    await connection.execute(sa.update(SHOPS).where(SHOPS.c.name.in_(list(names))).values(changed=taken, revision=revision))


async def remove(connection: AsyncConnection, name: str) -> None:
    """Take a shop out, with its hosts."""
    await _next(connection)
    key = sa.select(SHOPS.c.id).where(SHOPS.c.name == name).scalar_subquery()
    await connection.execute(sa.delete(HOSTS).where(HOSTS.c.shop == key))
    await connection.execute(sa.delete(SHOPS).where(SHOPS.c.name == name))


async def _next(connection: AsyncConnection) -> int:
    taken = sa.update(NUMBERS).values(number=NUMBERS.c.number + 1).returning(NUMBERS.c.number)
    return int((await connection.execute(taken)).scalar_one())
