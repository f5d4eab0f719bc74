"""The schema: the committed file is the code's, and everything in it is described."""

from __future__ import annotations

import json
from dataclasses import replace
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

from graph.read.types import checks
from graph.read.types.mirror import MIRRORS, MirrorError
from graph.schema import schema

COMMITTED = Path(__file__).parents[1] / "schema.graphql"
VALUE_TYPES = Path(__file__).parent / "clients" / "value-types.json"
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


def object_types() -> dict[str, GraphQLObjectType]:
    """The object types that clients keep: not the roots, not introspection's."""
    built = build_schema(TEXT)
    roots = (built.query_type, built.mutation_type, built.subscription_type)
    return {
        name: kind
        for name, kind in built.type_map.items()
        if isinstance(kind, GraphQLObjectType) and kind not in roots and not is_introspection_type(kind)
    }


def test_only_entities_have_a_field_id() -> None:
    identified = {name for name, kind in object_types().items() if "id" in kind.fields}
    assert identified == {name for name, kind in object_types().items() if "Node" in (each.name for each in kind.interfaces)}
    assert {"Customer", "Item", "Order", "OrderItem"} <= identified
    # A field of an interface is one of every type that implements it.
    interfaces = [kind for kind in build_schema(TEXT).type_map.values() if isinstance(kind, GraphQLInterfaceType)]
    assert [kind.name for kind in interfaces if "id" in kind.fields] == ["Node"]


def test_the_exceptions_of_the_lint_rule_are_the_value_types() -> None:
    exceptions = json.loads(VALUE_TYPES.read_text(encoding="utf-8"))
    types, suffixes = exceptions["types"], tuple(exceptions["suffixes"])
    values = {name for name, kind in object_types().items() if "id" not in kind.fields}
    assert types == sorted(name for name in values if not name.endswith(suffixes))
    assert [suffix for suffix in suffixes if not any(name.endswith(suffix) for name in values)] == []
    assert [name for name in object_types().keys() - values if name.endswith(suffixes)] == []


def test_look_ups_take_every_unique_column_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    built = schema._schema
    by = built.type_map["OrderBy"]
    assert isinstance(by, GraphQLInputObjectType)
    assert sorted(by.fields) == ["id", "number"]
    checks.check(built)
    with monkeypatch.context() as patch:
        patch.delitem(by.fields, "number")
        with pytest.raises(MirrorError, match=r"OrderBy: Order\.number is unique, so 'number' must be one of the keys"):
            checks.check(built)
    with monkeypatch.context() as patch:
        patch.setitem(by.fields, "note", by.fields["number"])
        with pytest.raises(MirrorError, match=r"order\(by: \{note\}\): Order has no unique column that Order\.note shows"):
            checks.check(built)
    with monkeypatch.context() as patch:
        patch.setitem(MIRRORS, "Order", replace(MIRRORS["Order"], sorts=("note",)))
        with pytest.raises(MirrorError, match=r"Order: Order\.number is unique, so 'number' must be in sorts"):
            checks.check(built)
    checks.check(built)
