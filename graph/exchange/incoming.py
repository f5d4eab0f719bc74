"""What an import reads: a flat file of order lines, a file of all entities, or a folder with a file for each of them.

What goes in: a path, terms, where rejects go. What comes out: batches of entries, as the files are read. What may be refused
here: `CannotRead` for what cannot be read at all; rows that are none go to the rejects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from graph.exchange.assembly import AHEAD, BATCH_ROWS, Assembly, Unfinished, batches, named, order_of
from graph.exchange.entries import Entry, Order, person, product
from graph.exchange.openings import STANDARD_INPUT, CannotRead, Input
from graph.exchange.presets import Terms
from graph.exchange.rejects import Rejects
from graph.exchange.tables import (
    CUSTOMERS,
    ITEMS,
    LINES,
    ORDER_ITEMS,
    ORDERS,
    Layout,
    Row,
    as_values,
    csv_rows,
    ndjson_objects,
)

#: What the files of a folder may end with.
PACKED = ("", ".gz", ".zst")
NDJSON = (".ndjson", ".jsonl")


@dataclass(slots=True)
class Form:
    """How files are written: `csv` or `ndjson`, None where the name says it; what stands between values; the encoding."""

    kind: str | None = None
    delimiter: str = ","
    encoding: str = "utf-8"


class Reading:
    """Files that are read once."""

    def __init__(self, path: str, terms: Terms, form: Form, rejects: Rejects) -> None:
        self.path = path
        self.terms = terms
        self.form = form
        self.rejects = rejects
        self._inputs: list[Input] = []
        self._read = 0

    def batches(self) -> Iterator[Sequence[Entry]]:
        """All entries, in batches of one kind, in the order in which they can be written."""
        self._inputs, self._read = [], 0
        try:
            if Path(self.path).is_dir():
                yield from self._folder(Path(self.path))
            elif self._is_ndjson():
                yield from self._objects()
            else:
                yield from self._flat(self._table(self.path, LINES, self.terms.called))
        finally:
            self.close()

    def position(self) -> int:
        """Bytes read so far of all files."""
        return self._read + sum(each.position() for each in self._inputs)

    def close(self) -> None:
        """Close what is open."""
        for each in self._inputs:
            self._read += each.position()
            each.close()
        self._inputs = []

    def _is_ndjson(self) -> bool:
        if self.form.kind is not None:
            return self.form.kind == "ndjson"
        suffixes = [suffix for suffix in Path(self.path).suffixes if suffix not in PACKED]
        return bool(suffixes) and suffixes[-1] in NDJSON

    def _open(self, path: str) -> Input:
        found = Input(path, self.form.encoding)
        self._inputs.append(found)
        return found

    # ---- tables

    def _table(self, path: str, layout: Layout, called: Mapping[str, str]) -> Iterator[Row]:
        """The rows of a CSV file."""
        name = _name(path)
        text = self._open(path).text
        header, rows = csv_rows(name, text, layout, called, self.form.delimiter, self.rejects.add)
        self.rejects.expect(name, header)
        return rows

    def _flat(self, rows: Iterator[Row]) -> Iterator[Sequence[Entry]]:
        assembly = Assembly(self.terms, makes=True)
        for _, together in groupby(rows, named):
            assembly.add(list(together))
            if assembly.full:
                yield from assembly.take()
        yield from assembly.take(all_=True)

    def _folder(self, folder: Path) -> Iterator[Sequence[Entry]]:
        files = {
            layout: _file(folder, self.terms.files.get(layout.name, layout.name))
            for layout in (CUSTOMERS, ITEMS, ORDERS, ORDER_ITEMS)
        }
        if not any(files.values()):
            names = [self.terms.files.get(layout.name, layout.name) for layout in files]
            raise CannotRead(f"{folder} has none of the files {', '.join(f'{name}.csv' for name in names)}")
        if files[ORDER_ITEMS] and not files[ORDERS]:
            raise CannotRead(f"{folder} has lines, but no file of orders")

        def table(layout: Layout) -> Iterator[Row]:
            path = files[layout]
            return iter(()) if path is None else self._table(str(path), layout, self.terms.folder.get(layout.name, {}))

        for layout, read in ((CUSTOMERS, person), (ITEMS, product)):
            batch: list[Entry] = []
            for row in table(layout):
                batch.append(read(self.terms, row))
                if len(batch) == BATCH_ROWS:
                    yield batch
                    batch = []
            yield batch
        yield from self._merged(table(ORDERS), table(ORDER_ITEMS))

    def _merged(self, heads: Iterator[Row], lines: Iterator[Row]) -> Iterator[Sequence[Entry]]:
        """Orders of one file with their lines of another, both in the same order."""
        assembly = Assembly(self.terms, makes=False)
        for row in lines:
            name = named(row)
            while (gathered := assembly.find(name)) is None and assembly.waiting < AHEAD:
                head = next(heads, None)
                if head is None:
                    break
                assembly.wait(head)
            if gathered is None:
                reason = f"no order {name[1]} stands near: both files must be in the same order"
                self.rejects.add(*row[:3], "REFERENCE_NOT_FOUND", reason)
                continue
            assembly.lines(gathered, [row])
            if assembly.full:
                yield from assembly.take()
        yield from assembly.take(all_=True)
        for head in heads:  # these have no lines
            assembly.wait(head)
            if assembly.waiting == BATCH_ROWS:
                yield from assembly.take(all_=True)
        yield from assembly.take(all_=True)

    # ---- objects

    def _objects(self) -> Iterator[Sequence[Entry]]:
        """Lines, or entities that say their `type`; several of one kind are one batch."""
        name = _name(self.path)
        self.rejects.expect(name, None)
        assembly = Assembly(self.terms, makes=True)
        waiting: list[Any] = []
        kind = None
        for line, found in ndjson_objects(name, self._open(self.path).text, self.rejects.add):
            found.pop("rejected", None)
            type_ = found.get("type")
            if type_ != kind or len(waiting) >= BATCH_ROWS:
                yield from _closed(waiting)
                waiting, kind = [], type_
            try:
                if type_ is None:
                    assembly.add([(name, line, found, as_values(found, LINES, self.terms.called))])
                    if assembly.full:
                        yield from assembly.take()
                else:
                    waiting.append(self._entity(name, line, found))
            except ValueError as error:
                self.rejects.add(name, line, found, "INVALID_INPUT", str(error))
        yield from _closed(waiting)
        yield from assembly.take(all_=True)

    def _entity(self, name: str, line: int, found: dict[str, Any]) -> Entry:
        """An entity. Raises `ValueError`."""
        match found["type"]:
            case "customer":
                return person(self.terms, (name, line, found, as_values(found, CUSTOMERS, {})))
            case "item":
                return product(self.terms, (name, line, found, as_values(found, ITEMS, {})))
            case "order":
                return self._order(name, line, found)
        raise ValueError("type must be customer, item or order; a row without one is an order line")

    def _order(self, name: str, line: int, found: dict[str, Any]) -> Order:
        lines = found.get("items") or []
        if not isinstance(lines, list) or not all(isinstance(each, dict) for each in lines):
            raise ValueError("items must be a list of objects")
        head = (name, line, found, as_values(found, ORDERS, {}))
        gathered = Unfinished(head, False, [(name, line, found, as_values(each, ORDER_ITEMS, {})) for each in lines])
        order = order_of(self.terms, gathered, makes=False)
        order.rows = [head]
        order.faults[:] = [fault._replace(row=0) for fault in order.faults]
        order.at = [0] * len(order.skus)
        return order


def _closed(waiting: Sequence[Any]) -> Iterator[Sequence[Entry]]:
    if waiting and isinstance(waiting[0], Order):
        yield from batches(waiting)
    elif waiting:
        yield waiting


def _file(folder: Path, name: str) -> Path | None:
    return next((path for packed in PACKED if (path := folder / f"{name}.csv{packed}").is_file()), None)


def _name(path: str) -> str:
    """What the rejects of a file are called: as it is, unpacked."""
    name = "rows" if path == STANDARD_INPUT else Path(path).name
    return next((name.removesuffix(packed) for packed in PACKED[1:] if name.endswith(packed)), name)
