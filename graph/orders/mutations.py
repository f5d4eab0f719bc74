"""Mutations of orders and their lines."""

from __future__ import annotations

from graph import models
from graph.models import TRANSITIONS, OrderStatus, transitions
from graph.orders.by_filter import delete_orders, discount_orders, update_orders
from graph.orders.errors import TransitionError, not_yours
from graph.orders.inputs import (
    CreateOrderInput,
    CreateOrdersInput,
    DeleteOrderInput,
    TransitionOrderInput,
    UpdateOrderInput,
)
from graph.orders.payloads import (
    CreateOrderPayload,
    CreateOrdersPayload,
    DeletedWithOrder,
    DeleteOrderPayload,
    TransitionOrderPayload,
    UpdateOrderPayload,
)
from graph.orders.transfer import move_order_item
from graph.read.types.scalars import global_id
from graph.scope import BOUND
from graph.write.answers import Answer, answer
from graph.write.batches import create_all
from graph.write.bulk import seen_below
from graph.write.errors import ROOT, Refused
from graph.write.locks import Lock
from graph.write.mutation_inputs import given
from graph.write.resolvers import mutation
from graph.write.unit import Unit


@mutation("Make an order with its lines, in one piece.", scope="write")
async def create_order(unit: Unit, input: CreateOrderInput) -> Answer[CreateOrderPayload]:
    order = unit.create(models.Order, input)
    await unit.insert(order)
    return answer(order=order)


@mutation("Make several orders with their lines.", scope="write")
async def create_orders(unit: Unit, input: CreateOrdersInput) -> Answer[CreateOrdersPayload]:
    return await create_all(unit, models.Order, "orders", input.orders, input.on_error)


@mutation("Change an order and its lines. Lines change only while the order is PENDING.", scope="write")
async def update_order(unit: Unit, input: UpdateOrderInput) -> Answer[UpdateOrderPayload]:
    order = await unit.load(models.Order, input.id, "items", expected=given(input, "expected_version"))
    unit.fill(order, input)
    await unit.flush()
    return answer(order=order)


@mutation(
    "Delete an order with its lines, whatever its status; viewers who belong to a customer none that is PAID or SHIPPED."
    " PENDING and PAID ones give stock back.",
    scope="write",
)
async def delete_order(unit: Unit, input: DeleteOrderInput) -> Answer[DeleteOrderPayload]:
    order = await unit.load(models.Order, input.id, expected=given(input, "expected_version"), lock=Lock.DELETE)
    if unit.scope.kind == BOUND and order.status in (OrderStatus.PAID, OrderStatus.SHIPPED):
        raise Refused([not_yours(order, (*ROOT, "id"))])
    line_ids = await seen_below(unit, models.OrderItem.order_id, [order.id])
    await unit.delete(order)
    ids = [("Order", order.id), *(("OrderItem", id_) for id_ in line_ids)]
    counts = DeletedWithOrder(orders=1, order_items=len(line_ids))
    return answer({"deleted_ids": [global_id(*id_) for id_ in ids], "deleted": counts})


@mutation("Send an order on: PENDING to PAID to SHIPPED, or to CANCELLED, which gives its stock back.", scope="write")
async def transition_order(unit: Unit, input: TransitionOrderInput) -> Answer[TransitionOrderPayload]:
    lines = ["items"] if input.to is OrderStatus.CANCELLED else []
    order = await unit.load(models.Order, input.id, *lines, expected=given(input, "expected_version"))
    allowed = transitions(unit.scope.kind)[order.status]
    if input.to in allowed:
        order.status = input.to
    elif input.to in TRANSITIONS[order.status]:
        unit.refuse(not_yours(order, (*ROOT, "to")))
    else:
        unit.refuse(
            TransitionError(
                message=f"An order that is {order.status} cannot become {input.to}",
                path=[*ROOT, "to"],
                from_=order.status,
                to=input.to,
                allowed=list(allowed),
            )
        )
    await unit.flush()
    return answer(order=order)


MUTATIONS = (
    create_order,
    create_orders,
    update_order,
    delete_order,
    transition_order,
    move_order_item,
    update_orders,
    delete_orders,
    discount_orders,
)
