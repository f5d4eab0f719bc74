"""The orders of a customer that an input names, loaded before they are changed.

What goes in: the `orders` of `updateCustomer`. What comes out: the customer's collection with those orders and their lines in it,
locked in id order; all of them where the list is replaced.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm.attributes import set_committed_value

from graph.models import Customer, Order
from graph.write.columns import key_in_id
from graph.write.locks import Lock
from graph.write.mutation_inputs import ABSENT, given
from graph.write.unit import Unit


async def load_orders(unit: Unit, customer: Customer, input_: Any) -> None:
    """Load what the input may change."""
    if input_ is ABSENT or input_ is None:
        return
    rows = unit.seen(Order)
    where = [rows.customer_id == customer.id]
    lock = Lock.CHANGE if given(input_, "replace") is ABSENT and not input_.remove else Lock.DELETE
    if given(input_, "replace") in (ABSENT, None):
        named = [entry.id for entry in input_.update] + list(input_.remove)
        keys = {key for key in (key_in_id(Order, id_) for id_ in named) if key is not None}
        if not keys:
            set_committed_value(customer, "orders", [])
            return
        where.append(rows.id.in_(sorted(keys)))
    loaded = await unit.load_all(unit.locked(rows, *where, lock=lock), rows, "items")
    # The rest of the collection stays unknown, and a flush writes only what changes in it.
    set_committed_value(customer, "orders", loaded)
