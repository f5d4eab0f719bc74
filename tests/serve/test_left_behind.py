"""What a process keeps of a shop: nothing of its rows beside what is the shop's own, and nothing at all when it is left.

What is kept between requests (documents, plans, texts by name, statements, grants, allowances, metrics, lines of logs) is looked
for by what it would hold: every text in the memory of the process is searched for values that one shop was sent, and answered.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.many_shops import many_shops
from tests.sockets import listening, until
from tests.subscribers import event_stream
from tests.tokens import AUTH, token
from tests.unhurried import unhurried

pytestmark = pytest.mark.long

SKU = "$sku: String!, $name: String!, $key: String!"
CREATE = f"""mutation M({SKU}) {{ createItem(input: {{sku: $sku, name: $name, price: "1"}}) @idempotent(key: $key) {{
    item {{ id sku name }} errors {{ code message path ... on UniqueError {{ fields }} }} }} }}"""
BUY = """mutation B($input: CreateCustomerInput!) { createCustomer(input: $input) {
    customer { name email orders { nodes { note } } } errors { code message } } }"""
FIND = """query F($name: String!) { items(where: {name: {contains: $name}}, search: $name) {
    totalCount nodes { sku name changes { nodes { entityId } } } } customers { nodes { email } }
    __type(name: "Item") { name } }"""
FOLLOW = "subscription { changes { entityId cursor } }"


def is_of_compiled(each: Any) -> bool:
    """Whether it is a parameter of a statement of SQLAlchemy's, or a list that is the value of one.

    What is compiled for a statement is kept with the values that it had first; each execution of the like brings its own.
    """
    holders = [each, *gc.get_referrers(each)] if isinstance(each, list) else [each]
    return any(isinstance(holder, dict) and "_identifying_key" in holder for holder in holders)


def holding(part: str) -> Iterator[Any]:
    """Whatever holds a text that has this part, which is given backwards: who looks has no such text himself."""
    part = part[::-1]
    raw = part.encode()
    for each in gc.get_objects():
        for one in gc.get_referents(each):
            found = part in one if type(one) is str else type(one) in (bytes, bytearray) and raw in one
            if found and one is not part and one is not raw:
                yield each


async def use(shops: Any, server: Any, shop: str, backwards: str) -> None:
    """Do in a shop what clients do, with values that have a part of their own."""
    mine = backwards[::-1]
    head = {"authorization": f"Bearer {token('admin', shop=shop)}"}
    async with event_stream(server.port, FOLLOW, head={**shops.names(shop), **head}) as stream:
        front = await shops.kept.named(shop)
        await until(lambda: front.subscriptions.hub.members > 0)
        for number in (1, 2, 2):
            given = {"sku": f"{mine}-{number}", "name": f"name {mine}", "key": f"{mine} {number}"}
            made = (await shops.post(shop, CREATE, given, head)).json()
            assert made["data"]["createItem"]["errors"] == [], made
        await stream.hears()
    refused = (await shops.post(shop, CREATE, {"sku": f"{mine}-1", "name": mine, "key": mine}, head)).json()
    assert refused["data"]["createItem"]["errors"][0]["code"] == "UNIQUE"
    line = {"item": {"sku": f"{mine}-1"}, "quantity": 1}
    bought = {"name": mine, "email": f"{mine}@example.com", "orders": [{"note": mine, "items": [line]}]}
    assert b'"errors":[]' in (await shops.post(shop, BUY, {"input": bought}, head)).content
    for _ in range(2):
        found = (await shops.post(shop, FIND, {"name": mine}, head)).json()["data"]
        assert found["items"]["totalCount"] == 2
    assert (await shops.post(shop, FIND, {"name": {"no": mine}}, head)).status_code in (400, 422)


async def test_a_shop_that_is_left_leaves_nothing_in_the_process(shops_url: str) -> None:
    settings = unhurried(shops_url, shops=True, budget_per_second=10**6, metrics=True, **AUTH)
    async with many_shops(settings, "acme", "bolt") as shops, listening(shops.app) as server:
        parts = {"acme": "xqz7193w", "bolt": "jvk4482p"}
        for shop, part in parts.items():
            await use(shops, server, shop, part)
        assert parts["acme"][::-1] not in (await shops.client.get("/metrics")).text
        await shops.deployment.archive("acme")
        await shops.told()
        await until(lambda: [front.database.shop for front in shops.kept.fronts()] == ["bolt"])
        await until(lambda: not shops.kept._leaving)
        await use(shops, server, "bolt", parts["bolt"] + "2")  # whoever is there goes on, and lets go of what was last
        gc.collect()
        left = [(type(each), str(each)[:300]) for each in holding(parts["acme"]) if not is_of_compiled(each)]
        assert left == []
