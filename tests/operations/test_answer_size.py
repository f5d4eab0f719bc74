"""How large an answer may be (fault 30): refused before its first byte; a write that shows what is too large is undone."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from graph.database.failures import Unavailable
from graph.operations.budget import SMALL, Budget, Share
from tests.conftest import Ask, asking
from tests.unhurried import unhurried
from tests.words import count, done

SHOP = "varied"

#: Texts that have as many bytes in JSON: ASCII, two to four bytes a character, escapes.
TEXTS = {"ascii": "a" * 600, "letters": "é" * 300, "emoji": "\U0001f600" * 150, "escapes": "\u0001" * 100, "quotes": '"\\' * 150}


async def notes(ask: Ask, note: str, orders: int) -> None:
    await done(ask, "createCustomer", {"name": "Ada", "email": "ada@example.com", "orders": [{"note": note}] * orders})


def too_large(answer: dict[str, Any], limit: int) -> bool:
    """Whether a request was refused for the size of its answer, and says so alone."""
    (error,) = answer["errors"]
    assert (error["extensions"]["code"], error["extensions"]["limit"]) == ("ANSWER_TOO_LARGE", limit), error
    return "data" not in answer


QUERIES = {
    "a list": "{ orders { nodes { note } } }",
    "a numbered list": "{ orders { edges { cursor node { note } } pageInfo { hasNextPage endCursor } } }",
    "aliases": '{ order(by: {id: "Order:1"}) { a: note b: note c: note d: note } }',
    "roots": "{ a: orders(first: 1) { nodes { note } } b: orders(last: 1) { nodes { note } } c: orderSummary { count } }",
    "nested": "{ customers { nodes { a: orders { nodes { note } } b: orders(last: 1) { nodes { note } } } } }",
    "nodes": '{ nodes(ids: ["Order:1", "Order:2", "Customer:1"]) { ... on Order { note } id } }',
}


@pytest.mark.parametrize("text", TEXTS)
async def test_an_answer_of_one_byte_too_many_is_refused(empty_url: str, text: str) -> None:
    sizes = {}
    async with asking(unhurried(empty_url)) as ask:
        await notes(ask, TEXTS[text], 3)
        for name, query in QUERIES.items():
            answer = await ask.raw(query)
            sizes[name] = len(answer) - len(b'{"data":}')
            assert answer.count(orjson.dumps(TEXTS[text])) >= 2
    for name, query in QUERIES.items():
        for limit in (sizes[name], sizes[name] - 1):
            async with asking(unhurried(empty_url, max_answer_bytes=limit)) as ask:
                told = await ask(query)
                assert ("errors" not in told) if limit == sizes[name] else too_large(told, limit), (name, told)


CREATE = "createItem(input: {sku: %s, name: %s, price: 1}) { item { sku name again: name } errors { code path message } }"


def item(sku: str, letters: int) -> str:
    return CREATE % (f'"{sku}"', f'"{"n" * letters}"')


async def test_a_mutation_whose_payload_is_too_large_changes_nothing(empty_url: str) -> None:
    async with asking(unhurried(empty_url, max_answer_bytes=4_000)) as ask:
        payload = (await ask.data("mutation { " + item("A", 3_000) + " }"))["createItem"]
        (error,) = payload["errors"]
        assert (payload["item"], error["code"], error["path"]) == (None, "ANSWER_TOO_LARGE", ["input"])
        assert await count(ask) == (0, 0, 0)

        # The fields of an operation have one answer: each alone would do.
        data = await ask.data("mutation { a: " + item("A", 1_500) + " b: " + item("B", 1_500) + " c: " + item("C", 9) + " }")
        assert [[error["code"] for error in data[key]["errors"]] for key in "abc"] == [[], ["ANSWER_TOO_LARGE"], []]
        assert await count(ask) == (0, 0, 2)

        data = await ask.data("mutation @atomic { d: " + item("D", 1_500) + " e: " + item("E", 1_500) + " }")
        assert [[error["code"] for error in data[key]["errors"]] for key in "de"] == [["ROLLED_BACK"], ["ANSWER_TOO_LARGE"]]
        data = await ask.data("mutation @dryRun { " + item("D", 3_000) + " }")
        assert data["createItem"]["errors"][0]["code"] == "ANSWER_TOO_LARGE"
        assert await count(ask) == (0, 0, 2)


async def test_a_list_is_kept_as_a_whole_or_not_at_all_where_it_is_too_large(empty_url: str) -> None:
    query = """mutation($rows: [ItemInput!]!) {
      createItems(input: {items: $rows, onError: CONTINUE}) { results { item { name } errors { code } } errors { code path } }
    }"""
    rows = [{"sku": f"S{number}", "name": "n" * 1_500, "price": 1} for number in range(3)]
    async with asking(unhurried(empty_url, max_answer_bytes=4_000)) as ask:
        payload = (await ask.data(query, {"rows": rows}))["createItems"]
        assert payload["errors"] == [{"code": "ANSWER_TOO_LARGE", "path": ["input"]}]
        assert await count(ask) == (0, 0, 0)
        payload = (await ask.data(query, {"rows": rows[:2]}))["createItems"]
        assert payload["errors"] == []
        assert await count(ask) == (0, 0, 2)


async def test_a_key_of_a_mutation_that_was_too_large_is_free_and_a_repeated_one_may_show_less(empty_url: str) -> None:
    field = 'createItem(input: {sku: "A", name: "%s", price: 1}) @idempotent(key: "k")'
    keyed = f"mutation {{ {field} {{ item {{ id %s }} errors {{ code }} }} }}"
    name, wide = "n" * 1_500, "a: name b: name c: name"
    async with asking(unhurried(empty_url, max_answer_bytes=4_000)) as ask:
        assert (await ask.data(keyed % (name, wide)))["createItem"]["errors"] == [{"code": "ANSWER_TOO_LARGE"}]
        assert await count(ask) == (0, 0, 0)
        first = (await ask.data(keyed % (name, "name")))["createItem"]
        assert first["errors"] == []
        assert (await ask.data(keyed % (name, wide)))["createItem"]["errors"] == [{"code": "ANSWER_TOO_LARGE"}]
        assert (await ask.data(keyed % (name, "")))["createItem"] == {"item": {"id": first["item"]["id"]}, "errors": []}
        assert await count(ask) == (0, 0, 1)


async def test_rows_that_errors_name_count(empty_url: str) -> None:
    query = """mutation {
      createItem(input: {sku: "A", name: "n", price: 1}) {
        errors { code ... on UniqueError { existing { ... on Item { a: name b: name c: name } } } }
      }
    }"""
    async with asking(unhurried(empty_url, max_answer_bytes=4_000)) as ask:
        await done(ask, "createItem", {"sku": "A", "name": "n" * 1_500, "price": "1"})
        answer = await ask(query)
        assert answer["data"] == {"createItem": {"errors": [{"code": "UNIQUE", "existing": None}]}}
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "ANSWER_TOO_LARGE"
        assert error["path"] == ["createItem", "errors", 0, "existing"]


async def test_errors_that_tell_the_input_too_often_are_not_told(empty_url: str) -> None:
    keys = " ".join(f"k{number}: key" for number in range(9))
    refused = f"""mutation($key: String!) {{
      ok: createItem(input: {{sku: "A", name: "n", price: 1}}) {{ item {{ sku }} errors {{ code }} }}
      createOrder(input: {{customer: {{email: $key}}}}) {{ errors {{ code ... on ReferenceNotFoundError {{ {keys} }} }} }}
    }}"""
    async with asking(unhurried(empty_url, max_answer_bytes=60_000)) as ask:
        answer = await ask.raw(refused, {"key": "k" * 9_000})
        assert len(answer) <= 60_000
        told = orjson.loads(answer)
        assert told["data"] == {"ok": {"item": {"sku": "A"}, "errors": []}, "createOrder": None}
        (error,) = told["errors"]
        assert (error["extensions"]["code"], error["path"]) == ("ANSWER_TOO_LARGE", ["createOrder"])
        assert await count(ask) == (0, 0, 1)


async def test_cost_knows_bytes(shop: Ask) -> None:
    async def cost(selection: str, **arguments: Any) -> int:
        answer = await shop(f"{{ orders(first: 10) {{ nodes {{ {selection} }} }} }}", extensions={"cost": True})
        found: int = answer["extensions"]["cost"]["requestedQueryCost"]
        return found

    assert await cost("id note status") == 10
    assert await cost("note a: note b: note c: note") == 10 * 2
    assert await cost("customer { " + " ".join(f"n{number}: name" for number in range(28)) + " }") == 10 * (1 + 9)
    assert await cost(" ".join(f"s{number}: status" for number in range(30))) == 10
    edges = "{ items(first: 10, orderBy: [{field: NAME}]) { edges { %s } } }"
    cursors = edges % " ".join(f"c{number}: cursor" for number in range(10))
    assert (await shop(cursors, extensions={"cost": True}))["extensions"]["cost"]["requestedQueryCost"] == 10 * 7


# ---- all answers together


async def test_answers_wait_for_room_in_their_order() -> None:
    budget, log = Budget(100 * SMALL, 60.0), list[str]()
    one, two, three, four = (Share(budget) for _ in range(4))
    await one.ask(10**12)  # no more than the greatest
    await two.ask(60 * SMALL)

    async def ask(name: str, share: Share, size: int) -> None:
        await share.ask(size)
        log.append(name)

    waiting = [asyncio.create_task(ask("three", three, 90 * SMALL)), asyncio.create_task(ask("four", four, 2 * SMALL))]
    await asyncio.sleep(0)
    await Share(budget).ask(SMALL)  # what is small never waits
    assert log == []
    one.keep(10 * SMALL)  # and is as long as this now
    await asyncio.gather(*waiting)
    assert log == ["three", "four"]
    for share in (one, two, three, four):
        with share:
            pass
    assert budget.used == 0


async def test_an_answer_without_room_is_refused_and_holds_nothing() -> None:
    budget = Budget(100 * SMALL, 0.01)
    held, waits, gone = Share(budget), Share(budget), Share(budget)
    held.keep(300 * SMALL)  # larger than anybody foresaw
    with pytest.raises(Unavailable):
        await waits.ask(2 * SMALL)
    left = asyncio.create_task(gone.ask(2 * SMALL))
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    held.keep(0)
    assert budget.used == 0
    await gone.ask(2 * SMALL)
    assert budget.used == 2 * SMALL


async def test_every_answer_gives_its_share_back(shop: Ask) -> None:
    budget = shop.app.state.engine.budget
    await shop.data("{ orders(first: 100) { nodes { note customer { name } } } }")
    await shop("{ orders(first: 100) { nodes { note } } nothing }")
    await done(shop, "updateOrder", {"id": "Order:1"}, "order { note customer { orders { nodes { note } } } }")
    assert budget.used == 0
    with Share(budget) as all_of_it:
        all_of_it.keep(budget.greatest * 2)
        small = await shop.data('{ order(by: {id: "Order:1"}) { note } }')
        assert small["order"]["note"]


async def test_an_answer_that_is_being_sent_holds_what_it_is_long(shop: Ask) -> None:
    """Not what it might have been: other answers need that room."""
    app, held = shop.app, list[int]()
    long = " ".join(f"t{number}: createdAt" for number in range(25))
    for selection in (long, "note"):
        query = f"{{ orders(first: 100) {{ nodes {{ {selection} }} }} }}"
        sent = len(await shop.raw(query))
        body = orjson.dumps({"query": query})

        async def receive(body: bytes = body) -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                held.append(app.state.engine.budget.used)

        headers = [(b"content-type", b"application/json")]
        http = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/graphql",
            "query_string": b"",
            "headers": headers,
        }
        await app(http, receive, send)
        assert held.pop() == (sent if selection is long else 0)
        assert (sent > SMALL) is (selection is long)
    assert app.state.engine.budget.used == 0
