"""Operations drawn by introspection: whole selections, and inputs that name rows which are seen, hidden and missing.

What goes in: a `Pair`, whose kind of viewer sees some rows and others not. What comes out: texts of selections, values of inputs;
what is declared not to be for bound viewers is not drawn for them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_required_input_field,
)
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from graph.read.types.mirror import MIRRORS
from graph.read.types.permissions import sendable
from graph.schema import schema
from graph.scope import BOUND
from tests.generated import plain, wheres
from tests.unseen import Pair, is_seen

SDL = schema._schema
MUTATION: Any = SDL.mutation_type
ENTITIES = ("OrderItem", "Customer", "Item", "Order")
#: Whose ids stand in an input whose name does not say it.
IDS = {"CustomerOrdersInput": "Order", "OrderItemsInput": "OrderItem", "toOrder": "Order"}
#: Inputs that point to a row by its unique key; all others take the key for a row of their own.
POINTERS = ("CustomerReference", "ItemReference", "ItemKey", "CustomerBy", "ItemBy")
#: Times that differ from one shop to the other.
TIMES = ("createdAt", "updatedAt", "archivedAt", "orderDate")


def selection(type_: Any, depth: int) -> str:
    """Everything a payload or a row shows down to a depth, but for times and pages without end."""
    parts = ["__typename"]
    if type_.name == "Node":
        return "__typename id"
    if isinstance(type_, GraphQLInterfaceType):
        parts += [f"... on {each.name} {{ {selection(each, depth)} }}" for each in SDL.get_possible_types(type_)]
        return " ".join(parts)
    for name, field in type_.fields.items():
        named = get_named_type(field.type)
        if is_leaf_type(named):
            if name not in TIMES:
                alias = f"{type_.name}_{name}: " if type_.name.endswith("Error") else ""
                parts.append(alias + name)
        elif depth > 0 and isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
            first = "(first: 2)" if "first" in field.args else ""
            alias = f"{type_.name}_{name}: " if type_.name.endswith("Error") else ""
            parts.append(f"{alias}{name}{first} {{ {selection(named, depth - 1)} }}")
    return " ".join(parts)


def document(name: str, *, dry: bool = False) -> str:
    """A mutation with one field, its input a variable."""
    field = MUTATION.fields[name]
    head = f"mutation Write($input: {field.args['input'].type}) {'@dryRun' if dry else ''}"
    return f"{head} {{ {name}(input: $input) {{ {selection(get_named_type(field.type), 2)} }} }}"


#: Fields that bound viewers are not told, who cannot ask for rows by them.
UNTOLD = {name for mirror in MIRRORS.values() for name, attribute in mirror.attributes.items() if attribute in mirror.untold}


def names_in(value: Any) -> Iterator[str]:
    """The names of the fields in a value of an input type, at any depth."""
    for part in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        yield from names_in(part)
    yield from value if isinstance(value, dict) else ()


class Inputs:
    """Inputs of mutations, drawn by introspection: they name rows that are seen, hidden and missing."""

    def __init__(self, shop: Pair, seed: int) -> None:
        self.shop, self.random = shop, random.Random(seed)
        self.wheres = {name: wheres(shop.rows, name, depth=2) for name in ENTITIES}
        self.made = 0

    def row(self, type_name: str) -> Any:
        """A row, as often seen as hidden."""
        seen = self.random.random() < 0.7
        found = [row for row in self.shop.rows[type_name] if is_seen(row, self.shop.kind) is seen]
        return self.random.choice(found or self.shop.rows[type_name])

    def id(self, type_name: str) -> str:
        if self.random.random() < 0.1:
            return self.random.choice([f"{type_name}:99999", "Customer:1", "nothing"])
        return f"{type_name}:{self.row(type_name).id}"

    def text(self, owner: str, name: str) -> str:
        if name == "number":
            return str(self.row("Order").number)
        if name == "search":
            return self.random.choice(["a", "SO-1", "example", "er"])
        self.made += 1
        if name not in ("email", "sku"):
            return f"{name} {self.made}"
        new = f"new{self.made}@example.org" if name == "email" else f"NEW-{self.made}"
        row = self.row("Customer" if name == "email" else "Item")
        if owner not in POINTERS and not is_seen(row, self.shop.kind):
            return new  # the exception is a test of its own
        return str(self.random.choice([getattr(row, name), getattr(row, name), new]))

    def value(self, type_: Any, owner: str, name: str) -> Any:
        type_ = get_nullable_type(type_)
        if is_list_type(type_):
            return [self.value(type_.of_type, owner, name) for _ in range(self.random.randint(1, 2))]
        if isinstance(type_, GraphQLEnumType):
            return self.random.choice(list(type_.values))
        if isinstance(type_, GraphQLInputObjectType):
            return self.object(type_)
        match type_.name:
            case "ID":
                known = IDS.get(name) or IDS.get(owner) or next((each for each in ENTITIES if each in owner), None)
                return self.id(known or self.random.choice(ENTITIES))
            case "String":
                return self.text(owner, name)
            case "Boolean":
                return True
            case "Int":
                return 100 if name == "atMost" else 1 if "ersion" in name else self.random.choice([1, 2, 5, -1])
            case "Decimal":
                return self.random.choice(["0", "1.50", "20"])
            case "Percent":
                return self.random.choice(["5", "12.5"])
        return "2020-01-12T00:00:00Z"

    def where(self, entity: str) -> Any:
        """A filter that says something, and nothing that the viewer may not ask."""
        while True:
            made = plain(draw(self.wheres[entity], self.random)) or {"id": {"notIn": [f"{entity}:9999"]}}
            if self.shop.kind != BOUND or not UNTOLD & set(names_in(made)):
                return made

    def sendable(self, field: GraphQLInputField) -> frozenset[str] | None:
        """The values of an input field that the viewer may send; None where that is all."""
        return sendable(field) if self.shop.kind == BOUND else None

    def object(self, type_: GraphQLInputObjectType) -> Any:
        if type_.name.endswith("Where"):
            return self.where(type_.name.removesuffix("Where"))
        fields = {name: field for name, field in type_.fields.items() if self.sendable(field) != frozenset()}
        if type_.is_one_of:
            fields = dict([self.random.choice(list(fields.items()))])
        elif "where" in fields:
            fields.pop(self.random.choice(["where", "where", "all"]))
        elif "replace" in fields:
            kept = self.random.choice(["replace", "create", "update", "remove"])
            fields = {name: field for name, field in fields.items() if name == kept}
        return {
            name: self.random.choice(sorted(some)) if (some := self.sendable(field)) else self.value(field.type, type_.name, name)
            for name, field in fields.items()
            if type_.is_one_of
            or is_required_input_field(field)
            or name in ("where", "all", "replace", "update", "remove")
            or self.random.random() < (0.15 if "ersion" in name else 0.5)
        }


def draw(strategy: st.SearchStrategy[Any], source: random.Random) -> Any:
    """One value of a strategy, the same for the same source."""
    found: list[Any] = []

    @seed(source.randrange(10**9))
    @settings(max_examples=1, phases=[Phase.generate], database=None, derandomize=False, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def take(value: Any) -> None:
        found.append(value)

    take()
    return found[-1]
