"""What the product uses of libraries that these do not promise to keep, all of it listed, with the versions it was seen in.

That is what is imported from modules that are not in `PUBLIC`, attributes of other objects that begin with an underscore, and
names in `WATCHED`. Rules of tools that are switched off stand in the code, each with its code and its reason.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.test_layout import PACKAGE

ROOT = PACKAGE.parent
SOURCES = sorted([*PACKAGE.rglob("*.py"), ROOT / "migrations" / "env.py"])

#: Modules that a library documents for its users. What is below one is not public with it, but for those that end in a dot.
PUBLIC = {
    "alembic": "alembic alembic.command alembic.config alembic.migration alembic.script alembic.util",
    "aiosqlite": "aiosqlite",
    "asyncpg": "asyncpg asyncpg.exceptions",
    "graphql": "graphql graphql.utilities graphql.validation",
    "markdown_it": "markdown_it markdown_it.token",
    "orjson": "orjson",
    "prometheus_client": "prometheus_client prometheus_client.exposition prometheus_client.multiprocess",
    "sqlalchemy": "sqlalchemy sqlalchemy.dialects. sqlalchemy.engine sqlalchemy.exc sqlalchemy.ext. sqlalchemy.orm."
    " sqlalchemy.pool sqlalchemy.sql sqlalchemy.sql.functions sqlalchemy.types",
    "starlette": "starlette.",
    "strawberry": "strawberry strawberry.annotation strawberry.dataloader strawberry.directive strawberry.schema.config"
    " strawberry.schema_directive"
    " strawberry.tools strawberry.types strawberry.types.info",
    "uvicorn": "uvicorn",
}
DISTRIBUTIONS = {"graphql": "graphql-core", "markdown_it": "markdown-it-py", "strawberry": "strawberry-graphql"}
#: Names without an underscore that are no promise either, and whose they are.
WATCHED = {
    "connection_callable": "sqlalchemy",
    "effective_returning": "sqlalchemy",
    "positiontup": "sqlalchemy",
    "postfetch": "sqlalchemy",
    "prefetch": "sqlalchemy",
    "class_manager": "sqlalchemy",
    "new_instance": "sqlalchemy",
    "committed_state": "sqlalchemy",
    "run_async": "sqlalchemy",
    "strawberry-definition": "strawberry",
}
#: Public methods of named tuples.
NAMED_TUPLES = {"_replace", "_make", "_fields", "_asdict"}
#: Names of the standard library that are documented, underscore and all.
DOCUMENTED = {"_exit"}

#: By library: the versions it was seen in, and each use with the rooms where it is found.
SEEN: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "alembic": (
        ("1.20.1",),
        {
            "._downgrade_revs": "migrate",
            "._repr_type": "migrations",
            "._upgrade_revs": "migrate",
            "alembic.autogenerate.render": "migrations",
            "alembic.runtime.environment.EnvironmentContext": "migrate",
        },
    ),
    "aiosqlite": (
        ("0.22.1",),
        {
            "._conn": "database",
            "._thread": "database",
        },
    ),
    "asyncpg": (
        ("0.32.0",),
        {
            "._transport": "database",
        },
    ),
    "graphql": (
        ("3.3.2",),
        {
            "graphql.execution.collect_fields.FieldDetailsList": "operations read",
            "graphql.execution.collect_fields.FragmentDetails": "operations read",
            "graphql.execution.collect_fields.collect_fields": "operations read",
            "graphql.execution.collect_fields.collect_subfields": "operations read",
            "graphql.execution.get_variable_signature.GraphQLVariableSignature": "operations",
            "graphql.execution.get_variable_signature.get_variable_signature": "operations",
            "graphql.execution.values.VariableValueSource": "operations",
            "graphql.execution.values.VariableValues": "operations read",
            "graphql.execution.values.get_argument_values": "read",
            "graphql.execution.values.get_directive_values": "read",
            "graphql.pyutils.Path": "read",
            "graphql.pyutils.did_you_mean": "operations",
            "graphql.pyutils.suggestion_list": "operations",
            "graphql.utilities.coerce_input_value.coerce_default_value": "operations read",
            "graphql.utilities.coerce_input_value.coerce_input_literal": "read",
            "graphql.validation.rules.variables_in_allowed_position.allowed_variable_usage": "operations",
        },
    ),
    "prometheus_client": (
        ("0.26.0",),
        {
            "._buckets": "serve",
            "._sum": "serve",
        },
    ),
    "sqlalchemy": (
        ("2.1.9",),
        {
            "._create_connection": "database",
            "._dec_overflow": "database",
            "._do_get": "database",
            "._do_return_conn": "database",
            "._inc_overflow": "database",
            "._invalidate_time": "database",
            "._pool": "database",
            "._return_defaults": "database",
            "._start_transaction": "database",
            ".class_manager": "write",
            ".committed_state": "write",
            ".connection_callable": "database",
            ".effective_returning": "database",
            ".new_instance": "write",
            ".positiontup": "database read write",
            ".postfetch": "database",
            ".prefetch": "database",
            ".run_async": "database",
            "sqlalchemy.sql.elements.BinaryExpression": "read",
            "sqlalchemy.sql.elements.ColumnClause": "read",
            "sqlalchemy.util.greenlet_spawn": "database",
        },
    ),
    "strawberry": (
        ("0.341.2",),
        {
            "._schema": "schema",
            ".strawberry-definition": "read schema write",
            "strawberry.execution.optimized_is_awaitable": "operations read",
            "strawberry.schema.schema.StrawberryGraphQLCoreExecutionContext": "read",
            "strawberry.types.arguments.StrawberryArgument": "read",
            "strawberry.types.base.StrawberryList": "feed read write",
            "strawberry.types.base.StrawberryMaybe": "write",
            "strawberry.types.base.StrawberryOptional": "read write",
            "strawberry.types.base.get_object_definition": "read write",
            "strawberry.types.enum.StrawberryEnumDefinition": "read",
            "strawberry.types.enum.has_enum_definition": "read",
            "strawberry.types.field.StrawberryField": "feed read write",
            "strawberry.types.graphql.OperationType": "schema",
            "strawberry.types.lazy_type.LazyType": "feed read write",
            "strawberry.utils.str_converters.to_camel_case": "write",
        },
    ),
    "uvicorn": (
        ("0.54.0",),
        {
            "._should_upgrade": "serve",
            "._start_asgi_task": "serve",
            "._unset_keepalive_if_required": "serve",
            "uvicorn.protocols.http.httptools_impl.HttpToolsProtocol": "serve",
            "uvicorn.protocols.http.httptools_impl.RequestResponseCycle": "serve",
            "uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol": "serve",
        },
    ),
}


def imports(tree: ast.AST) -> Iterator[str]:
    """What is imported from modules that are not public, or under a name that is not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and is_looked_at(node.module):
            for alias in node.names:
                if not is_public(node.module) or alias.name.startswith("_"):
                    yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_looked_at(alias.name) and not is_public(alias.name))


def is_looked_at(module: str) -> bool:
    return module.partition(".")[0] in PUBLIC


def is_public(module: str) -> bool:
    public = PUBLIC[module.partition(".")[0]].split()
    return module in public or any(name.endswith(".") and f"{module}.".startswith(name) for name in public)


def attributes(tree: ast.AST, inherited: dict[str, set[str]]) -> Iterator[str]:
    """Watched names, and private attributes of what is not ours: of other objects, and those that a class inherits."""

    def within(node: ast.AST, of_class: set[str]) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Attribute):
                name = child.attr
                of_self = isinstance(child.value, ast.Name) and child.value.id in ("self", "cls")
                private = name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLES | DOCUMENTED
                if name in WATCHED or (private and (not of_self or name in of_class)):
                    yield f".{name}"
            elif isinstance(child, ast.Constant) and child.value in WATCHED:
                yield f".{child.value}"
            yield from within(child, inherited.get(child.name, set()) if isinstance(child, ast.ClassDef) else of_class)

    yield from within(tree, set())


def private_names(class_: type) -> set[str]:
    """The private names that a class has from libraries: those of their attributes, and those that their code uses."""
    found: set[str] = set()
    for base in class_.__mro__:
        if is_looked_at(base.__module__):
            found |= {name for name in vars(base) if name.startswith("_")}
            for function in vars(base).values():
                names = getattr(getattr(function, "__code__", None), "co_names", ())
                found |= {name for name in names if name.startswith("_")}
    return found


def uses(path: Path) -> set[str]:
    """What a module uses that is not promised."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inherited: dict[str, set[str]] = {}
    if path.is_relative_to(PACKAGE):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
        classes = [
            member for member in vars(module).values() if isinstance(member, type) and member.__module__ == module.__name__
        ]
        inherited = {class_.__name__: private_names(class_) for class_ in classes}
    return {*imports(tree), *attributes(tree, inherited)}


def found() -> dict[str, str]:
    """All uses, with the rooms where they are found."""
    rooms: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        parts = path.relative_to(ROOT).parts
        room = parts[1].removesuffix(".py") if parts[0] == "graph" else parts[0]
        for use in uses(path):
            rooms[use].add(room)
    return {use: " ".join(sorted(names)) for use, names in sorted(rooms.items())}


def test_every_use_of_what_is_not_promised_is_listed() -> None:
    listed = {use: rooms for _, of_library in SEEN.values() for use, rooms in of_library.items()}
    now = found()
    new = {use: rooms for use, rooms in now.items() if listed.get(use) != rooms}
    assert not new, f"not listed in SEEN with these rooms: {new}; use what is documented, or list what you looked at"
    assert not listed.keys() - now.keys(), f"listed in SEEN and used no more: {listed.keys() - now.keys()}"
    assert not {f".{name}" for name in WATCHED} - now.keys(), "watched for nothing"


@pytest.mark.parametrize("library", SEEN)
def test_every_library_has_a_version_that_was_looked_at(library: str) -> None:
    distribution = DISTRIBUTIONS.get(library, library)
    versions, of_library = SEEN[library]
    assert version(distribution) in versions, (
        f"{distribution} {version(distribution)} was not looked at. Read in its source what became of "
        f"{', '.join(of_library)}, run all tests, then add the version in {Path(__file__).name}."
    )


@pytest.mark.parametrize(
    "source",
    [
        "from graphql.execution.execute import ExecutionContext",
        "import sqlalchemy.util.langhelpers",
        "from sqlalchemy import _typing",
        "from strawberry.types.base import StrawberryList",
        "x = schema._schema",
        "class Pool:\n    def f(self):\n        self._invalidate_time = 1",
        "row = mapper.class_manager.new_instance()",
        'd = type_.extensions["strawberry-definition"]',
    ],
)
def test_the_scan_sees_what_it_is_for(source: str) -> None:
    tree = ast.parse(source)
    assert [*imports(tree), *attributes(tree, {"Pool": {"_invalidate_time"}})]


def test_the_scan_lets_pass_what_is_promised_or_our_own() -> None:
    source = """
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.routing import Route
from graph.write._private import thing
class Own:
    def f(self):
        return self._mine, self.pair._replace(one=1), self.__dict__
"""
    tree = ast.parse(source)
    assert [*imports(tree), *attributes(tree, {})] == []


# ---- exceptions to the rules of tools

EXCEPTION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma|fmt:|ruff:|mypy:)", re.IGNORECASE)
REASONED = re.compile(r"(# (noqa: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*|type: ignore\[[a-z, -]+\])  )+# \S+ \S.*")


def unreasoned(source: str) -> list[str]:
    """Comments that switch a rule off without its code, or without a reason behind it."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token for token in tokens if token.type == tokenize.COMMENT and EXCEPTION.search(token.string)]
    return [f"line {token.start[0]}: {token.string}" for token in comments if not REASONED.fullmatch(token.string)]


EVERY = sorted(path for room in ("graph", "migrations", "tests") for path in (ROOT / room).rglob("*.py"))


def test_who_switches_a_rule_off_says_which_and_why() -> None:
    found = {str(path.relative_to(ROOT)): unreasoned(path.read_text(encoding="utf-8")) for path in EVERY}
    assert {path: comments for path, comments in found.items() if comments} == {}


@pytest.mark.parametrize(
    "comment", ["noqa", "noqa: S101", "type: ignore", "type: ignore[misc]", "type: ignore  # it is so", "NOQA"]
)
def test_the_rule_sees_what_is_not_reasoned(comment: str) -> None:
    assert unreasoned(f"x = 1  # {comment}\n")
    assert not unreasoned("x = 1  # type: ignore[misc]  # noqa: S101, A002  # both are wrong here\n")
