"""Values that nobody has are found where hardly any are left, and looked for no further where the database fails."""

from __future__ import annotations

import string
from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from graph.base import Money
from graph.database import Database
from graph.write.free_values import Move, move_aside
from tests.unhurried import unhurried

DAY = date(2026, 1, 1)
LETTERS = string.ascii_uppercase
#: The type of a column, what it may hold, and all values that it may hold, of which the first and the last row swap theirs.
DENSE: dict[str, tuple[Any, str, Sequence[Any]]] = {
    "few numbers": (sa.Integer(), "held BETWEEN 1 AND 40", range(1, 41)),
    "numbers": (sa.Integer(), "held BETWEEN -300 AND 600", range(-300, 601)),
    "many numbers": (sa.Integer(), "held BETWEEN 1 AND 1500", range(1, 1_501)),
    "money": (Money(), "held BETWEEN 0 AND 100", range(101)),
    "days": (sa.Date(), "held BETWEEN '2026-01-01' AND '2026-12-31'", [DAY + timedelta(days=day) for day in range(365)]),
    "letters": (sa.String(2), "length(held) = 2 AND held = upper(held)", [a + b for a in LETTERS for b in LETTERS]),
}


@pytest.fixture
async def bare(bare_url: str) -> AsyncIterator[Database]:
    database = Database(unhurried(bare_url))
    yield database
    await database.close()


async def made(connection: AsyncConnection, type_: Any, check: str, values: Sequence[Any]) -> sa.Column[Any]:
    """The column of a table that holds these values, by the keys from 1 on."""
    held = sa.Column("held", type_, nullable=False)
    table = sa.Table("dense", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), held)
    table.append_constraint(sa.UniqueConstraint("held"))
    table.append_constraint(sa.CheckConstraint(check))
    await connection.run_sync(table.create)
    await connection.execute(sa.insert(table), [{"id": key, "held": value} for key, value in enumerate(values, 1)])
    return held


async def held_by(connection: AsyncConnection, column: sa.Column[Any]) -> list[Any]:
    return list((await connection.execute(sa.select(column).order_by(column.table.c.id))).scalars())


@pytest.mark.parametrize("name", DENSE)
async def test_two_rows_swap_where_one_value_in_five_is_left(bare: Database, name: str) -> None:
    type_, check, every = DENSE[name]
    there = [value for number, value in enumerate(every) if number % 5 != 2]
    async with bare.engine.begin() as connection:
        column = await made(connection, type_, check, there)
        moves = [Move(1, there[0], there[-1]), Move(len(there), there[-1], there[0])]
        assert await move_aside(connection, column, moves, {there[0], there[-1]})
        after = await held_by(connection, column)
        assert after[1:-1] == there[1:-1]
        assert {there[0], there[-1]} - set(after), "one at least is free to be taken"


@pytest.mark.parametrize("name", ["few numbers", "numbers", "money", "days", "letters"])
async def test_two_rows_swap_where_one_value_is_left(bare: Database, name: str) -> None:
    type_, check, every = DENSE[name]
    there = [value for number, value in enumerate(every) if number != len(every) // 2]
    async with bare.engine.begin() as connection:
        column = await made(connection, type_, check, there)
        moves = [Move(1, there[0], there[-1]), Move(len(there), there[-1], there[0])]
        assert await move_aside(connection, column, moves, {there[0], there[-1]})


async def test_nothing_is_changed_where_no_value_is_left(bare: Database) -> None:
    type_, check, every = DENSE["few numbers"]
    async with bare.engine.begin() as connection:
        column = await made(connection, type_, check, every)
        assert not await move_aside(connection, column, [Move(1, 1, 40), Move(40, 40, 1)], {1, 40})
        assert await held_by(connection, column) == list(every)


async def test_a_value_that_nobody_counts_is_no_error(bare: Database) -> None:
    """From one end of the floats to the other there are infinitely many steps."""
    ends = [-1.7e308, 0.0, 1.7e308]
    async with bare.engine.begin() as connection:
        column = await made(connection, sa.Double(), "held IN (-1.7e308, 0, 1.7e308)", ends)
        assert not await move_aside(
            connection, column, [Move(1, ends[0], ends[2]), Move(3, ends[2], ends[0])], {ends[0], ends[2]}
        )
        assert await held_by(connection, column) == ends


async def test_what_the_database_cannot_do_is_not_taken_for_a_value_that_it_does_not_allow(bare: Database) -> None:
    type_, check, every = DENSE["few numbers"]
    there = every[:-1]
    async with bare.engine.begin() as connection:
        column = await made(connection, type_, check, there)
    async with bare.engine.connect() as connection:
        only_read = {"sqlite": "PRAGMA query_only = 1", "postgresql": "SET TRANSACTION READ ONLY"}[bare.dialect.name]
        await connection.execute(sa.text(only_read))
        with pytest.raises(DBAPIError, match=r"read.?only"):
            await move_aside(connection, column, [Move(1, 1, 2), Move(2, 2, 1)], {1, 2})
        await connection.invalidate()
