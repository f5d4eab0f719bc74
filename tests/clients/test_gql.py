"""gql, Python's client, over HTTP, a WebSocket and an event stream."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

from tests.clients.programs import HERE, run

pytestmark = pytest.mark.node


def test_gql(address: str) -> None:
    if importlib.util.find_spec("gql") is None:
        raise RuntimeError(
            "this test needs what tests/clients/requirements.txt names: `pip install -r` installs it, as .ci/run does"
        )
    said = json.loads(run(HERE, sys.executable, "gql/main.py", address))
    assert said == {
        "pages": [100] * 8 + [30],
        "different": 830,
        "total": "1265792.83",
        "years": [1996, 1997, 1998],
        "fields": {"email": "UNIQUE", "orders.0.items.0.quantity": "CHECK"},
        "renamed": {"name": "Ada Lovelace", "version": 2},
        "told": ["note 0", "note 1", "note 2", "note 3"],
        "thrown": "BAD_USER_INPUT",
        "deleted": ["Customer", "Order", "OrderItem"],
    }
