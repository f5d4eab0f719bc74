"""One example of a play: a mutation is done to the model and to the shop, and a fresh read of everything must equal the model."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from tests.audit import rows_of
from tests.conftest import Ask
from tests.write.machine.model import (
    Codes,
    Line,
    Ordered,
    Payload,
    Placed,
    Shop,
    id_of,
    money_text,
    picked,
)

CUSTOMER = "{ id version name email archived orderCount totalSpent }"
ITEM = "{ id version sku name price stock archived }"
ORDER = (
    "{ id version status note discount subtotal totalAmount customer { id } "
    "items { id position quantity pricePaid item { id } } }"
)
ALL = "first: 100, where: {or: [{archived: {eq: true}}, {archived: {eq: false}}]}"
EVERYTHING = (
    f"{{ customers({ALL}) {{ nodes {CUSTOMER} }} items({ALL}) {{ nodes {ITEM} }} orders(first: 100) {{ nodes {ORDER} }} }}"
)
SELECTIONS = {"customer": CUSTOMER, "item": ITEM, "order": ORDER, "fromOrder": ORDER, "toOrder": ORDER}


class Play:
    """One example: a shop, its model, and the one way to do something to both."""

    def __init__(self, runner: asyncio.Runner, ask: Ask, url: str) -> None:
        self.runner, self.ask, self.url = runner, ask, url
        self.shop = Shop()
        self.used: set[str] = set()
        self.keys = count()

    def clear(self) -> None:
        tables = ("idempotency_key", "order_item", "orders", "customer", "item")
        self.runner.run(rows_of(self.url, *(f"DELETE FROM {table}" for table in tables)))

    def do(
        self,
        name: str,
        input_: Payload,
        change: Callable[[Shop], Codes],
        returns: Iterable[str] = (),
        how: str = "",
        more: Payload | None = None,
    ) -> Payload:
        """Do it to the model and to the shop, and compare. `how` is dry, repeat or nothing; `more` the answer's plain fields."""
        after = copy.deepcopy(self.shop)
        expected = change(after)
        type_ = f"{name[0].upper()}{name[1:]}Input"
        selection = " ".join([*(f"{entity} {SELECTIONS[entity]}" for entity in returns), *(more or ())])
        query = (
            f"mutation ($input: {type_}!, $key: String!) {'@dryRun' if how == 'dry' else ''} "
            f"{{ a: {name}(input: $input) @idempotent(key: $key) {{ {selection} errors {{ code path }} }} }}"
        )
        variables = {"input": input_, "key": f"k{next(self.keys)}"}
        payload: Payload = self.runner.run(self.ask.data(query, variables))["a"]
        actual = {error["code"] for error in payload["errors"]}
        if "NOT_EDITABLE" in expected:
            # Whether what cannot be done anyway would also lack pieces is nobody's concern.
            actual, expected = actual - {"OUT_OF_STOCK"}, expected - {"OUT_OF_STOCK"}
        assert actual == expected, payload["errors"]
        if not expected and how != "dry":
            self.shop = after
        elif not expected:
            assert more is None or {key: payload[key] for key in more} == more
            self.check({})
            return payload
        if not expected:
            assert more is None or {key: payload[key] for key in more} == more
        else:
            assert all(payload[entity] is None for entity in returns)
        self.check({entity: payload[entity] for entity in returns if payload[entity] is not None})
        if how == "repeat" and not expected:
            assert self.runner.run(self.ask.data(query, variables))["a"] == payload
            self.check({})
        return payload

    def check(self, entities: Payload) -> None:
        """A fresh read equals the model, and so does what the payload showed."""
        read = {name: found["nodes"] for name, found in self.runner.run(self.ask.data(EVERYTHING)).items()}
        self.adopt(read)
        view = self.shop.view()
        for name, rows in read.items():
            key = "id" if name == "orders" else {"customers": "email", "items": "sku"}[name]
            assert sorted(rows, key=lambda row: str(row[key])) == sorted(view[name], key=lambda row: str(row[key]))
        rows = {row["id"]: row for found in read.values() for row in found}
        for entity in entities.values():
            assert entity == rows[entity["id"]]

    def adopt(self, read: Payload) -> None:
        """Rows the model made take the ids that the shop gave them, which no row had before."""
        by_email = {row["email"]: row for row in read["customers"]}
        by_sku = {row["sku"]: row for row in read["items"]}
        for customer in self.shop.customers:
            self.name(customer, by_email.get(customer.email))
        for item in self.shop.items:
            self.name(item, by_sku.get(item.sku))
        for order, row in zip(self.shop.orders, read["orders"], strict=False):
            self.name(order, row)
            for line, shown in zip(sorted(order.lines, key=lambda line: line.position), row["items"], strict=False):
                self.name(line, shown)

    def name(self, row: Any, shown: Payload | None) -> None:
        if row.id is None and shown is not None:
            assert shown["id"] not in self.used
            self.used.add(shown["id"])
            row.id = shown["id"]

    # Inputs

    def line(self, ordered: Ordered) -> Payload:
        item = picked(self.shop.items, ordered.item)
        given: Payload = {"item": {"sku": item.sku if item else "missing"}, "quantity": ordered.quantity}
        return given | ({} if ordered.price is None else {"pricePaid": money_text(ordered.price)})

    def changed(self, lines: list[Line], n: int, quantity: int | None, price: int | None, item: int | None) -> Payload:
        given: Payload = {"id": id_of(picked(lines, n), "OrderItem")}
        given |= {} if quantity is None else {"quantity": quantity}
        given |= {} if price is None else {"pricePaid": money_text(price)}
        return given | ({} if item is None else {"item": {"id": id_of(picked(self.shop.items, item), "Item")}})

    def order(self, placed: Placed) -> Payload:
        return {
            "items": [self.line(ordered) for ordered in placed.lines],
            "discount": money_text(placed.discount),
            "note": placed.note,
        }


class Rules(RuleBasedStateMachine):
    """Every rule is one mutation."""

    play: Play

    @property
    def shop(self) -> Shop:
        return self.play.shop
