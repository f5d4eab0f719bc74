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
#: The rules that are set otherwise, as the recommended sets have them; but lists that are no connections are all over the schema.
AS_RECOMMENDED = """
import graphql from "@graphql-eslint/eslint-plugin";
import configs from "../eslint.config.mjs";

const recommended = graphql.configs["flat/schema-recommended"].rules;
const [ours] = configs;
const [severity, edges] = ours.rules["@graphql-eslint/relay-edge-types"];
const rules = {
  ...ours.rules,
  "@graphql-eslint/naming-convention": recommended["@graphql-eslint/naming-convention"],
  "@graphql-eslint/no-typename-prefix": recommended["@graphql-eslint/no-typename-prefix"],
  "@graphql-eslint/relay-edge-types": [severity, { ...edges, shouldImplementNode: true }],
};
export default [{ ...ours, rules }];
"""
#: What these mind, and docs/clients.md says why it is as it is.
EXCUSED = [
    "Edge type's field `node` must implement `Node` interface",
    *(f'Enum value "{name}" should be in UPPER_CASE format' for name in ("Customer", "Item", "Order", "OrderItem")),
    'Field "orderDate" starts with the name of the parent type "Order"',
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


def test_what_is_set_otherwise_excuses_what_the_page_says_and_nothing_else(workshop: Workshop) -> None:
    folder = workshop.folder / "recommended"
    folder.mkdir()
    (folder / "eslint.config.mjs").write_text(AS_RECOMMENDED, encoding="utf-8")
    shutil.copy(workshop.folder / "schema.graphql", folder)
    with pytest.raises(AssertionError) as refused:
        workshop.tool(*ESLINT, within="recommended")
    found = re.findall(r"^ +(\d+):\d+ +error +(.*?)  ", str(refused.value), re.MULTILINE)
    assert [told for _, told in found] == EXCUSED
    lines = (folder / "schema.graphql").read_text(encoding="utf-8").splitlines()
    assert lines[int(found[0][0]) - 1].startswith("type ChangeEdge")
