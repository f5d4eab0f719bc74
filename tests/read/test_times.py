"""Times: every moment that the scalar takes comes back as it was, and sorts, pages and groups alike on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.both import Both, both_before
from tests.conftest import Ask
from tests.engines import Postgres, Sqlite
from tests.examples import examples
from tests.words import done

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
NUMBERS = count(1)
ORDER = "query($d: DateTime!) { orders(where: {orderDate: {eq: $d}}) { nodes { orderDate } } }"


def shown(moment: datetime) -> str:
    """A moment as the API shows it."""
    text = moment.replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


TEXTS = {
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999Z",
    "0001-01-01t00:00:00.000001z": "0001-01-01T00:00:00.000001Z",
    "0001-01-01T23:59:00+23:59": "0001-01-01T00:00:00Z",
    "9999-12-31T00:00:59.999999-23:59": "9999-12-31T23:59:59.999999Z",
    "0000-12-31T23:30:00-00:30": "0001-01-01T00:00:00Z",
    "2026-01-31T10:00:00.1234567Z": "2026-01-31T10:00:00.123456Z",
    "2026-01-31T10:00:00.99999999999999999999999999999999999999999999999999999999-00:00": "2026-01-31T10:00:00.999999Z",
    "2026-01-31T10:00:00.5+05:30": "2026-01-31T04:30:00.5Z",
    "2000-02-29T00:00:00+00:00": "2000-02-29T00:00:00Z",
}


@pytest.mark.parametrize("literal", [False, True])
async def test_a_moment_comes_back_as_it_was(ask: Ask, literal: bool) -> None:
    await done(ask, "createCustomer", {"name": "Ada", "email": "ada@example.com"})
    for text, expected in TEXTS.items():
        made = await done(
            ask, "createOrder", {"customer": {"email": "ada@example.com"}, "orderDate": text}, "order { id orderDate }"
        )
        assert made["order"]["orderDate"] == expected, text
        query = ORDER.replace("($d: DateTime!)", "").replace("$d", f'"{text}"') if literal else ORDER
        found = await ask.data(query, {} if literal else {"d": text})
        assert {"orderDate": expected} in found["orders"]["nodes"], text
        assert all(node == {"orderDate": expected} for node in found["orders"]["nodes"])


REFUSED = {
    "2026-01-31": "seconds and an offset",
    "2026-01-31T10:00:00": "seconds and an offset",
    "2026-01-31T10:00Z": "seconds and an offset",
    "2026-01-31T10Z": "seconds and an offset",
    "2026-01-31 10:00:00Z": "seconds and an offset",
    "2026-01-31T10:00:00,5Z": "seconds and an offset",
    "2026-01-31T10:00:00.Z": "seconds and an offset",
    "2026-01-31T10:00:00+01": "seconds and an offset",
    "2026-01-31T10:00:00+0100": "seconds and an offset",
    "2026-01-31T10:00:00+24:00": "seconds and an offset",
    "2026-01-31T10:00:00+12:60": "seconds and an offset",
    "2026-01-31T10:00:00+01:00:01": "seconds and an offset",
    "20260131T100000Z": "seconds and an offset",
    "2026-W05-6T10:00:00Z": "seconds and an offset",
    "2026-031T10:00:00Z": "seconds and an offset",
    "+2026-01-31T10:00:00Z": "seconds and an offset",
    "12026-01-31T10:00:00Z": "seconds and an offset",
    "2026-01-31T10:00:00Z\n": "seconds and an offset",
    "\u0662026-01-31T10:00:00Z": "seconds and an offset",
    "": "seconds and an offset",
    "2026-02-29T10:00:00Z": "exist",
    "2026-01-31T24:00:00Z": "exist",
    "2026-13-31T10:00:00Z": "exist",
    "2026-01-31T10:00:61Z": "exist",
    "2016-12-31T23:59:60Z": "leap second",
    "0000-12-31T23:59:59Z": "0001 to 9999",
    "0001-01-01T00:00:00+00:01": "0001 to 9999",
    "9999-12-31T23:59:59-00:01": "0001 to 9999",
}


async def test_another_text_is_refused_before_anything_runs(ask: Ask) -> None:
    await done(ask, "createCustomer", {"name": "Ada", "email": "ada@example.com"})
    for text, reason in REFUSED.items():
        input_ = {"customer": {"email": "ada@example.com"}, "orderDate": text}
        answer = await ask(
            "mutation($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }", {"input": input_}
        )
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT", text
        assert error["extensions"]["path"] == ["input", "orderDate"], text
        assert reason in error["message"], text
    assert (await ask.data("{ orders { totalCount } }"))["orders"]["totalCount"] == 0


@pytest.fixture
def both(sqlite_engines: Sqlite, postgres_engines: Postgres) -> Iterator[Both]:
    with both_before(sqlite_engines, postgres_engines, "empty") as both:
        yield both


EDGES = [FIRST, FIRST + timedelta(microseconds=1), LAST, LAST - timedelta(microseconds=1), datetime(1582, 10, 15, tzinfo=UTC)]
MOMENTS = st.one_of(st.sampled_from(EDGES), st.datetimes(timezones=st.just(UTC)))
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59)


def written(moment: datetime, minutes: int) -> str:
    """A moment with an offset, where its local time has a year of four digits."""
    try:
        return moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    except OverflowError:
        return moment.isoformat()


CREATE = """mutation($c: CreateCustomerInput!) { createCustomer(input: $c) {
  errors { message } customer { id orders(first: 100) { nodes { id orderDate } } } } }"""
READ = """query($c: ID!, $d: DateTime!) {
  up: orders(first: 100, where: {customer: {id: {eq: $c}}}, orderBy: [{field: ORDER_DATE}]) { nodes { orderDate } }
  down: orders(first: 100, where: {customer: {id: {eq: $c}}}, orderBy: [{field: ORDER_DATE, direction: DESC}]) {
    nodes { orderDate } edges { cursor } }
  until: orders(where: {customer: {id: {eq: $c}}, orderDate: {lte: $d}}) { totalCount }
  same: orders(where: {customer: {id: {eq: $c}}, orderDate: {in: [$d]}}) { totalCount }
  orderSummary(where: {customer: {id: {eq: $c}}}, groupBy: [MONTH]) { month count }
  days: orderSummary(where: {customer: {id: {eq: $c}}}, groupBy: [DAY]) { day count } }"""
PAGE = """query($c: ID!, $a: String) { orders(
  first: 1, after: $a, where: {customer: {id: {eq: $c}}}, orderBy: [{field: ORDER_DATE, direction: DESC}]) {
  nodes { id orderDate } pageInfo { endCursor hasNextPage } } }"""


@settings(max_examples=examples(20))
@given(times=st.lists(st.tuples(MOMENTS, OFFSETS), min_size=1, max_size=8))
@example(times=[(moment, 0) for moment in EDGES])
def test_generated_moments_are_told_alike(both: Both, times: list[tuple[datetime, int]]) -> None:
    orders = [{"orderDate": written(*time)} for time in times]
    input_ = {"name": "Ada", "email": f"ada{next(NUMBERS)}@example.com", "orders": orders}
    customer = both.data(CREATE, {"c": input_})["createCustomer"]["customer"]
    moments = [moment for moment, _ in times]
    assert [order["orderDate"] for order in customer["orders"]["nodes"]] == [shown(moment) for moment in moments]
    data = both.data(READ, {"c": customer["id"], "d": orders[0]["orderDate"]})
    assert [node["orderDate"] for node in data["up"]["nodes"]] == [shown(moment) for moment in sorted(moments)]
    assert [node["orderDate"] for node in data["down"]["nodes"]] == [shown(moment) for moment in sorted(moments, reverse=True)]
    assert data["until"]["totalCount"] == sum(moment <= moments[0] for moment in moments)
    assert data["same"]["totalCount"] == moments.count(moments[0])
    months = [shown(moment)[:7] for moment in moments]
    assert data["orderSummary"] == [{"month": month, "count": months.count(month)} for month in sorted(set(months))]
    days = [shown(moment)[:10] for moment in moments]
    assert data["days"] == [{"day": day, "count": days.count(day)} for day in sorted(set(days))]
    seen: list[dict[str, Any]] = []
    cursor, more = None, True
    while more:
        page = both.data(PAGE, {"c": customer["id"], "a": cursor})["orders"]
        cursor, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        seen += page["nodes"]
    assert [node["orderDate"] for node in seen] == [node["orderDate"] for node in data["down"]["nodes"]]
    assert len({node["id"] for node in seen}) == len(moments)
