"""What replaces library code for speed does what the library does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    Undefined,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
)
from graphql.pyutils import Path
from graphql.utilities import coerce_input_value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.util import greenlet_spawn
from strawberry.types.arguments import convert_argument

from graph.base import utc_now
from graph.database import Database
from graph.database.pool import pool_of
from graph.models import Customer, Item, Order, OrderItem
from graph.operations.coercers import coercer
from graph.read.payloads.execution import PayloadExecutor
from graph.read.types.amounts import NumberText
from graph.schema import schema
from graph.scope import OPEN
from graph.write import references, resolvers
from graph.write.columns import start_of, target_attributes
from graph.write.converters import converter
from graph.write.locks import Lock
from graph.write.mutation_inputs import is_filter
from graph.write.new_rows import new_row
from tests.conftest import Ask
from tests.examples import examples
from tests.inputs import least_of

SHOP = "northwind"

BUILT = schema._schema
INPUT_OBJECTS = {name: type_ for name, type_ in BUILT.type_map.items() if isinstance(type_, GraphQLInputObjectType)}
INPUTS = {
    name: type_
    for name, type_ in BUILT.type_map.items()
    if isinstance(type_, GraphQLInputObjectType | GraphQLScalarType | GraphQLEnumType) and not name.startswith("__")
}

TEXTS = st.sampled_from(["", "1", "1.50", "-1", "Customer:1", "soon", "2000-01-01T00:00:00Z", "2000-01-01T00:00:00", "PENDING"])
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.builds(NumberText, st.sampled_from(["1.5", "1e9", "-0.25"]))
    | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "name", "eq", "and"]), inner, max_size=2),
    max_leaves=4,
)
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "Int": st.integers(-5, 5),
    "BigInt": st.integers(-5, 10**12) | st.sampled_from(["7", "-7"]),
    "Boolean": st.booleans(),
    "String": TEXTS,
    "ID": st.sampled_from(["Customer:1", "Item:2", "x"]) | st.integers(0, 3),
    "Decimal": st.sampled_from(["1", "1.50", 3]),
    "Percent": st.sampled_from(["1", "12.5", 3]),
    "Date": st.sampled_from(["2000-02-29", "0001-01-01"]),
    "DateTime": st.sampled_from(["2000-01-01T00:00:00Z", "1999-12-31T23:59:59.5+02:00"]),
}


#: Columns that tell the two ways apart, or the rows.
NAMED = {"email", "sku", "number", "_sentinel"}


def by_constructor(model: Any, given: dict[str, Any]) -> Any:
    """A row as SQLAlchemy has it made."""
    return model(**given)


def values(type_: Any, depth: int = 3, *, junk: bool = False) -> st.SearchStrategy[Any]:
    """Values of a type as JSON holds them; with `junk` anything may stand anywhere, be missing or be too much."""
    found = present(get_nullable_type(type_), depth, junk=junk)
    found = found if is_non_null_type(type_) else st.none() | found
    return found | JUNK if junk else found


def present(type_: Any, depth: int, *, junk: bool) -> st.SearchStrategy[Any]:
    if is_list_type(type_):
        listed = st.lists(values(type_.of_type, depth, junk=junk), max_size=2)
        return listed | values(type_.of_type, depth, junk=junk).filter(lambda value: value is not None) if junk else listed
    if isinstance(type_, GraphQLEnumType):
        return st.sampled_from(list(type_.values))
    if isinstance(type_, GraphQLScalarType):
        return RIGHT[type_.name]
    below = depth - 1

    def part(type_: Any) -> st.SearchStrategy[Any]:
        return st.deferred(lambda: values(type_, below, junk=junk))

    parts = {name: part(field.type) for name, field in type_.fields.items()}
    if type_.is_one_of:
        choices = [st.fixed_dictionaries({name: part(GraphQLNonNull(field.type))}) for name, field in type_.fields.items()]
        chosen = st.one_of(*choices)
        return chosen | st.fixed_dictionaries({}, optional=parts) if junk else chosen
    required = {name: parts[name] for name, field in type_.fields.items() if is_required_input_field(field)}
    optional = {name: part for name, part in parts.items() if name not in required}
    if depth <= 0:
        optional = {}
    exact = st.fixed_dictionaries(required, optional=optional)
    return exact | st.fixed_dictionaries({}, optional={**parts, "noSuchField": st.integers()}) if junk else exact


def same(one: Any, other: Any) -> bool:
    """Whether two coerced values are the same, types included."""
    if one is Undefined or other is Undefined:
        return one is other
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if type(one).__name__ == "Some":
        return same(one.value, other.value)
    return bool(one == other or one != one)  # noqa: PLR0124  # NaN is not itself


@contextmanager
def by_the_library() -> Iterator[None]:
    """Strawberry converts the inputs itself, but for filters, which the reads' own code reads as they were coerced."""
    definitions = {name: type_.extensions["strawberry-definition"] for name, type_ in INPUT_OBJECTS.items()}
    hooks = {name: definition.from_input for name, definition in definitions.items()}
    for name, definition in definitions.items():
        definition.from_input = (lambda type_, value, context: value) if is_filter(name) else None
    try:
        yield
    finally:
        for name, definition in definitions.items():
            definition.from_input = hooks[name]


# ---- inputs


@pytest.mark.parametrize("name", INPUTS)
@settings(max_examples=examples(10), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_coercers_do_what_graphql_core_does(name: str, data: st.DataObject) -> None:
    named = INPUTS[name]
    wrapped = data.draw(
        st.sampled_from([named, GraphQLNonNull(named), GraphQLList(named), GraphQLNonNull(GraphQLList(GraphQLNonNull(named)))])
    )
    value = data.draw(values(wrapped, junk=True) | values(wrapped))
    assert same(coercer(wrapped)(value), coerce_input_value(value, wrapped))


@pytest.mark.parametrize("name", INPUT_OBJECTS)
def test_coercers_take_no_field_too_much_and_of_a_choice_exactly_one(name: str) -> None:
    type_ = INPUT_OBJECTS[name]
    coerce = coercer(type_)
    right = {key: least_of(field.type) for key, field in type_.fields.items() if is_required_input_field(field)}
    right = right or {key: least_of(field.type) for key, field in list(type_.fields.items())[:1]}
    assert coerce(right) is not Undefined
    assert coerce({**right, "noSuchField": None}) is Undefined
    if type_.is_one_of:
        first, *others = type_.fields
        assert coerce({}) is Undefined
        assert coerce({first: None}) is Undefined
        for other in others:
            assert coerce({**right, other: None}) is Undefined
            assert coerce({**right, other: least_of(type_.fields[other].type)}) is Undefined


@pytest.mark.parametrize("name", [name for name in INPUT_OBJECTS if not is_filter(name)])
@settings(max_examples=examples(10), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_converters_do_what_strawberry_does(name: str, data: st.DataObject) -> None:
    type_ = INPUT_OBJECTS[name]
    origin = type_.extensions["strawberry-definition"].origin
    coerced = coercer(type_)(data.draw(present(type_, 3, junk=False)))
    assert coerced is not Undefined, "the values drawn are right"
    # A filter is read from its coerced value: ours is left as it is.
    names = [name for name, field in type_.fields.items() if is_filter(get_named_type(field.type).name)]
    filters = {name: coerced.pop(name) for name in names if name in coerced}
    with by_the_library():
        registry = schema.schema_converter.scalar_registry
        wanted = convert_argument(coerced, origin, scalar_registry=registry, config=schema.config)
    assert same(converter(origin)(coerced), wanted)
    made = converter(origin)({**coerced, **filters})
    assert all(getattr(made, name).value is value for name, value in filters.items())


@pytest.mark.parametrize("name", sorted(BUILT.mutation_type.fields if BUILT.mutation_type else ()))
async def test_a_mutation_runs_the_work_that_strawberrys_resolver_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUILT.mutation_type is not None
    definition = BUILT.mutation_type.fields[name]
    input_ = coercer(definition.args["input"].type)(least_of(definition.args["input"].type))
    ran: list[list[Any]] = []

    async def perform(context: Any, field: Any, payload: Any, work: Any, entries: str) -> str:
        bound = [cell.cell_contents for cell in work.__closure__]  # the function, and what it is told
        ran.append([context, field, payload, entries, *sorted(bound, key=callable)])
        return "done"

    monkeypatch.setattr(resolvers, "perform", perform)
    context: Any = SimpleNamespace(running=SimpleNamespace(fields={"key": object()}))
    info: Any = SimpleNamespace(context=context, path=Path(None, "key", "Mutation"))
    library: Any = schema.schema_converter.from_resolver(definition.extensions["strawberry-definition"])
    assert definition.resolve is not None
    with by_the_library():
        assert [await resolve(None, info, input=input_) for resolve in (definition.resolve, library)] == ["done", "done"]
    mine, theirs = ran
    assert same(mine.pop(4), theirs.pop(4))  # the input
    assert mine == theirs
    assert len(mine) == 5


async def test_a_payload_shows_what_the_library_completes(shop: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    document = """mutation($input: UpdateCustomerInput!) {
      one: updateCustomer(input: $input) { errors { code } a: customer { id } customer { id name orders { nodes { id } } } }
      two: updateCustomer(input: $input) { customer { id } ...More }
      three: updateCustomer(input: $input) { __typename errors { code message path } }
    }
    fragment More on UpdateCustomerPayload { customer { name orders { totalCount } } b: errors { path } }"""
    asked: list[bool] = []
    shown = PayloadExecutor._shown

    def counted(*arguments: Any) -> Any:
        found = shown(*arguments)
        asked.append(found is not None)
        return found

    for wanted in ([True, True, False], [False, False, False]):
        given = {"id": "Customer:1", "name": "Ada" if wanted[0] else " "}
        asked.clear()
        monkeypatch.setattr(PayloadExecutor, "_shown", counted)
        mine = await shop.data(document, {"input": given})
        assert asked == wanted
        monkeypatch.setattr(PayloadExecutor, "_shown", lambda *_: None)
        assert await shop.data(document, {"input": given}) == mine
        assert list(mine["two"]) == ["customer", "b"]


# ---- rows


async def test_new_rows_are_written_as_those_of_their_constructor(database: Database) -> None:
    found = []
    now = utc_now()
    for make in (new_row, by_constructor):
        async with database.session() as session:

            async def work(make: Callable[..., Any] = make, session: AsyncSession = session) -> None:
                def made(model: Any, **values: Any) -> Any:
                    return make(model, {**start_of(model).values(now), **values})

                customer = made(Customer, name="Ada", email=f"{make.__name__}@example.com")
                item = made(Item, sku=make.__name__, name="Cup", price=150, stock=None)
                order = made(Order, order_date=now, note="\u00e4", total_amount=300)
                line = made(OrderItem, quantity=2, price_paid=150, position=1)
                session.add_all([customer, item])
                await session.flush()
                line.item_id, order.customer_id = item.id, customer.id
                order.items.append(line)
                session.add(order)
                await session.flush()
                session.expunge_all()
                for model in (Customer, Item, Order, OrderItem):
                    table: Any = model.__table__
                    columns = [c for c in table.columns if not (c.primary_key or c.foreign_keys or c.name in NAMED)]
                    newest = sa.select(*columns).order_by(table.c.id.desc()).limit(1)
                    found.append((await session.execute(newest)).one())

            await database.transaction(session, work)
    assert len(found) == 8
    assert found[:4] == found[4:]


async def test_rows_looked_up_are_those_a_session_reads(shop: Ask) -> None:
    database = shop.database
    async with database.session() as session:

        async def work() -> int:
            seen = 0
            for model, attributes in ((Item, ("id",)), (Item, ("sku",)), (Customer, ("email",)), (Order, ("id", "number"))):
                columns: list[Any] = [getattr(model, name) for name in target_attributes(model)]
                rows = (await session.execute(sa.select(*columns))).all()
                wanted = {name: sorted(getattr(row, name) for row in rows)[::3] for name in attributes}
                lookup = references._prepared(model, attributes, database.dialect, OPEN, Lock.POINT_TO, draws=False)
                arguments = [encode(wanted[name]) for name, encode in lookup.parameters if encode is not None]
                given = await database.rows_within(session, lookup.sql, arguments)
                asked = sa.select(*columns).where(sa.or_(*(getattr(model, name).in_(wanted[name]) for name in attributes)))
                mine, theirs = sorted(map(lookup.row_of, given)), sorted(map(tuple, (await session.execute(asked)).all()))
                assert mine == theirs
                assert [[type(value) for value in row] for row in mine] == [[type(value) for value in row] for row in theirs]
                assert all(row._fields == tuple(column.key for column in columns) for row in mine)
                seen += len(mine)
            return seen

        assert await database.transaction(session, work) > 100


# ---- connections


@pytest.mark.parametrize("engines", ["postgresql"], indirect=True)
async def test_a_connection_taken_without_a_greenlet_is_the_one_taken_with(database: Database) -> None:
    pool = pool_of(database.engine)

    async def in_greenlet(take: Callable[[], Any]) -> Any:
        return await greenlet_spawn(take)

    async def of_two(way: Callable[[Callable[[], Any]], Any]) -> tuple[list[Any], int, int]:
        one: Any
        other: Any
        one, other = await greenlet_spawn(pool.connect), await greenlet_spawn(pool.connect)
        other.close()
        one.close()
        taken = [await way(pool.connect) for _ in range(2)]
        drivers = [connection.driver_connection for connection in taken]
        assert [await driver.fetchval("SELECT 1") for driver in drivers] == [1, 1]
        counted = pool.checkedout(), pool.checkedin()
        for connection in reversed(taken):
            connection.close()
        return drivers, *counted

    assert await of_two(in_greenlet) == await of_two(pool.taken)
    before, *_ = await of_two(pool.taken)
    pool.distrust()  # what lies ready is dropped when it is taken, and another opened
    after, *_ = await of_two(pool.taken)
    assert not set(map(id, before)) & set(map(id, after))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SELECT 'a\u00e4\u20ac'",
        "SELECT NULL",
        "SELECT 1 WHERE 1 = 0",
        "SELECT count(*) FROM item",
        "SELECT name FROM item ORDER BY id",
        "SELECT id, name FROM item ORDER BY id DESC",
    ],
)
async def test_a_read_of_the_driver_is_the_first_value_that_sqlalchemy_reads(shop: Ask, sql: str) -> None:
    async with shop.database.engine.connect() as connection:
        wanted = (await connection.exec_driver_sql(sql)).scalar()
    wanted = wanted.encode() if isinstance(wanted, str) else wanted  # an answer goes to the client in UTF-8
    found = await shop.database.fetch(sql, ())
    assert (type(found), found) == (type(wanted), wanted)
