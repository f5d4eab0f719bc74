"""A write that dies half-way, by SIGKILL or by a failing statement, leaves nothing; an acknowledged one is all there."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from graph.database import Database
from tests.audit import audit, checked_out, connected, fetch, pieces, rows_of
from tests.conftest import Ask
from tests.faults import Places, passing, places
from tests.servers import PATIENT, Client, Served, start
from tests.stock import customer, item
from tests.words import CUSTOMER, ITEM, ORDER, count, done

STOCK = 1_000_000
ROUNDS = 4
CLIENTS = 4

NESTED = f"""mutation ($input: CreateCustomerInput!, $key: String!) {{
    a: createCustomer(input: $input) @idempotent(key: $key) {{ customer {CUSTOMER} errors {{ code message }} }} }}"""
FLAT = f"""mutation ($input: CreateOrderInput!, $key: String!) {{
    a: createOrder(input: $input) @idempotent(key: $key) {{ order {ORDER} errors {{ code message }} }} }}"""


def lines(*skus: str) -> list[dict[str, Any]]:
    return [{"item": {"sku": sku}, "quantity": index} for index, sku in enumerate(skus, start=1)]


def nested(key: str) -> dict[str, Any]:
    """A customer with three orders of three lines, whose notes tell which request made them."""
    return {
        "name": key,
        "email": f"{key}@example.com",
        "orders": [{"note": f"{key}/{n}", "discount": "0.50", "items": lines("A", "B", "A")} for n in range(3)],
    }


@dataclass
class Story:
    """What the clients of a server were told, over all its lives."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: int = 0

    def request(self) -> tuple[str, str, dict[str, Any]]:
        """A new request: its key, its document, its input. In every second one nothing is unique but the key."""
        self.made += 1
        key = f"key-{self.made}"
        if self.made % 2:
            return key, NESTED, nested(key)
        return key, FLAT, {"customer": {"email": "first@example.com"}, "note": f"{key}/0", "items": lines("B", "A", "B")}

    async def ask(self, client: Client, request: tuple[str, str, dict[str, Any]]) -> None:
        """Send a request until it is answered; a request with its key may still be running in a dying connection."""
        key, document, input_ = request
        for _ in range(2_000):
            answer = await client(document, {"input": input_, "key": key})
            assert "errors" not in answer, answer
            payload = answer["data"]["a"]
            if [error["code"] for error in payload["errors"]] == ["IDEMPOTENCY_IN_PROGRESS"]:
                await asyncio.sleep(0.02)
                continue
            assert payload["errors"] == [], payload
            assert key not in self.answers
            self.answers[key] = payload
            return
        raise AssertionError(f"{key} stays in progress")


async def live(served: Served, story: Story, unanswered: list[tuple[str, str, dict[str, Any]]], chance: random.Random) -> None:
    """One life of a server: open requests are sent again, new ones follow, and at some moment it is killed."""
    open_requests, unanswered[:] = list(unanswered), []
    goal = len(story.answers) + len(open_requests) + chance.randrange(3, 25)
    enough = asyncio.Event()

    async def write(client: Client) -> None:
        while True:
            request = open_requests.pop() if open_requests else story.request()
            try:
                await story.ask(client, request)
            except httpx2.TransportError:
                unanswered.append(request)
                return
            if len(story.answers) >= goal:
                enough.set()

    async def end() -> None:
        await enough.wait()
        await asyncio.sleep(chance.uniform(0, 0.03))
        await asyncio.to_thread(served.kill)

    async with httpx2.AsyncClient(verify=False) as http, asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(write(Client(http, served.url)))
        group.create_task(end())


async def test_a_server_that_is_killed_again_and_again_keeps_its_word(ask: Ask, empty_url: str, tmp_path: Path) -> None:
    for sku in "AB":
        await done(ask, "createItem", {"sku": sku, "name": sku, "price": "1.50", "stock": STOCK})
    await done(ask, "createCustomer", {"name": "First", "email": "first@example.com"})
    chance = random.Random(empty_url.partition(":")[0])
    story, unanswered = Story(), list[tuple[str, str, dict[str, Any]]]()
    for _ in range(ROUNDS):
        served = await start(empty_url, tmp_path, None, 1, **PATIENT)
        try:
            await live(served, story, unanswered, chance)
        finally:
            served.kill()
    # The last life answers what is open, and every answer again, word for word.
    for request in unanswered:
        await story.ask(Client(ask.client, "http://127.0.0.1"), request)
    assert len(story.answers) == story.made

    orders, keys = await rows_of(
        empty_url,
        "SELECT o.note, c.email, o.id, count(*), sum(l.quantity) FROM orders AS o JOIN customer AS c ON c.id = o.customer_id "
        "JOIN order_item AS l ON l.order_id = o.id GROUP BY o.note, c.email, o.id",
        "SELECT key FROM idempotency_key",
    )
    assert Counter(key for (key,) in keys) == dict.fromkeys(story.answers, 1)
    expected: dict[str, tuple[str, int, int]] = {}
    for key, payload in story.answers.items():
        if "customer" in payload:
            expected |= {f"{key}/{n}": (f"{key}@example.com", 3, 6) for n in range(3)}
            told = {order["note"]: order["id"] for order in payload["customer"]["orders"]["nodes"]}
        else:
            expected[f"{key}/0"] = ("first@example.com", 3, 6)
            told = {payload["order"]["note"]: payload["order"]["id"]}
        assert told.items() <= {row[0]: f"Order:{row[2]}" for row in orders}.items()
    assert sorted((note, email, number, int(total)) for note, email, _, number, total in orders) == sorted(
        (note, *rest) for note, rest in expected.items()
    )
    assert await pieces(empty_url) == {"A": STOCK, "B": STOCK}


class Broken(Exception):
    """A bug, or a machine that burns."""


CHANGE = {
    "id": "Order:1",
    "note": "changed",
    "discount": "0.25",
    "items": {
        "create": [{"item": {"create": {"sku": "N", "name": "New", "price": "3"}}, "quantity": 2}],
        "update": [{"id": "OrderItem:1", "quantity": 5}],
        "remove": ["OrderItem:2"],
    },
}
LINE = "{ id quantity position }"
#: Field, input, and what of its payload is read back.
MUTATIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a nested create": ("createCustomer", nested("new"), f"customer {CUSTOMER}"),
    "several, a savepoint each": (
        "createCustomers",
        {"customers": [nested("n1"), nested("n2")], "onError": "CONTINUE"},
        "results { customer { id } }",
    ),
    "a change of lines": ("updateOrder", CHANGE, f"order {ORDER}"),
    "a replaced list": (
        "updateOrder",
        {"id": "Order:1", "items": {"replace": [{"id": "OrderItem:2"}, *lines("B", "A")]}},
        f"order {ORDER}",
    ),
    "orders through their customer": (
        "updateCustomer",
        {
            "id": "Customer:1",
            "orders": {"remove": ["Order:1"], "create": [{"items": lines("A")}], "update": [{"id": "Order:2", "discount": "1"}]},
        },
        f"customer {CUSTOMER}",
    ),
    "a transfer": ("moveOrderItem", {"id": "OrderItem:1", "toOrder": "Order:2"}, f"orderItem {LINE} toOrder {ORDER}"),
    "a cancellation": ("transitionOrder", {"id": "Order:1", "to": "CANCELLED"}, f"order {ORDER}"),
    "a delete with a cascade": ("deleteCustomer", {"id": "Customer:1"}, "deletedIds"),
    "a bulk delete": ("deleteOrders", {"where": {"totalAmount": {"gt": "0"}}}, "count"),
    "a bulk discount": ("discountOrders", {"all": True, "percent": "12.5"}, "count"),
    "plain rows": ("insertItems", {"rows": [{"sku": f"P{n}", "name": "p", "price": "1"} for n in range(1_001)]}, "inserted"),
    "an upsert": (
        "upsertItems",
        {"items": [{"sku": sku, "name": "u", "price": "9", "stockDelta": 7} for sku in "AX"]},
        "results { item { stock } created }",
    ),
    "a counter": ("adjustStock", {"item": {"sku": "A"}, "delta": -7}, "item { stock }"),
}
TRIED_AGAIN = ["a nested create", "several, a savepoint each", "a change of lines", "a transfer", "a bulk delete", "a counter"]


def document(name: str, operation: str, on_field: str = "") -> str:
    field_name, _, selection = MUTATIONS[name]
    type_ = f"{field_name[0].upper()}{field_name[1:]}Input"
    field = f"a: {field_name}(input: $input) {on_field} {{ {selection} errors {{ code }} }}"
    return f"mutation ($input: {type_}!) {operation} {{ {field} }}"


#: One customer with two orders of three lines, of items whose stock is counted.
SHOP = [
    item("A", "1.50", 100),
    item("B", "1.50", 100),
    customer("Ada", lines("A", "B", "A"), lines("B", "A", "B")),
]


TABLES = [
    "SELECT id, version, name, email, archived_at FROM customer ORDER BY id",
    "SELECT id, version, sku, name, price, stock, archived_at FROM item ORDER BY id",
    "SELECT id, version, customer_id, status, discount, total_amount, note FROM orders ORDER BY id",
    "SELECT id, order_id, position, item_id, quantity, price_paid FROM order_item ORDER BY id",
    "SELECT key, fingerprint, answer FROM idempotency_key ORDER BY key",
]


async def fails_everywhere(shop: Ask, url: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """Statement n fails, for every n in turn, reading the payload and the commit too; the answer once there is no n."""
    database: Database = shop.app.state.database
    async with connected(url) as connection:
        before = [await fetch(connection, table) for table in TABLES]
        for n in range(1, 200):

            def fail(place: Places, n: int = n) -> None:
                if place.last == n:
                    raise Broken(place.seen[-1])

            with places(database, fail) as passed:
                answer = await shop(query, variables)
            after = [await fetch(connection, table) for table in TABLES]
            if passed.last < n:
                assert n > 4
                assert after != before
                return answer
            assert {error["extensions"]["code"] for error in answer["errors"]} == {"INTERNAL_SERVER_ERROR"}, passed.seen
            assert after == before, passed.seen[-1]
            assert checked_out(database) == 0, "a connection was not given back"
    raise AssertionError("there is always another statement")


@pytest.mark.parametrize("name", MUTATIONS)
async def test_an_error_in_any_statement_rolls_back_all_of_it(
    shop: Ask, empty_url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    query = document(name, "", '@idempotent(key: "once")')
    answer = await fails_everywhere(shop, empty_url, query, {"input": MUTATIONS[name][1]})
    assert answer["data"]["a"]["errors"] == []


async def test_an_error_in_any_statement_rolls_back_all_fields_of_an_atomic_operation(
    shop: Ask, empty_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    query = f"""mutation ($customer: CreateCustomerInput!, $change: UpdateOrderInput!) @atomic {{
        a: createCustomer(input: $customer) @idempotent(key: "once") {{ customer {CUSTOMER} errors {{ code }} }}
        b: adjustStock(input: {{item: {{sku: "A"}}, delta: -7}}) {{ item {{ stock }} errors {{ code }} }}
        c: updateOrder(input: $change) {{ order {ORDER} errors {{ code }} }} }}"""
    answer = await fails_everywhere(shop, empty_url, query, {"customer": nested("new"), "change": CHANGE})
    assert [answer["data"][name]["errors"] for name in "abc"] == [[], [], []]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions are tried again without a pause."""
    monkeypatch.setattr("graph.database.transactions.JITTER_SECONDS", (0, 0))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("name", "directive"), [*((name, "") for name in TRIED_AGAIN), ("a change of lines", "@atomic"), ("a counter", "@atomic")]
)
async def test_a_passing_refusal_at_any_statement_is_tried_again(shop: Ask, name: str, directive: str) -> None:
    """The database says at place n that the transaction may run again: it does, from the input on, and nobody notices."""
    database: Database = shop.app.state.database
    # A dry run leaves the shop as it is for the next place.
    query = document(name, f"@dryRun {directive}")
    for n in range(1, 200):

        def fail(place: Places, n: int = n) -> None:
            if place.last == n:
                raise passing(database, place)

        with places(database, fail) as passed:
            answer = await shop(query, {"input": MUTATIONS[name][1]})
        where = passed.seen[n - 1 : n]
        assert "errors" not in answer, (where, answer)
        assert answer["data"]["a"]["errors"] == [], where
        assert (passed.last > n) == bool(where)
        await audit(database)
        if not where:
            break
    assert n > 2


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("at", ["INSERT INTO order_item", "COMMIT"])
async def test_a_write_that_is_tried_again_is_the_one_that_was_asked_for(shop: Ask, at: str) -> None:
    """What the first two tries built is thrown away: the third one starts from the input."""
    database: Database = shop.app.state.database
    customers, orders, items = await count(shop)
    failed: list[int] = []

    def fail(place: Places) -> None:
        if at in place.seen[-1] and len(failed) < 2:
            failed.append(place.last)
            raise passing(database, place)

    with places(database, fail):
        made = (await done(shop, "createCustomer", nested("again"), f"customer {CUSTOMER}"))["customer"]
    assert len(failed) == 2
    assert [(order["note"], len(order["items"]), order["totalAmount"]) for order in made["orders"]["nodes"]] == [
        (f"again/{n}", 3, "8.50") for n in range(3)
    ]
    assert await count(shop) == (customers + 1, orders + 3, items)
    item = (await done(shop, "upsertItem", {"sku": "A", "name": "A", "price": "1.50"}, f"item {ITEM}"))["item"]
    assert item["stock"] == 100 - (1 + 3 + 2) - 3 * 4


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("directive", ["", "@atomic"])
async def test_after_three_tries_the_client_is_told_to_try_again(shop: Ask, empty_url: str, directive: str) -> None:
    database: Database = shop.app.state.database
    before = await rows_of(empty_url, *TABLES)
    failed: list[int] = []

    def fail(place: Places) -> None:
        if "INSERT INTO order_item" in place.seen[-1]:
            failed.append(place.last)
            raise passing(database, place)

    query = f"""mutation ($input: CreateCustomerInput!) {directive} {{
        a: createCustomer(input: $input) {{ customer {{ id }} errors {{ __typename code path retryable }} }} }}"""
    with places(database, fail):
        answer = await shop(query, {"input": nested("never")})
    told = {"__typename": "TryAgainError", "code": "TRY_AGAIN", "path": ["input"], "retryable": True}
    assert answer == {"data": {"a": {"customer": None, "errors": [told]}}}
    assert len(failed) == 3
    assert await rows_of(empty_url, *TABLES) == before
