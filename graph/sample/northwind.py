"""Microsoft's Northwind, read from `data/` into this product's terms.

What goes in: the currency's exponent. What comes out: a `Sample` of plain rows, money in minor units, nothing
looked up in a database. What may be refused here: nothing; the files ship with the package.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

FOLDER = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Customer:
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Item:
    sku: str
    name: str
    price: int


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    quantity: int
    price_paid: int


@dataclass(frozen=True, slots=True)
class Order:
    email: str
    order_date: datetime
    shipped: bool
    discount: int
    lines: tuple[Line, ...]

    @property
    def total_amount(self) -> int:
        return sum(line.quantity * line.price_paid for line in self.lines) - self.discount


@dataclass(frozen=True, slots=True)
class Sample:
    customers: tuple[Customer, ...]
    items: tuple[Item, ...]
    orders: tuple[Order, ...]


def read(exponent: int) -> Sample:
    """The whole sample, in the order of the files."""
    lines: dict[str, list[Line]] = defaultdict(list)
    discounts: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows("order_details"):
        price, quantity = Decimal(row["unit_price"]), int(row["quantity"])
        lines[row["order_id"]].append(Line(sku(row["product_id"]), quantity, minor_units(price, exponent)))
        discounts[row["order_id"]] += price * quantity * Decimal(row["discount"])
    return Sample(
        customers=tuple(Customer(row["company_name"], email(row["customer_id"])) for row in rows("customers")),
        items=tuple(
            Item(sku(row["product_id"]), row["product_name"], minor_units(Decimal(row["unit_price"]), exponent))
            for row in rows("products")
        ),
        orders=tuple(
            Order(
                email=email(row["customer_id"]),
                order_date=datetime.fromisoformat(row["order_date"]).replace(tzinfo=UTC),
                shipped=bool(row["shipped_date"]),
                # The exact sum is rounded once an order; rounding each line would add up to other totals.
                discount=minor_units(discounts[row["order_id"]], exponent),
                lines=tuple(lines[row["order_id"]]),
            )
            for row in rows("orders")
        ),
    )


def rows(name: str) -> Iterator[dict[str, str]]:
    """The rows of one file, as text."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def sku(product_id: str) -> str:
    return f"NW-{product_id}"


def email(customer_id: str) -> str:
    return f"{customer_id.lower()}@northwind.example"


def minor_units(amount: Decimal, exponent: int) -> int:
    """An amount in minor units, halves rounded up."""
    return int(amount.scaleb(exponent).quantize(Decimal(1), rounding=ROUND_HALF_UP))
