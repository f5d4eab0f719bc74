"""Summaries against SQL written by hand: `python -m tests.benchmarks.summaries [--sqlite] [--orders 20000] [--rounds 15]`.

What goes in: seeded data in a database of its own. What comes out: for each summary the time of the compiled statement and of
the one written by hand, and how much of its speed is reached. Both run on one connection in turn and give the same JSON.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import click

from graph import migrate
from graph.database import Database
from graph.settings import Settings
from tests import postgres
from tests.benchmarks import data
from tests.benchmarks.plans import statement

MEASURES = "count(*) n,sum(o.total_amount) s,sum(l.q) q"

Fetch = Callable[[str, list[Any]], Awaitable[Any]]


def summary(arguments: str, key: str) -> str:
    """The query of a summary."""
    return f"{{orderSummary{arguments}{{{key} count quantity totalAmount{{sum}}}}}}"


def by_hand(postgresql: bool) -> dict[str, tuple[str, str]]:
    """For each summary its query and the SQL written by hand: an aggregate, and its rows as JSON."""
    month = "to_char(o.order_date AT TIME ZONE 'UTC','YYYY-MM')" if postgresql else "substr(o.order_date,1,7)"
    agg = "string_agg" if postgresql else "group_concat"
    money = "{}*0.01" if postgresql else "printf('%d.%02d',{0}/100,{0}%100)"

    def summed(where: str = "") -> str:
        inner = f" WHERE order_id IN (SELECT o.id FROM orders o{where})" if where else ""
        return f"(SELECT order_id,sum(quantity) q FROM order_item{inner} GROUP BY order_id) l ON l.order_id=o.id{where}"

    def shown(key: str, rows: str, *, total: bool = True) -> str:
        more = f'||\',"totalAmount":{{"sum":"\'||{money.format("s")}||\'"}}\'' if total else ""
        each = f"""'{{'||{key}||'"count":'||n||',"quantity":'||coalesce('"'||q||'"','null'){more}||'}}'"""
        return f"SELECT '{{\"orderSummary\":['||coalesce((SELECT {agg}({each},',') FROM ({rows}) t),'')||']}}'"

    def rows(key: str, where: str = "", end: str = "") -> str:
        return f"SELECT {key} g,{MEASURES} FROM orders o LEFT JOIN {summed(where)} GROUP BY 1 ORDER BY 1{end}"

    lines = "(SELECT sum(quantity) FROM order_item l WHERE l.order_id=o.id)"
    whole = MEASURES.replace("sum(l.q)", "(SELECT sum(quantity) FROM order_item)")
    streamed = f"SELECT o.customer_id g,{MEASURES.replace('l.q', lines)} FROM orders o GROUP BY 1 ORDER BY 1 LIMIT 100"
    items = "SELECT item_id g,count(DISTINCT order_id) n,sum(quantity) q FROM order_item GROUP BY 1 ORDER BY 1 LIMIT 1000"
    status, months = "'\"status\":\"'||g||'\",'", "'\"month\":\"'||g||'\",'"
    quote = "to_json" if postgresql else "json_quote"
    customer = f"""(SELECT '"customer":{{"name":'||{quote}(c.name)||'}},' FROM customer c WHERE c.id=g)"""
    item = """(SELECT '"item":{"sku":"'||sku||'"},' FROM item i WHERE i.id=g)"""
    return {
        "all": (summary("", ""), shown("''", f"SELECT {whole} FROM orders o")),
        "by STATUS": (summary("(groupBy:[STATUS])", "status"), shown(status, rows("o.status"))),
        "by MONTH": (summary("(groupBy:[MONTH])", "month"), shown(months, rows(month))),
        "by MONTH, of a status": (
            summary("(groupBy:[MONTH],where:{status:{eq:PAID}})", "month"),
            shown(months, rows(month, " WHERE o.status='PAID'")),
        ),
        "by CUSTOMER, the first 100": (summary("(groupBy:[CUSTOMER])", "customer{name}"), shown(customer, streamed)),
        "by CUSTOMER, the first 1,000": (
            summary("(groupBy:[CUSTOMER],first:1000)", "customer{name}"),
            shown(customer, rows("o.customer_id", end=" LIMIT 1000")),
        ),
        "by ITEM": ("{orderSummary(groupBy:[ITEM],first:1000){item{sku} count quantity}}", shown(item, items, total=False)),
    }


async def timed(fetch: Fetch, sql: str, arguments: list[Any]) -> float:
    started = time.perf_counter()
    await fetch(sql, arguments)
    return (time.perf_counter() - started) * 1000


async def measure(url: str, fetch: Fetch, rounds: int) -> None:
    """Print the table for one database."""
    database = Database(Settings(database_url=url, max_cost=10_000_000))
    print("| summary | by hand ms | project ms | of its speed |\n|---|---|---|---|")
    for title, (query, hand) in by_hand(database.dialect.name == "postgresql").items():
        sql, arguments = await statement(database, query)
        ours, theirs = await fetch(sql, arguments), await fetch(hand, [])
        assert ours == theirs, f"{title}:\n{ours[:500]}\n{theirs[:500]}"
        # A round of one, a round of the other: a machine that is busy for a while does both the same harm.
        pairs = [(await timed(fetch, hand, []), await timed(fetch, sql, arguments)) for _ in range(rounds)]
        hand_ms, our_ms = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"| {title} | {hand_ms:.1f} | {our_ms:.1f} | {ratio:.2f} |")
    await database.close()


async def on_postgresql(url: str, orders: int, rounds: int) -> None:
    await migrate.upgrade(url)
    await data.fill_postgresql(url, orders)
    connection = await asyncpg.connect(url)
    await measure(url, lambda sql, arguments: connection.fetchval(sql, *arguments), rounds)
    await connection.close()


async def on_sqlite(path: Path, orders: int, rounds: int) -> None:
    url = f"sqlite:///{path}"
    await migrate.upgrade(url)
    data.fill_sqlite(str(path), orders)
    connection = sqlite3.connect(path)

    async def fetch(sql: str, arguments: list[Any]) -> Any:
        return connection.execute(sql, arguments).fetchone()[0]

    await measure(url, fetch, rounds)
    connection.close()


@click.command()
@click.option("--orders", default=20_000, show_default=True, type=click.IntRange(50), help="Orders in the data.")
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(1), help="Rounds; medians are shown.")
@click.option("--sqlite", is_flag=True, help="Measure on SQLite instead of PostgreSQL.")
def main(orders: int, rounds: int, sqlite: bool) -> None:
    """Measure summaries against SQL written by hand."""
    if sqlite:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(on_sqlite(Path(folder) / "shop.db", orders, rounds))
    else:
        with postgres.server() as server:
            name = postgres.new_name()
            url = server.create(name)
            try:
                asyncio.run(on_postgresql(url, orders, rounds))
            finally:
                server.drop(name)


if __name__ == "__main__":
    main()
