"""The rules of @graphql-eslint hold for the schema."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.clients.programs import Workshop

pytestmark = pytest.mark.node

ESLINT = ("eslint", "--config", "eslint.config.mjs", "schema.graphql")
#: What is right in the schema, what would be wrong instead, and the rule that says so.
SPOILT = [
    ("  hasNextPage: Boolean!", "  hasNextPage: Boolean", "relay-page-info"),
    ("  edges: [ItemEdge!]!", "  edges: ItemEdge!", "relay-connection-types"),
    ("  cursor: String!\n", "  cursor: [String!]!\n", "relay-edge-types"),
    ("  after: String\n", "  after: [String!]\n", "relay-arguments"),
    ("  totalSpent: Decimal!", "  total_spent: Decimal!", "naming-convention"),
    ('  """The global id."""\n', "", "require-description"),
    ("ReferenceCount", "CountedReference", "strict-id-in-types"),
]


def test_the_rules_hold_for_the_schema(workshop: Workshop) -> None:
    workshop.tool(*ESLINT)


def test_the_rules_see_what_they_forbid(workshop: Workshop) -> None:
    folder = workshop.folder / "spoilt"
    folder.mkdir()
    for name in ("eslint.config.mjs", "value-types.json"):
        shutil.copy(workshop.folder / name, folder)
    text = (workshop.folder / "schema.graphql").read_text(encoding="utf-8")
    for right, wrong, _ in SPOILT:
        assert right in text
        text = text.replace(right, wrong)
    (folder / "schema.graphql").write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError) as refused:
        workshop.tool(*ESLINT, within="spoilt")
    assert set(re.findall("@graphql-eslint/([a-z-]+)", str(refused.value))) == {rule for _, _, rule in SPOILT}
