"""orderSummary: orders counted and summed by status, month, customer or item."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from sqlalchemy import BigInteger, cast, distinct, func, select

from graph import models
from graph.orders.types import OrderStatus
from graph.read.dialects import MonthText
from graph.read.fields import summary
from graph.read.scalars import BigInt, Money
from graph.read.summary import SUMMARIES, Group, Measure, Summary

if TYPE_CHECKING:
    from graph.catalog.types import Item
    from graph.customers.types import Customer


@strawberry.enum(description="What orders can be summed up by.")
class OrderGroup(enum.Enum):
    STATUS = strawberry.enum_value("status", description="By where the orders stand.")
    MONTH = strawberry.enum_value("month", description="By the month of the order date, in UTC.")
    CUSTOMER = strawberry.enum_value("customer", description="By who ordered.")
    ITEM = strawberry.enum_value("item", description="By what was ordered: one row for each item of the orders' lines.")


@strawberry.type(description="Figures over amounts of money.")
class MoneySummary:
    sum: Money | None = strawberry.field(description="All amounts together; null where there is none.")
    avg: Money | None = strawberry.field(description="The mean, rounded half up; null where there is none.")
    min: Money | None = strawberry.field(description="The smallest amount; null where there is none.")
    max: Money | None = strawberry.field(description="The greatest amount; null where there is none.")


@strawberry.type(description="The orders of one group. A field that the orders are not grouped by is null.")
class OrderSummary:
    status: OrderStatus | None = strawberry.field(description="The status, when grouped by STATUS.")
    month: str | None = strawberry.field(description='The month in UTC, such as "2026-01", when grouped by MONTH.')
    customer: Annotated[Customer, strawberry.lazy("graph.customers.types")] | None = strawberry.field(
        description="The customer, when grouped by CUSTOMER."
    )
    item: Annotated[Item, strawberry.lazy("graph.catalog.types")] | None = strawberry.field(
        description="The item, when grouped by ITEM."
    )
    count: int = strawberry.field(description="How many orders.")
    quantity: BigInt | None = strawberry.field(description="How many pieces in their lines; of the item, when grouped by ITEM.")
    line_total: Money | None = strawberry.field(description="What their lines come to, before discounts.")
    total_amount: MoneySummary = strawberry.field(
        description="What the orders come to; null figures when grouped by ITEM, since a discount belongs to no line."
    )


def _sum(expression: Any) -> Any:
    # PostgreSQL's sum of bigint is numeric; money stays an integer.
    return cast(func.sum(expression), BigInteger)


def _lines(order: Any, expression: Any) -> Any:
    """A sum over the lines of one order."""
    line = models.OrderItem
    return (
        select(cast(func.sum(expression), BigInteger)).where(line.order_id == order.id).correlate_except(line).scalar_subquery()
    )


def _mean(amount: Any) -> Any:
    """The mean of minor units, rounded half up, in integers."""
    return (_sum(amount) * 2 + func.count()) // (func.count() * 2)


SUMMARIES["OrderSummary"] = Summary(
    of="Order",
    detail=models.OrderItem,
    relation="items",
    groups={
        "status": Group("status", lambda order, line: order.status, scalar="OrderStatus"),
        "month": Group("month", lambda order, line: MonthText(order.order_date), scalar="String"),
        "customer": Group("customer", lambda order, line: order.customer_id, entity="Customer"),
        "item": Group("item", lambda order, line: line.item_id, entity="Item", by_detail=True),
    },
    measures={
        "count": Measure("Int", lambda order, line: func.count(), lambda order, line: func.count(distinct(order.id))),
        "quantity": Measure(
            "BigInt", lambda order, line: _sum(_lines(order, models.OrderItem.quantity)), lambda order, line: _sum(line.quantity)
        ),
        "lineTotal": Measure("Decimal", lambda order, line: _sum(order.subtotal), lambda order, line: _sum(line.line_total)),
        "totalAmount.sum": Measure("Decimal", lambda order, line: _sum(order.total_amount)),
        "totalAmount.avg": Measure("Decimal", lambda order, line: _mean(order.total_amount)),
        "totalAmount.min": Measure("Decimal", lambda order, line: func.min(order.total_amount)),
        "totalAmount.max": Measure("Decimal", lambda order, line: func.max(order.total_amount)),
    },
)


@strawberry.type
class SummaryQueries:
    order_summary: list[OrderSummary] = summary(
        "Order",
        OrderGroup,
        "Orders counted and summed by groups, in the order of the groups' keys; without groupBy one row over all.",
    )
