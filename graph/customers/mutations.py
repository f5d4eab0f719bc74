"""Mutations of customers."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa
import strawberry

from graph import models
from graph.customers.children import load_orders
from graph.customers.inputs import (
    ArchiveCustomerInput,
    ArchiveCustomersInput,
    CreateCustomerInput,
    CreateCustomersInput,
    DeleteCustomerInput,
    InsertCustomersInput,
    RestoreCustomerInput,
    UpdateCustomerInput,
    UpsertCustomerInput,
)
from graph.customers.payloads import (
    ArchiveCustomerPayload,
    ArchiveCustomersPayload,
    CreateCustomerPayload,
    CreateCustomersPayload,
    DeleteCustomerPayload,
    DeletedWithCustomer,
    InsertCustomersPayload,
    RestoreCustomerPayload,
    UpdateCustomerPayload,
    UpsertCustomerPayload,
)
from graph.read.rows import rows
from graph.read.types.scalars import global_id
from graph.scope import SERVER
from graph.write.answers import Answer, answer
from graph.write.batches import create_all
from graph.write.mutation import Input
from graph.write.mutation_inputs import given
from graph.write.perform import perform
from graph.write.plain_rows import Plain, insert_rows, upsert_rows
from graph.write.soft_delete import archive, archive_matching
from graph.write.unit import Info, Unit


@strawberry.type
class CustomerMutations:
    @strawberry.mutation(description="Make a customer, with orders and their lines, in one piece.")
    async def create_customer(self, info: Info, input: Input[CreateCustomerInput]) -> CreateCustomerPayload:
        async def work(unit: Unit) -> Answer:
            customer = unit.create(models.Customer, input)
            await unit.insert(customer)
            return answer(customer=customer)

        return await perform(info, CreateCustomerPayload, work)

    @strawberry.mutation(description="Make several customers, with orders and their lines.")
    async def create_customers(self, info: Info, input: Input[CreateCustomersInput]) -> CreateCustomersPayload:
        async def work(unit: Unit) -> Answer:
            return await create_all(unit, models.Customer, "customers", input.customers, input.on_error)

        return await perform(info, CreateCustomersPayload, work, entries=("customers", len(input.customers)))

    @strawberry.mutation(description="Insert many customers fast, up to 10,000, in one transaction.")
    async def insert_customers(self, info: Info, input: Input[InsertCustomersInput]) -> InsertCustomersPayload:
        async def work(unit: Unit) -> Answer:
            written = await insert_rows(Plain(unit, models.Customer, "rows", input.rows, "email"), input.on_conflict)
            return answer(dataclasses.asdict(written))

        return await perform(info, InsertCustomersPayload, work)

    @strawberry.mutation(description="Change a customer and the customer's orders.")
    async def update_customer(self, info: Info, input: Input[UpdateCustomerInput]) -> UpdateCustomerPayload:
        async def work(unit: Unit) -> Answer:
            customer = await unit.load(models.Customer, input.id, expected=given(input, "expected_version"))
            await load_orders(unit, customer, given(input, "orders"))
            unit.fill(customer, input)
            await unit.flush()
            return answer(customer=customer)

        return await perform(info, UpdateCustomerPayload, work)

    @strawberry.mutation(
        description="Make a customer, or change the one with this e-mail address. It does not restore an archived one."
    )
    async def upsert_customer(self, info: Info, input: Input[UpsertCustomerInput]) -> UpsertCustomerPayload:
        async def work(unit: Unit) -> Answer:
            (result,) = await upsert_rows(Plain(unit, models.Customer, None, [input], "email"))
            return answer({"created": result.values["created"]}, customer=result.row)

        return await perform(info, UpsertCustomerPayload, work)

    @strawberry.mutation(description="Archive a customer, who then cannot order and is left out of lists.")
    async def archive_customer(self, info: Info, input: Input[ArchiveCustomerInput]) -> ArchiveCustomerPayload:
        return await perform(
            info, ArchiveCustomerPayload, lambda unit: archive(unit, models.Customer, "customer", input, archived=True)
        )

    @strawberry.mutation(description="Bring an archived customer back.")
    async def restore_customer(self, info: Info, input: Input[RestoreCustomerInput]) -> RestoreCustomerPayload:
        return await perform(
            info, RestoreCustomerPayload, lambda unit: archive(unit, models.Customer, "customer", input, archived=False)
        )

    @strawberry.mutation(description="Archive the customers that match a filter, or all of them.")
    async def archive_customers(self, info: Info, input: Input[ArchiveCustomersInput]) -> ArchiveCustomersPayload:
        return await perform(info, ArchiveCustomersPayload, lambda unit: archive_matching(info, unit, models.Customer, input))

    @strawberry.mutation(description="Delete a customer with all orders; PENDING and PAID ones give their stock back.")
    async def delete_customer(self, info: Info, input: Input[DeleteCustomerInput]) -> DeleteCustomerPayload:
        async def work(unit: Unit) -> Answer:
            customer = await unit.load(models.Customer, input.id, expected=given(input, "expected_version"))
            theirs = models.Order.customer_id == customer.id
            order, line = rows(models.Order, SERVER), unit.seen(models.OrderItem)
            orders = sa.select(order.id).where(theirs)
            order_ids = (await unit.session.scalars(orders.order_by(order.id).with_for_update())).all()
            order_ids = await unit.seen_keys(models.Order, order_ids)
            lines = sa.select(line.id).where(line.order_id.in_(orders))
            line_ids = (await unit.session.scalars(lines.order_by(line.id))).all()
            await unit.delete(customer)
            ids = [("Customer", customer.id), *(("Order", id_) for id_ in order_ids), *(("OrderItem", id_) for id_ in line_ids)]
            counts = DeletedWithCustomer(customers=1, orders=len(order_ids), order_items=len(line_ids))
            return answer({"deleted_ids": [global_id(*id_) for id_ in ids], "deleted": counts})

        return await perform(info, DeleteCustomerPayload, work)
