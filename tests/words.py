"""Short words for tests of writes: make, change, refuse, and what must be true of the shop afterwards.

What goes in: an `Ask`. What comes out: the payload of a mutation, its errors in short form.
"""

from __future__ import annotations

from typing import Any

from tests.conftest import Ask

#: Every field of every error, so that a test compares whole errors.
ERRORS = """
errors {
  __typename code message path retryable
  ... on UniqueError { constraint fields existing { __typename id } }
  ... on ReferenceNotFoundError { constraint targetType key }
  ... on StillReferencedError { count byType { type count } }
  ... on CheckError { constraint minimum maximum }
  ... on RequiredError { constraint }
  ... on NotFoundError { type missingId }
  ... on StaleVersionError { expected actual current { id ... on Order { version } } }
  ... on NotEditableError { status }
  ... on TransitionError { from to allowed }
  ... on ArchivedError { node { id __typename } }
  ... on StockError { requested available }
  ... on ForbiddenError { type }
  ... on IdempotencyError { key }
  ... on InvalidInputError { reason }
}
"""

ORDER = "{ id version number status subtotal discount totalAmount note items { id position quantity pricePaid item { id sku } } }"
CUSTOMER = "{ id version name email orders { nodes " + ORDER + " } }"
ITEM = "{ id version sku name price stock }"


async def mutate(ask: Ask, field: str, input_: dict[str, Any], selection: str = "") -> dict[str, Any]:
    """The payload of one mutation. A GraphQL error fails the test."""
    type_ = f"{field[0].upper()}{field[1:]}Input"
    answer = await ask(f"mutation ($input: {type_}!) {{ {field}(input: $input) {{ {selection} {ERRORS} }} }}", {"input": input_})
    assert "errors" not in answer, answer
    payload: dict[str, Any] = answer["data"][field]
    return payload


async def done(ask: Ask, field: str, input_: dict[str, Any], selection: str = "") -> dict[str, Any]:
    """The payload of a mutation that must succeed."""
    payload = await mutate(ask, field, input_, selection)
    assert payload["errors"] == [], payload
    return payload


async def refusals(ask: Ask, field: str, input_: dict[str, Any]) -> list[tuple[str, str]]:
    """Code and path, dots between, of every error of a mutation that must be refused."""
    payload = await mutate(ask, field, input_)
    return [(error["code"], ".".join(error["path"])) for error in payload["errors"]]


async def count(ask: Ask) -> tuple[int, int, int]:
    """How many customers, orders and items there are."""
    answer = await ask("{ customers { totalCount } orders { totalCount } items { totalCount } }")
    return tuple(answer["data"][name]["totalCount"] for name in ("customers", "orders", "items"))


def codes(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """Code and path of every error of a payload or of an entry of its results."""
    return [(error["code"], ".".join(error["path"])) for error in payload["errors"]]


async def stocks(ask: Ask) -> dict[str, int | None]:
    """The stock of every item by sku."""
    answer = await ask("{ items(where: {or: [{archived: {eq: true}}, {archived: {eq: false}}]}) { nodes { sku stock } } }")
    return {item["sku"]: item["stock"] for item in answer["data"]["items"]["nodes"]}


def code(answer: dict[str, Any]) -> str:
    """The code of a request that was refused for one reason."""
    (error,) = answer["errors"]
    assert "data" not in answer
    return str(error["extensions"]["code"])
