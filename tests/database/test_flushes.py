"""A flush goes by one connection, its INSERTs together where that can be; what is written is what SQLAlchemy writes alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from graph.base import utc_now
from graph.database import Database
from graph.database.failures import own_name
from graph.models import Customer, Item, Order, OrderItem, OrderStatus
from tests.conftest import Statements

LONG_AGO, FAR_AHEAD = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def graph(first: int, name: str, orders: int) -> list[Any]:
    """A customer with orders of two lines, and their item, all with keys from `first` on."""
    now = utc_now()
    item = Item(id=first, sku=f"{name} $1", name="('$2')", price=1, stock=None, version=1, created_at=LONG_AGO, updated_at=now)
    customer = Customer(id=first, name=name, email=f"{name}@example.org", version=1, created_at=now, updated_at=FAR_AHEAD)
    for n in range(first, first + orders):
        order = Order(id=n, order_date=LONG_AGO if n % 2 else FAR_AHEAD, note=None if n % 2 else "ä\U0001f600", created_at=now)
        order.version, order.status, order.updated_at, order.discount, order.total_amount = 1, OrderStatus.PAID, now, 1, 4
        order.items = [OrderItem(id=2 * n + m, position=m, item_id=first, quantity=m, price_paid=m) for m in (1, 2)]
        customer.orders.append(order)
    return [item, customer]


async def written(session: AsyncSession) -> list[Any]:
    """All rows there are, but for what is theirs alone."""
    found = []
    for model in (Customer, Item, Order, OrderItem):
        table = model.__table__
        own = [column for column in table.c if column.computed is None and column.name not in ("created_at", "updated_at")]
        found.append([tuple(row) for row in await session.execute(sa.select(*own).order_by(table.c.id))])
    return found


@pytest.mark.parametrize("orders", [0, 1, 5])
async def test_rows_are_what_they_would_be_alone(database: Database, statements: Statements, orders: int) -> None:
    rows = []
    for whole in (True, False):
        async with database.session() as session:

            async def write(session: AsyncSession = session, whole: bool = whole) -> None:
                session.add_all(graph(1, "Eve", orders))
                statements.clear()
                await (database.flush(session) if whole else session.flush())
                if whole and database.capabilities.writes_in_queries:
                    assert len(statements) == 1, statements.sql
                rows.append(await written(session))
                await session.execute(sa.delete(Order))
                await session.execute(sa.delete(Customer))
                await session.execute(sa.delete(Item))

            await database.transaction(session, write)
    assert rows[0] == rows[1]
    assert [len(each) for each in rows[0]] == [1, 1, orders, 2 * orders]


async def test_a_constraint_that_is_broken_is_told_and_leaves_nothing_of_the_others(database: Database) -> None:
    async with database.session() as session:

        async def break_one() -> None:
            session.add_all(graph(1, "Eve", 2))
            await database.flush(session)
            session.add_all(graph(11, "Bea", 2))
            session.add_all(graph(21, "Eve", 2))
            await database.flush(session)

        with pytest.raises(IntegrityError) as told:
            await database.transaction(session, break_one)
        assert own_name(told.value) in ("23505", "SQLITE_CONSTRAINT_UNIQUE")
    async with database.session() as session:

        async def look() -> None:
            assert await written(session) == [[], [], [], []]

        await database.transaction(session, look)


async def test_a_savepoint_takes_back_what_was_sent_together(database: Database) -> None:
    async with database.session() as session:

        async def write() -> None:
            for first, name in ((1, "undone"), (11, "kept")):
                inner = await session.begin_nested()
                session.add_all(graph(first, name, 2))
                await database.flush(session)
                await (inner.rollback() if name == "undone" else inner.commit())
            customers, _, orders, lines = await written(session)
            assert ([row[0] for row in customers], len(orders), len(lines)) == ([11], 2, 4)

        await database.transaction(session, write)


async def test_a_flush_asks_once_for_its_connection_and_not_before_it_needs_it(database: Database) -> None:
    """What begins a savepoint is that a connection is asked for behind it."""
    begun: list[str] = []

    def begin(_: Any, name: str) -> None:
        begun.append(name)

    event.listen(database.engine.sync_engine, "savepoint", begin)
    async with database.session() as session:

        async def write() -> None:
            async with session.begin_nested():
                await database.flush(session)
            assert not begun, "there was nothing to write"
            async with session.begin_nested():
                session.add_all(graph(1, "Eve", 2))
                await database.flush(session)
            assert len(begun) == 1

        await database.transaction(session, write)
    event.remove(database.engine.sync_engine, "savepoint", begin)


class Shelf(DeclarativeBase):
    """Tables of this module."""


class Box(Shelf):
    """A row with a value that its INSERT computes, and one that SQLAlchemy fills in."""

    __tablename__ = "box"
    __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012  # SQLAlchemy's own way
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default=sa.func.upper(sa.literal("as it is")))
    size: Mapped[int] = mapped_column(default=7)
    below: Mapped[int | None] = mapped_column(sa.ForeignKey("box.id"))
    on: Mapped[list[Box]] = relationship()


async def test_what_an_insert_computes_is_computed_for_each_of_many_rows(database: Database, statements: Statements) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(Shelf.metadata.create_all)
    async with database.session() as session:

        async def write() -> None:
            low, *high = [Box(id=n) for n in range(1, 5)]
            low.name, low.on = "low", high
            session.add(low)
            statements.clear()
            await database.flush(session)
            found = await session.execute(sa.select(Box.id, Box.name, Box.size, Box.below).order_by(Box.id))
            assert [tuple(row) for row in found] == [(1, "low", 7, None), *((n, "AS IT IS", 7, 1) for n in (2, 3, 4))]
            assert [sql.split()[0] for sql in statements.sql] == ["INSERT", "INSERT", "SELECT"]

        await database.transaction(session, write)
