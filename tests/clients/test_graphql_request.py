"""graphql-request, with types that graphql-codegen makes and TypeScript holds."""

from __future__ import annotations

import pytest

from tests.clients.programs import Workshop

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def built(workshop: Workshop) -> str:
    """The program, with its types made of the schema, checked and compiled."""
    workshop.tool("graphql-codegen", "--config", "codegen.ts", within="graphql-request")
    workshop.tool("tsc", "--project", "graphql-request")
    return "graphql-request/built/main.js"


def test_requests_are_typed_and_run(workshop: Workshop, built: str, address: str) -> None:
    said = workshop.program(built, address)
    assert [len(page) for page in said["pages"]] == [40, 40, 11]
    assert len({id_ for page in said["pages"] for id_ in page}) == 91
    assert said["fields"] == {
        "email": "UNIQUE",
        "orders.0.items.0.quantity": "CHECK",
        "orders.0.items.1.item.sku": "REFERENCE_NOT_FOUND",
    }
    assert said["same"]
    assert said["dates"] == ["2026-01-31T10:00:00Z"]
    assert said["lines"] == [{"quantity": 3, "lineTotal": "31.50"}]
    assert said["renamed"] == {"name": "Ada Lovelace", "version": 2}
    assert [id_.partition(":")[0] for id_ in said["deleted"]] == ["Customer", "Order", "OrderItem"]
    assert said["thrown"] == {"status": 422, "code": "GRAPHQL_VALIDATION_FAILED"}


def test_every_scalar_has_a_type(workshop: Workshop, built: str) -> None:
    types = (workshop.folder / "graphql-request/generated/schema-types.ts").read_text(encoding="utf-8")
    assert "any" not in types.partition("/** How many pieces")[0].split()
    for scalar in ("BigInt", "Date", "DateTime", "Decimal", "Percent"):
        assert f"  {scalar}: {{ input: string; output: string; }}" in types
