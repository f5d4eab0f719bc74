"""Kinds of databases: one protocol, a module for each, and nobody else asks which one it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from graph.database import Database, capabilities
from graph.database.backends import BACKENDS, SCHEMES
from graph.schema import schema
from tests.engines import Engines
from tests.test_layout import FILES, PACKAGE
from tests.unhurried import unhurried

#: Words that name a kind of database, its driver or its dialect.
NAMES = {"postgresql", "postgres", "asyncpg", "sqlite", "aiosqlite", "sqlite3"}
#: The modules of the kinds, what they alone use, the table of them, and the one that judges errors by their codes.
KINDS = {
    f"database/{name}.py"
    for name in (
        "postgres",
        "server_connections",
        "link",
        "pgbouncer",
        "libpq",
        "tls",
        "sqlite",
        "file_connections",
        "readers",
        "backup",
        "stored",
        "file_limits",
        "backends",
        "failures",
    )
} | {"shops/file_homes.py", "shops/schema_homes.py"}
#: SQL of expressions: types and constructs that are spelled in two ways. What they import of a dialect are its types.
EXPRESSIONS = {"read/sql/constructs.py", "read/sql/bound_lists.py", "texts.py"}
#: How SQLAlchemy is told another spelling for a dialect; only there its name may stand.
SPELLING = {"compiles", "with_variant"}
#: Words of SQL that one kind alone understands.
OWN_WORDS = re.compile(r"\bsqlite_(?:sequence|master|schema)\b|\b(?:json_(?:each|group_array|agg|build_array)|unnest|nextval)\(")
#: What tells the name of a dialect; so does `name` of one.
TELLING = {"dialect_name", "get_backend_name", "get_driver_name", "drivername"}


def questions(source: str) -> Iterator[str]:
    """Where a source asks which kind of database it has."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value).rpartition(".")[2]
            if node.attr in TELLING or (node.attr == "name" and "dialect" in owner.lower()):
                yield f"line {node.lineno}: {ast.unparse(node)}"


def called(node: ast.expr) -> str | None:
    """The name of the function that an expression calls, if it calls one."""
    function = getattr(node, "func", None)
    return getattr(function, "attr", getattr(function, "id", None))


def names(source: str, *, types: bool = False) -> Iterator[str]:
    """Where a source names a kind of database. `types`: it may import a dialect."""
    tree = ast.parse(source)
    told = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node) in SPELLING]
    spelling = {id(argument) for call in told for argument in call.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if (node.value.lower() in NAMES and id(node) not in spelling) or OWN_WORDS.search(node.value):
                yield f"line {node.lineno}: {node.value!r}"
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if NAMES & set(node.name.lower().split("_")) and "compiles" not in map(called, node.decorator_list):
                yield f"line {node.lineno}: {node.name}"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            if NAMES & set(node.id.lower().split("_")):
                yield f"line {node.lineno}: {node.id}"
        elif isinstance(node, ast.Import | ast.ImportFrom) and not types:
            imported = {part for alias in node.names for part in alias.name.split(".")}
            if NAMES & (imported | set((getattr(node, "module", None) or "").split("."))):
                yield f"line {node.lineno}: {ast.unparse(node)}"


def test_code_asks_what_a_database_can_do_and_never_which_it_is() -> None:
    sources = {path: (PACKAGE / path).read_text(encoding="utf-8") for path in FILES if path not in KINDS}
    found = {path: [*questions(source), *names(source, types=path in EXPRESSIONS)] for path, source in sources.items()}
    assert {path: asked for path, asked in found.items() if asked} == {}


def test_migrations_ask_what_a_database_can_do() -> None:
    assert list(questions((PACKAGE.parent / "migrations" / "env.py").read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        'x = 1 if unit.dialect.name == "postgres" else 2',
        "ROOM.get(self.dialect.name)",
        "database.dialect_name",
        "target.url.get_backend_name()",
        'kind != "SQLite"',
        '{"sqlite": 100}',
        "import sqlite3",
        "from sqlalchemy.dialects import postgresql",
        "def f():\n    from sqlalchemy.dialects.postgresql import insert",
        "from asyncpg.exceptions import PostgresError",
        "class Sqlite: ...",
        "POSTGRES, OTHER = texts",
        "def of_sqlite(): ...",
        "LAST = 'SELECT seq FROM sqlite_sequence'",
        "f'SELECT value FROM json_each({n})'",
    ],
)
def test_the_rule_sees_what_it_forbids(source: str) -> None:
    assert [*questions(source), *names(source)]


def test_the_rule_allows_spelling() -> None:
    source = 'T = Text().with_variant(Other(), "sqlite")\n@compiles(Sum, "sqlite")\ndef sum_sqlite(): ...\n"""Told of sqlite."""'
    assert [*questions(source), *names(source)] == []


def test_every_kind_is_found_by_its_urls_and_its_dialect(engines: Engines) -> None:
    url = engines.new("nothing")
    database = Database(unhurried(url))
    assert SCHEMES[url.partition("://")[0]].CAPABILITIES is database.capabilities is capabilities(database.dialect)
    engines.drop(url)
    assert len({id(backend.CAPABILITIES) for backend in BACKENDS.values()}) == len(BACKENDS)


async def test_databases_of_one_kind_and_settings_share_documents_and_plans(engines: Engines) -> None:
    urls = [engines.new("empty"), engines.new("northwind")]
    one, other = (Database(unhurried(url)) for url in urls)
    elsewhere = Database(unhurried(urls[0], max_depth=3))
    try:
        assert schema.engine(one) is schema.engine(one) is schema.engine(other)
        assert schema.engine(elsewhere) is not schema.engine(one)
        query = "{ items(first: 1) { totalCount } }"
        assert (await schema.execute(query, context_value=one)).data == {"items": {"totalCount": 0}}
        before = str(schema.engine(one).counters)
        assert (await schema.execute(query, context_value=other)).data == {"items": {"totalCount": 77}}
        assert str(schema.engine(other).counters) == before
    finally:
        for database in (one, other, elsewhere):
            await database.close()
        for url in urls:
            engines.drop(url)
