"""The rules for customers: what is drawn, what the model makes of it."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.write.machine.model import (
    EMAILS,
    EXPECTED,
    HOW,
    NAMES,
    ORDERS,
    PICK,
    Codes,
    Customer,
    Item,
    Placed,
    Shop,
    held,
    id_of,
    make_customer,
    picked,
    place,
    root,
    version_input,
)
from tests.write.machine.play import Rules


class CustomerRules(Rules):
    """Mutations of customers."""

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
