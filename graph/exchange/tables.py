"""Rows of a file, by the names of a `Layout`: CSV with a header, or an object a line (NDJSON).

What goes in: text, a layout, and what its names are called in the file. What comes out: `Row`s. What may be refused here:
`CannotRead` for a header that lacks what the layout needs; a row that is none is told to `refuse`, and the next one is read.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, TextIO

from graph.exchange.openings import CannotRead

#: Characters of one value of a row: the greatest text that the API takes, many times over.
csv.field_size_limit(2**20)
#: A part of a value that is made of several columns: `{CustomerID}@shop.example`.
HOLE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Layout:
    """What rows of a kind of file hold: their names in order, and those that must be there."""

    name: str
    names: tuple[str, ...]
    needed: frozenset[str]


LINES = Layout(
    "order lines",
    (
        *("source", "number", "order_date", "status", "shipped", "discount", "note", "email", "customer_name"),
        *("sku", "item_name", "quantity", "price_paid", "discount_rate"),
    ),
    frozenset({"number", "order_date", "email", "sku", "quantity", "price_paid"}),
)
CUSTOMERS = Layout("customers", ("email", "name", "archived_at", "archived_by"), frozenset({"email", "name"}))
ITEMS = Layout("items", ("sku", "name", "price", "stock", "archived_at", "archived_by"), frozenset({"sku", "name"}))
ORDERS = Layout("orders", LINES.names[:9], frozenset({"number", "order_date", "email"}))
ORDER_ITEMS = Layout(
    "order_items",
    ("source", "number", "sku", "item_name", "quantity", "price_paid", "discount_rate"),
    frozenset({"number", "sku", "quantity", "price_paid"}),
)
#: What a rejects file adds to a row, and what an import passes over.
TOLD = ("rejected_line", "rejected_code", "rejected_reason")


#: A row of a file: its line, its values as they stand there, for the rejects, and by the names of the layout; "" for none.
Row = tuple[int, Any, tuple[str, ...]]
Refuse = Callable[[int, Any, str, str], None]


def csv_rows(
    text: TextIO, layout: Layout, called: Mapping[str, str], delimiter: str, refuse: Refuse
) -> tuple[Sequence[str], Iterator[Row]]:
    """The header of a CSV file and its rows. Raises `CannotRead`."""
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise CannotRead(f"the header cannot be read: {error}") from None
    if not header:
        raise CannotRead("the file is empty: its first line must name the columns")
    header = [name.removeprefix("\ufeff").strip() for name in header]
    return header, _csv_rows(reader, header, _picker(header, layout, called), refuse)


def _csv_rows(reader: Any, header: Sequence[str], pick: Callable[[list[str]], tuple[str, ...]], refuse: Refuse) -> Iterator[Row]:
    width = len(header)
    line = reader.line_num + 1
    while True:
        try:
            for raw in reader:
                if len(raw) == width:
                    yield line, raw, pick(raw)
                elif raw:  # else the line is blank
                    reason = f"the row has {len(raw)} values, the header {width}"
                    refuse(line, [*raw, *[""] * width][:width], "NOT_READABLE", reason)
                line = reader.line_num + 1
        except csv.Error as error:
            refuse(line, [""] * width, "NOT_READABLE", f"the row is no CSV: {error}")
            line = reader.line_num + 1
        else:
            return


def _without(name: str, header: Sequence[str]) -> str:
    """What to do where no column holds a value that must be there."""
    columns = ", ".join(header)[:500]
    if re.search("[\0\ud800-\udfff]", columns):  # a lone surrogate stands for what the encoding does not know
        return f"no column holds {name}, and the first line is no text in this encoding: --encoding says which one the file has"
    told = f"no column holds {name}: name one by --map {name}=COLUMN. The columns are {columns}"
    for mark, written in ((";", "';'"), ("\t", "$'\\t'"), ("|", "'|'")):
        if len(header) == 1 and mark in header[0]:
            return f"{told}; where they are several, say --delimiter {written}"
    return told


def _picker(header: Sequence[str], layout: Layout, called: Mapping[str, str]) -> Callable[[list[str]], tuple[str, ...]]:
    """What takes the values of a layout out of a row, and puts those behind its end that stand in none of its columns."""
    places = {name: index for index, name in enumerate(header)}

    def place(name: str) -> int:
        if name in header and header.count(name) > 1:
            raise CannotRead(f"two columns are called {name}")
        return places.get(name, len(header))  # where an empty one stands

    made: list[tuple[Callable[[list[str]], Any], Callable[[Any], str]]] = []
    picked: list[int] = []
    for name in layout.names:
        template = called.get(name, name)
        parts = HOLE.split(template)
        holes = [place(part) for part in parts[1::2]] or [place(template)]
        if name in layout.needed and max(holes) == len(header):
            raise CannotRead(_without(name, header))
        if len(parts) == 1:
            picked += holes
        else:
            made.append((itemgetter(*holes), _filler(parts)))
            picked.append(len(header) + len(made))
    pick: Callable[[list[str]], tuple[str, ...]] = itemgetter(*picked)

    def taken(raw: list[str]) -> tuple[str, ...]:
        raw.append("")
        for held, fill in made:
            raw.append(fill(held(raw)))
        return pick(raw)

    return taken


def _filler(parts: Sequence[str]) -> Callable[[Any], str]:
    """What puts the values of columns, or of the one, into a template. Of what is not there nothing is made."""
    texts = list(parts)

    @lru_cache(2**15)
    def fill(held: str | tuple[str, ...]) -> str:
        texts[1::2] = [held] if isinstance(held, str) else held
        return "".join(texts) if all(text.strip() for text in texts[1::2]) else ""

    return fill


def ndjson_objects(text: TextIO, refuse: Refuse) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of an NDJSON file, each with its line. Numbers are kept as they are written."""
    for line, one in enumerate(text, start=1):
        if not one.strip():
            continue
        try:
            found = json.loads(one.removeprefix("\ufeff"), parse_float=str, parse_int=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            refuse(line, {}, "NOT_READABLE", f"the line is no JSON: {error}")
            continue
        if not isinstance(found, dict):
            refuse(line, {}, "NOT_READABLE", "the line is no JSON object")
            continue
        yield line, found


def as_values(found: Mapping[str, Any], layout: Layout, called: Mapping[str, str]) -> tuple[str, ...]:
    """The values of an object by the names of a layout. Raises `ValueError` for a value that is neither text nor number."""

    def value(key: str) -> str:
        held = found.get(key)
        if held is None:
            return ""
        if not isinstance(held, str):
            raise ValueError(f"{key} must be a text or a number")
        return held

    texts = []
    for name in layout.names:
        parts = HOLE.split(called.get(name, name))
        texts.append(value(parts[0]) if len(parts) == 1 else _filler(parts)(tuple(map(value, parts[1::2]))))
    return tuple(texts)
