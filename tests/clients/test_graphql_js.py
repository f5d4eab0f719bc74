"""graphql-js 17, which newer clients are built on, reads the schema."""

from __future__ import annotations

import pytest

from tests.clients.programs import Workshop

pytestmark = pytest.mark.node


def test_the_schema_is_the_same_as_text_and_by_introspection(workshop: Workshop, address: str) -> None:
    said = workshop.program("graphql-js/main.js", address)
    assert said.pop("version").startswith("17.")
    oneof, field = said.pop("messages")
    assert oneof.startswith('Within OneOf Input Object type "CustomerBy", exactly one field must be specified')
    assert field == 'Cannot query field "shoeSize" on type "Customer".'
    assert said == {
        "invalid": 0,
        "same": True,
        "good": 0,
        "answer": {"data": {"items": {"nodes": [{"sku": "NW-1", "price": "18.00"}]}}},
    }
