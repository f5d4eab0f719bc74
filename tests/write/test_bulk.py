"""Bulk mutations: which rows they mean, all of them only when they say so, no more than they allow; and that they name them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Ask, Statements
from tests.stock import customer, item, line
from tests.words import codes, count, done, mutate, refusals, stocks

BULK: dict[str, dict[str, Any]] = {
    "updateOrders": {"set": {"note": "x"}},
    "deleteOrders": {},
    "discountOrders": {"percent": "10"},
    "archiveCustomers": {},
    "archiveItems": {},
}
ORDERS = [name for name in BULK if name.endswith("Orders")]
EVERYTHING = """{ customers { nodes { id version archived } } items { nodes { id version stock archived } }
    orders { nodes { id version note discount totalAmount items { id } } } }"""


#: Items A and B; Ada with orders of 1.00, 2.00 and none; Bob without orders; Cy with an order of 1.00.
SHOP = [
    item("A", 1, 10),
    item("B", 1, 10),
    customer("ada", [line("A")], [line("A"), line("A")], []),
    customer("bob"),
    customer("cy", [line("A")]),
]


NOTHING: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, ["where"]),
    "a field without an operator": ({"status": {}}, ["where.status"]),
    "a field without an operator beside one": ({"status": {}, "note": {"eq": "x"}}, ["where.status"]),
    "no alternative": ({"or": []}, ["where.or"]),
    "an empty alternative": ({"or": [{}, {"note": {"eq": "x"}}]}, ["where.or.0"]),
    "nothing together": ({"and": []}, ["where.and"]),
    "an empty part": ({"and": [{"note": {"eq": "x"}}, {}]}, ["where.and.1"]),
    "the contrary of nothing": ({"not": {}}, ["where.not"]),
    "the contrary of that": ({"not": {"not": {"status": {}}}}, ["where.not.not.status"]),
    "not one of no alternatives": ({"not": {"or": []}}, ["where.not.or"]),
    "an empty relation": ({"customer": {}}, ["where.customer"]),
    "an empty field of a relation": ({"customer": {"email": {}}}, ["where.customer.email"]),
    "an empty list": ({"items": {}}, ["where.items"]),
    "every row of a list": ({"items": {"every": {}}}, ["where.items.every"]),
    "some row of a list": ({"items": {"some": {}}}, ["where.items.some"]),
    "no row with an empty field": ({"items": {"none": {"quantity": {}}}}, ["where.items.none.quantity"]),
    "not no row": ({"not": {"items": {"none": {}}}}, ["where.not.items.none"]),
    "no row whose order has no row": (
        {"items": {"none": {"order": {"items": {"none": {}}}}}},
        ["where.items.none.order.items.none"],
    ),
    "none of no values": ({"note": {"notIn": []}}, ["where.note.notIn"]),
    "not one of no values": ({"not": {"id": {"in": []}}}, ["where.not.id.in"]),
    "a text that all contain": ({"number": {"contains": ""}}, ["where.number.contains"]),
    "blanks that all contain": ({"customer": {"email": {"startsWith": " "}}}, ["where.customer.email.startsWith"]),
    "a text without anything to see": ({"customer": {"name": {"ne": "\u200b"}}}, ["where.customer.name.ne"]),
    "a text that no row can have": ({"customer": {"email": {"ne": "nobody"}}}, ["where.customer.email.ne"]),
    "texts that no row can have": ({"customer": {"email": {"notIn": ["", "\u2060"]}}}, ["where.customer.email.notIn"]),
    "more than nothing": ({"number": {"gt": ""}}, ["where.number.gt"]),
    "not less than nothing": ({"not": {"note": {"lt": ""}}}, ["where.not.note.lt"]),
    "zero-width blanks that all contain": ({"note": {"contains": "\ufeff"}}, ["where.note.contains"]),
    "an amount that no row can have": ({"discount": {"ne": "99999999999999999.00"}}, ["where.discount.ne"]),
    "what is always there": ({"id": {"isNull": False}}, ["where.id.isNull"]),
    "null for a value that is always there": ({"status": {"ne": None}}, ["where.status.ne"]),
    "not missing": ({"not": {"status": {"eq": None}}}, ["where.not.status.eq"]),
    "no row that is missing": ({"items": {"none": {"id": {"isNull": True}}}}, ["where.items.none.id.isNull"]),
    "every row that is there": ({"items": {"every": {"id": {"isNull": False}}}}, ["where.items.every.id.isNull"]),
    "a row that must be there": ({"customer": {"id": {"isNull": False}}}, ["where.customer.id.isNull"]),
    "several": ({"status": {}, "or": [{"and": []}, {"items": {}}]}, ["where.or.0.and", "where.or.1.items", "where.status"]),
}


@pytest.mark.parametrize("name", NOTHING)
async def test_a_filter_with_a_part_that_says_nothing_is_refused(shop: Ask, statements: Statements, name: str) -> None:
    where, places = NOTHING[name]
    before = await shop(EVERYTHING)
    for field in ORDERS:
        statements.clear()
        found = await refusals(shop, field, {**BULK[field], "where": where})
        assert sorted(found) == [("INVALID_INPUT", f"input.{place}") for place in places]
        assert len(statements) == 0
    assert await shop(EVERYTHING) == before
    assert (await shop.data("query ($where: OrderWhere) { orders(where: $where) { totalCount } }", {"where": where}))["orders"]


@pytest.mark.parametrize("field", BULK)
async def test_all_rows_are_meant_only_by_saying_so(shop: Ask, statements: Statements, field: str) -> None:
    before = await shop(EVERYTHING)
    where = {"id": {"notIn": ["Order:9"]}}
    for given, expected in (
        ({}, [("INVALID_INPUT", "input")]),
        ({"all": False}, [("INVALID_INPUT", "input")]),
        ({"all": None}, [("REQUIRED", "input.all")]),
        ({"where": None}, [("REQUIRED", "input.where")]),
        ({"where": {}}, [("INVALID_INPUT", "input.where")]),
        ({"where": {}, "all": True}, [("INVALID_INPUT", "input.all")]),
        ({"where": where, "all": True}, [("INVALID_INPUT", "input.all")]),
        ({"where": where, "all": True, "atMost": -1}, [("INVALID_INPUT", "input.all"), ("INVALID_INPUT", "input.atMost")]),
        ({"all": True, "atMost": None}, [("REQUIRED", "input.atMost")]),
    ):
        statements.clear()
        assert await refusals(shop, field, {**BULK[field], **given}) == expected
        assert len(statements) == 0
    assert await shop(EVERYTHING) == before
    payload = await done(shop, field, {**BULK[field], "all": True}, "count")
    assert (
        payload["count"]
        == {"updateOrders": 4, "deleteOrders": 4, "discountOrders": 3, "archiveCustomers": 3, "archiveItems": 2}[field]
    )


async def test_what_asks_for_rows_or_values_at_all_says_something(shop: Ask) -> None:
    for where, ids in (
        ({"orders": {"none": {}}}, ["Customer:2"]),
        ({"not": {"orders": {"some": {}}}}, ["Customer:2"]),
        ({"orders": {"some": {"id": {"isNull": False}}}}, ["Customer:1", "Customer:3"]),
        ({"id": {"in": []}}, []),
        ({"name": {"notIn": ["ada"]}}, ["Customer:2", "Customer:3"]),
        ({"name": {"notIn": ["ada", ""]}}, ["Customer:2", "Customer:3"]),
        ({"name": {"eq": ""}}, []),
        ({"orders": {"some": {"status": {"ne": None}}}}, ["Customer:1", "Customer:3"]),
        ({"orders": {"none": {"items": {"none": {"id": {"isNull": False}}}}}}, ["Customer:2", "Customer:3"]),
        ({"orders": {"some": {"note": {"isNull": False}}}}, []),
        ({"not": {"orders": {"some": {"note": {"ne": ""}}}}}, ["Customer:1", "Customer:2", "Customer:3"]),
    ):
        query = "mutation ($input: ArchiveCustomersInput!) @dryRun { archiveCustomers(input: $input) { ids errors { code } } }"
        assert (await shop.data(query, {"input": {"where": where}}))["archiveCustomers"] == {"ids": ids, "errors": []}


@pytest.mark.parametrize(
    ("where", "places"),
    [
        ("{status: {eq: $status}}", ["where.status.eq"]),
        ("{status: {eq: $status}, note: {isNull: true}}", ["where.status.eq"]),
        ("{totalAmount: {gte: 0, lt: $most}}", ["where.totalAmount.lt"]),
        ("{note: {isNull: true}, customer: $customer}", ["where.customer"]),
        ("{or: [{note: {isNull: true}}, {customer: $customer}]}", ["where.or.1.customer"]),
        (
            "{not: {items: {none: {id: {in: $ids}}}}, totalAmount: {lt: $most}}",
            ["where.not.items.none.id.in", "where.totalAmount.lt"],
        ),
    ],
)
async def test_a_variable_that_was_not_sent_widens_no_write(shop: Ask, where: str, places: list[str]) -> None:
    before = await shop(EVERYTHING)
    query = f"""mutation ($status: OrderStatus, $most: Decimal, $customer: CustomerWhere, $ids: [ID!]) {{
        first: archiveItems(input: {{where: {{sku: {{eq: "B"}}}}}}) {{ count }}
        deleteOrders(input: {{where: {where}}}) {{ errors {{ code path }} }}
        last: updateOrders(input: {{where: {{status: {{eq: $status}}, totalAmount: {{lt: $most}}, customer: $customer,
            id: {{in: $ids}}}}, set: {{note: "x"}}}}) {{ errors {{ code }} }} }}"""
    data = await shop.data(query)
    assert sorted(codes(data["deleteOrders"])) == [("INVALID_INPUT", f"input.{place}") for place in places]
    assert {error["code"] for error in data["last"]["errors"]} == {"INVALID_INPUT"}
    assert data["first"] == {"count": 1}
    after = await shop(EVERYTHING)
    assert after["data"]["orders"] == before["data"]["orders"]
    sent = {"status": "PENDING", "most": "1.50", "customer": {"name": {"eq": "ada"}}, "ids": ["OrderItem:1", "OrderItem:2"]}
    answer = await shop(query, sent)
    assert "errors" not in answer
    assert answer["data"]["deleteOrders"]["errors"] == []


async def test_a_filter_whose_variable_was_not_sent_is_no_filter(shop: Ask) -> None:
    query = """mutation ($where: OrderWhere, $status: OrderStatus = SHIPPED) {
        a: deleteOrders(input: {where: $where}) { errors { code path } }
        b: deleteOrders(input: {where: {status: {eq: $status}}}) { count errors { code path } } }"""
    data = await shop.data(query)
    assert codes(data["a"]) == [("INVALID_INPUT", "input")]
    assert data["b"] == {"count": 0, "errors": []}
    assert await count(shop) == (3, 4, 2)


@pytest.mark.parametrize("id_", ["x", "", "Customer:1", "Order:01"])
async def test_an_id_that_is_none_of_the_type_is_refused_in_a_filter(shop: Ask, id_: str) -> None:
    form = 'must be a global id of Order, which looks like "Order:42"'
    filters = {
        "id.ne": {"id": {"ne": id_}},
        "id.notIn.1": {"id": {"notIn": ["Order:1", id_]}},
        "not.id.eq": {"not": {"id": {"eq": id_}}},
    }
    for place, where in filters.items():
        payload = await mutate(shop, "deleteOrders", {"where": where})
        assert codes(payload) == [("INVALID_INPUT", f"input.where.{place}")]
        assert payload["errors"][0]["reason"] == form
        # An entry of a list is called by the list and its place.
        assert payload["errors"][0]["message"] == f"{'notIn.1' if 'notIn' in place else place.rpartition('.')[2]} {form}"
    inner = {"customer": {"orders": {"every": {"or": [{"id": {"ne": id_}}]}}}}
    assert await refusals(shop, "deleteOrders", {"where": inner}) == [
        ("INVALID_INPUT", "input.where.customer.orders.every.or.0.id.ne")
    ]
    assert await count(shop) == (3, 4, 2)


@pytest.mark.parametrize(
    ("field", "number"), [("updateOrders", 4), ("deleteOrders", 4), ("discountOrders", 3), ("archiveCustomers", 3)]
)
async def test_more_rows_than_at_most_are_refused(shop: Ask, field: str, number: int) -> None:
    before = await shop(EVERYTHING)
    given = {**BULK[field], "all": True}
    payload = await mutate(shop, field, {**given, "atMost": number - 1}, "count")
    assert (payload["count"], codes(payload)) == (0, [("INVALID_INPUT", "input.atMost")])
    assert payload["errors"][0]["reason"] == f"must be at least {number}: so many rows are meant"
    assert await refusals(shop, field, {**given, "atMost": 0}) == [("INVALID_INPUT", "input.atMost")]
    assert await shop(EVERYTHING) == before
    assert (await done(shop, field, {**given, "atMost": number}, "count"))["count"] == number
    assert (await shop(EVERYTHING)) != before


async def test_a_purge_of_more_than_at_most_is_undone(shop: Ask) -> None:
    await done(shop, "archiveCustomers", {"where": {"name": {"in": ["ada", "bob"]}}})
    await done(shop, "archiveItems", {"all": True})
    before = await shop(EVERYTHING)
    given = {"before": "2999-01-01T00:00:00Z"}
    for most, expected in ((2, "input.atMost"), (-1, "input.atMost")):
        assert await refusals(shop, "purgeArchived", {**given, "atMost": most}) == [("INVALID_INPUT", expected)]
    assert await shop(EVERYTHING) == before
    payload = await done(shop, "purgeArchived", {**given, "atMost": 3}, "count itemsKept deletedIds")
    assert (payload["count"], payload["itemsKept"]) == (3, 1)
    assert payload["deletedIds"] == [
        *("Customer:1", "Customer:2"),
        *("Order:1", "Order:2", "Order:3"),
        *("OrderItem:1", "OrderItem:2", "OrderItem:3"),
        "Item:2",
    ]
    assert await stocks(shop) == {"A": 9}


async def test_bulk_mutations_name_what_they_did(shop: Ask, statements: Statements) -> None:
    where = {"customer": {"name": {"eq": "ada"}}}
    for field, given, name, ids in (
        ("updateOrders", {"where": where, "set": {"note": "x"}}, "ids", ["Order:1", "Order:2", "Order:3"]),
        ("discountOrders", {"where": where, "percent": "50"}, "ids", ["Order:1", "Order:2"]),
        ("archiveCustomers", {"where": {"name": {"gt": "b"}}}, "ids", ["Customer:2", "Customer:3"]),
        ("archiveItems", {"all": True}, "ids", ["Item:1", "Item:2"]),
    ):
        type_ = f"{field[0].upper()}{field[1:]}Input"
        query = f"mutation ($input: {type_}!) @dryRun {{ {field}(input: $input) {{ count ids }} }}"
        statements.clear()
        assert (await shop.data(query, {"input": given}))[field] == {"count": len(ids), name: ids}
        assert len(statements) == 2, statements.sql
    payload = await done(shop, "deleteOrders", {"where": where}, "count deletedIds deleted { orders orderItems }")
    assert payload["deletedIds"] == ["Order:1", "Order:2", "Order:3", "OrderItem:1", "OrderItem:2", "OrderItem:3"]
    assert (payload["count"], payload["deleted"]) == (3, {"orders": 3, "orderItems": 3})


async def test_the_lines_of_deleted_orders_are_read_only_when_somebody_asks(shop: Ask, statements: Statements) -> None:
    query = """mutation ($no: Boolean!) @dryRun { deleteOrders(input: {all: true}) {
        ...More @skip(if: $no) count } } fragment More on DeleteOrdersPayload { gone: deletedIds }"""
    numbers = []
    for no in (True, False):
        statements.clear()
        payload = (await shop.data(query, {"no": no}))["deleteOrders"]
        assert len(payload.get("gone", [])) == (0 if no else 8)
        numbers.append(len(statements))
    assert numbers[1] == numbers[0] + 1


async def test_a_repeated_request_names_the_same_rows(shop: Ask) -> None:
    def query(gone: str = "", those: str = "") -> str:
        return f"""mutation {{
            deleteOrders(input: {{where: {{customer: {{name: {{eq: "ada"}}}}}}}}) @idempotent(key: "d") {{ count {gone} }}
            discountOrders(input: {{all: true, percent: 10}}) @idempotent(key: "p") {{ count {those} }} }}"""

    assert await shop.data(query()) == {"deleteOrders": {"count": 3}, "discountOrders": {"count": 1}}
    for _ in range(2):
        assert await shop.data(query("deletedIds", "ids")) == {
            "deleteOrders": {
                "count": 3,
                "deletedIds": ["Order:1", "Order:2", "Order:3", "OrderItem:1", "OrderItem:2", "OrderItem:3"],
            },
            "discountOrders": {"count": 1, "ids": ["Order:4"]},
        }


async def test_only_orders_whose_discount_changes_are_discounted(shop: Ask) -> None:
    payload = await done(shop, "discountOrders", {"all": True, "percent": "0.3"}, "count ids")
    assert (payload["count"], payload["ids"]) == (1, ["Order:2"])  # 0.3 % of 1.00 rounds to nothing
    data = await shop.data("{ orders { nodes { version discount } } }")
    assert [(one["version"], one["discount"]) for one in data["orders"]["nodes"]] == [
        (1, "0.00"),
        (2, "0.01"),
        (1, "0.00"),
        (1, "0.00"),
    ]


async def test_orders_that_have_the_values_are_not_changed(shop: Ask) -> None:
    given = {"all": True, "set": {"note": "x", "discount": "0"}}
    assert (await done(shop, "updateOrders", given, "count"))["count"] == 4
    assert (await done(shop, "updateOrders", given, "count"))["count"] == 0
    assert (await done(shop, "updateOrders", {"all": True, "set": {}}, "count ids"))["ids"] == []
    data = await shop.data("{ orders { nodes { version } } }")
    assert {one["version"] for one in data["orders"]["nodes"]} == {2}


async def test_a_discount_of_an_order_that_is_not_pending_stays(shop: Ask) -> None:
    await done(shop, "transitionOrder", {"id": "Order:2", "to": "PAID"})
    before = await shop(EVERYTHING)
    given = {"all": True, "set": {"discount": "0.50", "note": "x"}}
    payload = await mutate(shop, "updateOrders", given)
    assert [(*found, error.get("status")) for found, error in zip(codes(payload), payload["errors"], strict=True)] == [
        ("CHECK", "input.set.discount", None),
        ("NOT_EDITABLE", "input.set.discount", "PAID"),
    ]
    assert await shop(EVERYTHING) == before
    where = {"totalAmount": {"gt": "0"}}
    assert await refusals(shop, "updateOrders", {"where": where, "set": {"discount": "0.50"}}) == [
        ("NOT_EDITABLE", "input.set.discount")
    ]
    assert (await done(shop, "updateOrders", {"where": where, "set": {"discount": "0", "note": "x"}}, "count"))["count"] == 3
