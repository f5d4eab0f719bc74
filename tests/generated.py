"""Generated reads: selections, filters, orders and variables, as hypothesis strategies over the rows of a database.

What goes in: all rows by type, so that filters meet values that are there. What comes out: a `Request`, which is the text of an
operation with its variables, and the fields it must answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.walk import LISTS, ONE, PAGES, ROOTS, SORTS, VALUES, Field, Row, shown

Rows = Mapping[str, list[Row]]

EQUALITY = ("eq", "ne", "in", "notIn", "isNull")
RANGE = ("lt", "lte", "gt", "gte")
TEXT = ("contains", "startsWith", "endsWith")
OPERATORS = {
    "ID": EQUALITY,
    "OrderStatus": EQUALITY,
    "Boolean": ("eq",),
    "String": EQUALITY + RANGE + TEXT,
    "Int": EQUALITY + RANGE,
    "Decimal": EQUALITY + RANGE,
    "DateTime": EQUALITY + RANGE,
}
#: Values that no row has, or at the edge of what a type holds.
ODD: dict[str, list[Any]] = {
    "ID": ["Customer:1", "nothing", "Order:0", "Order:9223372036854775807", "Order:99999999999999999999", ""],
    "OrderStatus": ["PENDING", "PAID", "SHIPPED", "CANCELLED"],
    "Boolean": [True, False],
    "String": ["", "%", "_", "\\", "é", "zz", "😀", "'", '"', "a%", "A", "\u007f"],
    "Int": [0, -1, 1, 2**31 - 1, -(2**31)],
    "Decimal": ["0", "0.00", "-1.5", "9999999999.99", "14", "1e2"],
    "DateTime": ["1996-07-04T00:00:00Z", "2020-01-01T02:00:00.5+00:00", "0001-01-02T00:00:00Z", "9999-12-30T23:59:59-01:00"],
}


@dataclass(frozen=True)
class Given:
    """A value of an input type; as a variable where `bound`."""

    value: Any
    type: str
    bound: bool = False


def plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, Given):
        return plain(value.value)
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


@dataclass
class Request:
    """An operation: its text, its variables, and what it selects."""

    fields: list[Field]
    query: str = ""
    variables: dict[str, Any] = field(default_factory=dict)
    declared: list[str] = field(default_factory=list)

    def bind(self, value: Any, type_: str) -> str:
        name = f"v{len(self.declared) + 1}"
        self.declared.append(f"${name}: {type_}")
        self.variables[name] = plain(value)
        return f"${name}"

    def literal(self, value: Any) -> str:
        """The text of a value in the document."""
        if isinstance(value, Given):
            if value.bound:
                return self.bind(value.value, value.type)
            bare = value.type in ("OrderStatus", "Direction") or value.type.endswith("SortField!")
            return str(value.value) if bare and value.value is not None else self.literal(value.value)
        if isinstance(value, dict):
            return "{" + ", ".join(f"{name}: {self.literal(each)}" for name, each in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.literal, value)) + "]"
        return json.dumps(value, ensure_ascii=False).replace("\u007f", "\\u007f")


# ---- filters and orders


def values_of(rows: Rows, type_name: str, name: str) -> SearchStrategy[Any]:
    """Values that a filter on a field may be given: those of the rows, and odd ones."""
    scalar = VALUES[type_name][name]
    there = sorted({each for row in rows[type_name] if (each := shown(row, name)) is not None})
    if scalar == "Boolean" or not there:
        return st.sampled_from(ODD[scalar])
    return st.one_of(st.sampled_from(there), st.sampled_from(ODD[scalar]))


@st.composite
def operators(draw: DrawFn, rows: Rows, type_name: str, name: str) -> dict[str, Any]:
    """A filter on one field: one or two operators."""
    scalar = VALUES[type_name][name]
    given: dict[str, Any] = {}
    for op in draw(st.lists(st.sampled_from(OPERATORS[scalar]), min_size=1, max_size=2, unique=True)):
        bound = draw(st.booleans())
        if op == "isNull":
            given[op] = Given(draw(st.booleans()), "Boolean", bound)
        elif op in ("in", "notIn"):
            many = draw(st.lists(values_of(rows, type_name, name), max_size=4))
            given[op] = Given(many if bound else [Given(each, scalar) for each in many], f"[{scalar}!]", bound)
        elif op in TEXT:
            text = draw(values_of(rows, type_name, name))
            start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
            part = text[start:end]
            given[op] = Given(draw(st.sampled_from([part, part.upper(), part.lower()])), scalar, bound)
        elif op in ("eq", "ne") and scalar != "Boolean" and draw(st.integers(0, 9)) == 0:
            given[op] = Given(None, scalar, bound)
        else:
            given[op] = Given(draw(values_of(rows, type_name, name)), scalar, bound)
    return given


@st.composite
def wheres(draw: DrawFn, rows: Rows, type_name: str, depth: int = 3) -> dict[str, Any]:
    """A `where`: fields, combinations, relations."""
    related = {**LISTS.get(type_name, {}), **PAGES.get(type_name, {})}
    choices = [*VALUES[type_name], *(["and", "or", "not", *ONE.get(type_name, {}), *related] if depth else [])]
    where: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(choices), max_size=2, unique=True)):
        if name in VALUES[type_name]:
            where[name] = draw(operators(rows, type_name, name))
        elif name == "not":
            where[name] = draw(wheres(rows, type_name, depth - 1))
        elif name in ("and", "or"):
            where[name] = draw(st.lists(wheres(rows, type_name, depth - 1), max_size=3))
        elif name in related:
            quantifiers = st.lists(st.sampled_from(["some", "every", "none"]), max_size=2, unique=True)
            where[name] = {q: draw(wheres(rows, related[name], depth - 1)) for q in draw(quantifiers)}
        else:
            where[name] = draw(wheres(rows, ONE[type_name][name], depth - 1))
    return where


@st.composite
def orders(draw: DrawFn, type_name: str) -> list[dict[str, Any]]:
    """An `orderBy`; a field may come twice."""
    order: list[dict[str, Any]] = []
    for name in draw(st.lists(st.sampled_from(sorted(SORTS[type_name])), max_size=3)):
        key: dict[str, Any] = {"field": Given(name, f"{type_name}SortField!", draw(st.booleans()))}
        if draw(st.booleans()):
            key["direction"] = Given(draw(st.sampled_from(["ASC", "DESC"])), "Direction", draw(st.booleans()))
        order.append(key)
    return order


def declared(value: Any, type_: str, draw: DrawFn) -> Given:
    """A whole argument, as a literal or as one variable."""
    return Given(value, type_, draw(st.booleans()))


# ---- selections


@st.composite
def arguments(draw: DrawFn, rows: Rows, type_name: str, *, searchable: bool, sizes: SearchStrategy[int]) -> dict[str, Any]:
    """The arguments of a connection."""
    given: dict[str, Any] = {draw(st.sampled_from(["first", "last"])): declared(draw(sizes), "Int", draw)}
    if draw(st.booleans()):
        given["where"] = declared(draw(wheres(rows, type_name)), f"{type_name}Where", draw)
    if draw(st.booleans()):
        given["orderBy"] = declared(draw(orders(type_name)), f"[{type_name}Sort!]", draw)
    if searchable and draw(st.integers(0, 4)) == 0:
        given["search"] = declared(draw(st.sampled_from(["a", "O", "%", "é", "SO-1", "example", "zz"])), "String", draw)
    return given


class Selections:
    """Draws selections and writes them into a request."""

    def __init__(self, draw: DrawFn, rows: Rows) -> None:
        self.draw, self.rows, self.request = draw, rows, Request([])
        self.aliases = 0

    def key(self, name: str) -> tuple[str, str]:
        """The response key of a field and its text; an alias wherever the same key could mean two things."""
        self.aliases += 1
        alias = f"{name}{self.aliases}"
        return alias, f"{alias}: {name}"

    def wrapped(self, type_name: str, fields: list[Field], text: str) -> tuple[list[Field], str]:
        """A part of a selection as it stands, in a fragment, or under a directive."""
        match self.draw(st.integers(0, 7)):
            case 0:
                return fields, f"... on {type_name} {{ {text} }}"
            case 1:
                keep = self.draw(st.booleans())
                return fields if keep else [], f"... @include(if: {self.request.bind(keep, 'Boolean!')}) {{ {text} }}"
            case 2:
                keep = self.draw(st.booleans())
                return fields if keep else [], f"... @skip(if: {self.request.bind(not keep, 'Boolean!')}) {{ {text} }}"
            case 3:
                return fields, f"... {{ {text} }}"
        return fields, text

    def of(self, type_name: str, depth: int) -> tuple[list[Field], str]:
        """What is selected of a row."""
        names = [*VALUES[type_name], "__typename", *(["allowedTransitions"] if type_name == "Order" else [])]
        fields: list[Field] = [Field("id", "id", {})]
        texts = ["id"]
        for name in self.draw(st.lists(st.sampled_from(names), max_size=4, unique=True)):
            key, text = self.key(name) if self.draw(st.booleans()) else (name, name)
            if key == "id":
                continue
            got, text = self.wrapped(type_name, [Field(key, name, {})], text)
            fields += got
            texts.append(text)
        below = [*ONE.get(type_name, {}), *LISTS.get(type_name, {}), *PAGES.get(type_name, {})] if depth else []
        for name in self.draw(st.lists(st.sampled_from(below), max_size=2, unique=True)) if below else []:
            if name in PAGES.get(type_name, {}):
                made, text = self.page(name, PAGES[type_name][name], depth - 1, st.integers(0, 3))
            else:
                target = {**ONE.get(type_name, {}), **LISTS.get(type_name, {})}[name]
                inner, inner_text = self.of(target, depth - 1)
                key, head = self.key(name)
                made, text = Field(key, name, {}, tuple(inner)), f"{head} {{ {inner_text} }}"
            got, text = self.wrapped(type_name, [made], text)
            fields += got
            texts.append(text)
        return fields, " ".join(texts)

    def page(self, name: str, type_name: str, depth: int, sizes: SearchStrategy[int], *, root: bool = False) -> tuple[Field, str]:
        """A connection with some of its fields."""
        given = self.draw(arguments(self.rows, type_name, searchable=root, sizes=sizes))
        key, head = self.key(name)
        fields, texts = [], []
        parts = ["nodes", "edges", "pageInfo", "totalCount", "__typename"]
        for part in self.draw(st.lists(st.sampled_from(parts), min_size=1, max_size=3, unique=True)):
            below: list[Field] = []
            text = part
            if part == "nodes":
                below, inner = self.of(type_name, depth)
                text = f"nodes {{ {inner} }}"
            elif part == "edges":
                inner_fields, inner = self.of(type_name, depth)
                below = [Field("cursor", "cursor", {}), Field("node", "node", {}, tuple(inner_fields))]
                text = f"edges {{ cursor node {{ {inner} }} }}"
            elif part == "pageInfo":
                names = ["hasNextPage", "hasPreviousPage", "startCursor", "endCursor", "__typename"]
                chosen = self.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
                below, text = [Field(each, each, {}) for each in chosen], f"pageInfo {{ {' '.join(chosen)} }}"
            fields.append(Field(part, part, {}, tuple(below)))
            texts.append(text)
        shown_ = ", ".join(f"{argument}: {self.request.literal(value)}" for argument, value in given.items())
        return Field(key, name, plain(given), tuple(fields)), f"{head}({shown_}) {{ {' '.join(texts)} }}"

    def root(self, depth: int) -> tuple[Field, str]:
        """One root field."""
        name = self.draw(st.sampled_from([*ROOTS, *ROOTS, "order", "customer", "item", "node", "nodes", "__typename"]))
        key, head = self.key(name)
        if name in ROOTS:
            return self.page(name, ROOTS[name], depth, st.integers(0, 4), root=True)
        if name == "__typename":
            return Field(key, name, {}), head
        ids = st.one_of(st.sampled_from([f"{type_}:{row.id}" for type_, each in self.rows.items() for row in each[:30]]), odd_ids)
        if name in ("node", "nodes"):
            fields, texts = [Field("id", "id", {})], ["id"]
            for type_name in self.draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=2, unique=True)):
                got, text = self.of(type_name, depth)
                fields += [Field(f.key, f.name, f.arguments, f.below, type_name) for f in got if f.key != "id"]
                texts.append(f"... on {type_name} {{ {text} }}")
            given = self.draw(ids) if name == "node" else self.draw(st.lists(ids, max_size=5))
            argument = "id" if name == "node" else "ids"
            value = self.request.literal(declared(given, "ID!" if name == "node" else "[ID!]!", self.draw))
            return Field(key, name, {argument: given}, tuple(fields)), f"{head}({argument}: {value}) {{ {' '.join(texts)} }}"
        given = self.draw(ids)
        inner, text = self.of(name.capitalize(), depth)
        by = f"{{id: {self.request.literal(declared(given, 'ID!', self.draw))}}}"
        if not given.startswith(f"{name.capitalize()}:"):
            given = "nothing"
        return Field(key, name, {"by": {"id": given}}, tuple(inner)), f"{head}(by: {by}) {{ {text} }}"


odd_ids = st.sampled_from(["", "Order", "Order:", "Order:0", "Order:01", "Order:-1", "Order:9223372036854775808", "😀:1"])


@st.composite
def requests(draw: DrawFn, rows: Rows, depth: int = 4) -> Request:
    """A query operation with one to three root fields."""
    selections = Selections(draw, rows)
    texts = []
    for _ in range(draw(st.integers(1, 3))):
        field_, text = selections.root(depth)
        selections.request.fields.append(field_)
        texts.append(text)
    request = selections.request
    variables = f"({', '.join(request.declared)})" if request.declared else ""
    request.query = f"query Generated{variables} {{ {' '.join(texts)} }}"
    return request
