"""Rows of a file, by the names of a `Layout`: CSV with a header, or an object a line (NDJSON).

What goes in: text, a layout, and what its names are called in the file. What comes out: `Row`s. What may be refused here:
`CannotRead` for a header that lacks what the layout needs; a row that is none is told to `refuse`, and the next one is read.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
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


#: A row of a file: what the file is called, the line, its values as they stand there, for the rejects, and by the names of the
#: layout; "" for none.
Row = tuple[str, int, Any, tuple[str, ...]]
Refuse = Callable[[str, int, Any, str, str], None]
Pick = Callable[[Sequence[Sequence[str]]], Iterator[tuple[str, ...]]]
#: Rows whose values are taken together.
TOGETHER = 1_000


def csv_rows(
    file: str, text: TextIO, layout: Layout, called: Mapping[str, str], delimiter: str, refuse: Refuse
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
    return header, _csv_rows(file, reader, header, _picker(header, layout, called), refuse)


def _csv_rows(file: str, reader: Any, header: Sequence[str], pick: Pick, refuse: Refuse) -> Iterator[Row]:
    width = len(header)
    lines: list[int] = []
    raws: list[list[str]] = []
    line = reader.line_num + 1
    while True:
        try:
            for raw in reader:
                if len(raw) == width:
                    lines.append(line)
                    raws.append(raw)
                    if len(raws) == TOGETHER:
                        yield from zip(repeat(file), lines, raws, pick(raws))
                        lines, raws = [], []
                elif raw:  # else the line is blank
                    reason = f"the row has {len(raw)} values, the header {width}"
                    refuse(file, line, [*raw, *[""] * width][:width], "NOT_READABLE", reason)
                line = reader.line_num + 1
        except csv.Error as error:
            refuse(file, line, [""] * width, "NOT_READABLE", f"the row is no CSV: {error}")
            line = reader.line_num + 1
        else:
            yield from zip(repeat(file), lines, raws, pick(raws))
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


def _picker(header: Sequence[str], layout: Layout, called: Mapping[str, str]) -> Pick:
    """What makes of rows those of a layout: column by column, which is half the work of row by row."""
    places = {name: index for index, name in enumerate(header)}

    def place(name: str) -> int | None:
        if name in header and header.count(name) > 1:
            raise CannotRead(f"two columns are called {name}")
        return places.get(name)

    made: list[Callable[[Sequence[Sequence[str]]], Iterable[str]]] = []
    for name in layout.names:
        parts = HOLE.split(called.get(name, name))
        holes = [place(part) for part in parts[1::2] or parts]
        there = [hole for hole in holes if hole is not None]
        if len(there) == len(holes):
            made.append(itemgetter(*there) if len(parts) == 1 else partial(_composite, _filler(parts), there))
        elif name in layout.needed:
            raise CannotRead(_without(name, header))
        else:
            made.append(lambda _: repeat(""))

    def pick(raws: Sequence[Sequence[str]]) -> Iterator[tuple[str, ...]]:
        columns = list(zip(*raws, strict=True)) or [()] * len(header)
        return zip(*[make(columns) for make in made], strict=False)  # what is nowhere has no end

    return pick


def _composite(fill: Callable[[tuple[str, ...]], str], holes: Sequence[int], columns: Sequence[Sequence[str]]) -> Iterator[str]:
    return map(fill, zip(*[columns[hole] for hole in holes], strict=True))


def _filler(parts: Sequence[str]) -> Callable[[tuple[str, ...]], str]:
    """What puts the values of columns into a template. Of what is not there nothing is made."""
    texts = list(parts)

    @lru_cache(2**15)
    def fill(held: tuple[str, ...]) -> str:
        texts[1::2] = held
        return "".join(texts) if all(text.strip() for text in texts[1::2]) else ""

    return fill


def ndjson_objects(file: str, text: TextIO, refuse: Refuse) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of an NDJSON file, each with its line. Numbers are kept as they are written."""
    for line, one in enumerate(text, start=1):
        if not one.strip():
            continue
        try:
            found = json.loads(one.removeprefix("\ufeff"), parse_float=str, parse_int=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            refuse(file, line, {}, "NOT_READABLE", f"the line is no JSON: {error}")
            continue
        if not isinstance(found, dict):
            refuse(file, line, {}, "NOT_READABLE", "the line is no JSON object")
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
