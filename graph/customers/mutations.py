"""Mutations of customers."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

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
from graph.write.bulk import seen_below
from graph.write.locks import Lock, for_input, locked
from graph.write.mutation_inputs import given
from graph.write.plain_rows import Plain, insert_rows
from graph.write.resolvers import mutation
from graph.write.soft_delete import archive, archive_matching
from graph.write.unit import Unit
from graph.write.upserts import upsert_rows


@mutation("Make a customer, with orders and their lines, in one piece.", scope="write")
async def create_customer(unit: Unit, input: CreateCustomerInput) -> Answer[CreateCustomerPayload]:
    customer = unit.create(models.Customer, input)
    await unit.insert(customer)
    return answer(customer=customer)


@mutation("Make several customers, with orders and their lines.", scope="write")
async def create_customers(unit: Unit, input: CreateCustomersInput) -> Answer[CreateCustomersPayload]:
    return await create_all(unit, models.Customer, "customers", input.customers, input.on_error)


@mutation("Insert many customers fast, up to 10,000, in one transaction.", scope="admin")
async def insert_customers(unit: Unit, input: InsertCustomersInput) -> Answer[InsertCustomersPayload]:
    written = await insert_rows(Plain(unit, models.Customer, "rows", input.rows, "email"), input.on_conflict)
    return answer(dataclasses.asdict(written))


@mutation("Change a customer and the customer's orders.", scope="write")
async def update_customer(unit: Unit, input: UpdateCustomerInput) -> Answer[UpdateCustomerPayload]:
    lock = for_input(models.Customer, input)
    customer = await unit.load(models.Customer, input.id, expected=given(input, "expected_version"), lock=lock)
    await load_orders(unit, customer, given(input, "orders"))
    unit.fill(customer, input)
    await unit.flush()
    return answer(customer=customer)


@mutation("Make a customer, or change the one with this e-mail address. It does not restore an archived one.", scope="write")
async def upsert_customer(unit: Unit, input: UpsertCustomerInput) -> Answer[UpsertCustomerPayload]:
    (result,) = await upsert_rows(Plain(unit, models.Customer, None, [input], "email"))
    return answer({"created": result.values["created"]}, customer=result.row)


@mutation("Archive a customer, who then cannot order and is left out of lists.", scope="admin")
async def archive_customer(unit: Unit, input: ArchiveCustomerInput) -> Answer[ArchiveCustomerPayload]:
    return await archive(unit, models.Customer, "customer", input, archived=True)


@mutation("Bring an archived customer back.", scope="admin")
async def restore_customer(unit: Unit, input: RestoreCustomerInput) -> Answer[RestoreCustomerPayload]:
    return await archive(unit, models.Customer, "customer", input, archived=False)


@mutation("Archive the customers that match a filter, or all of them.", scope="admin")
async def archive_customers(unit: Unit, input: ArchiveCustomersInput) -> Answer[ArchiveCustomersPayload]:
    return await archive_matching(unit, models.Customer, input)


@mutation("Delete a customer with all orders; PENDING and PAID ones give their stock back.", scope="admin", unbound=True)
async def delete_customer(unit: Unit, input: DeleteCustomerInput) -> Answer[DeleteCustomerPayload]:
    customer = await unit.load(models.Customer, input.id, expected=given(input, "expected_version"), lock=Lock.DELETE)
    order = rows(models.Order, SERVER)
    theirs = sa.select(order.id).where(order.customer_id == customer.id)
    locked_ids = (await unit.session.scalars(locked(theirs, order, Lock.DELETE))).all()
    order_ids = await unit.seen_keys(models.Order, locked_ids)
    line_ids = await seen_below(unit, models.OrderItem.order_id, locked_ids) if locked_ids else []
    await unit.delete(customer)
    ids = [("Customer", customer.id), *(("Order", id_) for id_ in order_ids), *(("OrderItem", id_) for id_ in line_ids)]
    counts = DeletedWithCustomer(customers=1, orders=len(order_ids), order_items=len(line_ids))
    return answer({"deleted_ids": [global_id(*id_) for id_ in ids], "deleted": counts})


MUTATIONS = (
    create_customer,
    create_customers,
    insert_customers,
    update_customer,
    upsert_customer,
    archive_customer,
    restore_customer,
    archive_customers,
    delete_customer,
)
