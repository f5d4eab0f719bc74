"""The model: what a mutation answers, and what the shop is afterwards, in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
Payload = dict[str, Any]
Codes = set[str]

HOLDING = ("PENDING", "PAID")
TRANSITIONS = {"PENDING": ("PAID", "CANCELLED"), "PAID": ("SHIPPED", "CANCELLED"), "SHIPPED": (), "CANCELLED": ()}


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


@dataclass(eq=False)
class Customer:
    name: str
    email: str
    version: int = 1
    archived: bool = False
    id: str | None = None


@dataclass(eq=False)
class Item:
    sku: str
    name: str
    price: int
    stock: int | None = None
    version: int = 1
    archived: bool = False
    id: str | None = None


@dataclass(eq=False)
class Line:
    item: Item
    quantity: int
    price: int
    position: int = 0
    id: str | None = None


@dataclass(eq=False)
class Order:
    customer: Customer
    note: str | None = None
    discount: int = 0
    status: str = "PENDING"
    version: int = 1
    lines: list[Line] = field(default_factory=list)
    id: str | None = None

    @property
    def subtotal(self) -> int:
        return sum(line.quantity * line.price for line in self.lines)

    @property
    def total(self) -> int:
        return self.subtotal - self.discount

    def number(self, *, after: int = 0) -> None:
        """Give new lines the positions after the highest one there was."""
        highest = max([after, *(line.position for line in self.lines)])
        for line in self.lines:
            if not line.position:
                highest += 1
                line.position = highest


class Shop:
    """Everything there is, in the order it was made."""

    def __init__(self) -> None:
        self.customers: list[Customer] = []
        self.items: list[Item] = []
        self.orders: list[Order] = []

    def of(self, customer: Customer) -> list[Order]:
        return [order for order in self.orders if order.customer is customer]

    def lines(self) -> list[tuple[Order, Line]]:
        return [(order, line) for order in self.orders for line in order.lines]

    def take(self, pieces: Counter[Item]) -> Codes:
        """Move stock: positive pieces are taken, negative ones come back."""
        short = {item for item, number in pieces.items() if item.stock is not None and number > item.stock}
        for item, number in pieces.items():
            if item.stock is not None and item not in short:
                item.stock -= number
        return {"OUT_OF_STOCK"} if short else set()

    def drop(self, order: Order) -> None:
        """An order goes, and what it holds comes back."""
        if order.status in HOLDING:
            self.take(held(order.lines, -1))
        self.orders.remove(order)

    def view(self) -> Payload:
        """What a read of everything must answer."""
        return {
            "customers": [
                {
                    "id": c.id,
                    "version": c.version,
                    "name": c.name,
                    "email": c.email,
                    "archived": c.archived,
                    "orderCount": len(self.of(c)),
                    "totalSpent": money(sum(order.total for order in self.of(c) if order.status in ("PAID", "SHIPPED"))),
                }
                for c in self.customers
            ],
            "items": [
                {
                    "id": i.id,
                    "version": i.version,
                    "sku": i.sku,
                    "name": i.name,
                    "price": money(i.price),
                    "stock": i.stock,
                    "archived": i.archived,
                }
                for i in self.items
            ],
            "orders": [
                {
                    "id": o.id,
                    "version": o.version,
                    "status": o.status,
                    "note": o.note,
                    "discount": money(o.discount),
                    "subtotal": money(o.subtotal),
                    "totalAmount": money(o.total),
                    "customer": {"id": o.customer.id},
                    "items": [
                        {
                            "id": line.id,
                            "position": line.position,
                            "quantity": line.quantity,
                            "pricePaid": money(line.price),
                            "item": {"id": line.item.id},
                        }
                        for line in sorted(o.lines, key=lambda line: line.position)
                    ],
                }
                for o in self.orders
            ],
        }


def held(lines: Iterable[Line], sign: int = 1) -> Counter[Item]:
    pieces: Counter[Item] = Counter()
    for line in lines:
        pieces[line.item] += sign * line.quantity
    return pieces


# What is drawn. A number picks one of what is there; 9 is somebody who is not.

PICK = st.integers(0, 9)
NAMES = st.sampled_from(["Ada", "Bob", "Cyd"])
EMAILS = st.sampled_from(["a@x.io", "b@x.io", "c@x.io", "d@x.io", " A@X.io", "B@x.IO "])
SKUS = st.sampled_from("PQRSTU")
PRICES = st.sampled_from([0, 5, 150, 999, 20_000, -1])
STOCKS = st.sampled_from([None, 0, 1, 5, 20])
QUANTITIES = st.sampled_from([1, 1, 2, 3, 7, 0, 100_001])
DISCOUNTS = st.sampled_from([0, 1, 100, 5_000])
NOTES = st.sampled_from([None, "n1", "n2"])
EXPECTED = st.sampled_from(["none", "none", "right", "wrong"])


@dataclass(frozen=True)
class Ordered:
    """A line to make: which item, how many, for how much."""

    item: int
    quantity: int
    price: int | None


LINES = st.lists(st.builds(Ordered, PICK, QUANTITIES, st.one_of(st.none(), PRICES)), max_size=3)


@dataclass(frozen=True)
class Placed:
    """An order to make."""

    lines: list[Ordered]
    discount: int
    note: str | None


ORDERS = st.builds(Placed, LINES, DISCOUNTS, NOTES)


def picked(found: list[T], number: int) -> T | None:
    return found[number % len(found)] if found and number != 9 else None


def id_of(row: Any, type_: str) -> str:
    return row.id if row is not None else f"{type_}:999999999"


def money_text(cents: int) -> str:
    return money(cents) if cents >= 0 else f"-{money(-cents)}"


def new_lines(shop: Shop, lines: list[Ordered]) -> tuple[list[Line], Codes, bool]:
    """The lines, what is wrong with them, and whether all prices are known."""
    made, codes, known = [], set[str](), True
    for ordered in lines:
        item = picked(shop.items, ordered.item)
        if item is None:
            codes.add("REFERENCE_NOT_FOUND")
            known = known and ordered.price is not None
            item = Item("missing", "", 0)
        if item.archived:
            codes.add("ARCHIVED")
        if not 1 <= ordered.quantity <= 100_000 or (ordered.price is not None and ordered.price < 0):
            codes.add("CHECK")
        made.append(Line(item, ordered.quantity, item.price if ordered.price is None else ordered.price))
    return made, codes, known


def place(shop: Shop, customer: Customer, placed: Placed, pieces: Counter[Item]) -> Codes:
    """Make an order; what it takes is added to `pieces`."""
    lines, codes, known = new_lines(shop, placed.lines)
    order = Order(customer, placed.note, placed.discount, lines=lines)
    order.number()
    pieces.update(held(lines))
    shop.orders.append(order)
    return codes | ({"CHECK"} if known and order.total < 0 else set())


def root(row: Any, expected: str) -> Codes:
    """Why the root of a mutation stops it, if it does."""
    if row is None:
        return {"NOT_FOUND"}
    return {"STALE_VERSION"} if expected == "wrong" else set()


def version_input(row: Any, expected: str) -> Payload:
    version = 1 if row is None else row.version
    return {"none": {}, "right": {"expectedVersion": version}, "wrong": {"expectedVersion": version + 7}}[expected]


HOW = st.sampled_from(["", "", "", "repeat", "dry"])


def make_customer(shop: Shop, name: str, email: str, orders: list[Placed]) -> Codes:
    """A customer with orders, and what is wrong with them."""
    normal = email.strip().lower()
    codes = {"UNIQUE"} if any(customer.email == normal for customer in shop.customers) else set[str]()
    customer, pieces = Customer(name, normal), Counter[Item]()
    shop.customers.append(customer)
    for order in orders:
        codes |= place(shop, customer, order, pieces)
    return codes | shop.take(pieces)
