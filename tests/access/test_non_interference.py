"""What a viewer who is bound to a customer is answered does not change by a byte when only others' data changes.

Two shops: in one everything that he may not see is other than in the other, and others go on writing there, by the product,
while he reads and writes. He asks both the same: every root field of the schema, found by introspection, with drawn selections,
filters, orders, cursors and inputs. What is new has other ids, numbers and times in each shop, and changes other cursors: these
are put into one form. Two things may show and are not drawn: stock that runs out, and unique keys that are held.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from graphql import GraphQLField, get_named_type, is_required_argument
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.context import Context
from graph.database import Database
from graph.feed.sequence import number_some
from graph.read.types.permissions import is_unbound
from graph.scope import BOUND, OPEN
from tests import stock
from tests.conftest import Statements
from tests.drawn import MUTATION, SDL, Inputs, document, selection
from tests.examples import ALL, examples
from tests.generated import requests
from tests.one_page import events_after
from tests.unseen import Asked, Pair, is_seen, pair, scramble

QUERY: Any = SDL.query_type
SUBSCRIPTION: Any = SDL.subscription_type
NAMES = ("sqlite", "postgres")


# ---- what others do


async def done(database: Database, field: str, input_: Any, selected: str = "") -> Any:
    """The payload of a mutation of the house's."""
    type_ = f"{field[0].upper()}{field[1:]}Input"
    query = f"mutation ($input: {type_}!) {{ payload: {field}(input: $input) {{ {selected} errors {{ code path }} }} }}"
    payload = orjson.loads(await Asked(database, OPEN).raw(query, {"input": input_}))["data"]["payload"]
    assert payload["errors"] == [], (field, payload)
    return payload


async def others_write(database: Database, turn: int) -> None:
    """A customer comes, orders what is counted and what is not, changes his mind, and goes again; the house stocks up."""
    lines = [stock.line("NW-11"), stock.line("NW-3", 2)]
    email = f"other{turn}@example.org"
    new = {"name": f"Other {turn}", "email": email, "orders": [{"note": "secret", "items": lines}, {"items": lines}, {}]}
    made = (await done(database, "createCustomer", new, "customer { id orders { nodes { id } } }"))["customer"]
    first, second, third = (node["id"] for node in made["orders"]["nodes"])
    await done(database, "adjustStock", {"item": {"sku": "NW-11"}, "delta": 5})
    await done(database, "updateOrder", {"id": first, "note": "more", "items": {"create": [stock.line("NW-11")]}})
    await done(database, "transitionOrder", {"id": second, "to": "CANCELLED"})
    await done(database, "deleteOrder", {"id": third})
    await done(database, "archiveCustomer" if turn % 2 else "deleteCustomer", {"id": made["id"]})


async def lived(database: Database, kind: str) -> None:
    """Everything that is not the viewer's is other, and a thousand customers came at once."""
    await scramble(database, kind)
    rows = [{"name": f"Many {n}", "email": f"many{n}@example.org"} for n in range(1_001)]
    await done(database, "insertCustomers", {"rows": rows})
    for turn in (0, 1):
        await others_write(database, turn)


# ---- one form for what is new


class OneForm:
    """Puts the answers of a shop into the form of both: what is new there is named by when the viewer first saw it."""

    def __init__(self, rows: Any) -> None:
        self.last = {name: max(row.id for row in found) for name, found in rows.items()}
        self.names: dict[tuple[str, int], str] = {}

    def key(self, type_name: str, key: int) -> str:
        if key <= self.last[type_name]:
            return str(key)
        return self.names.setdefault((type_name, key), f"new{len(self.names)}")

    def cursor(self, match: re.Match[str]) -> str:
        tag, *values = json.loads(bytes.fromhex(match[1]))
        type_name = tag.split()[0]
        values[-1] = "#" if type_name == "Change" else self.key(type_name, values[-1])
        return json.dumps(f"after {self.text(json.dumps([tag, *values]))}")

    def text(self, text: str) -> str:
        text = re.sub(r'"(5b22(?:[0-9a-f]{2})+)"', self.cursor, text)
        text = re.sub(r"\b(Customer|OrderItem|Order|Item):(\d+)", lambda m: f"{m[1]}:{self.key(m[1], int(m[2]))}", text)
        text = re.sub(r"\bSO-(\d+)", lambda m: f"SO-{self.key('Order', int(m[1]))}", text)
        return re.sub(r'"20(?:2[5-9]|[3-9]\d)-[^"]*Z"', '"now"', text)


class Twins:
    """A viewer's two shops: he is answered by both, in one form."""

    def __init__(self, shops: Pair) -> None:
        self.shops = shops
        self.forms = (OneForm(shops.rows), OneForm(shops.rows))
        self.turn = 10
        #: Cursors that both gave at one place, by the type that is listed.
        self.cursors: dict[str, list[tuple[str, str]]] = {}

    def raw(self, query: str, variables: tuple[Any, Any]) -> list[str]:
        """What each of them answers."""
        asked = zip((self.shops.whole, self.shops.other), variables, strict=True)
        return [self.shops.runner.run(each.raw(query, given)).decode() for each, given in asked]

    def ask(self, query: str, variables: tuple[Any, Any]) -> str:
        """The answer, which is one."""
        raw = self.raw(query, variables)
        one, two = (form.text(text) for form, text in zip(self.forms, raw, strict=True))
        assert one == two, (query, variables[0])
        for pair_ in zip(*(re.findall(r'"(5b22(?:[0-9a-f]{2})+)"', text) for text in raw), strict=True):
            type_name = json.loads(bytes.fromhex(pair_[0]))[0].split()[0]
            self.cursors.setdefault(type_name, []).append(pair_)
        return one

    def go_on(self) -> None:
        """Others write in one of the shops."""
        self.turn += 1
        self.shops.runner.run(others_write(self.shops.other.database, self.turn))
        self.settle()

    def settle(self) -> None:
        """What was written has its place among the changes."""
        for asked in (self.shops.whole, self.shops.other):
            while self.shops.runner.run(number_some(asked.database)):
                pass


@pytest.fixture(scope="module", params=NAMES)
def read(request: pytest.FixtureRequest) -> Iterator[Twins]:
    """Shops that are only read, once he has written there."""
    with pair(request.getfixturevalue(f"{request.param}_engines"), BOUND, lived) as shops:
        twins = Twins(shops)
        mine = next(row for row in shops.rows["Order"] if is_seen(row, BOUND))
        for field, input_ in (
            (
                "createOrder",
                {"customer": {"id": "Customer:5"}, "note": "mine", "items": [stock.line("NW-11"), stock.line("NW-5")]},
            ),
            ("updateOrder", {"id": f"Order:{mine.id}", "note": "still mine"}),
            ("updateCustomer", {"id": "Customer:5", "name": "Bea"}),
        ):
            told = json.loads(twins.ask(document(field), ({"input": input_},) * 2))["data"][field]
            assert told["errors"] == []
        twins.settle()
        yield twins


@pytest.fixture(params=NAMES)
def written(request: pytest.FixtureRequest) -> Iterator[Twins]:
    """Shops that the test writes to."""
    with pair(request.getfixturevalue(f"{request.param}_engines"), BOUND, lived) as shops:
        yield Twins(shops)


# ---- reads


@settings(max_examples=examples(40))
@given(data=st.data())
def test_generated_reads(read: Twins, data: st.DataObject) -> None:
    request = data.draw(requests(read.shops.rows))
    read.ask(request.query, (request.variables,) * 2)


def drawn(field: GraphQLField, inputs: Inputs, twins: Twins) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of a field, in each shop; cursors are such as it gave before."""
    one: dict[str, Any] = {}
    two: dict[str, Any] = {}
    chosen = inputs.random.choice(["first", "last"])
    listed = get_named_type(field.type).name.removesuffix("Connection")
    for name, argument in field.args.items():
        if name in ("first", "last"):
            if name == chosen:
                one[name] = two[name] = inputs.random.choice([1, 3, 100])
        elif name in ("after", "before"):
            if (known := twins.cursors.get(listed)) and inputs.random.random() < 0.3:
                one[name], two[name] = inputs.random.choice(known)
        elif is_required_argument(argument) or inputs.random.random() < 0.4:
            one[name] = two[name] = inputs.value(argument.type, "", name)
    return one, two


def operation(kind: str, name: str, field: GraphQLField, given_: Any) -> str:
    """An operation of one field, its arguments variables."""
    declared = ", ".join(f"${each}: {field.args[each].type}" for each in given_)
    passed = ", ".join(f"{each}: ${each}" for each in given_)
    selected = selection(get_named_type(field.type), 2)
    return f"{kind} {f'({declared})' if declared else ''} {{ {name}{f'({passed})' if passed else ''} {{ {selected} }} }}"


def test_every_root_field(read: Twins) -> None:
    inputs = Inputs(read.shops, 11)
    answered: dict[str, int] = dict.fromkeys(QUERY.fields, 0)
    for _ in range(12 if ALL else 6):
        for name, field in QUERY.fields.items():
            one, two = drawn(field, inputs, read)
            answer = json.loads(read.ask(operation("query", name, field, one), (one, two)))
            answered[name] += "errors" not in answer and answer["data"][name] not in (None, [None])
    assert all(answered.values()), answered
    told = json.loads(read.ask("{ changes(last: 100) { nodes { type kind by fields node { id } } } }", ({}, {})))["data"]
    assert {node["type"] for node in told["changes"]["nodes"]} == {"Customer", "Item", "Order", "OrderItem"}


def test_every_subscription(read: Twins) -> None:
    inputs = Inputs(read.shops, 13)
    heard = 0
    for name, field in SUBSCRIPTION.fields.items():
        for turn in range(4):
            one, _ = drawn(field, inputs, read) if turn else ({}, {})
            query, texts = operation("subscription", name, field, one), []
            for asked, form in zip((read.shops.whole, read.shops.other), read.forms, strict=True):
                texts.append(
                    [
                        form.text(text)
                        for text in read.shops.runner.run(
                            events_after(0, Context(asked.database, viewer=asked.viewer), query, one)
                        )
                    ]
                )
            assert texts[0] == texts[1], (query, one)
            heard += len(texts[0])
    assert heard > 5


#: How a row is asked for by a key: what shows it, and a key that none has.
KEYS = {
    "customer(by: {email: $key}) { id } list: customers(where: {email: {eq: $key}}) { totalCount }": "nobody@example.org",
    "order(by: {number: $key}) { id } list: orders(where: {number: {eq: $key}}) { totalCount }": "SO-99999999",
    "orders(search: $key) { totalCount nodes { id } }": "SO-99999999",
}


def test_what_is_hidden_is_looked_for_as_what_is_missing(read: Twins, statements: Statements) -> None:
    """By the same statement, whose parameters differ, and with the same answer."""
    shop = read.shops
    hidden = {name: [row for row in found if not is_seen(row, BOUND)][-1] for name, found in shop.rows.items() if name != "Item"}
    asked = [
        ("query ($key: ID!) { node(id: $key) { id } nodes(ids: [$key]) { id } }", f"{name}:{row.id}", f"{name}:99999999")
        for name, row in hidden.items()
    ]
    asked += [
        (f"query ($key: String!) {{ {text} }}", hidden["Customer"].email if "email" in text else hidden["Order"].number, missing)
        for text, missing in KEYS.items()
    ]
    for query, there, missing in asked:
        sent = []
        for key in (missing, there):
            shop.runner.run(shop.whole.raw(query, {"key": key}))
            statements.clear()
            sent.append((shop.runner.run(shop.whole.raw(query, {"key": key})), list(statements.sql)))
        assert sent[0] == sent[1], query


# ---- writes


def test_every_mutation(written: Twins) -> None:
    inputs = Inputs(written.shops, 17)
    chance = random.Random(19)
    for make in (made, changed):
        written.go_on()
        for name, one, two in make(written):
            answer = json.loads(written.ask(document(name), ({"input": one}, {"input": two})))
            assert answer["data"][name]["errors"] == [], (name, answer)
    for _ in range(examples(4) if ALL else 1):
        for name, field in MUTATION.fields.items():
            if chance.random() < 0.1:
                written.go_on()
            input_ = inputs.value(field.args["input"].type, "", "input")
            dry = "all" in input_ or chance.random() < 0.2
            answer = json.loads(written.ask(document(name, dry=dry), ({"input": input_},) * 2))
            assert ("errors" in answer) == is_unbound(field), (name, input_, answer)
    written.settle()
    answer = json.loads(written.ask(EVERYTHING, ({}, {})))
    assert "errors" not in answer
    assert answer["data"]["changes"]["totalCount"] > 10


#: A write and its input in each shop.
Write = tuple[str, dict[str, Any], dict[str, Any]]


def made(_: Twins) -> Iterator[Write]:
    """Orders of his own."""
    me = {"customer": {"id": "Customer:5"}, "items": [stock.line("NW-11"), stock.line("NW-3", 2)]}
    for name, input_ in (
        ("createOrder", {**me, "note": "mine"}),
        ("createOrders", {"orders": [me, me, {**me, "items": []}], "onError": "CONTINUE"}),
        ("updateCustomer", {"id": "Customer:5", "name": "Bea", "orders": {"create": [{"items": [stock.line("NW-11")]}]}}),
    ):
        yield name, input_, input_


def changed(twins: Twins) -> Iterator[Write]:
    """What he does with them."""
    query = "{ orders(where: {status: {eq: PENDING}}, last: 5) { nodes { id items { id } } } }"
    mine = [json.loads(text)["data"]["orders"]["nodes"] for text in twins.raw(query, ({}, {}))]
    inputs = [
        [
            ("updateOrder", {"id": first["id"], "items": {"replace": [stock.line("NW-3"), stock.line("NW-11")]}}),
            ("moveOrderItem", {"id": second["items"][0]["id"], "toOrder": first["id"]}),
            ("transitionOrder", {"id": second["id"], "to": "CANCELLED"}),
            ("deleteOrder", {"id": third["id"]}),
        ]
        for first, second, third, *_ in mine
    ]
    for (name, one), (_, two) in zip(*inputs, strict=True):
        yield name, one, two


EVERYTHING = """{
  changes(last: 100) { totalCount nodes { cursor kind type entityId version fields count node { id } } }
  customers { totalCount nodes { id version name email archived orderCount totalSpent changes { totalCount } } }
  orders(first: 100) {
    totalCount nodes { id number version status totalAmount note items { id position quantity item { sku } } }
  }
  orderSummary { count quantity lineTotal }
  items(first: 100) {
    totalCount nodes { sku version stock orderItems { totalCount } changes { totalCount nodes { kind fields } } }
  }
}"""
