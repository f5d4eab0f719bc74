"""Bad input: refused for the whole request, at its path, before the first field of it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from graphql import get_nullable_type

from graph.schema import schema
from tests.conftest import Ask
from tests.inputs import Name, Place, literal, places, written, wrong_of

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
    answer = await ask(f"mutation {declared} {{ {FIRST} b: {field} {{ errors {{ code }} }} }}", variables)
    assert [(e["extensions"]["code"], e["extensions"]["path"]) for e in answer["errors"]] == [("BAD_USER_INPUT", path)]
    assert "data" not in answer
    assert (await ask.data("{ items { totalCount } }"))["items"]["totalCount"] == 0


# ---- every place of every input

#: What no message may hold: names of libraries and of Python's values, and the ways they speak.
FOREIGN = re.compile(r"Maybe|None|True|False|[Ss]trawberry|Expected|not to be|object at 0x|Traceback|Undefined|GraphQL")


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


def told(answer: dict[str, Any]) -> list[str]:
    """The messages of a refused request, or of a payload."""
    payload = (answer.get("data") or {}).get("b") or {}
    return [error["message"] for error in (*answer.get("errors", ()), *payload.get("errors", ()))]


async def test_no_input_of_a_mutation_is_found_bad_while_it_runs(ask_shop: Ask) -> None:
    """A field before it is committed, so a request error must come before both; a payload's error keeps both answers."""
    root = schema._schema.mutation_type
    assert root is not None
    wrong: dict[str, Any] = {}
    ran = 0
    for number, attempt in enumerate(attempt for place in places(root) for attempt in attempts(place)):
        first = f'createItem(input: {{sku: "first-{number}", name: "First", price: "1"}}) {{ errors {{ code }} }}'
        second = f"{attempt.place.field}({attempt.arguments}) {{ errors {{ code message path }} }}"
        answer = await ask_shop(f"mutation {attempt.declared} {{ a: {first} b: {second} }}", attempt.variables)
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
    assert (await ask_shop.data(committed))["items"]["totalCount"] == ran > 0


async def test_no_input_of_a_query_breaks_it(ask_shop: Ask) -> None:
    root = schema._schema.query_type
    assert root is not None
    wrong: dict[str, Any] = {}
    for attempt in (attempt for place in places(root) for attempt in attempts(place)):
        answer = await ask_shop(
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
