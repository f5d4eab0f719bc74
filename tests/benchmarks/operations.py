"""The operations that are measured: a document for the project, and for both servers the values of one request.

What goes in: a source of chance. What comes out: variables for the project, and arguments for the LIMIT server's statement of
the same name.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.benchmarks import data
from tests.benchmarks.statements import POSTGRESQL, SQLITE

Pair = tuple[dict[str, Any], list[Any]]


@dataclass(frozen=True)
class Facts:
    """What the values are drawn from: sizes, and for some orders (by date) id, date and the cursor after them."""

    orders: int
    customers: int
    items: int
    places: list[tuple[int, str, str]]


@dataclass(frozen=True)
class Operation:
    """`values` makes the project's variables and LIMIT's arguments. A write is sent once with the same values."""

    name: str
    query: str
    values: Callable[[random.Random, Facts, str], Pair]
    writes: bool = False


ORDER = "id orderDate status totalAmount"
LINES = "items{quantity pricePaid item{name price}}"
CUSTOMER = "customer{name email}"
PAGE = "pageInfo{hasNextPage endCursor}"
EVERY_DATE = "orderBy:[{field:ORDER_DATE}]"


def _order(chance: random.Random, facts: Facts, _: str) -> Pair:
    key = chance.randint(1, facts.orders)
    return {"id": f"Order:{key}"}, [key]


def _nothing(chance: random.Random, facts: Facts, _: str) -> Pair:
    return {}, []


def _month(chance: random.Random, facts: Facts, _: str) -> Pair:
    start = data.EPOCH + timedelta(days=chance.randrange(data.DAYS - 31))
    times = [text(start), text(start + timedelta(days=30))]
    return {"from": times[0], "to": times[1]}, times


def _customer(chance: random.Random, facts: Facts, _: str) -> Pair:
    key = chance.randint(1, facts.customers)
    return {"id": f"Customer:{key}"}, [key]


def _costly(chance: random.Random, facts: Facts, _: str) -> Pair:
    status, cents = chance.choice(data.STATUSES), chance.randrange(1_000_00, 10_000_00)
    return {"status": status, "least": f"{cents // 100}.{cents % 100:02}"}, [status, cents]


def _place(chance: random.Random, facts: Facts, _: str) -> Pair:
    key, date, cursor = chance.choice(facts.places)
    return {"after": cursor}, [date, key]


def _everything(chance: random.Random, facts: Facts, _: str) -> Pair:
    key, date, cursor = chance.choice(facts.places)
    status, middle = chance.choice(data.STATUSES), datetime.fromisoformat(date)
    start, end = text(middle - timedelta(days=60)), text(middle + timedelta(days=120))
    return {"after": cursor, "status": status, "from": start, "to": end}, [date, key, status, start, end]


def _new(chance: random.Random, facts: Facts, unique: str) -> Pair:
    items = [chance.randint(1, facts.items) for _ in range(3)]
    email, date, quantities = f"{unique}@example.org", text(data.EPOCH), [1, 2, 3]
    lines = [{"item": {"id": f"Item:{i}"}, "quantity": q} for i, q in zip(items, quantities, strict=True)]
    given = {"name": "Load", "email": email, "orders": [{"orderDate": date, "items": lines}]}
    return {"input": given}, ["Load", email, date, items, quantities]


def text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


OPERATIONS = (
    Operation("order by id", f"query($id:ID!){{order(by:{{id:$id}}){{{ORDER}}}}}", _order),
    Operation("page of 50", f"{{orders(first:50){{nodes{{{ORDER}}}}}}}", _nothing),
    Operation(
        "20 nested orders",
        f"query($from:DateTime!,$to:DateTime!){{orders(first:20,where:{{orderDate:{{gte:$from,lt:$to}}}},{EVERY_DATE})"
        f"{{nodes{{{ORDER} {CUSTOMER} {LINES}}}}}}}",
        _month,
    ),
    Operation(
        "deep customer",
        f"query($id:ID!){{customer(by:{{id:$id}}){{id name orders(first:100){{nodes{{{ORDER} {LINES}}}}}}}}}",
        _customer,
    ),
    Operation("1,000 orders with items", "{orders(first:1000){nodes{id items{quantity pricePaid}}}}", _nothing),
    Operation(
        "where, orderBy",
        "query($status:OrderStatus!,$least:Decimal!){orders(first:20,where:{status:{eq:$status},totalAmount:{gte:$least}},"
        f"orderBy:[{{field:TOTAL_AMOUNT,direction:DESC}}]){{nodes{{{ORDER} {CUSTOMER}}}}}}}",
        _costly,
    ),
    Operation(
        "totalCount",
        f"query($id:ID!){{orders(first:20,where:{{customer:{{id:{{eq:$id}}}}}}){{totalCount {PAGE} nodes{{{ORDER}}}}}}}",
        _customer,
    ),
    Operation(
        "after",
        f"query($after:String!){{orders(first:50,after:$after,{EVERY_DATE}){{{PAGE} nodes{{{ORDER}}}}}}}",
        _place,
    ),
    Operation(
        "all of these",
        "query($after:String!,$status:OrderStatus!,$from:DateTime!,$to:DateTime!){orders(first:50,after:$after,"
        f"where:{{status:{{eq:$status}},orderDate:{{gte:$from,lt:$to}}}},{EVERY_DATE})"
        f"{{totalCount {PAGE} nodes{{{ORDER} {CUSTOMER}}}}}}}",
        _everything,
    ),
    Operation(
        "nested create",
        "mutation($input:CreateCustomerInput!){createCustomer(input:$input){customer{id orders(first:10){nodes{id items{id}}}}}}",
        _new,
        writes=True,
    ),
)

assert {operation.name for operation in OPERATIONS} == POSTGRESQL.keys() >= SQLITE.keys()
