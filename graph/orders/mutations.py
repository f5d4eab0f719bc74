"""Mutations of orders and their lines."""

from __future__ import annotations

import sqlalchemy as sa
import strawberry

from graph import models
from graph.models import TRANSITIONS, OrderStatus
from graph.orders.by_filter import delete_matching, discount_matching, update_matching
from graph.orders.errors import TransitionError
from graph.orders.inputs import (
    CreateOrderInput,
    CreateOrdersInput,
    DeleteOrderInput,
    DeleteOrdersInput,
    DiscountOrdersInput,
    MoveOrderItemInput,
    TransitionOrderInput,
    UpdateOrderInput,
    UpdateOrdersInput,
)
from graph.orders.payloads import (
    CreateOrderPayload,
    CreateOrdersPayload,
    DeletedWithOrder,
    DeleteOrderPayload,
    DeleteOrdersPayload,
    DiscountOrdersPayload,
    MoveOrderItemPayload,
    TransitionOrderPayload,
    UpdateOrderPayload,
    UpdateOrdersPayload,
)
from graph.orders.transfer import move
from graph.read.types.scalars import global_id
from graph.write.answers import Answer, answer
from graph.write.batches import create_all
from graph.write.errors import ROOT
from graph.write.mutation import Input
from graph.write.mutation_inputs import given
from graph.write.perform import perform
from graph.write.unit import Info, Unit


@strawberry.type
class OrderMutations:
    @strawberry.mutation(description="Make an order with its lines, in one piece.")
    async def create_order(self, info: Info, input: Input[CreateOrderInput]) -> CreateOrderPayload:
        async def work(unit: Unit) -> Answer:
            order = unit.create(models.Order, input)
            await unit.insert(order)
            return answer(order=order)

        return await perform(info, CreateOrderPayload, work)

    @strawberry.mutation(description="Make several orders with their lines.")
    async def create_orders(self, info: Info, input: Input[CreateOrdersInput]) -> CreateOrdersPayload:
        async def work(unit: Unit) -> Answer:
            return await create_all(unit, models.Order, "orders", input.orders, input.on_error)

        return await perform(info, CreateOrdersPayload, work, entries=("orders", len(input.orders)))

    @strawberry.mutation(description="Change an order and its lines. Lines change only while the order is PENDING.")
    async def update_order(self, info: Info, input: Input[UpdateOrderInput]) -> UpdateOrderPayload:
        async def work(unit: Unit) -> Answer:
            order = await unit.load(models.Order, input.id, "items", expected=given(input, "expected_version"))
            unit.fill(order, input)
            await unit.flush()
            return answer(order=order)

        return await perform(info, UpdateOrderPayload, work)

    @strawberry.mutation(
        description="Delete an order with its lines, whatever its status. PENDING and PAID ones give stock back."
    )
    async def delete_order(self, info: Info, input: Input[DeleteOrderInput]) -> DeleteOrderPayload:
        async def work(unit: Unit) -> Answer:
            order = await unit.load(models.Order, input.id, expected=given(input, "expected_version"))
            line = unit.seen(models.OrderItem)
            lines = sa.select(line.id).where(line.order_id == order.id).order_by(line.id)
            line_ids = (await unit.session.scalars(lines)).all()
            await unit.delete(order)
            ids = [("Order", order.id), *(("OrderItem", id_) for id_ in line_ids)]
            counts = DeletedWithOrder(orders=1, order_items=len(line_ids))
            return answer({"deleted_ids": [global_id(*id_) for id_ in ids], "deleted": counts})

        return await perform(info, DeleteOrderPayload, work)

    @strawberry.mutation(description="Send an order on: PENDING to PAID to SHIPPED, or to CANCELLED, which gives its stock back.")
    async def transition_order(self, info: Info, input: Input[TransitionOrderInput]) -> TransitionOrderPayload:
        async def work(unit: Unit) -> Answer:
            lines = ["items"] if input.to is OrderStatus.CANCELLED else []
            order = await unit.load(models.Order, input.id, *lines, expected=given(input, "expected_version"))
            if input.to in TRANSITIONS[order.status]:
                order.status = input.to
            else:
                unit.refuse(
                    TransitionError(
                        message=f"An order that is {order.status} cannot become {input.to}",
                        path=[*ROOT, "to"],
                        from_=order.status,
                        to=input.to,
                        allowed=list(TRANSITIONS[order.status]),
                    )
                )
            await unit.flush()
            return answer(order=order)

        return await perform(info, TransitionOrderPayload, work)

    @strawberry.mutation(description="Move pieces of a line to another PENDING order of the same customer; both totals follow.")
    async def move_order_item(self, info: Info, input: Input[MoveOrderItemInput]) -> MoveOrderItemPayload:
        return await perform(info, MoveOrderItemPayload, lambda unit: move(unit, input))

    @strawberry.mutation(description="Change the orders that match a filter, or all of them.")
    async def update_orders(self, info: Info, input: Input[UpdateOrdersInput]) -> UpdateOrdersPayload:
        return await perform(info, UpdateOrdersPayload, lambda unit: update_matching(info, unit, input))

    @strawberry.mutation(description="Delete the orders that match a filter, or all of them, with their lines.")
    async def delete_orders(self, info: Info, input: Input[DeleteOrdersInput]) -> DeleteOrdersPayload:
        return await perform(info, DeleteOrdersPayload, lambda unit: delete_matching(info, unit, input))

    @strawberry.mutation(
        description="Take a percentage off the totals of all PENDING orders that match a filter, rounded half up."
    )
    async def discount_orders(self, info: Info, input: Input[DiscountOrdersInput]) -> DiscountOrdersPayload:
        return await perform(info, DiscountOrdersPayload, lambda unit: discount_matching(info, unit, input))
