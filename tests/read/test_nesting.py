"""Nothing within the limits is too deep for either database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from sqlalchemy.dialects import sqlite

from graph.base import Base
from graph.operations.documents import read_document
from graph.operations.engine import Engine
from graph.operations.variables import coerce_variables
from graph.read.planning.nesting import MAX_FILTER
from graph.read.planning.selection import plan_query
from graph.read.refusals import BadUserInput
from graph.read.sql.statement import Statement
from graph.read.sql.writer import write
from graph.schema import schema
from graph.scope import OPEN
from graph.settings import Settings
from tests.examples import examples
from tests.walk import LISTS, ONE, PAGES, ROOTS, SORTS, VALUES

DEPTH = 15


def below(type_name: str) -> dict[str, str]:
    """The relations of a type."""
    return {**ONE.get(type_name, {}), **LISTS.get(type_name, {}), **PAGES.get(type_name, {})}


@st.composite
def wheres(draw: DrawFn, type_name: str, room: int) -> str:
    """A filter that is as deep as there is room for, with the deep part first, last or in the middle."""
    names = ["and", "or", "not", *below(type_name)] if room > 0 else []
    if not names:
        return draw(
            st.sampled_from(['{id: {in: ["Order:1"]}}', '{id: {notIn: ["Order:1"]}}', '{id: {eq: "Order:1", isNull: false}}'])
        )
    name = draw(st.sampled_from(names))
    if name == "not":
        return f"{{not: {draw(wheres(type_name, room - 1))}}}"
    if name in ("and", "or"):
        parts = [draw(wheres(type_name, room - 3)), *(draw(wheres(type_name, 0)) for _ in range(draw(st.integers(1, 2))))]
        return f"{{{name}: [{', '.join(draw(st.permutations(parts)))}]}}"
    target = below(type_name)[name]
    inner = draw(wheres(target, room - 8))
    if name in ONE.get(type_name, {}):
        return f"{{{name}: {inner}}}"
    return f"{{{name}: {{{draw(st.sampled_from(['some', 'every', 'none']))}: {inner}}}}}"


@st.composite
def deep(draw: DrawFn, type_name: str, depth: int, room: int) -> str:
    """A selection of a row: values, and one relation that goes on as deep as may be."""
    values = " ".join(draw(st.lists(st.sampled_from(sorted(VALUES[type_name])), min_size=1, max_size=3, unique=True)))
    names = [name for name in below(type_name) if depth > (2 if name in PAGES.get(type_name, {}) else 1)]
    if not names:
        return values
    name = draw(st.sampled_from(names))
    target = below(type_name)[name]
    if name not in PAGES.get(type_name, {}):
        return f"{values} {name} {{ {draw(deep(target, depth - 1, room))} }}"
    return f"{values} {draw(pages(name, target, depth, room))}"


@st.composite
def pages(draw: DrawFn, name: str, type_name: str, depth: int, room: int) -> str:
    """A connection with everything that makes its statement deeper."""
    size = f"{draw(st.sampled_from(['first', 'last']))}: {draw(st.integers(0, 2))}"
    sort = draw(st.sampled_from([None, *sorted(SORTS[type_name])]))
    order = "" if sort is None else f", orderBy: [{{field: {sort}, direction: {draw(st.sampled_from(['ASC', 'DESC']))}}}]"
    where = f", where: {draw(wheres(type_name, room))}" if draw(st.booleans()) else ""
    info = draw(st.sampled_from(["", "totalCount", "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"]))
    if depth > 3 and draw(st.booleans()):
        return f"{name}({size}{order}{where}) {{ {info} edges {{ cursor node {{ {draw(deep(type_name, depth - 3, room))} }} }} }}"
    return f"{name}({size}{order}{where}) {{ {info} nodes {{ {draw(deep(type_name, depth - 2, room))} }} }}"


@st.composite
def operations(draw: DrawFn, room: int) -> str:
    """A query of the greatest depth."""
    kind = draw(st.sampled_from(["page", "lookup", "node", "nodes", "summary"]))
    if kind == "page":
        name, type_name = draw(st.sampled_from(sorted(ROOTS.items())))
        return f"{{ {draw(pages(name, type_name, DEPTH, room))} }}"
    if kind == "summary":
        return f"{{ orderSummary(groupBy: CUSTOMER) {{ count customer {{ {draw(deep('Customer', DEPTH - 2, room))} }} }} }}"
    type_name = draw(st.sampled_from(sorted(VALUES) if kind != "lookup" else ["Customer", "Item", "Order"]))
    inner = draw(deep(type_name, DEPTH - 1, room))
    if kind == "lookup":
        return f'{{ {type_name.lower()}(by: {{id: "{type_name}:1"}}) {{ {inner} }} }}'
    argument = f'id: "{type_name}:1"' if kind == "node" else f'ids: ["{type_name}:1", "{type_name}:2"]'
    return f"{{ {kind}({argument}) {{ ... on {type_name} {{ {inner} }} }} }}"


@pytest.fixture(scope="module")
def parser() -> Iterator[sqlite3.Connection]:
    """SQLite with the tables, to see whether it can parse."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        Base.metadata.create_all(connection)
        yield connection.connection.driver_connection  # type: ignore[misc]  # it is there
    engine.dispose()


def compiled(query: str) -> Statement:
    """A query as SQLite gets it. Raises `BadUserInput`."""
    limits = Settings(max_cost=10**12)
    engine = Engine(schema._schema, limits, sqlite.dialect(paramstyle="qmark"), None)  # type: ignore[arg-type]  # nothing runs
    document = read_document(engine.schema, engine.settings, query, None)
    return write(plan_query(engine.operation(document, coerce_variables(limits, document, {}), OPEN)), engine.dialect, OPEN)


# To shrink an operation of this size takes minutes and shows little.
@settings(max_examples=examples(25), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(query=operations(room=MAX_FILTER))
def test_sqlite_can_parse_whatever_is_within_the_limits(parser: sqlite3.Connection, query: str) -> None:
    try:
        statement = compiled(query)
    except BadUserInput:
        return
    parser.execute(f"EXPLAIN {statement.sql}", [None] * len(statement.binds))


def test_what_stands_beside_the_statement_costs_no_more(parser: sqlite3.Connection) -> None:
    query = "{ orders { nodes { " + "customer { orders(first: 2) { nodes { " * 4 + "id" + " } } }" * 4 + " } } }"
    statement = compiled(query)
    assert statement.sql.startswith("WITH")
    steps = [row[3] for row in parser.execute(f"EXPLAIN QUERY PLAN {statement.sql}", [None] * len(statement.binds))]
    assert not [step for step in steps if step.startswith("MATERIALIZE") or "AUTOMATIC" in step]
