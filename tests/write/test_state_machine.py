"""Random mutations, valid and invalid, against a plain Python model of the shop.

The model says what a mutation answers and what the shop is afterwards: every row, total, position, version and piece of stock.
After each step a fresh read of everything must equal it. `HYPOTHESIS_PROFILE=thorough` plays longer.
"""

from __future__ import annotations

import asyncio
import copy
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from graph.settings import Settings
from tests.audit import audit_url, checked_out, rows_of
from tests.conftest import Ask, asking

T = TypeVar("T")
Payload = dict[str, Any]
Codes = set[str]

hypothesis.settings.register_profile(
    "thorough", parent=hypothesis.settings.get_profile("ci"), max_examples=300, derandomize=False
)
# A failure of the short play is told as it was found; the long one looks for the shortest way to it.
QUICK = hypothesis.settings(
    hypothesis.settings.get_profile("ci"), max_examples=15, stateful_step_count=30, phases=[hypothesis.Phase.generate]
)
THOROUGH = hypothesis.settings(hypothesis.settings.get_profile("thorough"), stateful_step_count=60)

HOLDING = ("PENDING", "PAID")
TRANSITIONS = {"PENDING": ("PAID", "CANCELLED"), "PAID": ("SHIPPED", "CANCELLED"), "SHIPPED": (), "CANCELLED": ()}


# The model


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


class ShopMachine(RuleBasedStateMachine):
    """Every rule is one mutation."""

    play: Play

    @initialize()
    def open(self) -> None:
        """A customer with two orders, an item that is counted and one that is not."""
        self.play.clear()
        self.create_item("P", 150, 20, "")
        self.create_item("Q", 999, None, "")
        some = Placed([Ordered(0, 2, None), Ordered(1, 1, None), Ordered(0, 3, 100)], 100, "n1")
        self.create_customer("Ada", "a@x.io", [some, Placed([Ordered(0, 1, None)], 0, None)], "")

    @property
    def shop(self) -> Shop:
        return self.play.shop

    # Customers

    @rule(name=NAMES, email=EMAILS, orders=st.lists(ORDERS, max_size=2), how=HOW)
    def create_customer(self, name: str, email: str, orders: list[Placed], how: str) -> None:
        given = {"name": name, "email": email, "orders": [self.play.order(order) for order in orders]}
        self.play.do("createCustomer", given, lambda shop: make_customer(shop, name, email, orders), ["customer"], how)

    @rule(given=st.lists(st.tuples(EMAILS, ORDERS), min_size=1, max_size=3), on_error=st.sampled_from(["ROLLBACK", "CONTINUE"]))
    def create_customers(self, given: list[tuple[str, Placed]], on_error: str) -> None:
        """Under CONTINUE each row is for itself; the codes stand with the rows."""
        rows = [{"name": "Many", "email": email, "orders": [self.play.order(order)]} for email, order in given]
        query = """mutation ($input: CreateCustomersInput!) {
            a: createCustomers(input: $input) { results { errors { code } } errors { code } } }"""
        payload = self.play.runner.run(self.play.ask.data(query, {"input": {"customers": rows, "onError": on_error}}))["a"]
        told = [error["code"] for result in payload["results"] for error in result["errors"] if error["code"] != "ROLLED_BACK"]
        assert [error["code"] for error in payload["errors"]] == told
        actual = [{error["code"] for error in result["errors"]} for result in payload["results"]]
        good, expected = copy.deepcopy(self.shop), []
        for email, order in given:
            tried = copy.deepcopy(good)
            expected.append(make_customer(tried, "Many", email, [order]))
            if not expected[-1]:
                good = tried
        if on_error == "CONTINUE":
            assert actual == expected
            self.play.shop = good
        elif any(actual):
            # All are judged together: pieces and addresses that two of them want are missing to one of them.
            assert all(actual)
            assert any(codes != {"ROLLED_BACK"} for codes in actual)
            assert any(expected)
        else:
            assert not any(expected)
            self.play.shop = good
        self.play.check({})

    @rule(n=PICK, name=st.none() | NAMES, email=st.none() | EMAILS, expected=EXPECTED, how=HOW)
    def update_customer(self, n: int, name: str | None, email: str | None, expected: str, how: str) -> None:
        customer = picked(self.shop.customers, n)
        given = {"id": id_of(customer, "Customer"), **version_input(customer, expected)}
        given |= {key: value for key, value in (("name", name), ("email", email)) if value is not None}

        def change(shop: Shop) -> Codes:
            customer = picked(shop.customers, n)
            if customer is None or root(customer, expected):
                return root(customer, expected)
            normal = customer.email if email is None else email.strip().lower()
            if any(other.email == normal for other in shop.customers if other is not customer):
                return {"UNIQUE"}
            before = (customer.name, customer.email)
            customer.name, customer.email = name or customer.name, normal
            customer.version += before != (customer.name, customer.email)
            return set()

        self.play.do("updateCustomer", given, change, ["customer"], how)

    @rule(n=PICK, made=st.lists(ORDERS, max_size=2), remove=st.lists(PICK, max_size=2, unique=True), how=HOW)
    def update_orders_of_a_customer(self, n: int, made: list[Placed], remove: list[int], how: str) -> None:
        customer = picked(self.shop.customers, n)
        gone = [picked(self.shop.orders, m) for m in remove]
        if len({id(order) for order in gone}) < len(gone):
            return
        orders = {"create": [self.play.order(order) for order in made], "remove": [id_of(order, "Order") for order in gone]}
        given = {"id": id_of(customer, "Customer"), "orders": orders}

        def change(shop: Shop) -> Codes:
            customer = picked(shop.customers, n)
            if customer is None:
                return {"NOT_FOUND"}
            codes, pieces = set[str](), Counter[Item]()
            for m in remove:
                order = picked(shop.orders, m)
                if order is None or order.customer is not customer:
                    codes.add("NOT_FOUND")
                elif order.status in ("PAID", "SHIPPED"):
                    codes.add("NOT_EDITABLE")
                elif order.status == "PENDING":
                    pieces.update(held(order.lines, -1))
            if made and customer.archived:
                codes.add("ARCHIVED")
            leaving = [picked(shop.orders, m) for m in remove]
            for placed in made:
                codes |= place(shop, customer, placed, pieces)
            for order in leaving:
                if order is not None:
                    shop.orders.remove(order)
            return codes | shop.take(pieces)

        self.play.do("updateCustomer", given, change, ["customer"], how)

    @rule(name=NAMES, email=EMAILS, how=HOW)
    def upsert_customer(self, name: str, email: str, how: str) -> None:
        normal = email.strip().lower()
        created = all(customer.email != normal for customer in self.shop.customers)

        def change(shop: Shop) -> Codes:
            for customer in shop.customers:
                if customer.email == normal:
                    customer.version += customer.name != name
                    customer.name = name
                    return set()
            shop.customers.append(Customer(name, normal))
            return set()

        self.play.do("upsertCustomer", {"name": name, "email": email}, change, ["customer"], how, {"created": created})

    @rule(n=PICK, kind=st.sampled_from(["Customer", "Item"]), archived=st.booleans(), expected=EXPECTED, how=HOW)
    def archive(self, n: int, kind: str, archived: bool, expected: str, how: str) -> None:
        def rows(shop: Shop) -> list[Any]:
            return list[Any](shop.customers if kind == "Customer" else shop.items)

        def change(shop: Shop) -> Codes:
            row = picked(rows(shop), n)
            if row is not None and expected != "wrong" and row.archived != archived:
                row.archived = archived
                row.version += 1
            return root(row, expected)

        row = picked(rows(self.shop), n)
        given = {"id": id_of(row, kind), **version_input(row, expected)}
        self.play.do(f"{'archive' if archived else 'restore'}{kind}", given, change, [kind.lower()], how)

    @rule(name=NAMES, how=HOW)
    def archive_customers(self, name: str, how: str) -> None:
        found = [customer for customer in self.shop.customers if customer.name == name and not customer.archived]

        def change(shop: Shop) -> Codes:
            for customer in shop.customers:
                if customer.name == name and not customer.archived:
                    customer.archived = True
                    customer.version += 1
            return set()

        given = {"where": {"name": {"eq": name}}}
        self.play.do("archiveCustomers", given, change, how=how, more={"count": len(found)})

    @rule(how=HOW, really=st.sampled_from([False, False, True]))
    def purge_archived(self, how: str, really: bool) -> None:
        before = "2999-01-01T00:00:00Z" if really else "2000-01-01T00:00:00Z"

        def change(shop: Shop) -> Codes:
            for customer in [customer for customer in shop.customers if customer.archived and really]:
                for order in shop.of(customer):
                    shop.drop(order)
                shop.customers.remove(customer)
            sold = {line.item for _, line in shop.lines()}
            shop.items = [item for item in shop.items if not (item.archived and really) or item in sold]
            return set()

        self.play.do("purgeArchived", {"before": before}, change, how=how)

    @rule(n=PICK, expected=EXPECTED, how=HOW)
    def delete_customer(self, n: int, expected: str, how: str) -> None:
        customer = picked(self.shop.customers, n)

        def change(shop: Shop) -> Codes:
            customer = picked(shop.customers, n)
            codes = root(customer, expected)
            if customer is not None and not codes:
                for order in shop.of(customer):
                    shop.drop(order)
                shop.customers.remove(customer)
            return codes

        given = {"id": id_of(customer, "Customer"), **version_input(customer, expected)}
        self.play.do("deleteCustomer", given, change, how="dry" if how == "repeat" else how)

    # Items

    @rule(sku=SKUS, price=PRICES, stock=STOCKS, how=HOW)
    def create_item(self, sku: str, price: int, stock: int | None, how: str) -> None:
        def change(shop: Shop) -> Codes:
            codes = {"UNIQUE"} if any(item.sku == sku for item in shop.items) else set()
            shop.items.append(Item(sku, "new", price, stock))
            return codes | ({"CHECK"} if price < 0 else set())

        given = {"sku": sku, "name": "new", "price": money_text(price), "stock": stock}
        self.play.do("createItem", given, change, ["item"], how)

    @rule(
        n=PICK,
        sku=st.none() | SKUS,
        price=st.none() | PRICES,
        stock=st.sampled_from(["same", None, 0, 9, -1]),
        expected=EXPECTED,
        how=HOW,
    )
    def update_item(self, n: int, sku: str | None, price: int | None, stock: Any, expected: str, how: str) -> None:
        item = picked(self.shop.items, n)
        given = {"id": id_of(item, "Item"), **version_input(item, expected)}
        given |= {} if sku is None else {"sku": sku}
        given |= {} if price is None else {"price": money_text(price)}
        given |= {} if stock == "same" else {"stock": stock}

        def change(shop: Shop) -> Codes:
            item = picked(shop.items, n)
            codes = root(item, expected)
            if item is None or codes:
                return codes
            if sku is not None and any(other.sku == sku for other in shop.items if other is not item):
                codes.add("UNIQUE")
            if (price or 0) < 0 or stock == -1:
                codes.add("CHECK")
            before = (item.sku, item.price)
            item.sku, item.price = sku or item.sku, item.price if price is None else price
            item.version += before != (item.sku, item.price)
            item.stock = item.stock if stock == "same" else stock
            return codes

        self.play.do("updateItem", given, change, ["item"], how)

    @rule(n=PICK, delta=st.sampled_from([-30, -3, -1, 0, 1, 10]), by=st.sampled_from(["id", "sku"]), how=HOW)
    def adjust_stock(self, n: int, delta: int, by: str, how: str) -> None:
        item = picked(self.shop.items, n)
        key = id_of(item, "Item") if by == "id" else item.sku if item else "missing"

        def change(shop: Shop) -> Codes:
            item = picked(shop.items, n)
            if item is None:
                return {"NOT_FOUND"}
            if item.stock is None:
                return {"INVALID_INPUT"}
            item.stock += delta
            return {"OUT_OF_STOCK"} if item.stock < 0 else set()

        self.play.do("adjustStock", {"item": {by: key}, "delta": delta}, change, ["item"], how)

    @rule(sku=SKUS, price=PRICES, delta=st.sampled_from([None, -30, -1, 0, 4]), how=HOW)
    def upsert_item(self, sku: str, price: int, delta: int | None, how: str) -> None:
        created = all(item.sku != sku for item in self.shop.items)

        def change(shop: Shop) -> Codes:
            item = next((item for item in shop.items if item.sku == sku), None)
            short = delta is not None and delta < 0 and (0 if item is None else item.stock or 0) < -delta
            codes = ({"OUT_OF_STOCK"} if short else set()) | ({"CHECK"} if price < 0 else set())
            if item is None:
                shop.items.append(Item(sku, "upserted", price, delta))
                return codes
            item.version += (item.name, item.price) != ("upserted", price)
            item.name, item.price = "upserted", price
            item.stock = item.stock if delta is None else (item.stock or 0) + delta
            return codes

        given = {"sku": sku, "name": "upserted", "price": money_text(price)} | ({} if delta is None else {"stockDelta": delta})
        self.play.do("upsertItem", given, change, ["item"], how, {"created": created} if price >= 0 else None)

    @rule(
        rows=st.lists(st.tuples(SKUS, PRICES, STOCKS), min_size=1, max_size=4),
        on_conflict=st.sampled_from(["ERROR", "SKIP", "UPDATE"]),
        how=HOW,
    )
    def insert_items(self, rows: list[tuple[str, int, int | None]], on_conflict: str, how: str) -> None:
        def change(shop: Shop) -> Codes:
            by_sku = {item.sku: item for item in shop.items}
            # Of two rows with one key the last one wins, and nobody asks what the other said.
            counted = (
                {sku: price for sku, price, _ in rows}.values() if on_conflict == "UPDATE" else [price for _, price, _ in rows]
            )
            codes = {"CHECK"} if min(counted) < 0 else set[str]()
            twice = len({sku for sku, _, _ in rows}) < len(rows) or any(sku in by_sku for sku, _, _ in rows)
            if on_conflict == "ERROR" and twice:
                codes.add("UNIQUE")
            wanted = {}
            for sku, price, stock in rows if on_conflict == "UPDATE" else reversed(rows):
                wanted[sku] = (price, stock)
            for sku, (price, stock) in wanted.items():
                item = by_sku.get(sku)
                if item is None:
                    shop.items.append(Item(sku, "plain", price, stock))
                elif on_conflict == "UPDATE":
                    item.version += (item.name, item.price) != ("plain", price)
                    item.name, item.price = "plain", price
                    item.stock = item.stock if stock is None else stock
            return codes

        given = [{"sku": sku, "name": "plain", "price": money_text(price), "stock": stock} for sku, price, stock in rows]
        self.play.do("insertItems", {"rows": given, "onConflict": on_conflict}, change, how=how)

    @rule(n=PICK, expected=EXPECTED, how=HOW)
    def delete_item(self, n: int, expected: str, how: str) -> None:
        item = picked(self.shop.items, n)

        def change(shop: Shop) -> Codes:
            item = picked(shop.items, n)
            codes = root(item, expected)
            if item is None or codes:
                return codes
            if any(line.item is item for _, line in shop.lines()):
                return {"STILL_REFERENCED"}
            shop.items.remove(item)
            return set()

        given = {"id": id_of(item, "Item"), **version_input(item, expected)}
        self.play.do("deleteItem", given, change, how="dry" if how == "repeat" else how)

    # Orders

    @rule(n=PICK, by=st.sampled_from(["id", "email"]), placed=ORDERS, how=HOW)
    def create_order(self, n: int, by: str, placed: Placed, how: str) -> None:
        customer = picked(self.shop.customers, n)
        key = id_of(customer, "Customer") if by == "id" else customer.email.upper() if customer else "no@x.io"

        def change(shop: Shop) -> Codes:
            customer = picked(shop.customers, n)
            codes = {"REFERENCE_NOT_FOUND"} if customer is None else {"ARCHIVED"} if customer.archived else set()
            pieces = Counter[Item]()
            codes |= place(shop, customer or Customer("", ""), placed, pieces)
            return codes | shop.take(pieces)

        self.play.do("createOrder", {"customer": {by: key}, **self.play.order(placed)}, change, ["order"], how)

    @rule(
        n=PICK,
        discount=st.none() | DISCOUNTS,
        note=NOTES,
        create=LINES,
        update=st.lists(st.tuples(PICK, st.none() | QUANTITIES, st.none() | PRICES, st.none() | PICK), max_size=2),
        remove=st.lists(PICK, max_size=2),
        expected=EXPECTED,
        how=HOW,
    )
    def update_order(
        self,
        n: int,
        discount: int | None,
        note: str | None,
        create: list[Ordered],
        update: list[tuple[int, int | None, int | None, int | None]],
        remove: list[int],
        expected: str,
        how: str,
    ) -> None:
        order = picked(self.shop.orders, n)
        lines = order.lines if order else []
        named = [picked(lines, m) for m, *_ in update] + [picked(lines, m) for m in remove]
        if len({id(line) for line in named}) < len(named):
            return
        items = {
            "create": [self.play.line(ordered) for ordered in create],
            "update": [self.play.changed(lines, *entry) for entry in update],
            "remove": [id_of(picked(lines, m), "OrderItem") for m in remove],
        }
        given = {"id": id_of(order, "Order"), "note": note, "items": items, **version_input(order, expected)}
        given |= {} if discount is None else {"discount": money_text(discount)}

        def change(shop: Shop) -> Codes:
            order = picked(shop.orders, n)
            codes = root(order, expected)
            if order is None or codes:
                return codes
            before = (order.note, order.discount)
            order.note, order.discount = note, order.discount if discount is None else discount
            pieces, touched = held(order.lines, -1), False
            highest = max([0, *(line.position for line in order.lines)])
            removed = [picked(order.lines, m) for m in remove]
            for m, quantity, price, i in update:
                line = picked(order.lines, m)
                if line is None:
                    codes.add("NOT_FOUND")
                    continue
                was = (line.quantity, line.price, line.item)
                if i is not None:
                    item = picked(shop.items, i)
                    codes |= {"REFERENCE_NOT_FOUND"} if item is None else set()
                    # A line that changes is held against its item; one that stays as it is is not.
                    line.item = item or line.item
                line.quantity = line.quantity if quantity is None else quantity
                line.price = line.price if price is None else price
                codes |= {"CHECK"} if not 1 <= line.quantity <= 100_000 or line.price < 0 else set()
                if was != (line.quantity, line.price, line.item):
                    touched = True
                    codes |= {"ARCHIVED"} if i is not None and line.item.archived else set()
            codes |= {"NOT_FOUND"} if None in removed else set()
            touched = touched or any(removed)
            made, wrong, known = new_lines(shop, create)
            codes |= wrong
            order.lines = [line for line in order.lines if line not in removed] + made
            order.number(after=highest)
            touched = touched or bool(made)
            pieces.update(held(order.lines))
            if (touched or before[1] != order.discount) and order.status != "PENDING":
                codes.add("NOT_EDITABLE")
            if known and order.total < 0:
                codes.add("CHECK")
            order.version += touched or before != (order.note, order.discount)
            return codes | (shop.take(pieces) if touched else set())

        self.play.do("updateOrder", given, change, ["order"], how)

    @rule(n=PICK, kept=st.lists(PICK, max_size=3, unique=True), made=LINES, first=st.booleans(), how=HOW)
    def replace_lines(self, n: int, kept: list[int], made: list[Ordered], first: bool, how: str) -> None:
        order = picked(self.shop.orders, n)
        lines = order.lines if order else []
        stay = [picked(lines, m) for m in kept]
        if len({id(line) for line in stay}) < len(stay):
            return
        old = [{"id": id_of(line, "OrderItem")} for line in stay]
        new = [self.play.line(ordered) for ordered in made]

        def change(shop: Shop) -> Codes:
            order = picked(shop.orders, n)
            if order is None:
                return {"NOT_FOUND"}
            stay = [picked(order.lines, m) for m in kept]
            lines, codes, known = new_lines(shop, made)
            codes |= {"NOT_FOUND"} if None in stay else set()
            pieces, touched = held(order.lines, -1), bool(order.lines or lines)
            highest = max([0, *(line.position for line in order.lines)])
            there = [line for line in stay if line is not None]
            order.lines = [*there, *lines] if first else [*lines, *there]
            for line in order.lines:
                line.position = 0
            order.number(after=highest)
            pieces.update(held(order.lines))
            codes |= {"NOT_EDITABLE"} if touched and order.status != "PENDING" else set()
            codes |= {"CHECK"} if known and order.total < 0 else set()
            order.version += touched
            return codes | shop.take(pieces)

        given = {"id": id_of(order, "Order"), "items": {"replace": old + new if first else new + old}}
        self.play.do("updateOrder", given, change, ["order"], how)

    @rule(n=PICK, to=st.sampled_from(list(TRANSITIONS)), expected=EXPECTED, how=HOW)
    def transition_order(self, n: int, to: str, expected: str, how: str) -> None:
        order = picked(self.shop.orders, n)

        def change(shop: Shop) -> Codes:
            order = picked(shop.orders, n)
            codes = root(order, expected)
            if order is None or codes:
                return codes
            if to not in TRANSITIONS[order.status]:
                return {"TRANSITION"}
            if to == "CANCELLED":
                shop.take(held(order.lines, -1))
            order.status = to
            order.version += 1
            return set()

        given = {"id": id_of(order, "Order"), "to": to, **version_input(order, expected)}
        self.play.do("transitionOrder", given, change, ["order"], how)

    @rule(n=st.integers(0, 30), to=PICK, quantity=st.sampled_from([None, 1, 2, 0, 50]), expected=EXPECTED, how=HOW)
    def move_order_item(self, n: int, to: int, quantity: int | None, expected: str, how: str) -> None:
        found = self.shop.lines()[n % len(self.shop.lines())] if self.shop.lines() and n != 30 else None
        target = picked(self.shop.orders, to)
        source = found[0] if found else None
        given = {"id": id_of(found[1] if found else None, "OrderItem"), "toOrder": id_of(target, "Order"), "quantity": quantity}

        def change(shop: Shop) -> Codes:
            target = picked(shop.orders, to)
            if found is None or target is None:
                return {"NOT_FOUND"}
            source, line = shop.lines()[n % len(shop.lines())]
            if expected == "wrong":
                return {"STALE_VERSION"}
            moving = line.quantity if quantity is None else quantity
            codes = {"NOT_EDITABLE"} if {source.status, target.status} != {"PENDING"} else set()
            if source is target or source.customer is not target.customer or not 1 <= moving <= line.quantity:
                codes.add("INVALID_INPUT")
            if codes:
                return codes
            highest = max([0, *(line.position for line in target.lines)])
            if moving == line.quantity:
                source.lines.remove(line)
            else:
                line.quantity -= moving
                line = Line(line.item, moving, line.price)
            line.position = highest + 1
            target.lines.append(line)
            source.version += 1
            target.version += 1
            return {"CHECK"} if source.total < 0 else set()

        self.play.do("moveOrderItem", given | version_input(source, expected), change, ["fromOrder", "toOrder"], how)

    @rule(status=st.sampled_from(list(TRANSITIONS)), discount=st.none() | DISCOUNTS, how=HOW)
    def update_orders(self, status: str, discount: int | None, how: str) -> None:
        found = [order for order in self.shop.orders if order.status == status]
        set_: Payload = {"note": "bulk"} | ({} if discount is None else {"discount": money_text(discount)})

        def change(shop: Shop) -> Codes:
            codes = set[str]()
            for order in shop.orders:
                before = (order.note, order.discount)
                if order.status == status:
                    order.note, order.discount = "bulk", order.discount if discount is None else discount
                    order.version += before != (order.note, order.discount)
                    codes |= {"CHECK"} if order.total < 0 else set()
                    codes |= {"NOT_EDITABLE"} if before[1] != order.discount and status != "PENDING" else set()
            return codes

        more = {"count": len([order for order in found if order.note != "bulk"])} if discount is None else None
        self.play.do("updateOrders", {"where": {"status": {"eq": status}}, "set": set_}, change, how=how, more=more)

    @rule(n=PICK, percent=st.sampled_from(["1", "12.5", "33.33", "100", "0", "100.01"]), how=HOW)
    def discount_orders(self, n: int, percent: str, how: str) -> None:
        customer = picked(self.shop.customers, n)
        hundredths = round(float(percent) * 100)
        given = {"where": {"customer": {"id": {"eq": id_of(customer, "Customer")}}}, "percent": percent}

        def change(shop: Shop) -> Codes:
            if not 0 < hundredths <= 10_000:
                return {"INVALID_INPUT"}
            customer = picked(shop.customers, n)
            for order in shop.orders:
                if order.customer is customer and order.status == "PENDING":
                    off = (order.total * hundredths + 5_000) // 10_000
                    order.discount += off
                    order.version += off > 0
            return set()

        self.play.do("discountOrders", given, change, how=how)

    @rule(n=PICK, over=st.sampled_from([500, 5_000]), how=HOW)
    def delete_orders(self, n: int, over: int, how: str) -> None:
        customer = picked(self.shop.customers, n)
        where = {"customer": {"id": {"eq": id_of(customer, "Customer")}}, "totalAmount": {"gt": money_text(over)}}

        def matching(shop: Shop) -> list[Order]:
            return [order for order in shop.orders if order.customer is picked(shop.customers, n) and order.total > over]

        def change(shop: Shop) -> Codes:
            for order in matching(shop):
                shop.drop(order)
            return set()

        self.play.do("deleteOrders", {"where": where}, change, how=how, more={"count": len(matching(self.shop))})

    @rule(n=PICK, expected=EXPECTED, how=HOW)
    def delete_order(self, n: int, expected: str, how: str) -> None:
        order = picked(self.shop.orders, n)

        def change(shop: Shop) -> Codes:
            order = picked(shop.orders, n)
            codes = root(order, expected)
            if order is not None and not codes:
                shop.drop(order)
            return codes

        given = {"id": id_of(order, "Order"), **version_input(order, expected)}
        self.play.do("deleteOrder", given, change, how="dry" if how == "repeat" else how)

    def teardown(self) -> None:
        self.play.runner.run(audit_url(self.play.url))


def make_customer(shop: Shop, name: str, email: str, orders: list[Placed]) -> Codes:
    """A customer with orders, and what is wrong with them."""
    normal = email.strip().lower()
    codes = {"UNIQUE"} if any(customer.email == normal for customer in shop.customers) else set[str]()
    customer, pieces = Customer(name, normal), Counter[Item]()
    shop.customers.append(customer)
    for order in orders:
        codes |= place(shop, customer, order, pieces)
    return codes | shop.take(pieces)


def test_random_mutations_do_to_the_shop_what_they_do_to_its_model(empty_url: str) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        settings = Settings(database_url=empty_url, max_cost=50_000)
        ask = runner.run(stack.enter_async_context(asking(settings)))

        class Machine(ShopMachine):
            def __init__(self) -> None:
                super().__init__()
                self.play = Play(runner, ask, empty_url)

        try:
            thorough = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
            run_state_machine_as_test(Machine, settings=THOROUGH if thorough else QUICK)
            assert checked_out(ask.app.state.database) == 0
        finally:
            runner.run(stack.aclose())
