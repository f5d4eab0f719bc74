"""Small shops, told as the mutations that make them: what a module calls SHOP is what its `shop` begins with.

What goes in: a sku or a name, and what is below. What comes out: a mutation and its input.
"""

from __future__ import annotations

from typing import Any

Making = tuple[str, dict[str, Any]]


def item(sku: str, price: int | str = 1, stock: int | None = None, name: str | None = None) -> Making:
    """An item; without a stock it is not counted."""
    return "createItem", {"sku": sku, "name": name or sku, "price": price, "stock": stock}


def customer(name: str, *orders: list[dict[str, Any]], email: str | None = None) -> Making:
    """A customer and the lines of each order."""
    made = [{"items": lines} for lines in orders]
    return "createCustomer", {"name": name, "email": email or f"{name.lower()}@example.com", "orders": made}


def line(sku: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
    """A line of an order."""
    return {"item": {"sku": sku}, "quantity": quantity, **more}
