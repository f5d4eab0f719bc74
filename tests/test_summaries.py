"""Whatever a summary may declare works when a client asks for it; the rest stops the start-up in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Text, distinct, func

from graph import models
from graph.read.planning.groups import SUMMARIES, Group, Measure, Summary, SummaryError, check
from graph.schema import _built

GOOD = SUMMARIES["OrderSummary"]


def group(**changed: Group) -> Summary:
    return replace(GOOD, groups={**GOOD.groups, **changed})


def measure(name: str, changed: Measure) -> Summary:
    return replace(GOOD, measures={**GOOD.measures, name: changed})


REFUSED: dict[str, tuple[Callable[[], Summary], str]] = {
    "rows of no type": (lambda: replace(GOOD, of="Nothing"), "no type 'Nothing' mirrors the rows"),
    "a relation that is not there": (lambda: replace(GOOD, relation="lines"), "Order.lines must be a list of OrderItems"),
    "a relation to one row": (lambda: replace(GOOD, relation="customer"), "Order.customer must be a list of OrderItems"),
    "details of another class": (lambda: replace(GOOD, detail=models.Item), "Order.items must be a list of Items"),
    "a group nobody can ask for": (
        lambda: group(count=Group(lambda order: order.version, scalar="Int")),
        "OrderSummary.count is null when it is not grouped by",
    ),
    "a group that no field shows": (lambda: group(year=Group(lambda order: order.id, scalar="Int")), "no field shows 'year'"),
    "a group that is left out": (
        lambda: replace(GOOD, groups={name: each for name, each in GOOD.groups.items() if name != "day"}),
        "OrderSummary.day is neither a group nor a measure",
    ),
    "a group by what is no column": (lambda: group(day=Group(lambda order: order.gone, scalar="Date")), "OrderSummary.day: "),
    "a group of another scalar": (
        lambda: group(day=Group(lambda order: order.order_date, scalar="DateTime")),
        "is a DateTime, not",
    ),
    "a group that its scalar cannot show": (
        lambda: group(day=Group(lambda order: order.order_date, scalar="Date")),
        "OrderSummary.day is UtcDateTime(timezone=True), which Date cannot show",
    ),
    "a group that sorts by locale": (
        lambda: group(month=Group(lambda order: func.lower("x", type_=Text()), scalar="String")),
        "which groups cannot be sorted by alike",
    ),
    "a group by what may be null": (
        lambda: group(month=Group(lambda order: order.note, scalar="String")),
        "OrderSummary.month is null for rows without note",
    ),
    "a group by the row of another type": (
        lambda: group(customer=Group(lambda order: order.customer_id, entity="Item")),
        "OrderSummary.customer is a Item, not Customer",
    ),
    "a group by no key": (
        lambda: group(customer=Group(lambda order: order.status, entity="Customer")),
        "OrderSummary.customer: the group must be the key of a mirrored type",
    ),
    "a measure that no field shows": (lambda: measure("totalAmount.median", Measure("Decimal")), "'totalAmount.median'"),
    "a measure that is left out": (
        lambda: replace(GOOD, measures={name: each for name, each in GOOD.measures.items() if name != "totalAmount.max"}),
        "OrderSummary.totalAmount.max is neither a group nor a measure",
    ),
    "a measure of nothing": (lambda: measure("lineTotal", Measure("Decimal")), "OrderSummary.lineTotal needs `rows` or `each`"),
    "a measure of another scalar": (
        lambda: measure("lineTotal", replace(GOOD.measures["lineTotal"], scalar="Int")),
        "is a Int, not",
    ),
    "a measure that its scalar cannot show": (
        lambda: measure("quantity", Measure("BigInt", lambda order: func.max(order.note))),
        "which BigInt cannot show",
    ),
    "a sum past what a database holds": (
        lambda: measure("lineTotal", Measure("Decimal", lambda order: func.sum(order.total_amount))),
        "use ExactSum",
    ),
    "such a sum of details": (
        lambda: measure("lineTotal", Measure("Decimal", each=lambda line: line.price_paid)),
        "use ExactSum",
    ),
    "a measure that may be null where the field is not": (
        lambda: measure("count", Measure("Int", lambda order: func.max(order.version), lambda line: func.count())),
        "OrderSummary.count may be null",
    ),
    "a count that is missing by details": (
        lambda: measure("count", Measure("Int", lambda order: func.count(distinct(order.id)))),
        "OrderSummary.count may be null",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_summary_that_cannot_work_stops_the_start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(_built)
    make, message = REFUSED[name]
    monkeypatch.setitem(SUMMARIES, "OrderSummary", make())
    with pytest.raises(SummaryError) as caught:
        check(_built)
    assert message in str(caught.value)


def test_a_group_that_the_argument_does_not_offer_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    choices: Any = _built.type_map["OrderGroup"]
    monkeypatch.delitem(choices.values, "MONTH")
    with pytest.raises(SummaryError, match=r"orderSummary groups by .*, but OrderSummary by .*month"):
        check(_built)
