"""Rows of files, imported: what is made, what is refused and why, and that it happens once."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from graph.base import Base
from graph.database import Database
from graph.exchange import arrivals
from graph.exchange.entries import Order
from graph.exchange.presets import PRESETS, Terms
from graph.sample import northwind
from graph.write.unit import Unit
from tests.conftest import Ask, Statements
from tests.exchange.files import HEADER, WEEK, bring, line, lines_file

RETAIL = PRESETS["online-retail"]


async def count(database: Database, *tables: str) -> list[int]:
    """How many rows tables have."""
    async with database.engine.connect() as connection:
        return [
            (await connection.execute(sa.select(sa.func.count()).select_from(Base.metadata.tables[name]))).scalar_one()
            for name in tables or ("customer", "item", "orders", "order_item", "order_source")
        ]


async def all_of(database: Database, sql: str) -> list[Any]:
    async with database.engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(sa.text(sql))]


def by_hand() -> tuple[dict[str, int], Counter[str], int]:
    """What the week comes to, by a plain script: cents and lines of each order that can be one, and lines of all others."""
    orders: dict[str, list[dict[str, str]]] = defaultdict(list)
    with gzip.open(WEEK, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            orders[row["InvoiceNo"]].append(row)
    fine = {name: rows for name, rows in orders.items() if all(int(row["Quantity"]) > 0 for row in rows)}
    cents: dict[str, int] = {}
    for name, rows in fine.items():
        prices = [Decimal(row["UnitPrice"]).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP) for row in rows]
        cents[name] = int(sum(price * int(row["Quantity"]) for price, row in zip(prices, rows, strict=True)) * 100)
    lines = Counter({name: len(rows) for name, rows in fine.items()})
    return cents, lines, sum(map(len, orders.values())) - lines.total()


async def test_a_week_of_a_real_shop_is_what_a_plain_script_makes_of_it_and_comes_once(
    database: Database, tmp_path: Path
) -> None:
    cents, lines, refused = by_hand()
    week = tmp_path / "week.csv.gz"
    week.write_bytes(WEEK.read_bytes())
    brought = await bring(database, week, RETAIL)
    assert (brought.tally.made["orders"], brought.tally.made["lines"]) == (len(cents), lines.total()) == (633, 16_757)
    assert (brought.tally.refused, len(brought.refused)) == (refused, refused) == (228, 228)
    made = await all_of(
        database,
        "SELECT s.number, o.total_amount, o.status, count(*) FROM orders o JOIN order_source s ON s.order_id = o.id"
        " JOIN order_item i ON i.order_id = o.id GROUP BY s.number, o.total_amount, o.status",
    )
    assert {number: (total, status, n) for number, total, status, n in made} == {
        name: (cents[name], "SHIPPED", lines[name]) for name in cents
    }
    before = await count(database, "customer", "item", "orders", "order_item", "order_source", "changes")
    again = await bring(database, week, RETAIL)
    assert again.tally.made.total() == 0
    assert again.tally.there == Counter(orders=633, lines=16_757)
    assert await count(database, "customer", "item", "orders", "order_item", "order_source", "changes") == before
    # Lines are told as many; roots one by one where a batch has so few.
    told = await all_of(database, "SELECT type, kind, sum(count) FROM changes GROUP BY type, kind ORDER BY type, kind")
    assert ("Order", "CREATED", 633) in told
    assert ("OrderItem", "MANY", 16_757) in told


def as_tables(folder: Path) -> Path:
    """The week as the four tables that Online Retail is handed on in, too; the lines of two invoices in turn."""
    folder.mkdir()
    with gzip.open(WEEK, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    heads = {row["InvoiceNo"]: (row["InvoiceDate"], row["CustomerID"]) for row in reversed(rows)}
    names = {row["StockCode"]: row["Description"] for row in rows}
    order = list(dict.fromkeys(row["InvoiceNo"] for row in rows))
    pair = {name: index // 2 for index, name in enumerate(order)}
    rows.sort(key=lambda row: pair[row["InvoiceNo"]])
    crossed = [row for start in range(0, len(rows), 2) for row in reversed(rows[start : start + 2])]
    tables: dict[str, tuple[list[str], Any]] = {
        "customers": (["CustomerID", "country"], ((customer, "") for customer in {c for _, c in heads.values() if c})),
        "items": (["sku", "name"], names.items()),
        "orders": (["InvoiceNo", "placed_at", "customer_id"], ((name, *heads[name]) for name in order)),
        "order_items": (
            ["InvoiceNo", "line_no", "StockCode", "Quantity", "UnitPrice"],
            ((row["InvoiceNo"], 0, row["StockCode"], row["Quantity"], row["UnitPrice"]) for row in crossed),
        ),
    }
    for name, (header, held) in tables.items():
        with gzip.open(folder / f"{name}.csv.gz", "wt", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(held)
    return folder


async def test_the_same_week_as_a_folder_of_tables_comes_to_the_same(database: Database, tmp_path: Path) -> None:
    cents, lines, refused = by_hand()
    brought = await bring(database, as_tables(tmp_path / "week"), RETAIL)
    assert (brought.tally.made["orders"], brought.tally.made["lines"]) == (len(cents), lines.total())
    assert brought.tally.refused == refused + 757 - 633  # a row of the orders for each, too
    totals = await all_of(database, "SELECT s.number, o.total_amount FROM orders o JOIN order_source s ON s.order_id = o.id")
    assert dict(totals) == cents
    assert (await count(database, "customer"))[0] == 452 + 1  # and the guest
    assert brought.rejects is not None
    assert {path.name for path in brought.rejects.iterdir()} == {"orders.csv", "order_items.csv"}


async def test_northwind_as_a_folder_is_the_sample(ask: Ask, database: Database, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(northwind.FOLDER, tmp_path / "northwind"))  # rejects are written beside what was read
    brought = await bring(database, folder, PRESETS["northwind"])
    assert brought.refused == []
    assert await count(database) == [91, 77, 830, 2155, 830]
    made = await all_of(
        database, "SELECT c.email, o.status, o.discount, o.total_amount FROM orders o JOIN customer c ON c.id = o.customer_id"
    )
    expected = northwind.read(database.settings.currency_exponent).orders
    assert Counter(made) == Counter(
        (order.email, "SHIPPED" if order.shipped else "PENDING", order.discount, order.total_amount) for order in expected
    )
    query = (
        '{ customer(by: {email: "alfki@northwind.example"}) { orders { nodes { orderDate items { position item { sku } } } } } }'
    )
    first = (await ask.data(query))["customer"]["orders"]["nodes"][0]
    assert first["orderDate"] == "1997-08-25T00:00:00Z"
    assert first["items"][0] == {"position": 1, "item": {"sku": "NW-28"}}


#: A line that is refused, its code and what is said of it.
REFUSED = {
    "no number": (line(""), "REQUIRED", "number must have a value"),
    "no address": (line(email=""), "REQUIRED", "email must have a value"),
    "no such address": (line(email="ada"), "INVALID_INPUT", "email must be an e-mail address"),
    "no code": (line(sku=" "), "REQUIRED", "sku must have a value"),
    "a hidden character": (line(sku="A\u200dB"), "INVALID_INPUT", "cannot be seen"),
    "NUL": (line(item_name="a\x00b"), "INVALID_INPUT", "holds what is no text"),
    "too long": (line(item_name="a" * 10_001), "INVALID_INPUT", "at most 10,000 characters"),
    "no pieces": (line(quantity=0), "CHECK", "quantity must be from 1 to 100,000"),
    "fewer than none": (line(quantity=-1), "CHECK", "quantity must be from 1 to 100,000"),
    "half a piece": (line(quantity="1.5"), "INVALID_INPUT", "quantity must be a whole number"),
    "a huge number": (line(quantity="9" * 5_000), "INVALID_INPUT", "quantity must be a whole number"),
    "three decimals": (line(price_paid="1.005"), "INVALID_INPUT", "at most 2 decimals"),
    "below nothing": (line(price_paid="-1"), "CHECK", "price_paid must be at least 0"),
    "not a number": (line(price_paid="NaN"), "INVALID_INPUT", "price_paid"),
    "too dear": (line(price_paid="1e11"), "CHECK", "price_paid must have at most 10 digits"),
    "no offset": (line(order_date="2026-01-31T10:00:00"), "INVALID_INPUT", "--zone"),
    "no day": (line(order_date="2026-02-30T10:00:00Z"), "INVALID_INPUT", "order_date"),
    "too few values": ("1,2", "NOT_READABLE", "the row has 2 values, the header 8"),
    "too many values": (line() + ",x", "NOT_READABLE", "the row has 9 values, the header 8"),
    "a quote within": (line(item_name='"a"b'), "NOT_READABLE", "the row is no CSV"),
}


async def test_each_line_that_cannot_be_is_refused_with_its_reason_and_the_others_come(
    database: Database, tmp_path: Path
) -> None:
    rows = [
        row if "values" in name or name == "no number" else row.replace("1,", f"bad{i},", 1)
        for i, (name, (row, *_)) in enumerate(REFUSED.items())
    ]
    brought = await bring(database, lines_file(tmp_path, line("good"), *rows, line("last")))
    found = {at: (code, reason) for at, code, reason in brought.refused}
    for at, (name, (_, code, told)) in enumerate(REFUSED.items(), start=3):
        assert found[at][0] == code, name
        assert told in found[at][1], name
    assert len(found) == len(REFUSED)
    assert brought.tally.made == Counter(orders=2, lines=2, customers=1, items=1)
    assert await count(database) == [1, 1, 2, 2, 2]


async def test_an_order_comes_whole_or_not_at_all_and_its_rejects_mended_come_too(database: Database, tmp_path: Path) -> None:
    rows = [line("1"), line("1", sku="PEN", quantity="x"), line("1", sku="PAD"), line("2")]
    brought = await bring(database, lines_file(tmp_path, *rows))
    assert brought.refused == [
        (2, "ORDER_REFUSED", "line 3 of this order is refused"),
        (3, "INVALID_INPUT", "quantity must be a whole number"),
        (4, "ORDER_REFUSED", "line 3 of this order is refused"),
    ]
    assert await count(database) == [1, 1, 1, 1, 1]
    assert brought.rejects is not None
    mended = tmp_path / "mended.csv"
    mended.write_text(brought.rejects.read_text().replace(",x,", ",7,"))
    assert (await bring(database, mended)).refused == []
    assert await count(database) == [1, 3, 2, 4, 2]
    places = await all_of(database, "SELECT position, quantity FROM order_item ORDER BY order_id DESC, position LIMIT 3")
    assert places == [(1, 2), (2, 7), (3, 2)]


async def test_what_contradicts_what_is_there_or_itself_is_refused(database: Database, tmp_path: Path) -> None:
    await bring(database, lines_file(tmp_path, line("1")))
    rows = [line("1", quantity=3), line("2"), line("2", email="eve@example.org"), line("3")]
    brought = await bring(database, lines_file(tmp_path, *rows, name="more.csv"))
    found = [(at, code) for at, code, _ in sorted(brought.refused)]
    assert found == [(2, "UNIQUE"), (3, "ORDER_REFUSED"), (4, "INVALID_INPUT")]
    assert await count(database) == [1, 1, 2, 2, 2]


async def test_shops_differ(database: Database, tmp_path: Path) -> None:
    """Guests, decimals, negative lines, zones, and the same number of another source."""
    rows = [
        line("1", email="", order_date="2026-07-01"),
        line("1", email="", order_date="2026-07-01", price_paid="0.125", item_name=""),
        line("1", email="", order_date="2026-07-01", quantity=-2),
        line("2", quantity=-1),
    ]
    terms = Terms(guest="guest@example.org", rounded=True, negatives_left_out=True, zone=ZoneInfo("Europe/Berlin"))
    brought = await bring(database, lines_file(tmp_path, *rows), terms)
    assert brought.refused == []
    assert (brought.tally.left_out, brought.tally.emptied) == (2, 1)
    assert (await bring(database, lines_file(tmp_path, *rows), replace(terms, source="other"))).tally.made["orders"] == 1
    held = await all_of(
        database,
        "SELECT c.name, o.total_amount, i.price_paid FROM orders o JOIN customer c ON c.id = o.customer_id"
        " JOIN order_item i ON i.order_id = o.id ORDER BY o.id, i.position",
    )
    assert held == [("Guest", 926, 450), ("Guest", 926, 13)] * 2


async def test_dates_are_of_their_zone(ask: Ask, database: Database, tmp_path: Path) -> None:
    await bring(database, lines_file(tmp_path, line(order_date="2026-07-01 12:00:00")), Terms(zone=ZoneInfo("Europe/Berlin")))
    found = await ask.data("{ orders { nodes { orderDate } } }")
    assert found["orders"]["nodes"] == [{"orderDate": "2026-07-01T10:00:00Z"}]


async def test_a_dry_run_tells_all_and_leaves_nothing(database: Database, tmp_path: Path) -> None:
    path = lines_file(tmp_path, line("1"), line("2"), line("3", quantity=0))
    rehearsed = await bring(database, path, dry_run=True)
    assert await count(database, "customer", "item", "orders", "order_item", "order_source", "changes") == [0] * 6
    brought = await bring(database, path)
    assert rehearsed.tally == brought.tally
    assert rehearsed.refused == brought.refused


async def test_stock_is_held_by_what_is_open_and_by_nothing_else(ask: Ask, database: Database, tmp_path: Path) -> None:
    make = 'mutation { createItem(input: {sku: "INK", name: "Ink", price: "4.50", stock: 5}) { errors { code } } }'
    assert (await ask.data(make))["createItem"]["errors"] == []
    header = f"{HEADER},status"
    rows = [f"{line('1', quantity=9)},SHIPPED", f"{line('2', quantity=9)},CANCELLED", f"{line('3', quantity=4)},PENDING"]
    rows += [f"{line('4')},PAID", f"{line('5', quantity=1)},paid", f"{line('6')},LOST"]
    brought = await bring(database, lines_file(tmp_path, *rows, header=header))
    assert [(at, code) for at, code, _ in sorted(brought.refused)] == [(5, "OUT_OF_STOCK"), (7, "INVALID_INPUT")]
    found = await ask.data('{ item(by: {sku: "INK"}) { stock } orders { nodes { status } } }')
    assert found["item"]["stock"] == 0
    assert [node["status"] for node in found["orders"]["nodes"]] == ["SHIPPED", "CANCELLED", "PENDING", "PAID"]


@pytest.mark.parametrize("written_first", [False, True], ids=["before the lines", "behind the lines"])
async def test_what_is_stopped_leaves_whole_orders_and_the_next_run_goes_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, written_first: bool
) -> None:
    monkeypatch.setattr("graph.exchange.assembly.BATCH_LINES", 4)
    rows = [line(str(number), sku=f"S{place}") for number in range(1, 9) for place in range(3)]
    path = lines_file(tmp_path, *rows)
    written = arrivals._insert_lines
    batches = 0

    async def stop(*given: Any) -> None:
        nonlocal batches
        batches += 1
        if batches < 3 or written_first:
            await written(*given)
        if batches == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(arrivals, "_insert_lines", stop)
    with pytest.raises(asyncio.CancelledError):
        await bring(database, path)
    _, _, orders, lines, sources = await count(database)
    assert 0 < orders < 8
    assert (lines, sources) == (3 * orders, orders)
    monkeypatch.setattr(arrivals, "_insert_lines", written)
    brought = await bring(database, path)
    assert brought.tally.there["orders"] == orders
    assert await count(database) == [1, 3, 8, 24, 8]


async def test_a_batch_is_as_many_statements_however_many_lines_it_has(
    database: Database, tmp_path: Path, statements: Statements
) -> None:
    await bring(database, lines_file(tmp_path, line("0")))
    counts = list[int]()
    for number in (1_201, 3_017):
        statements.clear()
        rows = [line(str(number), quantity=quantity) for quantity in range(1, number + 1)]
        brought = await bring(database, lines_file(tmp_path, *rows, name=f"{number}.csv"))
        counts.append(len(statements))
        assert brought.tally.made == Counter(orders=1, lines=number)
        held = await all_of(database, "SELECT position, quantity FROM order_item ORDER BY id")
        assert held[-number:] == [(place, place) for place in range(1, number + 1)]
    assert counts[0] == counts[1] <= 9


async def test_lines_are_told_where_they_stand_in_a_long_file(database: Database, tmp_path: Path) -> None:
    """Rows are taken together by the thousand; values may go over several lines."""
    rows = [line(str(number)) for number in range(2_300)]
    rows[2] = line("2", item_name='"Ink\n\nand more"')  # lines 4 to 6
    for at in (998, 999, 1_000, 2_299):
        rows[at] = line(str(at), quantity=0)
    rows[1_500] = "1,2"
    brought = await bring(database, lines_file(tmp_path, *rows))
    assert sorted((at, code) for at, code, _ in brought.refused) == [
        *((at + 4, "CHECK") for at in (998, 999, 1_000)),
        *((1_504, "NOT_READABLE"), (2_303, "CHECK")),
    ]
    assert brought.tally.made["orders"] == 2_295


async def test_rows_of_an_order_that_say_nothing_of_lines_make_one_without_lines(database: Database, tmp_path: Path) -> None:
    blank = {"sku": "", "item_name": "", "quantity": "", "price_paid": ""}
    brought = await bring(database, lines_file(tmp_path, line("1", **blank), line("2", **blank), line("2", **blank)))
    assert brought.refused == []
    assert await count(database) == [1, 0, 2, 0, 2]


async def test_lines_of_an_order_may_stand_a_little_apart(database: Database, tmp_path: Path) -> None:
    brought = await bring(database, lines_file(tmp_path, line("1"), line("2"), line("1", sku="PEN"), line("2", sku="PEN")))
    assert brought.refused == []
    assert await count(database) == [1, 2, 2, 4, 2]


async def test_objects_come_as_lines_and_as_entities(ask: Ask, database: Database, tmp_path: Path) -> None:
    entities: list[dict[str, Any]] = [
        {
            "type": "customer",
            "email": "Ada@Example.org ",
            "name": "Ada",
            "archived_at": "2026-01-01T00:00:00Z",
            "archived_by": "eve",
        },
        {"type": "item", "sku": "INK", "name": "Ink", "price": 4.5, "stock": 3},
        {"type": "item", "sku": "INK", "name": "Another", "price": 1},
        {
            "type": "order",
            "number": "7",
            "email": "ada@example.org",
            "order_date": "2026-01-31T10:00:00Z",
            "discount": "0.50",
            "items": [{"sku": "INK", "quantity": 1, "price_paid": "4.00"}, {"sku": "INK", "quantity": 2, "price_paid": 3}],
        },
        {"type": "order", "number": 8, "email": "ada@example.org", "order_date": "2026-01-31T10:00:00Z"},
        {"type": "order", "number": 9, "email": "nobody@example.org", "order_date": "2026-01-31T10:00:00Z"},
        {
            "type": "order",
            "number": 10,
            "email": "ada@example.org",
            "order_date": "2026-01-31T10:00:00Z",
            "items": [{"sku": "X", "quantity": 1, "price_paid": 1}],
        },
        {"type": "order", "number": 11, "items": 3},
        {"type": "supplier"},
        {
            "number": "12",
            "order_date": "2026-01-31T10:00:00Z",
            "email": "bob@example.org",
            "customer_name": "Bob",
            "sku": "PEN",
            "quantity": 1,
            "price_paid": "1",
        },
    ]
    path = tmp_path / "all.ndjson"
    path.write_text("\n".join([*map(json.dumps, entities), "[]", "{", ""]) + "\n")
    brought = await bring(database, path)
    assert [(at, code) for at, code, _ in sorted(brought.refused)] == [
        *((6, "REFERENCE_NOT_FOUND"), (7, "REFERENCE_NOT_FOUND"), (8, "INVALID_INPUT"), (9, "INVALID_INPUT")),
        *((11, "NOT_READABLE"), (12, "NOT_READABLE")),
    ]
    found = await ask.data(
        '{ customer(by: {email: "ada@example.org"}) { archived archivedBy orders { nodes { totalAmount items { position } } } }'
        ' item(by: {sku: "INK"}) { name price stock } }'
    )
    assert found == {
        "customer": {
            "archived": True,
            "archivedBy": "eve",
            "orders": {
                "nodes": [
                    {"totalAmount": "9.50", "items": [{"position": 1}, {"position": 2}]},
                    {"totalAmount": "0.00", "items": []},
                ]
            },
        },
        "item": {"name": "Ink", "price": "4.50", "stock": 0},
    }
    assert await count(database) == [2, 2, 3, 3, 3]


async def test_what_only_the_database_minds_is_found_in_its_batch_and_the_others_come(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inserted = arrivals._insert_orders

    async def mind(unit: Unit, orders: Sequence[Order], *rest: Any) -> None:
        await inserted(unit, orders, *rest)
        if any(order.number == "5" for order in orders):
            raise IntegrityError("", {}, Exception("nobody foresaw it"))

    monkeypatch.setattr(arrivals, "_insert_orders", mind)
    path = lines_file(tmp_path, *(line(str(number)) for number in range(9)))
    for dry_run in (True, False):
        brought = await bring(database, path, dry_run=dry_run)
        assert [(at, code) for at, code, _ in brought.refused] == [(7, "REFUSED_BY_DATABASE")]
        assert brought.tally.made == Counter(orders=8, lines=8, customers=1, items=1)
    assert await count(database) == [1, 1, 8, 8, 8]
