"""All that the product asks of PostgreSQL, asked in one shop beside another: each statement names the tables of that shop.

Connections look for no table anywhere else, so what names none is an error of the server's.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from graphql import OperationType
from sqlalchemy.dialects.postgresql import insert

from graph import sample
from graph.access import api_keys
from graph.access.key_lookup import KeyLookup
from graph.base import Base
from graph.context import Context
from graph.database import Database
from graph.database.failures import sqlstate
from graph.database.places import MARK
from graph.database.shops import Databases
from graph.feed import purge
from graph.feed.outlook import Outlook
from graph.feed.sequence import number_some, waiting_since
from graph.models import Item
from graph.observations import StatementFinished, listening
from graph.operations.explain import explain
from graph.schema import schema
from graph.scope import OPEN, Viewer
from graph.serve import health
from graph.settings import Settings
from graph.write import expired_keys
from tests.access.test_root_fields import fields, operation
from tests.database.test_shops import CREATE, data
from tests.deployments import deployment
from tests.engines import Postgres
from tests.exchange.files import bring
from tests.test_golden import CASES, FOLDER

SHOP, SCHEMA = "acme", "shop_acme"
TABLES = "|".join([*Base.metadata.tables, "alembic_version"])
#: A table where rows come from or go to, and what stands before it.
NAMED = re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE|USING)\s+(?:ONLY\s+)?([^\s(),]*?)\"?(?:{TABLES})\b\"?", re.IGNORECASE)
ANY_SHOP = re.compile(r"\bshop_[a-z][\w-]*")
VIEWERS = (None, Viewer("1", "hers", frozenset({"admin"}), 1), Viewer("2", "all", frozenset({"admin"})))
UNDEFINED = ("42P01", "3F000", "42883")


@pytest.fixture
async def shops(postgres_engines: Postgres) -> AsyncIterator[Databases]:
    """A shop with Northwind, and another one that stays empty."""
    url = postgres_engines.new("nothing")
    databases = Databases(await deployment(url, SHOP, "other", max_aliases=1_000, max_cost=10**9))
    schema.engine(databases.of(SHOP))
    await sample.load(databases.of(SHOP))
    yield databases
    await databases.close()
    postgres_engines.drop(url)


@asynccontextmanager
async def told(least: int) -> AsyncIterator[None]:
    """See that what is sent meanwhile, so many statements at least, names the shop's tables and no others."""
    seen: list[StatementFinished] = []
    with listening(StatementFinished, seen.append):
        yield
    sent = [each.sql for each in seen]
    assert sum(f'"{SCHEMA}".' in sql for sql in sent) >= least, sent
    for each in seen:
        assert each.error is None or sqlstate(each.error) not in UNDEFINED, each
        assert MARK not in each.sql
        assert set(ANY_SHOP.findall(each.sql)) <= {SCHEMA}, each.sql
        assert {place for place in NAMED.findall(each.sql) if place != f'"{SCHEMA}".'} == set(), each.sql


async def run(database: Database, viewer: Viewer | None, text: str, variables: Any = None) -> None:
    context = Context(database, viewer)
    try:
        await schema.execute(text, variables, context)
    finally:
        await context.close()


async def test_every_root_field_asked_by_everybody_names_its_shop(shops: Databases) -> None:
    async with told(300):
        for viewer in VIEWERS:
            for root, name, _ in fields():
                if root is not schema._schema.get_root_type(OperationType.SUBSCRIPTION):
                    text, variables = operation(root, name)
                    await run(shops.of(SHOP), viewer, text, variables)
                    await run(shops.of(SHOP), viewer, text.replace("@dryRun", ""), variables)


async def test_every_golden_case_names_its_shop(shops: Databases) -> None:
    async with told(len(CASES)):
        for name in CASES:
            case = tomllib.loads((FOLDER / f"{name}.toml").read_text())
            await run(shops.of(SHOP), None, case["query"], json.loads(case.get("variables", "{}")))


async def test_what_the_product_does_of_itself_names_its_shop(shops: Databases, tmp_path: Path) -> None:
    database = shops.of(SHOP)
    lines = tmp_path / "lines.csv"
    lines.write_text(
        "number,order_date,email,sku,quantity,price_paid\nX1,2026-01-01T00:00:00Z,alfki@northwind.example,NW-1,2,1.50\n"
    )
    async with told(20):
        await data(database, CREATE.replace("price: 1})", 'price: 1}) @idempotent(key: "k")'), sku="TOLD")
        assert await waiting_since(database) is not None
        while await number_some(database):
            pass
        outlook = Outlook(database)
        oldest, last = await outlook.bounds()
        assert (await outlook.look(oldest)).end > oldest < last
        await outlook.roots(OPEN, "Order", None, None, oldest)
        text = await api_keys.create(database, "key", ["read"])
        assert (await KeyLookup(database).find(text))[0].name == "key"
        assert [key.name for key in await api_keys.every(database)] == ["key"]
        await api_keys.revoke(database, "key")
        assert await database.fetch(database.text(health.REVISION), [])
        assert await purge.purge(database) == await expired_keys.purge(database) == 0
        context = Context(database)
        await explain(schema.engine(database), context, "{ items(first: 1) { nodes { id } } }", {}, None)
        await context.close()
        assert (await bring(database, lines)).refused == []


def test_a_conflict_clause_names_the_tables_that_it_asks() -> None:
    database = Databases(Settings(database_url="postgresql://localhost/shops", shops=True)).of(SHOP)
    table: Any = Item.__table__
    asked = table.alias("seen")
    offered = (
        insert(table)
        .values(sku="A")
        .on_conflict_do_update(index_elements=["sku"], set_={"name": "B"}, where=table.c.id.in_(sa.select(asked.c.id)))
    )
    text = str(offered.compile(dialect=database.dialect))
    assert f"FROM {MARK}item AS seen" in text
    locked = str(sa.select(table.c.id).with_for_update(of=table).compile(dialect=database.dialect))
    assert locked.endswith(f"FROM {MARK}item FOR UPDATE OF item")
