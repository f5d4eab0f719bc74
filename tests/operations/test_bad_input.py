"""Bad input: refused for the whole request, at its path, before the first field of it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from graphql import GraphQLObjectType, get_nullable_type

from graph.catalog import mutations as catalog
from graph.schema import schema
from graph.write import door
from graph.write.answers import Answer, answer
from tests.conftest import Ask
from tests.examples import some
from tests.inputs import Name, Place, literal, places, written, wrong_of

SHOP = "varied"

FIRST = """a: createItem(input: {sku: "first", name: "First", price: "1"}) { errors { code } }"""

#: Mutations that must not run at all: the field after one that would be committed, the types of its variables, their values,
#: the path of the refusal.
JUDGED: dict[str, tuple[str, str, dict[str, Any], list[str]]] = {
    "null for a relation": ("deleteOrders(input: {where: {customer: null}})", "", {}, ["input", "where", "customer"]),
    "null to be less than": (
        "archiveItems(input: {where: {stock: {lt: $v}}})",
        "($v: Int)",
        {"v": None},
        ["input", "where", "stock", "lt"],
    ),
    "null in a whole filter": (
        "deleteOrders(input: $v)",
        "($v: DeleteOrdersInput!)",
        {"v": {"where": {"or": [{"note": {"in": None}}]}}},
        ["input", "where", "or", "0", "note", "in"],
    ),
    "a page of a payload too large": (
        'updateCustomer(input: {id: "Customer:1"}) { customer { orders(first: $v) { totalCount } } }',
        "($v: Int)",
        {"v": 101},
        ["first"],
    ),
    "null for a filter of a payload": (
        'updateCustomer(input: {id: "Customer:1"}) { customer { orders(where: {note: {lt: $v}}) { totalCount } } }',
        "($v: String)",
        {"v": None},
        ["where", "note", "lt"],
    ),
    "a cursor of a payload": (
        'updateCustomer(input: {id: "Customer:1"}) { customer { orders(after: $v) { nodes { id } } } }',
        "($v: String)",
        {"v": "00"},
        ["after"],
    ),
    "null for a directive": (
        'updateCustomer(input: {id: "Customer:1"}) { customer @include(if: $v) { id } }',
        "($v: Boolean = true)",
        {"v": None},
        ["if"],
    ),
    "too many entries": (
        "createItems(input: {items: $v})",
        "($v: [ItemInput!]!)",
        {"v": [{"sku": f"{n}", "name": "x", "price": 1} for n in range(251)]},
        ["input", "items"],
    ),
    "a filter of too many conditions": (
        "deleteOrders(input: {where: $v})",
        "($v: OrderWhere!)",
        {"v": {"or": [{"note": {"eq": "x"}}] * 201}},
        ["input", "where"],
    ),
    "two keys of one field": (
        """createItem(input: {sku: "b", name: "b", price: 1}) @idempotent(key: "1") { item { id } }
        b: createItem(input: {sku: "b", name: "b", price: 1}) @idempotent(key: "2") { item { sku } }""",
        "",
        {},
        ["key"],
    ),
    "an empty key": ('createItem(input: {sku: "b", name: "b", price: 1}) @idempotent(key: "")', "", {}, ["key"]),
    "a long key": (
        'createItem(input: {sku: "b", name: "b", price: 1}) @idempotent(key: $v)',
        "($v: String!)",
        {"v": "x" * 256},
        ["key"],
    ),
}


@pytest.mark.parametrize("name", JUDGED)
async def test_a_bad_input_lets_no_field_run(ask: Ask, name: str) -> None:
    field, declared, variables, path = JUDGED[name]
    selected = "" if field.endswith("}") else "{ errors { code } }"
    answer = await ask(f"mutation {declared} {{ {FIRST} b: {field} {selected} }}", variables)
    assert [(e["extensions"]["code"], e["extensions"]["path"]) for e in answer["errors"]] == [("BAD_USER_INPUT", path)]
    assert "data" not in answer
    assert (await ask.data("{ items { totalCount } }"))["items"]["totalCount"] == 0


async def test_a_cursor_of_a_payload_is_judged_by_a_kept_plan_too(shop: Ask) -> None:
    page = '{ customer(by: {id: "Customer:1"}) { orders(first: 1) { pageInfo { endCursor } } } }'
    good = (await shop.data(page))["customer"]["orders"]["pageInfo"]["endCursor"]
    query = """mutation ($c: String, $sku: String!) {
      a: createItem(input: {sku: $sku, name: "First", price: "1"}) { errors { code } }
      b: updateCustomer(input: {id: "Customer:1"}) { customer { orders(after: $c) { nodes { id } } } }
    }"""
    await shop.data(query, {"c": good, "sku": "good"})
    other = (await shop.data("{ items(first: 1) { pageInfo { endCursor } } }"))["items"]["pageInfo"]["endCursor"]
    for cursor in (good[:-2] + "00", other):
        answer = await shop(query, {"c": cursor, "sku": "bad"})
        assert [(e["extensions"]["code"], e["extensions"]["path"]) for e in answer["errors"]] == [("BAD_USER_INPUT", ["after"])]
    found = await shop.data('{ good: item(by: {sku: "good"}) { sku } bad: item(by: {sku: "bad"}) { sku } }')
    assert found == {"good": {"sku": "good"}, "bad": None}


# ---- cursors


@pytest.mark.parametrize("name", ["n" * 6_000, "é" * 10_000, "a" + "\x01" * 9_998 + "b", "\U0001f600" * 10_000, 'q"' * 5_000])
async def test_the_cursor_of_a_long_name_comes_back(ask: Ask, name: str) -> None:
    rows = [{"sku": sku, "name": name, "price": 1} for sku in "abc"]
    await ask.data("mutation ($r: [ItemInput!]!) { insertItems(input: {rows: $r}) { errors { code } } }", {"r": rows})
    page = "items(orderBy: [{field: NAME}, {field: SKU}], first: 1%s) { nodes { sku } pageInfo { endCursor } }"
    cursor = (await ask.data(f"{{ {page % ''} }}"))["items"]["pageInfo"]["endCursor"]
    literal_ = await ask.data(f"{{ {page % f', after: {json.dumps(cursor)}'} }}")
    given = await ask.data(f"query ($c: String) {{ {page % ', after: $c'} }}", {"c": cursor})
    default = await ask.data(f"query ($c: String = {json.dumps(cursor)}) {{ {page % ', after: $c'} }}")
    assert literal_ == given == default
    assert [node["sku"] for node in given["items"]["nodes"]] == ["b"]


async def test_only_a_cursors_place_takes_a_cursors_length(shop: Ask) -> None:
    text = json.dumps(["x" * 39_990]).encode().hex()
    long = "00" * 300_000
    for value, place, path in (
        (text, "search", ["search"]),
        (text, "where: {note: {eq: %s}}", ["where", "note", "eq"]),
        (long, "after", ["after"]),
        (long, "before", ["before"]),
    ):
        argument = place if "%s" in place else f"{place}: %s"
        answers = [
            await shop(f"{{ orders({argument % json.dumps(value)}) {{ totalCount }} }}"),
            await shop(f"query ($v: String) {{ orders({argument % '$v'}) {{ totalCount }} }}", {"v": value}),
            await shop(f"query ($v: String = {json.dumps(value)}) {{ orders({argument % '$v'}) {{ totalCount }} }}"),
        ]
        for refused in answers:
            assert [(e["extensions"]["code"], e["extensions"]["path"]) for e in refused["errors"]] == [("BAD_USER_INPUT", path)]
    both = "query ($v: String) { a: orders(after: $v) { nodes { id } } b: orders(search: $v) { totalCount } }"
    assert [e["extensions"]["path"] for e in (await shop(both, {"v": text}))["errors"]] == [["search"]]


# ---- one fault, one error

#: What is asked, and the one message and path that answer it.
ONE: dict[str, tuple[str, dict[str, Any], str, list[str]]] = {
    "two nulls of a choice": (
        "{ customer(by: {id: null, email: null}) { id } }",
        {},
        "CustomerBy takes exactly one of the fields id, email, with a value.",
        ["by"],
    ),
    "a choice of two, by variables that may be null": (
        "query ($e: String, $i: ID) { customer(by: {email: $e, id: $i}) { id } }",
        {"e": "a@b.cc"},
        "CustomerBy takes exactly one of the fields id, email, with a value.",
        ["by"],
    ),
    "a choice of two, by a value and a variable": (
        'query ($e: String) { customer(by: {id: "Customer:1", email: $e}) { id } }',
        {},
        "CustomerBy takes exactly one of the fields id, email, with a value.",
        ["by"],
    ),
    "a field that is not there": (
        "{ customer(by: {postcode: 1}) { id } }",
        {},
        'CustomerBy has no field "postcode".',
        ["by", "postcode"],
    ),
    "a field nearly there": (
        '{ customer(by: {emial: "x"}) { id } }',
        {},
        "CustomerBy has no field \"emial\". Did you mean 'email'?",
        ["by", "emial"],
    ),
    "a page too large": ("{ items(first: 101) { totalCount } }", {}, "first must be from 0 to 100.", ["first"]),
    "a cursor of nothing": (
        '{ items(after: "x") { totalCount } }',
        {},
        "The cursor was not made for this list and order.",
        ["after"],
    ),
    "no filter": (
        "{ items(where: {sku: null}) { totalCount } }",
        {},
        "null is no filter; leave the field out.",
        ["where", "sku"],
    ),
    "an argument nearly there": (
        '{ customer(bye: {id: "x"}) { id } }',
        {},
        "Unknown argument 'bye' on field 'Query.customer'. Did you mean 'by'?",
        ["bye"],
    ),
    "a value for a filter": (
        '{ items(where: {sku: "x"}) { totalCount } }',
        {},
        'StringFilter must be an object, not "x". Write {eq: …}.',
        ["where", "sku"],
    ),
    "a list for a filter": (
        "query ($s: [ID!]) { items(where: {id: $s}) { totalCount } }",
        {"s": ["Item:1"]},
        "Variable '$s' of type '[ID!]' stands where 'IDFilter' is needed.",
        ["where", "id"],
    ),
    "a list in a filter": (
        "query ($w: ItemWhere) { items(where: $w) { totalCount } }",
        {"w": {"sku": ["x"]}},
        "StringFilter must be an object, not a list. Write {in: …}.",
        ["where", "sku"],
    ),
    "a list for children": (
        'mutation { updateOrder(input: {id: "Order:1", items: [{quantity: 1}]}) { errors { code } } }',
        {},
        "OrderItemsInput must be an object, not a list. Its fields are create, update, remove, replace.",
        ["input", "items"],
    ),
    "a field of the rows of a page": (
        "{ items { id } }",
        {},
        "Cannot query field 'id' on type 'ItemConnection'. Did you mean 'nodes { id }'?",
        [],
    ),
    "a field of the row of a payload": (
        'mutation { createItem(input: {sku: "a", name: "a", price: "1"}) { sku } }',
        {},
        "Cannot query field 'sku' on type 'CreateItemPayload'. Did you mean 'item { sku }'?",
        [],
    ),
    "a mutation as a query": (
        "{ createItem { item { id } } }",
        {},
        "Cannot query field 'createItem' on type 'Query'. It is a field of Mutation: write mutation { createItem }.",
        [],
    ),
    "a query as a mutation": (
        "mutation { items { totalCount } }",
        {},
        "Cannot query field 'items' on type 'Mutation'. It is a field of Query: write query { items }.",
        [],
    ),
    "an argument of a field that takes it in an object": (
        "query ($id: ID!) { order(id: $id) { id } }",
        {"id": "Order:1"},
        "Unknown argument 'id' on field 'Query.order'. Did you mean 'by: {id: …}'?",
        ["id"],
    ),
    "no argument": ("{ customer { id } }", {}, "customer needs by, of type CustomerBy!.", ["by"]),
    "no argument of a directive": ("{ items @skip { totalCount } }", {}, "@skip needs if, of type Boolean!.", ["if"]),
    "a variable that may be null": (
        "query ($e: String) { customer(by: {email: $e}) { id } }",
        {},
        "Variable '$e' must be of type 'String!', since it chooses the one field of CustomerBy.",
        ["by", "email"],
    ),
    "a variable that is not sent": (
        "query ($e: String!) { customer(by: {email: $e}) { id } }",
        {},
        "Variable '$e' of type 'String!' was not sent.",
        ["by", "email"],
    ),
    "a variable at two places": (
        "query ($n: Int) { a: items(first: $n) { totalCount } b: items(last: $n) { totalCount } }",
        {"n": "1"},
        'Int must be a whole number from -2147483648 to 2147483647, not "1".',
        ["first"],
    ),
    "an output type": (
        "query ($w: Order!) { orders(where: $w) { totalCount } }",
        {},
        "Variable '$w' cannot be non-input type 'Order!'.",
        [],
    ),
    "a default that does not fit": (
        'query ($n: Int = "x") { items(first: $n) { totalCount } }',
        {},
        'Int must be a whole number from -2147483648 to 2147483647, not "x".',
        ["first"],
    ),
    "an enum value": (
        "{ orders(where: {status: {eq: PAYED}}) { totalCount } }",
        {},
        "OrderStatus has no value PAYED. Did you mean 'PAID'?",
        ["where", "status", "eq"],
    ),
    "a quoted enum value": (
        '{ orders(where: {status: {eq: "PAID"}}) { totalCount } }',
        {},
        "OrderStatus is written without quotes in a document: PAID.",
        ["where", "status", "eq"],
    ),
    "a Boolean for money": (
        "{ orders(where: {discount: {eq: true}}) { totalCount } }",
        {},
        'Decimal must be a string or a number, such as "10.50".',
        ["where", "discount", "eq"],
    ),
    "a lone surrogate for a number": (
        "query ($n: Int) { items(first: $n) { totalCount } }",
        {"n": "\ud800"},
        "Text cannot hold NUL or lone surrogates.",
        ["first"],
    ),
    "a number past everything": (
        "{ items(first: 1" + "0" * 5_000 + ") { totalCount } }",
        {},
        "Int must be a whole number from -2147483648 to 2147483647, not 1" + "0" * 58 + "….",
        ["first"],
    ),
    "one field given twice": (
        '{ customer(by: {id: "x", id: "y"}) { id } }',
        {},
        "There can be only one input field named 'id'.",
        ["by", "id"],
    ),
}


@pytest.mark.parametrize("name", ONE)
async def test_one_fault_is_one_error_in_our_words(ask: Ask, name: str) -> None:
    query, variables, message, path = ONE[name]
    answer = await ask(query, variables)
    assert [(e["message"], e["extensions"].get("path", [])) for e in answer["errors"]] == [(message, path)]


async def test_no_name_is_suggested_where_the_schema_is_not_shown(
    ask_with: Callable[..., AbstractAsyncContextManager[Ask]],
) -> None:
    async with ask_with(introspection=False, suggestions=False) as ask:
        for query, message in {
            '{ customer(by: {emial: "x"}) { id } }': 'CustomerBy has no field "emial".',
            "{ customer(by: {}) { id } }": "CustomerBy takes exactly one field, with a value.",
            "{ orders(where: {status: {eq: PAYED}}) { totalCount } }": "OrderStatus has no value PAYED.",
            '{ customer(bye: {id: "x"}) { id } }': "Unknown argument 'bye' on field 'Query.customer'.",
            '{ customer(id: "x") { id } }': "Unknown argument 'id' on field 'Query.customer'.",
            "{ items { id } }": "Cannot query field 'id' on type 'ItemConnection'.",
            "{ createItem }": "Cannot query field 'createItem' on type 'Query'.",
            '{ items(where: {sku: "x"}) { totalCount } }': 'StringFilter must be an object, not "x".',
        }.items():
            assert [e["message"] for e in (await ask(query))["errors"]] == [message]


# ---- what nobody expected


async def test_a_field_that_breaks_leaves_the_others_their_answers(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(door, "update_where", broken)
    monkeypatch.setattr(catalog, "archive_matching", hollow)
    query = """mutation %s {
      a: createItem(input: {sku: "a", name: "a", price: 1}) { item { sku } }
      b: adjustStock(input: {item: {sku: "a"}, delta: 1}) { errors { code } }
      c: archiveItems(input: {where: {sku: {eq: "x"}}}) { count errors { code } }
      d: createItem(input: {sku: "d", name: "d", price: 1}) { item { sku } }
    }"""
    answer = await ask(query % "@atomic")
    assert answer["data"] is None
    assert (await ask.data("{ items { totalCount } }"))["items"]["totalCount"] == 0
    answer = await ask(query % "")
    assert answer["data"] == {"a": {"item": {"sku": "a"}}, "b": None, "c": None, "d": {"item": {"sku": "d"}}}
    told = [(e["message"], e["path"], e["extensions"]["code"]) for e in answer["errors"]]
    assert told == [
        ("Internal server error", ["b"], "INTERNAL_SERVER_ERROR"),
        ("Internal server error", ["c", "count"], "INTERNAL_SERVER_ERROR"),
    ]
    assert (await ask.data("{ items { totalCount } }"))["items"]["totalCount"] == 2


async def hollow(*_: Any) -> Answer[Any]:
    """An answer that a payload cannot show."""
    return answer({"count": "many"})


# ---- every place of every input

#: What no message may hold: names of libraries and of Python's values, and the ways they speak.
FOREIGN = re.compile(r"Maybe|None|True|False|[Ss]trawberry|\bExpected\b|not to be|object at 0x|Traceback|Undefined|GraphQL")


@dataclass(frozen=True)
class Attempt:
    """A value at a place, as the text of the arguments and their variables. `path` is where it must be refused, if it must."""

    place: Place
    what: str
    arguments: str
    declared: str
    variables: dict[str, Any]
    path: tuple[str, ...] | None


def attempts(place: Place) -> Iterator[Attempt]:
    """Null, wrong kinds and an absent variable at a place, as literals and as variables."""
    whole = str(place.definition.args[place.path[0]].type)
    name = place.path[0]

    def at(what: str, value: Any, refused: bool) -> Iterator[Attempt]:
        arguments = place.holding(value)
        path = place.path if refused else None
        yield Attempt(place, f"{what}, literal", written(arguments), "", {}, path)
        given = {**arguments, name: Name("$whole")}
        yield Attempt(place, f"{what}, variable", written(given), f"($whole: {whole})", {"whole": arguments[name]}, path)

    yield from at("null", None, place.needed)
    for wrong in wrong_of(place.type):
        yield from at(f"wrong {literal(wrong)}", wrong, refused=True)
    type_ = get_nullable_type(place.type)
    declared = f"{type_}!" if place.needed and not place.default else str(type_)
    given = written(place.holding(Name("$part")))
    missing = place.path if place.needed and not place.default else None
    yield Attempt(place, "absent variable", given, f"($part: {declared})", {}, missing)
    yield Attempt(place, "null variable", given, f"($part: {declared})", {"part": None}, place.path if place.needed else None)
    if place.choice:
        for variables in ({}, {"part": None}):
            yield Attempt(place, "nullable variable", given, f"($part: {type_})", variables, place.path)


def attempted(root: GraphQLObjectType, ask: Ask) -> Sequence[Attempt]:
    """Attempts at each of a root type's places, as few times as they differ; under .ci/run all of these.

    What must be refused asks no database: it is the same on both, and tried on one. The first wrong value of a place shows that
    it is judged there; the others are tried once a type. PostgreSQL sees what null comes to and what is left out.
    """
    judged_here = ask.app.state.database.dialect.name == "sqlite"
    seen: set[tuple[str, str]] = set()

    def differs(attempt: Attempt) -> bool:
        if not judged_here:
            return attempt.path is None and attempt.what in ("null, literal", "absent variable")
        if not attempt.what.startswith("wrong"):
            return True
        kind = str(get_nullable_type(attempt.place.type)), attempt.what
        first = attempt.what.startswith(f"wrong {literal(wrong_of(attempt.place.type)[0])}, ")
        new = kind not in seen
        seen.add(kind)
        return first or new

    found = (attempt for place in places(root) for attempt in attempts(place) if differs(attempt))
    return some(found, lambda attempt: attempt.place, 8)


def told(answer: dict[str, Any]) -> list[str]:
    """The messages of a refused request, or of a payload."""
    payload = (answer.get("data") or {}).get("b") or {}
    return [error["message"] for error in (*answer.get("errors", ()), *payload.get("errors", ()))]


async def test_no_input_of_a_mutation_is_found_bad_while_it_runs(ask: Ask) -> None:
    """A field before it is committed, so a request error must come before both; a payload's error keeps both answers."""
    root = schema._schema.mutation_type
    assert root is not None
    wrong: dict[str, Any] = {}
    ran = 0
    for number, attempt in enumerate(attempted(root, ask)):
        declared = f"($sku: String!, {attempt.declared.strip('()')})"
        first = 'createItem(input: {sku: $sku, name: "First", price: "1"}) { errors { code } }'
        second = f"{attempt.place.field}({attempt.arguments}) {{ errors {{ code message path }} }}"
        variables = {"sku": f"first-{number}", **attempt.variables}
        answer = await ask(f"mutation {declared} {{ a: {first} b: {second} }}", variables)
        found = [(e["extensions"]["code"], tuple(e["extensions"].get("path", ()))) for e in answer.get("errors", ())]
        if found:
            size = len(attempt.path or attempt.place.path)
            fits = "data" not in answer and {(code, path[:size]) for code, path in found} == {
                ("BAD_USER_INPUT", attempt.path or attempt.place.path)
            }
        else:
            fits = attempt.path is None and answer["data"]["a"] is not None and answer["data"]["b"] is not None
            ran += 1
        if not fits or any(map(FOREIGN.search, told(answer))):
            wrong[f"{attempt.place}: {attempt.what}"] = answer
    assert wrong == {}
    committed = (
        '{ items(where: {sku: {startsWith: "first-"}, or: [{archived: {eq: true}}, {archived: {eq: false}}]}) { totalCount } }'
    )
    assert (await ask.data(committed))["items"]["totalCount"] == ran > 0


async def test_no_input_of_a_query_breaks_it(shop: Ask) -> None:
    root = schema._schema.query_type
    assert root is not None
    wrong: dict[str, Any] = {}
    for attempt in attempted(root, shop):
        answer = await shop(
            f"query {attempt.declared} {{ {attempt.place.field}({attempt.arguments}) {{ __typename }} }}", attempt.variables
        )
        found = [(e["extensions"]["code"], tuple(e["extensions"].get("path", ()))) for e in answer.get("errors", ())]
        if found:
            size = len(attempt.place.path)
            fits = {(code, path[:size]) for code, path in found} == {("BAD_USER_INPUT", attempt.place.path)}
        else:
            fits = attempt.path is None
        if not fits or any(map(FOREIGN.search, told(answer))):
            wrong[f"{attempt.place}: {attempt.what}"] = answer
    assert wrong == {}
