"""The row door before writes: what may not be seen is not found, not counted, not changed, by any mutation of the schema.

The one exception is asserted here, too: a row that cannot be seen still has its unique key, and what it points to cannot be
deleted. Then the refusal is told, but not the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from graph.read.types.permissions import is_unbound
from graph.scope import BOUND
from tests.conftest import Statements
from tests.drawn import ENTITIES, MUTATION, Inputs, document
from tests.examples import ALL, THOROUGH, examples
from tests.unseen import SCOPES, Pair, is_seen, pair, scramble
from tests.walk import load

#: `both` holds the rules of the two kinds that are left out of .ci/run, and of the two others, which a quick run leaves out, too.
KINDS = sorted(SCOPES) if THOROUGH else ["both", "own", "states"] if ALL else ["both"]


@pytest.fixture(params=[(kind, name) for kind in KINDS for name in ("sqlite", "postgres")], ids="-".join)
def shops(request: pytest.FixtureRequest) -> Iterator[Pair]:
    kind, name = request.param
    with pair(request.getfixturevalue(f"{name}_engines"), kind, scramble) as made:
        yield made


EVERYTHING = """{
    customers(first: 100, where: {or: [{archived: {eq: true}}, {archived: {eq: false}}]}) {
        nodes { id version name email archived orderCount totalSpent }
    }
    items(first: 100) { totalCount nodes { id version sku name price stock orderItems { totalCount } } }
    orders(first: 100) {
        totalCount nodes { id version status discount totalAmount note items { id position quantity pricePaid } }
    }
    orderSummary { count quantity lineTotal }
}"""


def test_no_mutation_tells_of_what_is_hidden(shops: Pair) -> None:
    inputs = Inputs(shops, 7)
    codes: set[str] = set()
    done: set[str] = set()
    for _ in range(examples(3) if ALL else 1):
        for name, field in MUTATION.fields.items():
            given = inputs.value(field.args["input"].type, "", "input")
            dry = "all" in given or inputs.random.random() < 0.3
            whole, other = shops.answers(document(name, dry=dry), {"input": given})
            assert whole == other, (name, given)
            answer = orjson.loads(whole)
            assert "errors" not in answer, (name, given, answer["errors"])
            errors = answer["data"][name]["errors"]
            codes |= {error["__typename"] for error in errors}
            done |= set() if errors else {name}
    whole, other = shops.answers(EVERYTHING)
    assert whole == other
    assert ({"NotFoundError", "ReferenceNotFoundError"} if ALL else {"NotFoundError"}) <= codes
    assert len(done) > (15 if ALL else 5), done


def hidden(shop: Pair, type_name: str) -> Any:
    return next(row for row in shop.rows[type_name] if not is_seen(row, shop.kind))


BY_ID: dict[str, Callable[[str, Pair], dict[str, Any]]] = {
    "updateCustomer": lambda id_, shop: {"id": id_, "name": "Mine"},
    "archiveCustomer": lambda id_, shop: {"id": id_},
    "restoreCustomer": lambda id_, shop: {"id": id_},
    "deleteCustomer": lambda id_, shop: {"id": id_},
    "createOrder": lambda id_, shop: {"customer": {"id": id_}},
    "updateOrder": lambda id_, shop: {"id": id_, "note": "Mine"},
    "deleteOrder": lambda id_, shop: {"id": id_},
    "transitionOrder": lambda id_, shop: {"id": id_, "to": "CANCELLED"},
    "moveOrderItem": lambda id_, shop: {"id": id_, "toOrder": f"Order:{seen(shop, 'Order').id}"},
    "updateItem": lambda id_, shop: {"id": id_, "name": "Mine"},
    "archiveItem": lambda id_, shop: {"id": id_},
    "restoreItem": lambda id_, shop: {"id": id_},
    "deleteItem": lambda id_, shop: {"id": id_},
    "adjustStock": lambda id_, shop: {"item": {"id": id_}, "delta": 1},
    "updateOrders": lambda id_, shop: {"where": {"id": {"eq": id_}}, "set": {"note": "Mine"}},
    "deleteOrders": lambda id_, shop: {"where": {"customer": {"id": {"eq": f"Customer:{hidden(shop, 'Customer').id}"}}}},
    "archiveItems": lambda id_, shop: {"where": {"id": {"in": [id_]}}},
    "archiveCustomers": lambda id_, shop: {"where": {"id": {"in": [id_]}}},
}
TYPES = {"moveOrderItem": "OrderItem", "createOrder": "Customer", "adjustStock": "Item"}


def seen(shop: Pair, type_name: str) -> Any:
    return next(row for row in shop.rows[type_name] if is_seen(row, shop.kind))


#: For tests that need all rules at once.
ALL_RULES = pytest.mark.parametrize("shops", [("both", "sqlite"), ("both", "postgres")], ids="-".join, indirect=True)


@pytest.mark.parametrize(
    "shops", [(kind, name) for kind in ("both", BOUND) for name in ("sqlite", "postgres")], ids="-".join, indirect=True
)
def test_a_hidden_row_is_a_missing_one_and_takes_the_same_statements(shops: Pair, statements: Statements) -> None:
    for name, input_of in BY_ID.items():
        type_name = TYPES.get(name) or next(each for each in ENTITIES if each in name)
        if shops.kind == BOUND and (type_name == "Item" or is_unbound(MUTATION.fields[name])):
            continue
        there, gone = f"{type_name}:{hidden(shops, type_name).id}", f"{type_name}:999999"
        asked = []
        for id_ in (there, gone):
            shops.runner.run(shops.whole.raw(document(name), {"input": input_of(id_, shops)}))  # what is made once is made
            statements.clear()
            answer = shops.runner.run(shops.whole.raw(document(name), {"input": input_of(id_, shops)}))
            asked.append((answer.decode().replace(id_, "?"), list(statements.sql)))
        assert asked[0] == asked[1], name
        (payload,) = orjson.loads(asked[0][0])["data"].values()
        told = [error["__typename"] for error in payload["errors"]]
        if name.endswith("s"):  # those by filter find nothing to do
            assert (told, payload["count"]) == ([], 0), name
        else:
            assert told in (["NotFoundError"], ["ReferenceNotFoundError"]), name


@ALL_RULES
def test_a_hidden_row_keeps_its_unique_key_and_is_not_shown(shops: Pair) -> None:
    customer, item = hidden(shops, "Customer"), hidden(shops, "Item")
    mine = seen(shops, "Customer")
    taken: dict[str, Any] = {
        "createCustomer": {"name": "Mine", "email": customer.email},
        "insertCustomers": {"rows": [{"name": "Mine", "email": customer.email}]},
        "updateCustomer": {"id": f"Customer:{mine.id}", "email": customer.email},
        "upsertCustomer": {"name": "Mine", "email": customer.email},
        "createItem": {"sku": item.sku, "name": "Mine", "price": "1"},
        "upsertItem": {"sku": item.sku, "name": "Mine", "price": "1"},
        "upsertItems": {"items": [{"sku": item.sku, "name": "Mine", "price": "1", "stockDelta": 2}]},
    }
    for name, input_ in taken.items():
        whole, other = shops.answers(document(name), {"input": input_})
        assert whole == other
        (error,) = orjson.loads(whole)["data"][name]["errors"]
        assert (error["__typename"], error["UniqueError_existing"]) == ("UniqueError", None), name
    for name, field in (("insertItems", "sku"), ("insertCustomers", "email")):
        row = {"name": "Mine", "sku": item.sku, "price": "1"} if field == "sku" else {"name": "Mine", "email": customer.email}
        whole, _ = shops.answers(document(name), {"input": {"rows": [row], "onConflict": "UPDATE"}})
        (error,) = orjson.loads(whole)["data"][name]["errors"]
        assert (error["__typename"], error["UniqueError_existing"]) == ("UniqueError", None), name
        whole, _ = shops.answers(document(name), {"input": {"rows": [row], "onConflict": "SKIP"}})
        assert orjson.loads(whole)["data"][name]["skipped"] == 1
    unchanged = shops.runner.run(load(shops.whole.database))
    for type_name, before in (("Customer", customer), ("Item", item)):
        after = next(row for row in unchanged[type_name] if row.id == before.id)
        assert (after.name, after.version, after.updated_at) == (before.name, before.version, before.updated_at)


@ALL_RULES
def test_what_hidden_rows_point_to_cannot_go_and_they_are_not_counted(shops: Pair) -> None:
    def users(item: Any) -> list[Any]:
        return [line for line in shops.rows["OrderItem"] if line.item_id == item.id]

    item = next(row for row in shops.rows["Item"] if is_seen(row, "both") and not all(is_seen(u, "both") for u in users(row)))
    whole, other = shops.answers(document("deleteItem"), {"input": {"id": f"Item:{item.id}"}})
    assert whole == other
    (error,) = orjson.loads(whole)["data"]["deleteItem"]["errors"]
    assert error["__typename"] == "StillReferencedError"
    assert error["StillReferencedError_count"] == sum(is_seen(user, "both") for user in users(item)) < len(users(item))


@ALL_RULES
def test_lines_that_are_hidden_stay_when_an_order_is_replaced_and_count_in_its_total(shops: Pair) -> None:
    order = next(
        row
        for row in shops.rows["Order"]
        if is_seen(row, "both")
        and row.status.name == "PENDING"
        and {is_seen(line, "both") for line in row.items} == {True, False}
    )
    kept = [line for line in order.items if not is_seen(line, "both")]
    input_ = {"id": f"Order:{order.id}", "items": {"replace": []}}
    whole, other = shops.answers(document("updateOrder"), {"input": input_})
    assert whole == other
    found = orjson.loads(whole)["data"]["updateOrder"]
    assert (found["errors"], found["order"]["items"]) == ([], [])
    after = next(row for row in shops.runner.run(load(shops.whole.database))["Order"] if row.id == order.id)
    assert [(line.id, line.position, line.quantity) for line in after.items] == [(x.id, x.position, x.quantity) for x in kept]
    assert after.subtotal == sum(line.quantity * line.price_paid for line in kept)
