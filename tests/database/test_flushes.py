"""A flush goes by one connection, its INSERTs together where that can be; what is written is what SQLAlchemy writes alone."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.util import await_only

from graph.base import utc_now
from graph.database import Database
from graph.database.failures import Unavailable, own_name
from graph.database.insert_texts import behind
from graph.models import Customer, Item, Order, OrderItem, OrderStatus
from tests.audit import rows_of
from tests.conftest import Statements, opened
from tests.faults import Places, places
from tests.write.crowd import KILL

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


def test_parameters_go_behind_others_and_what_is_quoted_stays() -> None:
    text = """INSERT INTO "a $1" (x$1, y) SELECT '$1 ''$2', $1 || $12"""
    assert behind(text, 3) == """INSERT INTO "a $1" (x$1, y) SELECT '$1 ''$2', $4 || $15"""
    assert behind(text, 0) == text


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
    """Tables of this module, which return nothing."""

    __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012  # SQLAlchemy's own way


class Box(Shelf):
    """A row with a value that its INSERT computes, and one that SQLAlchemy fills in."""

    __tablename__ = "box"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default=sa.func.upper(sa.literal("as it is")))
    size: Mapped[int] = mapped_column(default=7)
    below: Mapped[int | None] = mapped_column(sa.ForeignKey("box.id"))
    on: Mapped[list[Box]] = relationship()


class Lower(sa.types.TypeDecorator[str]):
    """A text that the database lowers as it is told it."""

    impl = sa.Text
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> Any:
        return sa.func.lower(bindparam, type_=self)


class Wide(Shelf):
    """A row of many columns. The database fills one in where it is not given, and makes another of what it is given."""

    __table__ = sa.Table(
        "wide",
        Shelf.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("filled", sa.Integer, server_default="7"),
        sa.Column("low", Lower),
        *[sa.Column(f"c{n}", sa.Integer) for n in range(98)],
    )
    bags: Mapped[list[Bag]] = relationship()


class Bag(Shelf):
    """Values of which each is many, below names that are hard to read."""

    __tablename__ = 'the $1 "bag" ($2)'
    id: Mapped[int] = mapped_column("id $1", primary_key=True)
    wide: Mapped[int] = mapped_column("$1", sa.ForeignKey("wide.id"))
    tags: Mapped[Any] = mapped_column("tags, per%cent", sa.ARRAY(sa.Text).with_variant(sa.JSON, "sqlite"))
    note: Mapped[Any] = mapped_column("it's ($3", sa.JSON)
    size: Mapped[int] = mapped_column('"size" :x', server_default="3")


@pytest.fixture
async def shelf(database: Database) -> Database:
    """An empty database with the tables of this module."""
    async with database.engine.begin() as connection:
        await connection.run_sync(Shelf.metadata.create_all)
    return database


async def test_what_an_insert_computes_is_computed_for_each_of_many_rows(shelf: Database, statements: Statements) -> None:
    async with shelf.session() as session:

        async def write() -> None:
            low, *high = [Box(id=n) for n in range(1, 5)]
            low.name, low.on = "low", high
            session.add(low)
            statements.clear()
            await shelf.flush(session)
            found = await session.execute(sa.select(Box.id, Box.name, Box.size, Box.below).order_by(Box.id))
            assert [tuple(row) for row in found] == [(1, "low", 7, None), *((n, "AS IT IS", 7, 1) for n in (2, 3, 4))]
            assert [sql.split()[0] for sql in statements.sql] == ["INSERT", "INSERT", "SELECT"]

        await shelf.transaction(session, write)


async def test_what_an_insert_computes_sees_the_rows_before_it(shelf: Database) -> None:
    number: Any = sa.select(sa.func.count()).select_from(Box).scalar_subquery()
    async with shelf.session() as session:

        async def write() -> None:
            session.add_all(
                [Box(id=1, name="one", size=1), Box(id=2, name=sa.cast(number, sa.Text)), Box(id=3, name="three", size=1)]
            )
            await shelf.flush(session)
            assert list(await session.scalars(sa.select(Box.name).order_by(Box.id))) == ["one", "1", "three"]

        await shelf.transaction(session, write)


@pytest.mark.parametrize("bags", [1, 3])
async def test_values_and_names_of_any_kind_are_what_they_would_be_alone(shelf: Database, bags: int) -> None:
    rows = [
        Bag(id=1, tags=["a", "", "$1"], note={"$1": [None, "('$2')"]}),
        Bag(id=2, tags=[], note=None),
        Bag(id=3, tags=[], note="B", size=4),
    ]
    async with shelf.session() as session:

        async def write() -> None:
            session.add_all([Wide(id=1, low="Aß", bags=rows[:bags]), *[Wide(id=n, low="B") for n in range(2, bags + 1)]])
            await shelf.flush(session)
            found = await session.execute(sa.select(*Bag.__table__.c).order_by(Bag.id))
            assert [tuple(row) for row in found] == [
                (1, 1, ["a", "", "$1"], {"$1": [None, "('$2')"]}, 3),
                (2, 1, [], None, 3),
                (3, 1, [], "B", 4),
            ][:bags]
            lows = await session.scalars(sa.select(Wide.__table__.c.low).order_by(Wide.__table__.c.id))
            assert list(lows) == ["aß", "b", "b"][:bags]

        await shelf.transaction(session, write)


async def test_rows_of_changing_columns_are_written_however_many_they_are(shelf: Database) -> None:
    """Each is an INSERT of its own, and one statement has room for 32,767 parameters."""
    async with shelf.session() as session:

        async def write() -> None:
            session.add_all(Wide(id=n, filled=n) if n % 2 else Wide(id=n) for n in range(400))
            await shelf.flush(session)
            found = list(await session.scalars(sa.select(Wide.__table__.c.filled).order_by(Wide.__table__.c.id)))
            assert found == [n if n % 2 else 7 for n in range(400)]

        await shelf.transaction(session, write)


async def test_a_flush_keeps_what_goes_by_its_own_connection_alone(postgres_url: str) -> None:
    """A listener may write by another one meanwhile, which has its rows when it commits."""
    async with opened(postgres_url) as database, database.session() as session, database.session() as other:

        async def write_beside() -> None:
            other.add(graph(11, "Bea", 0)[0])
            await other.commit()

        def listen(*_: Any) -> None:
            await_only(write_beside())

        async def break_off() -> None:
            session.add_all(graph(1, "Eve", 2))
            await database.flush(session)
            raise KeyError

        event.listen(session.sync_session, "after_flush", listen)
        with pytest.raises(KeyError):
            await database.transaction(session, break_off)
        await other.close()
        assert [[row[0] for row in rows] for rows in await written(other)] == [[], [11], [], []]


async def test_what_comes_between_inserts_is_written_in_its_place(database: Database, statements: Statements) -> None:
    async with database.session() as session:

        async def prepare() -> None:
            session.add_all(graph(11, "Bea", 1))
            await database.flush(session)

        async def write() -> None:
            item, order = await session.get_one(Item, 11), await session.get_one(Order, 11)
            item.name = "changed"
            await session.delete(order)
            session.add_all([*graph(1, "Eve", 2), *graph(21, "Ada", 1)])
            statements.clear()
            await database.flush(session)
            sent = [re.findall(r"INSERT INTO \w+|^UPDATE \w+|^DELETE FROM \w+", sql) for sql in statements.sql]
            customers, items, orders, lines = await written(session)
            assert [row[0] for row in customers] == [1, 11, 21]
            assert [(row[0], row[3]) for row in items] == [(1, "('$2')"), (11, "changed"), (21, "('$2')")]
            assert [row[0] for row in orders] == [1, 2, 21]
            assert [row[0] for row in lines] == [3, 4, 5, 6, 43, 44]
            parts = ["INSERT INTO item", "INSERT INTO orders", "INSERT INTO order_item"]
            together = [parts] if database.capabilities.writes_in_queries else [[part] for part in parts]
            assert sent == [["INSERT INTO customer"], ["UPDATE item"], *together, ["DELETE FROM orders"]]

        await database.transaction(session, prepare)
        await database.transaction(session, write)


async def test_a_connection_lost_in_the_middle_of_a_flush_is_told_as_it_was(postgres_url: str) -> None:
    """An UPDATE comes between the INSERTs, so that some are sent before the others are known."""
    async with opened(postgres_url) as database, database.session() as session:

        async def prepare() -> None:
            session.add_all(graph(11, "Bea", 0))
            await database.flush(session)

        def end(place: Places) -> None:
            if place.seen[-1].startswith("INSERT INTO customer"):
                with ThreadPoolExecutor(1) as beside:
                    beside.submit(asyncio.run, rows_of(postgres_url, KILL)).result()

        async def write() -> None:
            item = await session.get_one(Item, 11)
            item.name = "changed"
            session.add_all(graph(1, "Eve", 2))
            await database.flush(session)

        await database.transaction(session, prepare)
        before = await written(session)
        await session.rollback()
        with places(database, end) as passed, pytest.raises(Unavailable) as told:
            await database.transaction(session, write)
        assert "rollback" not in str(told.value), "it is what ended the connection, and not what came of that"
        assert not [sql for sql in passed.seen if sql.startswith("UPDATE")]
        assert await written(session) == before
