"""Clients that keep what they were told: Relay, Apollo Client, urql. Each merges pages, shows refusals by field, and sees in its
cache what it changes, what others change and what is deleted; a subscription misses nothing when it loses its connection.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.programs import Workshop

pytestmark = pytest.mark.node

#: Refusals of the input with three faults that the programs send.
FIELDS = {
    "email": "UNIQUE",
    "orders.0.items.0.quantity": "CHECK",
    "orders.0.items.1.item.sku": "REFERENCE_NOT_FOUND",
}
CHANGED = {"before": "AAA", "after": "Aaron", "seen": "while away"}


@pytest.fixture(scope="module")
def relay(workshop: Workshop) -> str:
    """Relay's program, with the artifacts of its compiler in it."""
    workshop.tool("relay-compiler", "relay.config.json", within="relay")
    workshop.tool("vite", "build", "--logLevel", "warn", within="relay")
    return "relay/built/main.js"


def test_apollo_client(workshop: Workshop, address: str) -> None:
    said = workshop.program("apollo/main.js", address)
    # The new customer is there from the first page on, and gone at the end.
    assert (said.pop("sizes"), said.pop("different")) == ([40, 80, 92, 91], 92)
    assert said == {"fields": FIELDS, **CHANGED, "kept": False}


def test_urql_with_graphcache(workshop: Workshop, address: str) -> None:
    said = workshop.program("urql/main.js", address)
    assert (said.pop("sizes"), said.pop("different")) == ([40, 80, 92, 91], 92)
    assert said == {"fields": FIELDS, **CHANGED, "warnings": []}


def test_relay(workshop: Workshop, relay: str, address: str) -> None:
    said: dict[str, Any] = workshop.program(relay, address)
    # The new customer comes into the list that is there, by a directive.
    assert (said.pop("sizes"), said.pop("different")) == ([40, 80, 91, 92, 91], 91)
    assert said == {"fields": FIELDS, **CHANGED, "gone": True}
