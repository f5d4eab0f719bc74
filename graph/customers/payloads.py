"""What customer mutations answer."""

from __future__ import annotations

import strawberry

from graph.customers.types import Customer
from graph.write.answers import Payload
from graph.write.batches import EntryResult


@strawberry.type(description="What `createCustomer` answers.")
class CreateCustomerPayload(Payload):
    customer: Customer | None = strawberry.field(default=None, description="The new customer; null if there are errors.")


@strawberry.type(description="What became of one customer of `createCustomers`.")
class CreateCustomerResult(EntryResult):
    customer: Customer | None = strawberry.field(default=None, description="The new customer; null if there are errors.")


@strawberry.type(description="What `createCustomers` answers.")
class CreateCustomersPayload(Payload):
    results: list[CreateCustomerResult] = strawberry.field(default_factory=list, description="One result for each customer sent.")


@strawberry.type(description="What `insertCustomers` answers.")
class InsertCustomersPayload(Payload):
    inserted: int = strawberry.field(default=0, description="How many customers are new.")
    updated: int = strawberry.field(default=0, description="How many were there and took the new values.")
    skipped: int = strawberry.field(default=0, description="How many were left out because their e-mail address was taken.")


@strawberry.type(description="What `updateCustomer` answers.")
class UpdateCustomerPayload(Payload):
    customer: Customer | None = strawberry.field(
        default=None, description="The customer after the change; null if there are errors."
    )


@strawberry.type(description="What `upsertCustomer` answers.")
class UpsertCustomerPayload(Payload):
    customer: Customer | None = strawberry.field(default=None, description="The customer; null if there are errors.")
    created: bool | None = strawberry.field(default=None, description="Whether the customer is new; null if there are errors.")


@strawberry.type(description="What `archiveCustomer` answers.")
class ArchiveCustomerPayload(Payload):
    customer: Customer | None = strawberry.field(default=None, description="The archived customer; null if there are errors.")


@strawberry.type(description="What `restoreCustomer` answers.")
class RestoreCustomerPayload(Payload):
    customer: Customer | None = strawberry.field(
        default=None, description="The customer, no longer archived; null if there are errors."
    )


@strawberry.type(description="What `archiveCustomers` answers.")
class ArchiveCustomersPayload(Payload):
    count: int = strawberry.field(default=0, description="How many customers were archived.")
    ids: list[strawberry.ID] = strawberry.field(default_factory=list, description="The global ids of those customers.")


@strawberry.type(description="How many rows went with a customer.")
class DeletedWithCustomer:
    customers: int = strawberry.field(description="Customers that are gone.")
    orders: int = strawberry.field(description="Orders that are gone.")
    order_items: int = strawberry.field(description="Order lines that are gone.")


@strawberry.type(description="What `deleteCustomer` answers.")
class DeleteCustomerPayload(Payload):
    deleted_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="The global ids of all that is gone: the customer, the orders, their lines."
    )
    deleted: DeletedWithCustomer | None = strawberry.field(default=None, description="How many rows of each type are gone.")
