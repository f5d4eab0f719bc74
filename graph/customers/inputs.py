"""Inputs of customer mutations, and how others point to a customer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from graph.read.types.filter_inputs import generated
from graph.write.batches import OnError
from graph.write.matching import Matching
from graph.write.plain_rows import OnConflict

if TYPE_CHECKING:
    from graph.orders.inputs import CustomerOrdersInput, OrderInput

    CustomerWhere = Any
else:
    CustomerWhere = generated("CustomerWhere")

VERSION = "Refuse the change if the customer is not at this version any more."


@strawberry.input(description="A new customer, with orders if you like.")
class CustomerInput:
    name: str = strawberry.field(description="The name of the person or company, not blank; kept trimmed.")
    email: str = strawberry.field(
        description="The e-mail address: unique, kept in one spelling: trimmed, lower case, the domain in Unicode."
    )
    orders: list[Annotated[OrderInput, strawberry.lazy("graph.orders.inputs")]] = strawberry.field(
        default_factory=list, description="Orders to make with the customer."
    )


@strawberry.input(description="The customer to make, with orders if you like.")
class CreateCustomerInput(CustomerInput):
    pass


@strawberry.input(description="The customers to make.")
class CreateCustomersInput:
    customers: list[CustomerInput] = strawberry.field(description="The customers; each has its result at the same place.")
    on_error: OnError = strawberry.field(default=OnError.ROLLBACK, description="What happens to the others when one is refused.")


@strawberry.input(description="A customer without orders.")
class CustomerRowInput:
    name: str = strawberry.field(description="The name of the person or company, not blank; kept trimmed.")
    email: str = strawberry.field(
        description="The e-mail address: unique, kept in one spelling: trimmed, lower case, the domain in Unicode."
    )


@strawberry.input(description="Many customers at once, without orders.")
class InsertCustomersInput:
    rows: list[CustomerRowInput] = strawberry.field(description="The customers.")
    on_conflict: OnConflict = strawberry.field(
        default=OnConflict.ERROR, description="What happens when an e-mail address is taken."
    )


@strawberry.input(description="The customer to make, or to change if the e-mail address is known.")
class UpsertCustomerInput:
    email: str = strawberry.field(description="The e-mail address, by which the customer is found.")
    name: str = strawberry.field(description="The name of the person or company, not blank; kept trimmed.")


@strawberry.input(description="Points to a customer who is there, or makes one in place.", one_of=True)
class CustomerReference:
    id: strawberry.Maybe[strawberry.ID] = strawberry.field(description="The global id.")
    email: strawberry.Maybe[str] = strawberry.field(description="The e-mail address, in any spelling.")
    create: strawberry.Maybe[CustomerInput] = strawberry.field(description="A new customer.")


@strawberry.input(description="A change of one customer; what is left out stays.")
class UpdateCustomerInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)
    name: strawberry.Maybe[str | None] = strawberry.field(
        description="The name of the person or company, not blank; kept trimmed."
    )
    email: strawberry.Maybe[str | None] = strawberry.field(description="The e-mail address.")
    orders: strawberry.Maybe[Annotated[CustomerOrdersInput, strawberry.lazy("graph.orders.inputs")] | None] = strawberry.field(
        description="Changes of the customer's orders."
    )


@strawberry.input(description="The customer to delete.")
class DeleteCustomerInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)


@strawberry.input(description="The customer to archive.")
class ArchiveCustomerInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)


@strawberry.input(description="The customer to bring back.")
class RestoreCustomerInput:
    id: strawberry.ID = strawberry.field(description="The global id.")
    expected_version: strawberry.Maybe[int | None] = strawberry.field(description=VERSION)


@strawberry.input(description="Which customers to archive.")
class ArchiveCustomersInput(Matching):
    where: strawberry.Maybe[CustomerWhere | None] = strawberry.field(
        description="The customers to archive; archived ones stay as they are."
    )
