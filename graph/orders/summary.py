"""orderSummary: orders counted and summed by status, month, day, customer or item."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import strawberry
from sqlalchemy import distinct, func

from graph import models
from graph.orders.status import OrderStatus
from graph.read.planning.groups import SUMMARIES, Group, Measure, Summary
from graph.read.sql.constructs import DayOf, MonthText
from graph.read.types.fields import summary
from graph.read.types.scalars import BigInt, Date, Money
from graph.sums import ExactMean, ExactSum

if TYPE_CHECKING:
    from graph.catalog.types import Item
    from graph.customers.types import Customer


@strawberry.enum(description="What orders can be summed up by.")
class OrderGroup(enum.Enum):
    STATUS = strawberry.enum_value("status", description="By where the orders stand.")
    MONTH = strawberry.enum_value("month", description="By the month of the order date, in UTC.")
    DAY = strawberry.enum_value("day", description="By the day of the order date, in UTC.")
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
    day: Date | None = strawberry.field(description="The day in UTC, when grouped by DAY.")
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


SUMMARIES["OrderSummary"] = Summary(
    of="Order",
    detail=models.OrderItem,
    relation="items",
    groups={
        "status": Group(lambda order: order.status, scalar="OrderStatus"),
        "month": Group(lambda order: MonthText(order.order_date), scalar="String"),
        "day": Group(lambda order: DayOf(order.order_date), scalar="Date"),
        "customer": Group(lambda order: order.customer_id, entity="Customer"),
        "item": Group(lambda line: line.item_id, entity="Item", by_detail=True),
    },
    measures={
        "count": Measure("Int", lambda order: func.count(), details=lambda line: func.count(distinct(line.order_id))),
        "quantity": Measure("BigInt", each=lambda line: line.quantity, details=lambda line: func.sum(line.quantity)),
        "lineTotal": Measure("Decimal", lambda order: ExactSum(order.subtotal), details=lambda line: ExactSum(line.line_total)),
        "totalAmount.sum": Measure("Decimal", lambda order: ExactSum(order.total_amount)),
        "totalAmount.avg": Measure("Decimal", lambda order: ExactMean(order.total_amount)),
        "totalAmount.min": Measure("Decimal", lambda order: func.min(order.total_amount)),
        "totalAmount.max": Measure("Decimal", lambda order: func.max(order.total_amount)),
    },
)


@strawberry.type
class SummaryQueries:
    order_summary: list[OrderSummary] = summary(
        "Order",
        OrderGroup,
        "Orders counted and summed by groups, in the order of the groups' keys; without groupBy one row over all.",
        scope="read",
    )
