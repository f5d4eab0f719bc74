"""The files of an export: one of objects, one of order lines, or a folder of tables.

What goes in: an `Export`, and where it is to go. What comes out: how many rows were written. What may be refused here:
`CannotRead` for a folder that is there already, or cannot be made.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from graph.exchange.exports import COLUMNS, Export, cells, flat, said
from graph.exchange.openings import CannotRead
from graph.exchange.tables import CUSTOMERS, ITEMS, LINES, ORDER_ITEMS, ORDERS

Told = Callable[[Counter[str]], None]


async def write_objects(export: Export, out: TextIO, told: Told) -> Counter[str]:
    """All entities as NDJSON: customers, items, and orders with their lines, in the order in which they can be imported."""
    done: Counter[str] = Counter()
    sources: list[tuple[str, str, AsyncIterator[dict[str, Any]], Any]] = [
        ("customer", "customers", export.customers(), CUSTOMERS),
        ("item", "items", export.items(), ITEMS),
        ("order", "orders", export.orders(), ORDERS),
    ]
    for type_, name, nodes, layout in sources:
        async for node in nodes:
            held = {"type": type_, **said(COLUMNS[layout], node)}
            if type_ == "order":
                held["items"] = [said(COLUMNS[ORDER_ITEMS], line) for line in node["items"]]
                done["lines"] += len(node["items"])
            out.write(json.dumps(held, ensure_ascii=False) + "\n")
            done[name] += 1
            told(done)
    return done


async def write_lines(export: Export, out: TextIO, kind: str, told: Told) -> Counter[str]:
    """Orders as a flat file, a line a row."""
    done: Counter[str] = Counter()
    columns = COLUMNS[LINES]
    writer = csv.writer(out, lineterminator="\n")
    if kind == "csv":
        writer.writerow(columns)
    async for order in export.orders():
        for row in flat(order):
            if kind == "csv":
                writer.writerow(cells(columns, row))
            else:
                out.write(json.dumps(said(columns, row), ensure_ascii=False) + "\n")
        done += Counter(orders=1, lines=len(order["items"]))
        told(done)
    return done


async def write_folder(export: Export, folder: Path, told: Told) -> Counter[str]:
    """All entities as a folder of CSV files."""
    done: Counter[str] = Counter()
    _make(folder)
    with ExitStack() as files:
        made = files.enter_context(ExitStack())
        made.callback(shutil.rmtree, folder)  # half an export is none
        writers = {}
        for layout in (CUSTOMERS, ITEMS, ORDERS, ORDER_ITEMS):
            file = files.enter_context((folder / f"{layout.name}.csv").open("x", encoding="utf-8", newline=""))
            writers[layout] = csv.writer(file, lineterminator="\n")
            writers[layout].writerow(COLUMNS[layout])
        for layout, nodes in ((CUSTOMERS, export.customers()), (ITEMS, export.items()), (ORDERS, export.orders())):
            async for node in nodes:
                writers[layout].writerow(cells(COLUMNS[layout], node))
                for line in node.get("items", ()):
                    writers[ORDER_ITEMS].writerow(cells(COLUMNS[ORDER_ITEMS], {**node, **line}))
                    done["lines"] += 1
                done[layout.name] += 1
                told(done)
        made.pop_all()
    return done


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise CannotRead(f"cannot make the folder {folder}: {error.strerror}") from None
