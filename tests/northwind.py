"""The shipped Northwind files, read as text, so that tests compute from the source what the product must answer."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "graph" / "sample" / "data"


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one file."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def orders_of(customer_id: str) -> list[dict[str, str]]:
    """One customer's orders in file order."""
    return [row for row in rows("orders") if row["customer_id"] == customer_id]


def lines_of(order_id: str) -> list[dict[str, str]]:
    """One order's lines in file order, each with its product's name as `product_name`."""
    names = {row["product_id"]: row["product_name"] for row in rows("products")}
    return [{**row, "product_name": names[row["product_id"]]} for row in rows("order_details") if row["order_id"] == order_id]


def money(amount: Decimal) -> str:
    """An amount as the API writes it in a currency of two decimals."""
    return f"{amount:.2f}"
