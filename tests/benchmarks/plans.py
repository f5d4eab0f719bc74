"""The plans of the databases for the lists the API offers: `python -m tests.benchmarks.plans URL...`.

What goes in: the URLs of migrated and filled databases. What comes out: for each query its plans as Markdown, with the time they
took. The statements are those that requests get: compiled by the engine, with their arguments.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
import time
from typing import Any

import asyncpg

from graph.context import Context
from graph.database import Database
from graph.operations.documents import read_document
from graph.operations.variables import coerce_variables
from graph.read.planning.selection import plan_query
from graph.read.sql.statement import LIMIT
from graph.read.sql.writer import write
from graph.schema import schema
from graph.scope import OPEN
from graph.settings import Settings

#: What the pages are about, and the queries. `AFTER` becomes the cursor of a row deep inside the same list.
RANGE = 'where:{orderDate:{gte:"1995-03-01T00:00:00Z",lt:"1995-04-01T00:00:00Z"}}'
BY_DATE, BY_NAME, BY_STOCK = (f"orderBy:[{{field:{name}}}]" for name in ("ORDER_DATE", "CUSTOMER_NAME", "STOCK"))
DOWNWARDS = "orderBy:[{field:ORDER_DATE,direction:DESC}]"
BY_STATUS = "orderBy:[{field:STATUS},{field:TOTAL_AMOUNT,direction:DESC}]"
QUERIES = {
    "customers, default order": "{customers(first:50){nodes{id}}}",
    "items, default order": "{items(first:50){nodes{id}}}",
    "orders, default order": "{orders(first:50){nodes{id}}}",
    "orders, default order, deep inside": "{orders(first:50,after:AFTER){nodes{id}}}",
    "orders of a date range": f"{{orders(first:50,{RANGE}){{nodes{{id}}}}}}",
    "orders of a date range by date": f"{{orders(first:50,{RANGE},{BY_DATE}){{nodes{{id}}}}}}",
    "orders of a status": "{orders(first:50,where:{status:{eq:PAID}}){nodes{id}}}",
    "orders of some statuses": "{orders(first:50,where:{status:{in:[PAID,CANCELLED]}}){nodes{id}}}",
    "orders of a status by date": f"{{orders(first:50,where:{{status:{{eq:PAID}}}},{BY_DATE}){{nodes{{id}}}}}}",
    "orders of a status, counted": "{orders(first:50,where:{status:{eq:PAID}}){totalCount}}",
    "orders of a customer": '{orders(first:50,where:{customer:{id:{eq:"Customer:70"}}}){nodes{id}}}',
    "orders of a customer by name": '{orders(first:50,where:{customer:{name:{eq:"Customer#000000070"}}}){nodes{id}}}',
    "a customer's own list": '{customer(by:{id:"Customer:70"}){orders(first:50){nodes{id}}}}',
    "orders that sold an item": '{orders(first:50,where:{items:{some:{item:{id:{eq:"Item:70"}}}}}){nodes{id}}}',
    "orders by customer name": f"{{orders(first:50,{BY_NAME}){{nodes{{id}}}}}}",
    "orders by customer name, deep inside": f"{{orders(first:50,{BY_NAME},after:AFTER){{nodes{{id}}}}}}",
    "orders by date, deep inside": f"{{orders(first:50,{BY_DATE},after:AFTER){{nodes{{id}}}}}}",
    "orders by date downwards, deep inside": f"{{orders(first:50,{DOWNWARDS},after:AFTER){{nodes{{id}}}}}}",
    "orders by status and total, deep inside": f"{{orders(first:50,{BY_STATUS},after:AFTER){{nodes{{id}}}}}}",
    "items by stock": f"{{items(first:50,{BY_STOCK}){{nodes{{id}}}}}}",
    "items by stock, deep inside": f"{{items(first:50,{BY_STOCK},after:AFTER){{nodes{{id}}}}}}",
    "items by stock downwards": "{items(first:50,orderBy:[{field:STOCK,direction:DESC}]){nodes{id}}}",
    "search in orders, a rare text": '{orders(first:50,search:"000000070@"){nodes{id}}}',
    "search in orders, a frequent text": '{orders(first:50,search:"customer"){nodes{id}}}',
    "search in customers": '{customers(first:50,search:"000000070"){nodes{id}}}',
    "search in items": '{items(first:50,search:"salmon"){nodes{id}}}',
}
DEEP = 10_000
NOISE = re.compile(
    r"\s*(Buffers|Planning|Heap Fetches|Worker|Index Searches|SCAN CONSTANT ROW|SCALAR SUBQUERY|Result|InitPlan [12] \()"
    r"|    ->  Aggregate"
)
SHORTER = (
    (r" ?\(cost=\S+ rows=\S+ width=\d+\)", ""),
    (r"\(actual (rows=[\d.]+) loops=1\)", r"(\1)"),
    (r"\(actual (rows=[\d.]+) (loops=\d+)\)", r"(\1 \2)"),
    (r"  (Average Memory|Peak Memory|Memory|Memory Usage): \S+|::timestamp with time zone|::text|::bigint| COLLATE \"C\"", ""),
)


async def statement(database: Database, query: str) -> tuple[str, list[Any]]:
    """The SQL and the arguments that the engine sends for a query."""
    engine = schema.engine(database)
    if "AFTER" in query:
        query = query.replace("AFTER", f'"{await deep_cursor(database, query)}"')
    document = read_document(engine.schema, engine.settings, query, None)
    variables = coerce_variables(engine.settings, document, {})
    made = write(plan_query(engine.operation(document, variables, OPEN)), engine.dialect, OPEN)
    return made.sql, made.arguments({**variables.coerced, LIMIT: engine.settings.max_answer_bytes})


async def deep_cursor(database: Database, query: str) -> str:
    """The cursor of a row deep inside the list of a query."""
    whole = query.replace("first:50", f"first:{DEEP}").replace(",after:AFTER", "").replace("nodes{id}", "pageInfo{endCursor}")
    answer = await schema.engine(database).run(whole, {}, None, Context(database))
    found = re.search(rb'"endCursor":"([0-9a-f]+)"', answer.data or b"")
    assert found is not None
    return found[1].decode()


def readable(lines: list[str]) -> str:
    """A plan without the frame that every answer has, without costs, its lines cut."""
    kept = [line for line in lines if not NOISE.match(line)]
    for pattern, instead in SHORTER:
        kept = [re.sub(pattern, instead, line) for line in kept]
    indent = min(len(line) - len(line.lstrip()) for line in kept if not line.startswith("Execution"))
    kept = [line if line.startswith("Execution") else line[indent:] for line in kept]
    return "\n".join(line if len(line) < 130 else f"{line[:126]} ..." for line in kept)


async def explain_postgresql(url: str, sql: str, arguments: list[Any]) -> str:
    connection = await asyncpg.connect(url)
    try:
        rows: list[Any] = []
        for _ in range(2):  # the second run finds the pages in memory
            rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS off, TIMING off, SUMMARY) {sql}", *arguments)
        return readable([row[0] for row in rows])
    finally:
        await connection.close()


def explain_sqlite(path: str, sql: str, arguments: list[Any]) -> str:
    connection = sqlite3.connect(path)
    depth = {0: -1}
    lines: list[str] = []
    for key, parent, _, text in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments):
        depth[key] = depth.get(parent, -1) + 1
        lines.append("  " * depth[key] + text)
    connection.execute(sql, arguments).fetchall()
    started = time.perf_counter()
    connection.execute(sql, arguments).fetchall()
    lines.append(f"Execution Time: {(time.perf_counter() - started) * 1000:.3f} ms")
    connection.close()
    return readable(lines)


async def explain(url: str) -> dict[str, str]:
    """The plan of every query on one database, by title."""
    settings = Settings(database_url=url, max_page_size=100_000, max_cost=10_000_000, statement_timeout_seconds=60)
    database, found = Database(settings), {}
    try:
        for title, query in QUERIES.items():
            sql, arguments = await statement(database, query)
            if database.dialect.name == "sqlite":
                found[title] = explain_sqlite(database.target.url.database or "", sql, arguments)
            else:
                found[title] = await explain_postgresql(url, sql, arguments)
    finally:
        await database.close()
    return found


async def show(urls: list[str]) -> None:
    plans = {"SQLite" if url.startswith("sqlite") else "PostgreSQL": await explain(url) for url in urls}
    for title, query in QUERIES.items():
        print(f"### {title[0].upper()}{title[1:]}\n\n    {query}\n")
        for name, by_title in plans.items():
            print(f"{name}:\n\n```\n{by_title[title]}\n```\n")


if __name__ == "__main__":
    asyncio.run(show(sys.argv[1:]))
