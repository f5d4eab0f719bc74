"""One order of locks: what every mutation of the schema locks on PostgreSQL, read from its statements, and races.

The locks of each mutation stand in `tests/write/locks.toml`; `pytest tests/write/test_locks.py --update-golden` writes it.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from graph.base import Base
from graph.database import Database
from graph.models import Customer, Order
from graph.schema import schema
from graph.write import locks
from graph.write.locks import Lock
from tests import stock
from tests.audit import rows_of
from tests.conftest import Ask, Statements
from tests.engines import Postgres
from tests.words import done

LISTED = Path(__file__).with_name("locks.toml")
MUTATION: Any = schema._schema.mutation_type
MODELS = {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers}
STRENGTHS = [lock.value for lock in (Lock.POINT_TO, Lock.CHANGE, Lock.DELETE)]


# ---- what statements lock


LOCKING = re.compile(r"\bFOR (KEY SHARE|NO KEY UPDATE|UPDATE|SHARE)\b( OF (\w+))?( SKIP LOCKED)?")
WRITING = re.compile(r"^\s*(INSERT INTO|UPDATE|DELETE FROM) (\w+)")


class Taken:
    """The locks of one transaction, statement by statement. A statement that locks out of turn fails the test.

    Rows of parts (order lines) are held by their root's lock: who writes them has locked it.
    """

    def __init__(self, *, one_line: bool = False) -> None:
        self.one_line = one_line
        self.locks: list[tuple[str, str]] = []
        self.new: set[str] = set()

    def read(self, sql: str) -> None:
        writing = WRITING.match(sql)
        if writing is not None:
            getattr(self, f"_{writing[1].split()[0].lower()}")(sql, writing[2])
            return
        for found in LOCKING.finditer(sql):
            strength, alias, skips = found[1], found[3], found[4]
            assert sql[: found.start()].rstrip().endswith(f"ORDER BY {alias}.id"), f"locks in no order: {sql}"
            named = re.search(rf"(\w+) AS {alias}\b", sql)
            self._take(alias if named is None else named[1], strength, skips is not None)

    def _take(self, table: str, strength: str, skips: bool = False) -> None:
        held = self.held(table)
        assert skips or held is not None or not self.locks or _rank(table) >= _rank(self.locks[-1][0]), (
            f"{table} is late: {self.locks}"
        )
        self.locks.append((table, strength + " SKIP LOCKED" * skips))

    def held(self, table: str) -> int | None:
        """How strong the strongest lock of a table's rows is."""
        found = [STRENGTHS.index(strength.removesuffix(" SKIP LOCKED")) for name, strength in self.locks if name == table]
        return max(found) if found else None

    def _insert(self, sql: str, table: str) -> None:
        for key in MODELS[table].__table__.foreign_keys if table in MODELS else ():
            parent = key.column.table.name
            if self.one_line and parent not in self.new and self.held(parent) is None:
                self._take(parent, Lock.POINT_TO.value)
            assert parent in self.new or self.held(parent) is not None, f"{table} points to rows of {parent}, not locked yet"
        if "DO UPDATE" in sql:
            one_row = "SELECT" not in sql
            assert one_row or self.held(table) is not None, "locks in the order of another key"
            self._take(table, Lock.CHANGE.value)
        elif "DO NOTHING" not in sql:
            self.new.add(table)

    def _update(self, sql: str, table: str) -> None:
        if table not in MODELS:
            return
        model = MODELS[table]
        sets, _, where = sql.partition(" SET ")[2].partition(" WHERE ")
        columns = {
            column.name
            for each in model.__table__.constraints
            if isinstance(each, sa.UniqueConstraint)
            for column in each.columns
        }
        wanted = Lock.DELETE if any(re.search(rf"\b{name}=", sets) for name in columns) else Lock.CHANGE
        if model.__root__ is not None:
            assert self.held(_root(model).__tablename__) is not None, f"{table} without its root"
        elif table in self.new and self.held(table) is None:
            return
        elif self.held(table) is None:
            assert re.match(r"\w+\.(id|sku|email) = \$", where), f"several rows in no order: {sql}"
            self._take(table, wanted.value)
        else:
            assert (self.held(table) or 0) >= STRENGTHS.index(wanted.value), f"{table} is locked too weakly: {sql}"

    def _delete(self, sql: str, table: str) -> None:
        if table not in MODELS:
            return
        for each in _cascade(MODELS[table]):
            assert self.held(each.__tablename__) == STRENGTHS.index(Lock.DELETE.value), (
                f"{each.__tablename__} goes, and is not held"
            )


def _rank(table: str) -> Any:
    return locks.rank(MODELS[table])


def _root(model: type[Base]) -> type[Base]:
    return model if model.__root__ is None else _root(model.__mapper__.relationships[model.__root__].mapper.class_)


def _cascade(model: type[Base]) -> Iterator[type[Base]]:
    """The roots that go with a row of a class; parts are held by theirs."""
    if model.__root__ is None:
        yield model
    for other in MODELS.values():
        if other.__root__ is None and any(
            key.column.table is model.__table__ and key.ondelete == "CASCADE" for key in other.__table__.foreign_keys
        ):
            yield from _cascade(other)


def read(statements: Sequence[str], *, one_line: bool = False) -> list[str]:
    """The locks that statements take, in their order; those taken again are left out.

    `one_line` says that they insert a single row, so that its foreign keys may lock in their turn.
    """
    taken = Taken(one_line=one_line)
    for sql in statements:
        taken.read(re.sub(r"\s+", " ", sql))
    found = list(dict.fromkeys(taken.locks))
    return [f"{table} {strength}" for table, strength in found]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["SELECT item.id FROM item FOR UPDATE OF item"], "in no order"),
        (
            [
                "SELECT item.id FROM item ORDER BY item.id FOR KEY SHARE OF item",
                "SELECT o.id FROM orders AS o ORDER BY o.id FOR UPDATE OF o",
            ],
            "late",
        ),
        (["INSERT INTO orders (customer_id) VALUES ($1)"], "not locked yet"),
        (["INSERT INTO item (sku) SELECT unnest($1) ON CONFLICT (sku) DO UPDATE SET name = excluded.name"], "another key"),
        (["UPDATE item SET stock=$1 WHERE item.id = ANY ($2)"], "in no order"),
        (
            ["SELECT i.id FROM item AS i ORDER BY i.id FOR NO KEY UPDATE OF i", "UPDATE item SET sku=$1 WHERE item.id = $2"],
            "too weakly",
        ),
        (["UPDATE order_item SET quantity=$1 WHERE order_item.id = $2"], "without its root"),
        (
            ["SELECT c.id FROM customer AS c ORDER BY c.id FOR UPDATE OF c", "DELETE FROM customer WHERE customer.id = $1"],
            "not held",
        ),
    ],
)
def test_the_reading_sees_what_is_out_of_turn(wrong: list[str], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        read(wrong)


# ---- every mutation


def line(sku: str, quantity: int = 1) -> dict[str, Any]:
    return {"item": {"sku": sku}, "quantity": quantity}


LINES = [line("C"), line("B"), line("A")]
ADA, BEA = {"email": "ada@x.io"}, {"email": "bea@x.io"}
EVE = {"name": "Eve", "email": "eve@x.io"}
NEW, OLD = {"sku": "N", "name": "N", "price": "1.00"}, {"sku": "B", "name": "B", "price": "1.00"}
SOME = {"all": True}
LATER = {"before": "2999-01-01T00:00:00Z"}

INPUTS: dict[str, list[dict[str, Any]]] = {
    "createCustomer": [EVE, {**EVE, "orders": [{"items": LINES}]}],
    "createCustomers": [
        {"customers": [{**EVE, "orders": [{"items": LINES}]}], "onError": how} for how in ("ROLLBACK", "CONTINUE")
    ],
    "insertCustomers": [
        {"rows": [{**EVE}, {**EVE, **ADA}][: 1 + (how != "ERROR")], "onConflict": how} for how in ("ERROR", "SKIP", "UPDATE")
    ],
    "updateCustomer": [
        {"id": "Customer:1", "name": "Ann", "orders": {"create": [{"items": LINES}]}},
        {"id": "Customer:1", "email": "ann@x.io", "orders": {"update": [{"id": "Order:2", "items": {"create": LINES}}]}},
        {"id": "Customer:1", "orders": {"remove": ["Order:1"], "create": [{"items": LINES}]}},
        {"id": "Customer:1", "orders": {"replace": [{"id": "Order:2"}, {"items": {"create": LINES}}]}},
    ],
    "upsertCustomer": [EVE, {**EVE, **ADA}],
    "archiveCustomer": [{"id": "Customer:1"}],
    "restoreCustomer": [{"id": "Customer:3"}],
    "archiveCustomers": [SOME],
    "deleteCustomer": [{"id": "Customer:1"}],
    "createOrder": [
        {"customer": ADA, "items": LINES},
        {"customer": {"create": EVE}, "items": [*LINES, {"item": {"create": NEW}, "quantity": 1}]},
    ],
    "createOrders": [
        {"orders": [{"customer": BEA, "items": LINES}, {"customer": ADA, "items": LINES}], "onError": how}
        for how in ("ROLLBACK", "CONTINUE")
    ],
    "updateOrder": [
        {"id": "Order:1", "note": "n"},
        {
            "id": "Order:1",
            "items": {"create": LINES, "update": [{"id": "OrderItem:1", **line("C", 2)}], "remove": ["OrderItem:2"]},
        },
        {"id": "Order:1", "items": {"replace": [*LINES, {"id": "OrderItem:1"}]}},
    ],
    "deleteOrder": [{"id": "Order:1"}],
    "transitionOrder": [{"id": "Order:1", "to": "PAID"}, {"id": "Order:1", "to": "CANCELLED"}],
    "moveOrderItem": [{"id": "OrderItem:1", "toOrder": "Order:2"}, {"id": "OrderItem:1", "toOrder": "Order:2", "quantity": 1}],
    "updateOrders": [{**SOME, "set": {"note": "n", "discount": "0.50"}}],
    "deleteOrders": [{"all": True}],
    "discountOrders": [{**SOME, "percent": "10"}],
    "createItem": [NEW],
    "createItems": [{"items": [NEW], "onError": how} for how in ("ROLLBACK", "CONTINUE")],
    "insertItems": [{"rows": [NEW, OLD][: 1 + (how != "ERROR")], "onConflict": how} for how in ("ERROR", "SKIP", "UPDATE")],
    "updateItem": [{"id": "Item:1", "name": "N"}, {"id": "Item:1", "sku": "N"}],
    "upsertItem": [OLD, {**OLD, "stockDelta": -1}],
    "upsertItems": [{"items": [NEW, OLD]}, {"items": [NEW, {**OLD, "stockDelta": -1}, {**OLD, "sku": "A"}]}],
    "adjustStock": [{"item": {"sku": "A"}, "delta": 1}],
    "archiveItem": [{"id": "Item:1"}],
    "restoreItem": [{"id": "Item:4"}],
    "archiveItems": [SOME],
    "deleteItem": [{"id": "Item:4"}],
    "purgeArchived": [LATER],
}


ORDERS = [line("A", 4), line("B", 2)], [line("A", 5)]
#: Items A and B, which are counted, C, which is not, and D, archived and not sold; Ada and Bea with orders, Cleo archived.
SHOP = [
    *(stock.item(sku, 1, number) for sku, number in (("A", 1000), ("B", 1000), ("C", None), ("D", 5))),
    *(stock.customer(name, *ORDERS, email=f"{name}@x.io") for name in ("Ada", "Bea", "Cleo")),
    ("archiveCustomer", {"id": "Customer:3"}),
    ("archiveItem", {"id": "Item:4"}),
]


@pytest.fixture
def engines(postgres_engines: Postgres) -> Postgres:
    """SQLite has one writer at a time."""
    return postgres_engines


async def test_every_mutation_locks_in_one_order(shop: Ask, statements: Statements, request: pytest.FixtureRequest) -> None:
    assert INPUTS.keys() == MUTATION.fields.keys()
    found: dict[str, list[str]] = {}
    for field, inputs in INPUTS.items():
        for number, input_ in enumerate(inputs):
            type_ = MUTATION.fields[field].args["input"].type
            query = f"mutation ($input: {type_}) @dryRun {{ a: {field}(input: $input) {{ errors {{ code path }} }} }}"
            statements.clear()
            assert (await shop.data(query, {"input": input_}))["a"]["errors"] == [], (field, input_)
            found[f"{field} {number + 1}"] = read(statements.sql, one_line=field == "moveOrderItem")
    text = "\n".join(f"{field.replace(' ', '_')} = {listed}" for field, listed in found.items()) + "\n"
    if request.config.getoption("--update-golden"):
        LISTED.write_text(text)
        return
    assert tomllib.loads(LISTED.read_text()) == tomllib.loads(text)
    wrong = [(a, b) for listed in found.values() for a, b in pairwise(listed) if "SKIP" not in b and _late(a, b)]
    assert wrong == []


def _late(one: str, other: str) -> bool:
    return bool(_rank(other.split(maxsplit=1)[0]) < _rank(one.split(maxsplit=1)[0]))


def test_the_order_is_that_of_the_guide() -> None:
    assert locks.ORDER[:2] == [Customer, Order]


# ---- new rows

NEW_ONES = [{"sku": sku, "name": sku, "price": "1"} for sku in ("N2", "N3", "N1")]
MAKING: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "createOrder",
        {"customer": ADA, "items": [{"item": {"create": new}, "quantity": 1} for new in NEW_ONES]},
        ["N2", "N3", "N1"],
    ),
    ("createItems", {"items": NEW_ONES}, ["N2", "N3", "N1"]),
    ("createItems", {"items": NEW_ONES, "onError": "CONTINUE"}, ["N2", "N3", "N1"]),
    ("insertItems", {"rows": NEW_ONES, "onConflict": "ERROR"}, ["N2", "N3", "N1"]),
    *(("insertItems", {"rows": NEW_ONES, "onConflict": how}, ["N1", "N2", "N3"]) for how in ("SKIP", "UPDATE")),
]


@pytest.mark.parametrize(("field", "input_", "ids"), MAKING)
async def test_new_rows_are_inserted_in_the_order_of_their_keys(
    shop: Ask, field: str, input_: dict[str, Any], ids: list[str]
) -> None:
    """Who inserts a unique key waits for whoever has inserted it: in one order nobody waits in a ring. `ids`: that of ids."""
    url = shop.app.state.database.settings.database_url
    await rows_of(url, "VACUUM FULL item")  # new rows go into the room of others that are gone, which may be before it
    await done(shop, field, input_)
    found = await rows_of(url, *(f"SELECT sku FROM item WHERE sku LIKE 'N_' ORDER BY {by}" for by in ("id", "ctid")))
    by_id, by_place = ([sku for (sku,) in rows] for rows in found)
    assert by_id == ids
    assert by_place == ["N1", "N2", "N3"]


# ---- those that met


async def deadlocks(database: Database) -> int:
    """How many the server has counted in this database so far, for other tests too."""
    (rows,) = await rows_of(
        database.settings.database_url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(rows[0][0])


async def race(ask: Ask, *clients: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, list[str]]]:
    """What each mutation of several clients is refused for, each client sending one after the other."""

    async def run(calls: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, list[str]]]:
        told = []
        for field, input_ in calls:
            type_ = MUTATION.fields[field].args["input"].type
            query = f"mutation ($input: {type_}) {{ a: {field}(input: $input) {{ errors {{ code }} }} }}"
            answer = await ask.data(query, {"input": input_})
            told.append((field, [error["code"] for error in answer["a"]["errors"]]))
        return told

    return [each for told in await asyncio.gather(*map(run, clients)) for each in told]


@pytest.mark.parametrize("number", [15])
async def test_orders_and_changes_of_one_customer_and_item_do_not_meet_in_a_ring(shop: Ask, number: int) -> None:
    database = shop.app.state.database
    before = await deadlocks(database)
    orders = [("createOrder", {"customer": ADA, "items": [line("B"), line("A")]})] * number
    changes: list[Any] = [("updateCustomer", {"id": "Customer:1", "name": f"Ada {n}"}) for n in range(number)]
    renames: list[Any] = [
        ("updateCustomer", {"id": "Customer:1", "email": f"ada{n}@x.io", "orders": {"create": [{"items": LINES}]}})
        for n in range(number)
    ]
    items: list[Any] = [("upsertItems", {"items": [{**OLD, "sku": sku} for sku in ("B", "A")]})] * number
    told = await race(
        shop, orders, orders, [*orders[:3], ("deleteCustomer", {"id": "Customer:2"})], changes, changes, items, renames
    )
    # The address by which the orders name her changes meanwhile.
    assert {code for _, codes in told for code in codes} <= {"REFERENCE_NOT_FOUND"}
    assert await deadlocks(database) == before


@pytest.mark.parametrize(
    "fields",
    [
        ['updateOrder(input: {id: "Order:1", note: "$"})', 'updateOrder(input: {id: "Order:3", note: "$"})'],
        ['adjustStock(input: {item: {sku: "A"}, delta: -1})', 'adjustStock(input: {item: {sku: "B"}, delta: -1})'],
        ['updateCustomer(input: {id: "Customer:2", name: "$"})', 'upsertCustomer(input: {email: "ADA@x.io", name: "$"})'],
        [
            'createOrder(input: {customer: {id: "Customer:1"}, items: [{item: {sku: "B"}, quantity: 1}]})',
            'updateOrder(input: {id: "Order:1", items: {create: [{item: {id: "Item:1"}, quantity: 1}]}})',
            'updateCustomer(input: {id: "Customer:1", name: "$"})',
        ],
        [
            'updateOrder(input: {id: "Order:2", note: "$"})',
            'updateOrder(input: {id: "Order:1", note: "$"})',
            'moveOrderItem(input: {id: "OrderItem:1", toOrder: "Order:2", quantity: 1}) @skip(if: $)',
        ],
    ],
    ids=["orders", "items", "customers", "all", "parts"],
)
async def test_fields_of_one_transaction_lock_what_they_name_in_order(shop: Ask, fields: list[str]) -> None:
    """In whatever order they stand, and however many send them at once."""
    before = await deadlocks(shop.app.state.database)
    told: list[Any] = []

    async def client(number: int) -> None:
        order = fields if number % 2 else fields[::-1]
        for round_ in range(6):
            text = " ".join(f"f{n}: {field} {{ errors {{ code }} }}" for n, field in enumerate(order))
            said = "false" if round_ + number == 3 else "true"
            text = text.replace("if: $", f"if: {said}").replace("$", f"{number} {round_}")
            told.append(await shop.data(f"mutation @atomic {{ {text} }}"))

    await asyncio.gather(*map(client, range(4)))
    assert [errors for answer in told for payload in answer.values() for errors in payload.values() if errors] == []
    assert await deadlocks(shop.app.state.database) == before


async def test_rows_are_locked_ahead_where_several_fields_name_them(shop: Ask, statements: Statements) -> None:
    """One statement a type, for what inputs name, not what filters or texts say; none for a field alone."""
    first = 'a: updateOrder(input: {id: "Order:2", note: "Order:1"}) { errors { code } }'
    second = 'b: updateOrders(input: {where: {id: {eq: "Order:1"}}, set: {note: "Item:1"}}) { count errors { code } }'
    counts = []
    for how, text in (("@atomic @dryRun", first), ("@dryRun", f"{first} {second}"), ("@atomic @dryRun", f"{first} {second}")):
        statements.clear()
        answer = await shop.data(f"mutation {how} {{ {text} }}")
        assert all(payload["errors"] == [] for payload in answer.values())
        counts.append(len(statements))
    assert counts[2] - counts[1] == 1
    ahead = statements.sql[0]
    assert ahead.endswith("FOR NO KEY UPDATE OF orders")
    statements.clear()
    await shop.data(f"mutation @dryRun {{ {first} }}")
    assert len(statements) == counts[0]


@asynccontextmanager
async def held(url: str, sql: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction of somebody else that has run a statement."""
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(sql)
    try:
        yield connection
    finally:
        await connection.close()  # which undoes it


async def waits(url: str) -> None:
    """Return when somebody waits for a lock."""
    connection = await asyncpg.connect(url)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(30):
        while not await connection.fetchval(waiting):  # noqa: ASYNC110  # nobody tells when a server has done something
            await asyncio.sleep(0.01)
    await connection.close()


async def free(url: str, sql: str) -> bool:
    """Whether a statement gets its locks at once."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"{sql} NOWAIT")
    except asyncpg.LockNotAvailableError:
        return False
    finally:
        await connection.close()
    return True


CUSTOMER, ITEM = "SELECT FROM customer WHERE id = 1 FOR UPDATE", "SELECT FROM item WHERE sku = 'A' FOR UPDATE"


@pytest.mark.parametrize("blocked", ["customer", "item"])
async def test_an_order_holds_its_customer_before_its_items(shop: Ask, shop_url: str, blocked: str) -> None:
    """The look-up of a reference locks for the rest of the transaction, and what comes later is not held while it waits."""
    query = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { errors { code } } }"
    async with held(shop_url, CUSTOMER if blocked == "customer" else ITEM):
        order = asyncio.create_task(shop.data(query, {"input": {"customer": ADA, "items": [line("A")]}}))
        await waits(shop_url)
        assert await free(shop_url, ITEM if blocked == "customer" else CUSTOMER) == (blocked == "customer")
        # Others may point to the customer, and change what is not a key.
        other = "SELECT FROM customer WHERE id = 1 FOR NO KEY UPDATE"
        assert await free(shop_url, other) == (blocked == "item")
    assert (await order)["createOrder"]["errors"] == []


async def test_a_purge_leaves_items_that_somebody_has_at_hand(shop: Ask, shop_url: str) -> None:
    purge = 'mutation { purgeArchived(input: {before: "2999-01-01T00:00:00Z"}) { customers items itemsKept errors { code } } }'
    async with held(shop_url, "SELECT FROM item WHERE sku = 'D' FOR KEY SHARE"):
        found = (await shop.data(purge))["purgeArchived"]
        assert found == {"customers": 1, "items": 0, "itemsKept": 1, "errors": []}
    found = (await shop.data(purge))["purgeArchived"]
    assert found == {"customers": 0, "items": 1, "itemsKept": 0, "errors": []}
