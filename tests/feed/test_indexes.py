"""The indexes of the outbox on PostgreSQL: a change stands in those by its position once it has one, and they serve the feed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from graph.database import Database
from graph.feed import purge
from graph.feed.leftovers import leftovers
from graph.feed.outlook import Outlook
from graph.feed.positions import cursor_at
from graph.feed.sequence import number_some, waiting_since
from graph.observations import StatementBegan, listening
from tests import stock
from tests.audit import rows_of
from tests.conftest import Ask
from tests.engines import Postgres

SHOP = [stock.item("A", 1, 10), stock.customer("Ada", [stock.line("A", 4)])]
QUERIES = [
    "{ changes(first: 2) { nodes { kind } } }",
    "{ changes(last: 2) { nodes { kind } } }",
    '{ changes(first: 2, after: "AFTER") { nodes { kind } } }',
    '{ changes(last: 2, before: "AFTER", types: [Order]) { nodes { kind } } }',
    '{ order(by: {id: "Order:1"}) { changes(first: 2) { nodes { kind } } } }',
    '{ order(by: {id: "Order:1"}) { changes(last: 2, before: "AFTER") { nodes { kind } } } }',
]
#: Steps that read rows of the outbox where no condition on an index's columns finds them.
READS_ALL = re.compile(r"Seq Scan on changes\b|Scan(?: Backward)? using pk_changes on changes\b(?!.*\n\s+Index Cond)")


@pytest.fixture
def engines(postgres_engines: Postgres) -> Postgres:
    """On SQLite every change has its position from the beginning."""
    return postgres_engines


@contextmanager
def asked() -> Iterator[dict[str, None]]:
    """The statements that name the outbox, each once."""
    found: dict[str, None] = {}

    def note(began: StatementBegan) -> None:
        if re.search(r"\bchanges\b", began.sql):
            found.setdefault(began.sql)

    with listening(StatementBegan, note):
        yield found


async def test_a_change_that_waits_stands_in_no_index_by_position(shop_url: str) -> None:
    [rows] = await rows_of(
        shop_url,
        "SELECT indexrelid::regclass::text, pg_get_expr(indpred, indrelid) FROM pg_index"
        " WHERE indrelid = 'changes'::regclass ORDER BY 1",
    )
    assert [tuple(row) for row in rows] == [
        ("ix_changes_position", '("position" IS NOT NULL)'),
        ("ix_changes_root_type_root_position", '("position" IS NOT NULL)'),
        ("ix_changes_waiting", '("position" IS NULL)'),
        ("pk_changes", None),
    ]


async def test_no_statement_of_the_feed_reads_the_whole_outbox(shop: Ask) -> None:
    """Held for plans of any values, where the database reads a table as a whole only if nothing else will do."""
    database: Database = shop.app.state.database
    with asked() as statements:
        await number_some(database)
        await waiting_since(database)
        await leftovers(database)
        await purge.purge_some(database)
        outlook = Outlook(database)
        await outlook.bounds()
        await outlook.look(0)
        for query in QUERIES:
            await shop.data(query.replace("AFTER", cursor_at(2)))
    assert len(statements) > len(QUERIES) + 6
    connection = await asyncpg.connect(database.settings.database_url)
    try:
        await connection.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
        for number, sql in enumerate(statements):
            values = ", ".join(["NULL"] * max(map(int, re.findall(r"\$(\d+)", sql)), default=0))
            await connection.execute(f"PREPARE p{number} AS {sql}")
            rows = await connection.fetch(f"EXPLAIN EXECUTE p{number}" + (f" ({values})" if values else ""))
            plan = "\n".join(line for (line,) in rows)
            assert READS_ALL.search(plan) is None, (sql, plan)
    finally:
        await connection.close()
