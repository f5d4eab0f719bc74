"""The schema: the committed file is the code's, everything in it is described, and changes are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    build_schema,
    is_introspection_type,
    is_specified_directive,
    is_specified_scalar_type,
    validate_schema,
)

from graph.__main__ import changes
from graph.schema import schema

COMMITTED = Path(__file__).parents[1] / "schema.graphql"
TEXT = schema.as_str() + "\n"


def test_the_committed_schema_is_the_codes() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == TEXT, "run `ordergraph schema > schema.graphql` and review the difference"


def test_the_schema_is_valid_by_the_specification() -> None:
    assert validate_schema(build_schema(TEXT)) == []


def test_everything_is_described() -> None:
    built = build_schema(TEXT)
    bare: list[str] = []
    for name, kind in built.type_map.items():
        if is_introspection_type(kind) or is_specified_scalar_type(kind):
            continue
        if not kind.description:
            bare.append(name)
        if isinstance(kind, GraphQLEnumType):
            bare += [f"{name}.{key}" for key, value in kind.values.items() if not value.description]
        elif isinstance(kind, GraphQLInputObjectType):
            bare += [f"{name}.{key}" for key, field in kind.fields.items() if not field.description]
        elif isinstance(kind, (GraphQLObjectType, GraphQLInterfaceType)):
            for key, output in kind.fields.items():
                bare += [f"{name}.{key}"] if not output.description else []
                bare += [f"{name}.{key}({arg}:)" for arg, argument in output.args.items() if not argument.description]
    for directive in built.directives:
        if not is_specified_directive(directive):
            bare += [f"@{directive.name}"] if not directive.description else []
            bare += [f"@{directive.name}({arg}:)" for arg, argument in directive.args.items() if not argument.description]
    assert bare == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "type Query { a: Int }",
            "type Query { b: Int }",
            ["BREAKING: Field Query.a was removed.", "SAFE: Field Query.b was added."],
        ),
        (
            "type Query { a: E } enum E { X }",
            "type Query { a: E } enum E { X Y }",
            ["DANGEROUS: Enum value E.Y was added."],
        ),
        ("type Query { a: Int }", "type Query { a: Int }", []),
    ],
)
def test_changes_are_named_the_breaking_ones_first(before: str, after: str, expected: list[str]) -> None:
    assert changes(before, after) == expected
