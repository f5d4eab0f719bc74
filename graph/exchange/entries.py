"""Entries: what an import writes, a customer, an item or an order, with the rows it came from and what is wrong with them.

What goes in: rows of a file. What comes out: `Person`s and `Product`s; `graph.exchange.assembly` makes `Order`s of theirs.
What may be refused here: values that no row can have, as faults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from operator import mul
from typing import Any, NamedTuple

from graph.exchange import values
from graph.exchange.presets import Terms
from graph.exchange.tables import Row
from graph.exchange.values import BadValue
from graph.models import OrderStatus


class Fault(NamedTuple):
    """What is wrong with one of the rows of something: which, the code and the reason."""

    row: int
    code: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Entry:
    """Something to be written: the rows it came from, and what is wrong with them."""

    rows: Sequence[Row]
    faults: list[Fault] = field(default_factory=list)

    def take(self, read: Callable[..., Any], *given: Any, row: int = 0) -> Any:
        """A value, or None where a row cannot have it, which is noted."""
        try:
            return read(*given)
        except BadValue as bad:
            self.faults.append(Fault(row, bad.code, bad.reason))
            return None


@dataclass(slots=True, kw_only=True)
class Person(Entry):
    """A customer."""

    email: str
    name: str
    archived_at: datetime | None
    archived_by: str | None


@dataclass(slots=True, kw_only=True)
class Product(Entry):
    """An item."""

    sku: str
    name: str
    price: int
    stock: int | None
    archived_at: datetime | None
    archived_by: str | None


@dataclass(kw_only=True)
class Order(Entry):
    """An order, and its lines by column. `names` are those of items that are made where there are none; "" makes none.

    `at` says which of the rows each line came with; `left_out` counts lines that were passed over.
    """

    source: str
    number: str
    email: str
    customer_name: str
    order_date: datetime
    status: OrderStatus
    discount: int
    note: str | None
    skus: Sequence[str] = ()
    quantities: Sequence[int] = ()
    prices: Sequence[int] = ()
    names: Sequence[str] = ()
    at: Sequence[int] = ()
    left_out: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What names it."""
        return (self.source, self.number)

    @cached_property
    def subtotal(self) -> int:
        """The sum of its lines."""
        return sum(map(mul, self.quantities, self.prices))

    @cached_property
    def fingerprint(self) -> str:
        """What it holds, in short: whether an order that is there already was made of the same."""
        lines = (*self.skus, *self.quantities, *self.prices)
        held = repr((self.email, self.status.value, self.order_date.isoformat(), self.discount, self.note, lines))
        return blake2b(held.encode(), digest_size=16).hexdigest()


def person(terms: Terms, row: Row) -> Person:
    """A customer, by the values of a row."""
    email, name, archived_at, archived_by = row[3]
    entry = Entry(rows=[row])
    return Person(
        rows=entry.rows,
        faults=entry.faults,
        email=entry.take(values.email, email),
        name=entry.take(values.title, name),
        **_archived(terms, entry, archived_at, archived_by),
    )


def product(terms: Terms, row: Row) -> Product:
    """An item, by the values of a row. One without a name is called by its code."""
    sku, name, price, stock, archived_at, archived_by = row[3]
    entry = Entry(rows=[row])
    return Product(
        rows=entry.rows,
        faults=entry.faults,
        sku=entry.take(values.sku, sku),
        name=entry.take(values.title, name if name.strip() else sku),
        price=entry.take(values.money, price if price.strip() else terms.price, "price", terms.rounded),
        stock=entry.take(values.stock, stock),
        **_archived(terms, entry, archived_at, archived_by),
    )


def _archived(terms: Terms, entry: Entry, at: str, by: str) -> dict[str, Any]:
    return {
        "archived_at": entry.take(values.time, at, "archived_at", terms.zone) if at.strip() else None,
        "archived_by": entry.take(values.label, "archived_by", by) if by else None,
    }
