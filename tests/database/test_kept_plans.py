"""PostgreSQL plans a statement of a mutation a few times, and not for each execution.

A statement whose plan for any values looks dearer than those for the values at hand is planned each time it is run, which can
take longer than running it: see `graph.read.sql.bound_lists.padded_keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from graph.database.pool import pool_of
from tests.conftest import Ask, asking, made
from tests.engines import Postgres
from tests.unhurried import unhurried
from tests.write import test_locks
from tests.write.test_locks import ADA, INPUTS, LINES, MUTATION

SHOP = test_locks.SHOP
#: So many times PostgreSQL plans before it compares, and how often each is run here.
TRIED, RUNS = 5, 8
#: Those that were never run by a plan that was kept.
PLANNED_ANEW = f"SELECT statement FROM pg_prepared_statements WHERE custom_plans > {TRIED} AND generic_plans = 0"


@pytest.fixture
def engines(postgres_engines: Postgres) -> Postgres:
    """SQLite keeps what it prepares, and plans it once."""
    return postgres_engines


async def planned_anew(ask: Ask) -> Sequence[str]:
    """What the one connection of a server planned again and again; it is another one then."""
    connection: Any = await pool_of(ask.app.state.database.primary.engine).for_read(None)
    found = await connection.driver_connection.fetch(PLANNED_ANEW)
    connection.invalidate()
    connection.close()
    return [statement for (statement,) in found]


async def test_plans_of_mutations_are_kept(shop_with: Callable[..., AbstractAsyncContextManager[Ask]]) -> None:
    assert INPUTS.keys() == MUTATION.fields.keys()
    runs = [(field, "@dryRun", input_) for field, inputs in INPUTS.items() for input_ in inputs]
    runs.append(("createOrder", "", {"customer": ADA, "items": LINES}))  # with what is told of it
    async with shop_with(pool_size=1) as ask:
        for field, directive, input_ in runs:
            type_ = MUTATION.fields[field].args["input"].type
            query = f"mutation ($input: {type_}) {directive} {{ a: {field}(input: $input) {{ errors {{ code path }} }} }}"
            for _ in range(RUNS):
                assert (await ask.data(query, {"input": input_}))["a"]["errors"] == [], (field, input_)
            assert await planned_anew(ask) == [], (field, input_)


@pytest.mark.parametrize(
    "query",
    [
        "query ($ids: [ID!]!) { orders(first: 9, where: {id: {in: $ids}}) { nodes { id items { item { name } } } } }",
        "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Order { items { item { name } } } } }",
    ],
)
async def test_plans_of_rows_by_keys_are_kept(postgres_engines: Postgres, query: str) -> None:
    with made(postgres_engines, "northwind") as url:
        async with asking(unhurried(url, pool_size=1)) as ask:
            for _ in range(RUNS):
                await ask.data(query, {"ids": ["Order:2", "Order:1"]})
            assert await planned_anew(ask) == []
