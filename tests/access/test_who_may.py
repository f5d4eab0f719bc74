"""The table of docs/access.md: who may do what, as the schema declares it.

`pytest tests/access/test_who_may.py --update-golden` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, GraphQLObjectType, get_named_type

from graph.read.types.mirror import MIRRORS
from graph.read.types.permissions import is_unbound, root_types, scope_of, sendable
from graph.schema import schema
from graph.scope import IMPLIED
from tests.written import DOCS, held

SDL: Any = schema._schema


def roots() -> Iterator[str]:
    """A line for each scope and kind of root: those that everybody with it has, and those that are for no bound viewer."""
    for scope in IMPLIED:
        for type_ in root_types(SDL):
            for unbound in (False, True):
                names = [name for name, field in type_.fields.items() if (scope_of(field), is_unbound(field)) == (scope, unbound)]
                if names:
                    listed = ", ".join(f"`{name}`" for name in sorted(names))
                    yield f"| `{scope}` | {type_.name} | {'no' if unbound else 'yes'} | {listed} |"


def not_sent() -> Iterator[str]:
    """A line for each input with fields of which bound viewers may not send all, where they may send the input at all."""
    reached = inputs_of(SDL.mutation_type)
    for name in sorted(reached):
        fields = {each: sendable(field) for each, field in SDL.type_map[name].fields.items()}
        said = [
            f"`{each}`" + (f" but {', '.join(sorted(values))}" if values else "")
            for each, values in sorted(fields.items())
            if values is not None
        ]
        if said:
            yield f"| `{name}` | {', '.join(said)} |"


def inputs_of(mutations: GraphQLObjectType) -> set[str]:
    """The inputs that lead from the mutations which are for everybody."""
    waiting = [get_named_type(a.type) for f in mutations.fields.values() if not is_unbound(f) for a in f.args.values()]
    found: set[str] = set()
    while waiting:
        type_ = waiting.pop()
        if isinstance(type_, GraphQLInputObjectType) and type_.name not in found:
            found.add(type_.name)
            waiting += [get_named_type(field.type) for field in type_.fields.values()]
    return found


def untold() -> Iterator[str]:
    for mirror in MIRRORS.values():
        for name, attribute in sorted(mirror.attributes.items()):
            if attribute in mirror.untold:
                yield f"`{mirror.name}.{name}`"


def table() -> str:
    return "\n".join(
        [
            "| Scope | Root | For viewers who belong to a customer | Fields |",
            "|---|---|---|---|",
            *roots(),
            "",
            "| Input | What viewers who belong to a customer may not send of it |",
            "|---|---|",
            *not_sent(),
            "",
            f"They are told null for {', '.join(untold())}.",
            "",
        ]
    )


def test_the_docs_say_who_may_do_what(request: pytest.FixtureRequest) -> None:
    held(request, DOCS / "access.md", "who may do what", table())


def test_the_table_names_every_root_field() -> None:
    fields = {name for type_ in root_types(SDL) for name in type_.fields}
    assert all(f"`{name}`" in table() for name in fields)
