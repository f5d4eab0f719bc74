"""Keyset pages: walking a list by its cursors meets every row once, in the order of a sort in Python."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.models import Item
from tests import generated
from tests.conftest import Ask, asking
from tests.examples import examples, some
from tests.unhurried import unhurried
from tests.walk import PAGES, ROOTS, SORTS, Row, attribute, found, global_id, load, ordered

SHOP = "varied"


@dataclass
class Walk:
    """The shop and all its rows. Generated cases are drawn outside of any event loop."""

    runner: asyncio.Runner
    ask: Ask
    rows: dict[str, list[Row]]


@pytest.fixture
def walked(shop_url: str) -> Iterator[Walk]:
    with asyncio.Runner() as runner:
        app = asking(unhurried(shop_url, max_page_size=1000, max_cost=10**6))
        ask = runner.run(app.__aenter__())
        yield Walk(runner, ask, runner.run(load(ask.app.state.database)))
        runner.run(app.__aexit__(None, None, None))


PAGE = "{ edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount }"
ARGUMENTS = "first: $first, after: $after, last: $last, before: $before, where: $where, orderBy: $orderBy"


def listing(type_name: str, name: str, parent: str | None) -> str:
    """A query of one page of a list: of a root list, or of a list of the row `parent`."""
    page = f"{name}({ARGUMENTS}) {PAGE}"
    if parent is not None:
        page = f'node(id: "{parent}") {{ ... on {parent.partition(":")[0]} {{ {page} }} }}'
    return (
        f"query Page($first: Int, $after: String, $last: Int, $before: String, $where: {type_name}Where, "
        f"$orderBy: [{type_name}Sort!]) {{ {page} }}"
    )


async def walk(ask: Ask, query: str, variables: dict[str, Any], size: int, *, backward: bool) -> list[str]:
    """The ids of all pages, each page checked for what it says of itself."""
    ids: list[str] = []
    cursor = None
    while True:
        place = {"last": size, "before": cursor} if backward else {"first": size, "after": cursor}
        data = await ask.data(query, {**variables, **place})
        page = data.get("node", data)
        (page,) = page.values()
        info, edges = page["pageInfo"], page["edges"]
        found_ = [edge["node"]["id"] for edge in edges]
        assert len(edges) <= size
        assert (info["startCursor"], info["endCursor"]) == ((edges[0]["cursor"], edges[-1]["cursor"]) if edges else (None, None))
        before, after = ("hasNextPage", "hasPreviousPage") if backward else ("hasPreviousPage", "hasNextPage")
        assert info[before] is bool(ids)
        ids = [*found_, *ids] if backward else [*ids, *found_]
        assert info[after] is (len(ids) < page["totalCount"])
        if not info[after]:
            return ids
        cursor = info["startCursor" if backward else "endCursor"]


@settings(max_examples=examples(12))
@given(data=st.data())
def test_walking_all_pages_meets_every_row_once_in_order(walked: Walk, data: st.DataObject) -> None:
    name, type_name = data.draw(st.sampled_from([*ROOTS.items(), ("orders", "Order"), ("orderItems", "OrderItem")]))
    parent = None
    rows = walked.rows[type_name]
    if name == "orderItems" or (name == "orders" and data.draw(st.booleans())):
        of = "Item" if name == "orderItems" else "Customer"
        row = data.draw(st.sampled_from(walked.rows[of]))
        parent, rows = global_id(row), attribute(row, name)
    where = generated.plain(data.draw(st.one_of(st.just({}), generated.wheres(walked.rows, type_name))))
    order = generated.plain(data.draw(generated.orders(type_name)))
    expected = [global_id(row) for row in ordered(found(rows, where, root=parent is None), order)]
    size = len(expected) // data.draw(st.integers(1, 6)) + data.draw(st.integers(1, 3))
    variables = {"where": where, "orderBy": order}

    query = listing(type_name, name, parent)
    for backward in (False, True):
        assert walked.runner.run(walk(walked.ask, query, variables, size, backward=backward)) == expected


@pytest.mark.parametrize("name", [*ROOTS, "orderItems"])
async def test_every_sort_field_walks_both_ways(shop_with: Callable[..., AbstractAsyncContextManager[Ask]], name: str) -> None:
    type_name = ROOTS.get(name) or PAGES["Item"][name]
    parent = "Item:11" if name == "orderItems" else None
    async with shop_with(max_page_size=1000, max_cost=10**6) as shop:
        rows = await load(shop.database)
        listed = found(rows["Item"][10].order_items if parent else rows[type_name], None, root=parent is None)
        query, size = listing(type_name, name, parent), len(listed) // 4 + 1
        ways = product(SORTS[type_name], ("ASC", "DESC"), (False, True))
        for field, direction, backward in some(ways, itemgetter(0), 2):
            order = [{"field": field, "direction": direction}]
            expected = [global_id(row) for row in ordered(listed, order)]
            assert await walk(shop, query, {"orderBy": order}, size, backward=backward) == expected, (order, backward)


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
async def test_pages_are_stable_under_inserts_and_deletes_between_them(shop: Ask, direction: str) -> None:
    order = [{"field": "STOCK", "direction": direction}, {"field": "NAME"}]
    variables = {"orderBy": order, "first": 10}
    query = listing("Item", "items", None)
    rows = found((await load(shop.database))["Item"], None, root=True)
    before = [global_id(row) for row in ordered(rows, order)]
    met: list[str] = []
    cursor = None
    for step in range(100):
        page = (await shop.data(query, {**variables, "after": cursor}))["items"]
        met += [edge["node"]["id"] for edge in page["edges"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        cursor = page["pageInfo"]["endCursor"]
        # The row the cursor was made of goes, and new ones come on both sides of it and beside it.
        async with shop.database.session() as session, session.begin():
            row = await session.get_one(Item, int(met[-1].partition(":")[2]))
            for index, stock in enumerate((0, None, 99, row.stock)):
                session.add(Item(sku=f"NEW-{step}-{index}", name=f"{'!' if index % 2 else '~'} new", price=1, stock=stock))
            await session.execute(sa.text("DELETE FROM order_item WHERE item_id = :id"), {"id": row.id})
            await session.execute(sa.delete(Item).where(Item.id == row.id))

    assert len(met) == len(set(met))
    assert [id_ for id_ in met if id_ in before] == before


async def test_a_page_between_two_cursors(shop: Ask) -> None:
    query = listing("Order", "orders", None)
    edges = (await shop.data(query, {"first": 10}))["orders"]["edges"]
    between = {"after": edges[2]["cursor"], "before": edges[7]["cursor"]}
    inner = [edge["node"]["id"] for edge in edges[3:7]]

    async def page(**more: int) -> tuple[list[str], bool, bool]:
        found_ = (await shop.data(query, {**between, **more}))["orders"]
        info = found_["pageInfo"]
        return [edge["node"]["id"] for edge in found_["edges"]], info["hasPreviousPage"], info["hasNextPage"]

    assert await page() == (inner, True, True)
    assert await page(first=2) == (inner[:2], True, True)
    assert await page(last=2) == (inner[2:], True, True)
    assert await page(first=0) == ([], True, True)


async def test_a_cursor_at_the_end_leads_to_an_empty_page(shop: Ask) -> None:
    query = listing("Customer", "customers", None)
    info = (await shop.data(query, {"last": 1}))["customers"]["pageInfo"]
    page = (await shop.data(query, {"first": 5, "after": info["endCursor"]}))["customers"]
    assert page == {
        "edges": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": True, "startCursor": None, "endCursor": None},
        "totalCount": 89,
    }


def edited(cursor: str, change: Callable[[list[Any]], object]) -> str:
    """A cursor somebody tampered with."""
    values = json.loads(bytes.fromhex(cursor))
    change(values)
    return json.dumps(values).encode().hex()


def replaced(start: int, *new: Any) -> Callable[[list[Any]], object]:
    """Puts other values in the place of a cursor's."""
    return lambda values: values.__setitem__(slice(start, start + len(new)), new)


TAMPERED: dict[str, Callable[[str], str]] = {
    "no hex": lambda cursor: "nonsense",
    "empty": lambda cursor: "",
    "odd length": lambda cursor: cursor[:-1],
    "no JSON": lambda cursor: cursor[:-2],
    "no list": lambda cursor: b'{"a":1}'.hex(),
    "nothing in it": lambda cursor: b"[]".hex(),
    "deep": lambda cursor: (b"[" * 2000 + b"]" * 2000).hex(),
    "another order": lambda cursor: edited(cursor, lambda v: v.__setitem__(0, "Item price+ id+")),
    "another type": lambda cursor: edited(cursor, lambda v: v.__setitem__(0, v[0].replace("Item", "Order"))),
    "a key missing": lambda cursor: edited(cursor, lambda v: v.pop()),
    "a key too many": lambda cursor: edited(cursor, lambda v: v.append(1)),
    "a hundred keys too many": lambda cursor: edited(cursor, lambda v: v.extend([1] * 100)),
    "text for a number": lambda cursor: edited(cursor, lambda v: v.__setitem__(1, "1")),
    "a Boolean for a number": lambda cursor: edited(cursor, lambda v: v.__setitem__(1, True)),
    "a fraction": lambda cursor: edited(cursor, lambda v: v.__setitem__(1, 1.5)),
    "a number out of range": lambda cursor: edited(cursor, lambda v: v.__setitem__(1, 2**63)),
    "a list for a number": lambda cursor: edited(cursor, lambda v: v.__setitem__(1, [1])),
    "null for the key": lambda cursor: edited(cursor, lambda v: v.__setitem__(-1, None)),
    "a number for text": lambda cursor: edited(cursor, lambda v: v.__setitem__(2, 1)),
    "NUL": lambda cursor: edited(cursor, lambda v: v.__setitem__(2, "\x00")),
    "a lone surrogate": lambda cursor: edited(cursor, lambda v: v.__setitem__(2, "\ud800")),
}


async def test_a_tampered_cursor_is_refused(shop: Ask) -> None:
    query = listing("Item", "items", None)
    variables = {"orderBy": [{"field": "STOCK"}, {"field": "NAME"}], "first": 2}
    cursor = (await shop.data(query, variables))["items"]["pageInfo"]["endCursor"]

    for how, change in TAMPERED.items():
        bad = change(cursor)
        literal = f'{{ items(orderBy: [{{field: STOCK}}, {{field: NAME}}], after: "{bad}") {{ nodes {{ id }} }} }}'
        # Once with a plan for the good cursor there, once with one for no cursor at all.
        for first in (cursor, None):
            await shop.data(query, {**variables, "after": first})
            for answer in (await shop(query, {**variables, "after": bad}), await shop(literal)):
                assert "data" not in answer, how
                refused = [(error["extensions"]["code"], error["extensions"]["path"]) for error in answer["errors"]]
                assert refused == [("BAD_USER_INPUT", ["after"])], how


async def test_a_well_formed_cursor_is_just_a_position(shop: Ask) -> None:
    query = listing("Item", "items", None)
    rows = [row for row in found((await load(shop.database))["Item"], None, root=True) if row.id != 30]
    for direction in ("ASC", "DESC"):
        order = [{"field": "STOCK", "direction": direction}]
        cursor = (await shop.data(query, {"orderBy": order, "first": 1}))["items"]["pageInfo"]["endCursor"]
        for stock in (None, -1, 3, 10**9, 2**31, 2**63 - 1, -(2**63) + 1):
            at = edited(cursor, replaced(1, stock, 30))
            here = Item(id=30, stock=stock)
            sorted_ = ordered([*rows, here], order)
            expected = [global_id(row) for row in sorted_[sorted_.index(here) + 1 :]]
            page = (await shop.data(query, {"orderBy": order, "first": 100, "after": at}))["items"]
            got = [edge["node"]["id"] for edge in page["edges"] if edge["node"]["id"] != "Item:30"]
            assert got == expected, (direction, stock)


async def test_a_status_or_email_in_a_cursor_is_any_text(shop: Ask) -> None:
    for type_name, name, field in (("Order", "orders", "STATUS"), ("Customer", "customers", "EMAIL")):
        query, order = listing(type_name, name, None), [{"field": field}]
        cursor = (await shop.data(query, {"orderBy": order, "first": 1}))[name]["pageInfo"]["endCursor"]
        for text in ("", "NOBODY", "😀", " ", "%"):
            at = edited(cursor, replaced(1, text))
            await shop.data(query, {"orderBy": order, "first": 1, "after": at})


async def test_a_plan_for_no_cursor_is_not_used_for_a_broken_one(shop: Ask) -> None:
    query = "query($after: String) { customers(first: 1, after: $after) { nodes { id } } }"
    assert (await shop.data(query, {"after": None}))["customers"]["nodes"] == [{"id": "Customer:1"}]
    answer = await shop(query, {"after": "nonsense"})
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_variable_may_be_cursor_and_filter_at_once(shop: Ask) -> None:
    query = """query($text: String) {
      a: orders(where: {note: {eq: $text}}, first: 1) { totalCount }
      b: orders(after: $text, first: 1) { nodes { id } }
    }"""
    for _ in range(2):
        nothing = await shop.data(query, {"text": None})
        assert nothing["a"]["totalCount"] == 55
        answer = await shop(query, {"text": "50% off"})
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


def test_the_lists_under_test_are_all_lists() -> None:
    assert {*ROOTS.values(), *(name for pages in PAGES.values() for name in pages.values())} == set(SORTS)
