"""gql, Python's client: over HTTP and a WebSocket; event streams by httpx2, since gql has no transport for them.

What goes in: the address of a server. What comes out: one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx2
from gql import Client, GraphQLRequest, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport
from gql.utilities import update_schema_scalars
from graphql import GraphQLScalarType

PAGE = gql("""
  query Page($after: String) {
    orders(first: 100, after: $after, where: {orderDate: {lt: "2000-01-01T00:00:00Z"}}) {
      nodes { id totalAmount orderDate }
      pageInfo { hasNextPage endCursor }
    }
  }
""")
CREATE = gql("""
  mutation Create($input: CreateCustomerInput!, $key: String!) {
    createCustomer(input: $input) @idempotent(key: $key) {
      customer { id orders(first: 5) { nodes { id } } }
      errors { code message path }
    }
  }
""")
RENAME = gql(
    "mutation ($id: ID!, $name: String!) { updateCustomer(input: {id: $id, name: $name}) { customer { name version } } }"
)
DELETE = gql("mutation ($id: ID!) { deleteCustomer(input: {id: $id}) { deletedIds } }")
NOTE = gql("mutation ($id: ID!, $note: String!) { updateOrder(input: {id: $id, note: $note}) { errors { code } } }")
LAST_CURSOR = gql("{ changes(last: 1) { nodes { cursor } } }")
ORDER_CHANGED = """
  subscription ($customer: ID!, $after: String) {
    orderChanged(customer: $customer, after: $after) { cursor order { note } }
  }
"""

# Money becomes a Decimal and a time a datetime, never a float.
SCALARS = [
    GraphQLScalarType("Decimal", serialize=str, parse_value=Decimal),
    GraphQLScalarType("DateTime", serialize=datetime.isoformat, parse_value=datetime.fromisoformat),
]

Events = AsyncGenerator[dict[str, Any], None]


async def by_socket(url: str, variables: dict[str, Any]) -> Events:
    """The events of a subscription by a WebSocket. The cursor of the last one is left in the variables."""
    async with Client(transport=WebsocketsTransport(url.replace("http", "ws"))) as session:
        async for data in session.subscribe(GraphQLRequest(ORDER_CHANGED, variable_values=variables)):
            variables["after"] = data["orderChanged"]["cursor"]
            yield data["orderChanged"]


async def by_stream(url: str, variables: dict[str, Any]) -> Events:
    """The same by an event stream."""
    body = {"query": ORDER_CHANGED, "variables": variables}
    async with httpx2.AsyncClient(timeout=None) as client, client.sse(url, method="POST", json=body) as events:
        async for event in events:
            if event.event == "next":
                variables["after"] = event.id
                yield json.loads(event.data)["data"]["orderChanged"]


async def main(url: str) -> dict[str, Any]:
    """What the client does and is told."""
    transport = HTTPXAsyncTransport(url)
    async with Client(transport=transport, fetch_schema_from_transport=True, parse_results=True) as session:
        update_schema_scalars(session.client.schema, SCALARS)

        async def ask(document: GraphQLRequest, **variables: Any) -> dict[str, Any]:
            answer: dict[str, Any] = await session.execute(GraphQLRequest(document, variable_values=variables))
            return answer

        pages: list[list[dict[str, Any]]] = []
        page: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
        while page["hasNextPage"] and len(pages) < 20:
            orders = (await ask(PAGE, after=page["endCursor"]))["orders"]
            pages.append(orders["nodes"])
            page = orders["pageInfo"]
        rows = [order for nodes in pages for order in nodes]

        line = {"item": {"sku": "NW-1"}, "quantity": 1}
        wrong = {"name": "Ada", "email": "alfki@northwind.example", "orders": [{"items": [{**line, "quantity": 0}]}]}
        refused = (await ask(CREATE, input=wrong, key=str(uuid.uuid4())))["createCustomer"]
        right = {"name": "Ada", "email": "ada@gql.example", "orders": [{"items": [line]}]}
        customer = (await ask(CREATE, input=right, key=str(uuid.uuid4())))["createCustomer"]["customer"]
        order = customer["orders"]["nodes"][0]["id"]
        renamed = (await ask(RENAME, id=customer["id"], name="Ada Lovelace"))["updateCustomer"]["customer"]

        # Each subscription goes on where the one before was left: nothing is lost in between.
        told = []
        variables = {"customer": customer["id"], "after": (await ask(LAST_CURSOR))["changes"]["nodes"][0]["cursor"]}
        for number, follow in enumerate([by_socket, by_socket, by_stream, by_stream]):
            await ask(NOTE, id=order, note=f"note {number}")
            async with aclosing(follow(url, variables)) as events:
                told.append((await anext(events))["order"]["note"])

        deleted = (await ask(DELETE, id=customer["id"]))["deleteCustomer"]["deletedIds"]
        try:
            await ask(PAGE, after="no cursor")
        except TransportQueryError as error:
            thrown = error.errors[0]["extensions"]["code"] if error.errors else None
    return {
        "pages": [len(nodes) for nodes in pages],
        "different": len({order["id"] for order in rows}),
        "total": str(sum(order["totalAmount"] for order in rows)),
        "years": sorted({order["orderDate"].year for order in rows}),
        "fields": {".".join(error["path"][1:]): error["code"] for error in refused["errors"]},
        "renamed": renamed,
        "told": told,
        "thrown": thrown,
        "deleted": [id_.partition(":")[0] for id_ in deleted],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(f"{sys.argv[1]}/graphql"))))
