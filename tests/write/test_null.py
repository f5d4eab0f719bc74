"""Null wherever the inputs of mutations let it stand: refused at its place, cleared, or as if it were left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import strawberry
from graphql import (
    GraphQLInputObjectType,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
)

from graph.schema import schema
from graph.write.mutation_inputs import InputError, check, is_filter
from tests.conftest import Ask
from tests.stock import customer, item, line
from tests.words import ITEM, ORDER, count, done, mutate, refusals, stocks

MUTATIONS: Any = schema._schema.mutation_type.fields  # type: ignore[union-attr]  # there are mutations

#: What null means where it is no mistake: the row's value is cleared, or it is as if the field were left out.
CLEARED = {
    "ChangeOrderInput.note",
    "CreateOrderInput.note",
    "OrderInput.note",
    "OrderSet.note",
    "ReplaceOrderInput.note",
    "UpdateOrderInput.note",
    "CreateItemInput.stock",
    "ItemInput.stock",
    "UpdateItemInput.stock",
}
LEFT_OUT = {
    *(
        f"{name}.{field}"
        for name in ("OrderInput", "CreateOrderInput", "ReplaceOrderInput")
        for field in ("orderDate", "discount")
    ),
    "OrderItemInput.pricePaid",
    "ReplaceOrderItemInput.pricePaid",
    "ReplaceOrderInput.id",
    "ReplaceOrderItemInput.id",
    "MoveOrderItemInput.quantity",
    "MoveOrderItemInput.toExpectedVersion",
}
SCALARS = {"Decimal": "1", "Percent": "1", "DateTime": "2026-01-31T10:00:00Z", "Int": 1, "Boolean": True}
IDS = {
    "UpdateOrderItemInput": "OrderItem:1",
    "DeleteItemInput": "Item:2",
    "MoveOrderItemInput.id": "OrderItem:1",
    "MoveOrderItemInput.toOrder": "Order:2",
}
REFERENCES = {"ItemReference": {"sku": "A"}, "ItemKey": {"sku": "A"}, "CustomerReference": {"id": "Customer:1"}}
#: What a new entry of `replace` needs beside what its type says.
NEEDS = {"ReplaceOrderItemInput": {"item": {"sku": "A"}, "quantity": 1}}
#: What stands beside a field so that what is below it can be changed.
BESIDE = {"ReplaceOrderInput.items": {"id": "Order:1"}}


def made(type_: Any, place: str) -> Any:
    """A value of a type with as little in it as possible."""
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        return [made(type_.of_type, place)]
    if type_.name in REFERENCES:
        return REFERENCES[type_.name]
    if isinstance(type_, GraphQLInputObjectType):
        if is_filter(type_.name):
            return {"id": {"notIn": [f"{type_.name.removesuffix('Where')}:9999"]}}
        needed = {name: made(f.type, f"{type_.name}.{name}") for name, f in type_.fields.items() if is_required_input_field(f)}
        filter_ = {"where": made(type_.fields["where"].type, "")} if "where" in type_.fields else {}
        return needed | filter_ | NEEDS.get(type_.name, {})
    if type_.name == "ID":
        owner = place.partition(".")[0]
        kind = "Customer" if "Customer" in owner else "Item" if owner.endswith("ItemInput") else "Order"
        return IDS.get(place) or IDS.get(owner) or f"{kind}:1"
    return SCALARS.get(type_.name) or (list(type_.values)[1] if hasattr(type_, "values") else f"{place}@example.com")


def nulls(type_: Any, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Every place below a type where null may stand: its field, a value with null there, the way to it."""
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        yield from ((place, [value], ("0", *way)) for place, value, way in nulls(type_.of_type, seen))
    elif isinstance(type_, GraphQLInputObjectType) and not is_filter(type_.name) and type_.name not in seen:
        whole = {} if type_.is_one_of else made(type_, type_.name)
        for name, field in type_.fields.items():
            place = f"{type_.name}.{name}"
            if not is_non_null_type(field.type) and not type_.is_one_of:
                yield place, {**whole, name: None}, (name,)
            for inner, value, way in nulls(field.type, (*seen, type_.name)):
                yield inner, {**whole, **BESIDE.get(place, {}), name: value}, (name, *way)


#: The mutations of rows that `shop` has and `made` knows; another entity's tests say what null means there.
KNOWN = [field for field in MUTATIONS if re.search("Customer|Item|Order|Stock|Archived", field)]
PLACES = [(field, *found) for field in KNOWN for found in nulls(MUTATIONS[field].args["input"].type)]


#: Item A, and Ada with two orders of a line each; item B, which nobody wants.
SHOP = [item("A", 3, 10), item("B", 3, 10), customer("Ada", [line("A")], [line("A")])]


async def test_null_is_refused_at_its_place_wherever_it_has_no_meaning(shop: Ask) -> None:
    assert {place for _, place, _, _ in PLACES} >= {*CLEARED, *LEFT_OUT, "OrderItemsInput.replace", "UpsertItemInput.stockDelta"}
    for field, place, given, way in PLACES:
        type_ = f"{field[0].upper()}{field[1:]}Input"
        results = "results { errors { code path } }" if "results" in get_named_type(MUTATIONS[field].type).fields else ""
        query = f"mutation ($input: {type_}!) @dryRun {{ {field}(input: $input) {{ errors {{ code path }} {results} }} }}"
        payload = (await shop.data(query, {"input": given}))[field]
        entries = [error for entry in payload.get("results", ()) for error in entry["errors"]]
        found = [(error["code"], error["path"]) for error in payload["errors"] or entries]
        fine = place in CLEARED | LEFT_OUT or place.endswith(".expectedVersion")
        assert found == ([] if fine else [("REQUIRED", ["input", *way])]), (field, given, found)
    assert await count(shop) == (1, 2, 2)


async def test_null_written_in_the_document_is_refused_alike(shop: Ask) -> None:
    query = """mutation {
        a: updateOrder(input: {id: "Order:1", items: null}) { errors { code path } }
        b: updateOrder(input: {id: "Order:1", items: {replace: null, create: []}}) { errors { code path } }
        c: upsertItem(input: {sku: "A", name: "A", price: "1", stockDelta: null}) { errors { code path } } }"""
    data = await shop.data(query)
    assert [data[key]["errors"] for key in "abc"] == [
        [{"code": "REQUIRED", "path": ["input", "items"]}],
        [{"code": "REQUIRED", "path": ["input", "items", "replace"]}],
        [{"code": "REQUIRED", "path": ["input", "stockDelta"]}],
    ]
    answer = await shop('mutation { updateOrder(input: {id: "Order:1", items: {create: null}}) { errors { code } } }')
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
    assert (await stocks(shop))["A"] == 8


async def test_null_stands_beside_the_other_refusals(shop: Ask) -> None:
    given = {"id": "Order:1", "discount": None, "items": {"replace": None, "update": [{"id": "OrderItem:1", "quantity": 0}]}}
    assert await refusals(shop, "updateOrder", given) == [
        ("REQUIRED", "input.discount"),
        ("REQUIRED", "input.items.replace"),
        ("CHECK", "input.items.update.0.quantity"),
    ]
    items = [{"sku": "A", "name": " ", "price": "-1", "stockDelta": None}]
    payload = await mutate(shop, "upsertItems", {"items": items}, "results { errors { code path } }")
    assert [(error["code"], error["path"][-1]) for error in payload["results"][0]["errors"]] == [
        ("INVALID_INPUT", "name"),
        ("CHECK", "price"),
        ("REQUIRED", "stockDelta"),
    ]


@pytest.mark.parametrize("way", ["createOrder", "createCustomer", "createOrders", "create", "replace"])
async def test_null_for_what_has_a_default_is_the_default_of_a_new_row(shop: Ask, way: str) -> None:
    order = {
        "orderDate": None,
        "discount": None,
        "note": None,
        "items": [{"item": {"sku": "A"}, "quantity": 2, "pricePaid": None}],
    }
    addressed = {"customer": {"id": "Customer:1"}, **order}
    changed = {**order, "items": {"replace": order["items"]}}
    if way == "createOrder":
        await done(shop, "createOrder", addressed)
    elif way == "createOrders":
        await done(shop, "createOrders", {"orders": [addressed], "onError": "CONTINUE"})
    elif way == "createCustomer":
        await done(shop, "createCustomer", {"name": "Bo", "email": "bo@example.com", "orders": [order]})
    else:
        orders = {"create": [order]} if way == "create" else {"replace": [{"id": "Order:1"}, {"id": "Order:2"}, changed]}
        await done(shop, "updateCustomer", {"id": "Customer:1", "orders": orders})
    found = (await shop.data(f'{{ order(by: {{id: "Order:3"}}) {{ orderDate createdAt {ORDER[1:]} }}'))["order"]
    assert found["orderDate"] == found["createdAt"]
    assert (found["discount"], found["note"], found["items"][0]["pricePaid"]) == ("0.00", None, "3.00")


async def test_a_missing_item_is_told_once_beside_a_price_of_null(shop: Ask) -> None:
    lines = [{"item": {"sku": "no"}, "quantity": 1, "pricePaid": None}]
    assert await refusals(shop, "createOrder", {"customer": {"id": "Customer:1"}, "items": lines}) == [
        ("REFERENCE_NOT_FOUND", "input.items.0.item.sku")
    ]


async def test_null_clears_the_stock(shop: Ask) -> None:
    await done(shop, "updateItem", {"id": "Item:1", "stock": None}, f"item {ITEM}")
    assert await stocks(shop) == {"A": None, "B": 10}


MAYBE: Any = strawberry.Maybe


@strawberry.input
class Inner:
    number: strawberry.Maybe[int | None]


def taking(annotation: Any) -> Any:
    """A schema whose one mutation takes an input with a field of this type."""
    given: Any = strawberry.input(type("Given", (), {"__annotations__": {"field": annotation}, "field": strawberry.UNSET}))

    def change(input_: Any) -> bool:
        return True

    change.__annotations__ = {"input_": given, "return": bool}
    mutation = strawberry.type(type("Mutation", (), {"change": strawberry.mutation(resolver=change)}))
    query = strawberry.type(type("Query", (), {"__annotations__": {"one": int}}))
    return strawberry.Schema(query, mutation)._schema


@pytest.mark.parametrize(
    "annotation",
    [
        MAYBE[int],
        MAYBE[list[int]],
        MAYBE[Inner],
        int | None,
        list[Inner] | None,
        list[int | None],
        MAYBE[list[list[Inner | None]] | None],
    ],
)
def test_an_input_that_could_not_tell_null_from_absent_stops_the_start(annotation: Any) -> None:
    with pytest.raises(InputError, match=r"Given\.field takes null"):
        check(taking(annotation))


@pytest.mark.parametrize("annotation", [int, list[Inner], MAYBE[Inner | None], MAYBE[list[Inner] | None]])
def test_other_inputs_pass(annotation: Any) -> None:
    made_ = taking(annotation)
    check(made_)
    assert "field" in made_.type_map["Given"].fields
