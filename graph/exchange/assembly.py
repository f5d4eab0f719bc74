"""Rows put together: order lines, and tables of orders and of their lines, to orders.

What goes in: rows of a file as they come. What comes out: `Order`s, each with the rows it came from and what is wrong with them.
What may be refused here: values that no row can have, and lines that contradict each other, as faults.

The lines of an order stand together, or nearly: an order waits for more of them until a batch is full. No more is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from itertools import repeat
from operator import itemgetter

from graph.base import MAX_SUBTOTAL
from graph.exchange import values
from graph.exchange.entries import Entry, Fault, Order
from graph.exchange.presets import Terms
from graph.exchange.tables import LINES, Row
from graph.exchange.values import BadValue

#: Lines of the orders of one batch, and orders or other rows at most. Orders of a file of their own that wait for their lines.
BATCH_LINES, BATCH_ROWS, AHEAD = 10_000, 2_000, 20_000
GUEST = "Guest"
#: The values of a row that are about its line, at its end: sku, item_name, quantity, price_paid, discount_rate.
ABOUT_LINE, QUANTITY = 5, -3
#: Those about its order that all its rows must say alike. Times may differ, and names: the first one counts.
ABOUT_ORDER = ("status", "discount", "note", "email")
about_order = itemgetter(*map(LINES.names.index, ABOUT_ORDER))


def named(row: Row) -> tuple[str, ...]:
    """The source and the number of the order that a row is of."""
    return row[3][:2]


@dataclass(slots=True)
class Unfinished:
    """The rows of an order while more may come: that which is about the order, and those about its lines.

    `flat` says that each of these is about both.
    """

    head: Row
    flat: bool
    lines: list[Row] = field(default_factory=list)


class Assembly:
    """Orders that wait for more of their lines.

    With `makes`, customers and items that are not there are made of what the lines say of them.
    """

    def __init__(self, terms: Terms, *, makes: bool) -> None:
        self.terms = terms
        self.makes = makes
        self._open: dict[tuple[str, ...], Unfinished] = {}
        self._last: Unfinished | None = None
        self._lines = 0

    @property
    def waiting(self) -> int:
        """How many orders wait."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether it is time to `take` what waits."""
        return self._lines >= BATCH_LINES

    def add(self, rows: Sequence[Row]) -> None:
        """Rows of a flat file that are of one order."""
        name = named(rows[0])
        if not name[1] and len(rows) > 1:  # one without a number is refused by itself
            for row in rows:
                self.add([row])
            return
        gathered = self._open.get(name)
        if gathered is None:
            gathered = Unfinished(rows[0], flat=True)
            self._open[name if name[1] else ("", f"\0{rows[0][1]}")] = gathered
        self.lines(gathered, rows)

    def wait(self, head: Row) -> None:
        """Keep an order for the lines that are still to come. Of two of one number the second is left to itself, and refused."""
        name = named(head)
        if name in self._open:
            name = (name[0], f"{name[1]}\0{head[1]}")
        self._open[name] = Unfinished(head, flat=False)

    def find(self, name: tuple[str, ...]) -> Unfinished | None:
        """The order of this source and number, if it waits."""
        return self._open.get(name)

    def lines(self, gathered: Unfinished, rows: Sequence[Row]) -> None:
        """Put lines to their order."""
        gathered.lines += rows
        self._last = gathered
        self._lines += len(rows)

    def take(self, *, all_: bool = False) -> Iterator[list[Order]]:
        """The orders that wait no longer, in batches: those before the one that got the last line."""
        self._lines = 0
        done: list[Order] = []
        for name in list(self._open):
            if self._open[name] is self._last and not all_:
                break
            done.append(order_of(self.terms, self._open.pop(name), makes=self.makes))
        yield from batches(done)


def order_of(terms: Terms, gathered: Unfinished, *, makes: bool) -> Order:
    """An order of its rows."""
    source, number, date, status, shipped, discount, note, email, name = gathered.head[3][:9]
    guest = bool(terms.guest) and not email.strip()
    called = GUEST if guest else name if makes else ""
    rows = gathered.lines if gathered.flat else [gathered.head, *gathered.lines]
    entry = Entry(rows=rows)
    order = Order(
        rows=rows,
        faults=entry.faults,
        source=entry.take(values.label, "source", source.strip() or terms.source),
        number=entry.take(values.number, number),
        email=entry.take(values.email, terms.guest if guest else email),
        customer_name=entry.take(values.title, called) if called.strip() else "",
        order_date=entry.take(values.time, date, "order_date", terms.zone),
        status=entry.take(values.status, status if status.strip() or shipped.strip() else terms.status, shipped),
        discount=entry.take(values.money, discount, "discount", terms.rounded) if discount.strip() else 0,
        note=entry.take(values.label, "note", note) if note else None,
    )
    if gathered.flat:
        _compare(order, rows)
    at: Sequence[int] = range(len(rows) - len(gathered.lines), len(rows))
    if terms.negatives_left_out:
        at = [index for index in at if not values.is_negative(rows[index][3][QUANTITY])]
        order.left_out = len(gathered.lines) - len(at)
    if at:
        _add_lines(terms, order, at, makes=makes)
    if not order.faults and order.subtotal > MAX_SUBTOTAL:
        order.faults.append(Fault(0, "CHECK", "the lines come to more than an order may"))
    elif not order.faults and order.discount > order.subtotal:
        order.faults.append(Fault(0, "CHECK", "discount must be at most the subtotal"))
    return order


def _compare(order: Order, rows: Sequence[Row]) -> None:
    """See that all rows say the same of their order."""
    said = [about_order(row[3]) for row in rows]
    if len(set(said)) == 1:
        return
    for name, texts in zip(ABOUT_ORDER, zip(*said, strict=True), strict=True):
        if len(set(texts)) > 1:
            other = next(index for index, text in enumerate(texts) if text != texts[0])
            reason = f"{name} is another one than on line {rows[0][1]} of the same order"
            order.faults.append(Fault(other, "INVALID_INPUT", reason))


def _add_lines(terms: Terms, order: Order, at: Sequence[int], *, makes: bool) -> None:
    """Put the lines of these rows to an order: column by column, and row by row where one is not as it must be."""
    texts = [order.rows[index][3][-ABOUT_LINE:] for index in at]
    skus, names, quantities, prices, rates = zip(*texts, strict=True)
    try:
        order.skus = list(map(values.sku, skus))
        order.quantities = list(map(values.quantity, quantities))
        order.prices = list(map(values.money, prices, repeat("price_paid"), repeat(terms.rounded)))
        order.names = list(map(values.item_name, names, skus)) if makes else [""] * len(at)
        order.at = at
        if any(rates):
            order.discount += _rebate(list(map(values.rate, rates)), order)
    except BadValue:
        order.skus = order.quantities = order.prices = order.names = order.at = ()
        there = [index for index, line in zip(at, texts, strict=True) if any(text.strip() for text in line)]
        for index in there:
            _judge(terms, order, index, makes=makes)
        if there and not order.faults:  # those that are left are as they must be
            _add_lines(terms, order, there, makes=makes)


def _judge(terms: Terms, order: Order, at: int, *, makes: bool) -> None:
    """Note what is wrong with a line."""
    sku, name, quantity, price, rate = order.rows[at][3][-ABOUT_LINE:]
    order.take(values.sku, sku, row=at)
    order.take(values.quantity, quantity, row=at)
    order.take(values.money, price, "price_paid", terms.rounded, row=at)
    order.take(values.rate, rate, row=at)
    if makes:
        order.take(values.item_name, name, sku, row=at)


def _rebate(rates: Sequence[Decimal], order: Order) -> int:
    """What rates take off the lines: their exact sum, rounded once."""
    off = sum(rate * quantity * price for rate, quantity, price in zip(rates, order.quantities, order.prices, strict=True))
    return int(Decimal(off).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def batches(orders: Sequence[Order]) -> Iterator[list[Order]]:
    """Orders in batches of so many lines."""
    batch: list[Order] = []
    lines = 0
    for order in orders:
        if batch and (lines + len(order.skus) > BATCH_LINES or len(batch) == BATCH_ROWS):
            yield batch
            batch, lines = [], 0
        batch.append(order)
        lines += len(order.skus)
    if batch:
        yield batch
