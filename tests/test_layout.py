"""The floors of the house: a module imports from its own floor or from those below it, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from graph import models
from graph.base import Base

PACKAGE = Path(__file__).parents[1] / "graph"

#: What each room may import besides itself (a room is a module or a folder directly in `graph/`). What is not listed
#: here is a domain.
ROOMS: dict[str, set[str]] = {
    "currencies": set(),
    "settings": {"currencies"},
    "environment": {"settings", "currencies"},
    "observations": set(),
    "texts": set(),
    "base": {"texts"},
    "scope": set(),
    "sums": set(),
    "models": {"base", "scope", "sums", "texts"},
    "database": {"settings", "observations", "base"},
    "context": {"settings", "database", "scope"},
    "migrate": {"database"},
    "read": {"settings", "environment", "base", "scope", "sums", "texts", "database", "context"},
    "write": {"settings", "observations", "base", "scope", "texts", "database", "context", "read"},
    "feed": {"settings", "base", "scope", "texts", "database", "context", "read", "write"},
    "operations": {"settings", "observations", "base", "scope", "database", "context", "read", "feed"},
    "access": {"settings", "base", "scope", "texts", "models", "database", "read", "operations"},
    "stock": {"read", "scope", "write"},
    "sample": {"settings", "base", "database", "models", "write", "feed"},
    "exchange": {"base", "scope", "texts", "database", "context", "models", "settings"}
    | {
        *("read", "write", "operations", "stock", "orders"),
    },
    "shops": {"settings", "base", "texts", "database", "migrate", "operations"},
    "comparison": set(),
    "commands": {
        *("settings", "environment", "database", "context", "migrate", "sample", "read", "write", "feed", "operations"),
        *("schema", "serve", "access", "comparison", "exchange", "shops"),
    },
    "__main__": {"commands"},
}
#: The rooms of `read`, and what each may import of it besides itself: what a type shows, what is asked, how it is written in SQL,
#: what mutations answer with.
READ: dict[str, set[str]] = {
    "refusals": set(),
    "rows": set(),
    "types": {"refusals", "rows"},
    "planning": {"refusals", "types"},
    "sql": {"refusals", "rows", "types", "planning"},
    "payloads": {"refusals", "rows", "types", "planning", "sql"},
}
DOMAIN = {"settings", "base", "scope", "sums", "texts", "database", "context", "models", "read", "write", "feed", "stock"}
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


@cache
def source_of(path: str) -> str:
    return (PACKAGE / path).read_text(encoding="utf-8")


@cache
def parsed(source: str) -> ast.Module:
    return ast.parse(source)


def tree_of(path: str) -> ast.Module:
    return parsed(source_of(path))


def room_of(path: str) -> str:
    return path.partition("/")[0].removesuffix(".py")


@cache
def domains() -> frozenset[str]:
    """The rooms that declare GraphQL types of their own: every one that no rule above or below names."""
    return frozenset({room_of(path) for path in FILES} - ROOMS.keys() - {"__init__", "schema", "serve"})


def allowed(room: str) -> set[str]:
    if room == "schema":
        return DOMAIN | domains() | {"operations", "feed", "access"}
    if room == "serve":
        above = {"access", "environment", "schema", "migrate", "shops"}
        return above | {"settings", "observations", "database", "context", "read", "write", "feed", "operations"}
    return ROOMS.get(room, DOMAIN)


def test_the_picture_of_the_rooms_shows_all_of_them_and_none_below_what_it_imports() -> None:
    page = (PACKAGE.parent / "docs/architecture.md").read_text(encoding="utf-8")
    (picture,) = (block for block in re.findall(r"^```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "__main__.py" in block)
    floors = {
        room: floor for floor, line in enumerate(picture.splitlines()) for room in re.findall(r"(\w+)(?:/|\.py)", line)
    }  # counted from the roof
    own = domains() - floors.keys()  # those of whoever adds entities, beside the others
    assert floors.keys() == {room_of(path) for path in FILES} - {"__init__"} - own
    assert {"archive", "catalog", "customers", "orders"} <= floors.keys()
    assert [(room, below) for room in floors for below in allowed(room) - own if floors[below] < floors[room]] == []


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: not what stands under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from runtime_nodes(node)


def imports(source: str, within: str = "graph") -> set[str]:
    """The rooms of this package, or of one of its rooms, that a source imports when it runs, early or late."""
    found: set[str] = set()
    for node in runtime_nodes(parsed(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            if node.module == within:
                found |= {f"{within}.{alias.name}" for alias in node.names}
            elif node.module:
                found.add(node.module)
    return {name.removeprefix(f"{within}.").partition(".")[0] for name in found if name.startswith(f"{within}.")}


def test_a_module_imports_only_downwards() -> None:
    upwards = {path: imports(source_of(path)) - allowed(room_of(path)) - {room_of(path)} for path in FILES}
    assert {path: rooms for path, rooms in upwards.items() if rooms} == {}, "modules of graph/ and what they may not import"


def test_a_module_of_reads_imports_only_downwards() -> None:
    inside = [path for path in FILES if path.startswith("read/") and path != "read/__init__.py"]
    rooms = {path: room_of(path.removeprefix("read/")) for path in inside}
    assert set(rooms.values()) == READ.keys()
    upwards = {path: imports(source_of(path), "graph.read") - READ[room] - {room} for path, room in rooms.items()}
    assert {path: found for path, found in upwards.items() if found} == {}, "modules and what of graph/read they may not import"


def modules(source: str) -> set[str]:
    """The files of this package that a source imports, for types alone too."""
    found: set[str] = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= {f"{name.removeprefix('graph.').replace('.', '/')}.py" for name in names}
    return found & set(FILES)


@pytest.mark.parametrize("room", ["read", "write", "operations", "database", "access", "serve"])
def test_no_module_of_a_room_leads_back_to_itself(room: str) -> None:
    inside = [path for path in FILES if path.startswith(f"{room}/")]
    leads = {path: modules(source_of(path)) & set(inside) for path in inside}
    assert sum(map(len, leads.values())) > len(inside) / 2, "imports are not seen"
    TopologicalSorter(leads).prepare()  # raises CycleError, which names the circle


def test_the_rules_see_what_they_forbid() -> None:
    source = "from graph import models\nimport graph.write.errors\ndef f():\n    from graph.orders.types import Order\n"
    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from graph.orders.types import Order\n"
    assert imports(source) == {"models", "write", "orders"}
    assert imports(hidden) == set()
    inner = (
        "from graph.read import refusals\nfrom graph.read.sql.json import joined\nimport graph.read.types\nimport graph.base\n"
    )
    assert imports(inner, "graph.read") == {"refusals", "sql", "types"}
    assert {"catalog", "customers", "orders"} <= domains()
    assert not {"models", "write", *domains()} & allowed("read")
    assert not {"models", *domains()} & allowed("write")
    assert not {"models", "write", *domains()} & allowed("operations")
    assert not any("__main__" in allowed(room_of(path)) for path in FILES)


def test_tests_stand_in_a_folder_named_as_the_room_they_are_of() -> None:
    tests = Path(__file__).parent
    folders = {path.relative_to(tests).parts[0] for path in tests.rglob("test_*.py") if path.parent != tests}
    others = {"clients"}  # programs of front ends, which are of no room
    assert folders - others <= {room_of(path) for path in FILES if "/" in path}
    assert {"read", "write", "operations", "database", "serve"} <= folders


def test_there_is_one_fixture_for_a_shop() -> None:
    """What a module calls SHOP is what its tests begin with (`tests/conftest.py`)."""
    for path in (Path(__file__).parent).rglob("*.py"):
        if path.name.startswith("test_") and path != Path(__file__):
            own = re.findall(
                r"\bask_(?:shop|sample)\w*|\b(?:shop|sample)_database\b|def shop\(", path.read_text(encoding="utf-8")
            )
            assert not own, f"{path.name}: say what SHOP is and ask for `shop`, `shop_url` or `shop_with`"


def test_a_module_opens_with_what_it_is_for() -> None:
    assert [path for path in FILES if not ast.get_docstring(tree_of(path))] == []


#: Where rows are written past the write door, and why.
BESIDE_THE_DOOR = {
    "write/door.py": "it is the door",
    "write/column_rows.py": "it makes and runs statements of the door",
    "write/idempotency.py": "its keys are no rows that clients see",
    "write/expired_keys.py": "as above",
    "access/api_keys.py": "API keys are no rows that clients see",
    "feed/outbox.py": "changes are no rows of the shop",
    "feed/purge.py": "as above",
    "exchange/order_sources.py": "which order came from where is no row that clients see",
    "write/free_values.py": "keys step aside for a moment; the flush behind it writes them",
    "sample/__init__.py": "it fills an empty database, and tells the outbox itself",
    "shops/registry.py": "which shops there are is no row of any shop",
    "shops/schema_homes.py": "as above",
    "database/postgres.py": "it says how this database inserts and draws keys",
    "database/sqlite.py": "it says how this database inserts",
}
#: What writes, and what could: methods of a session or connection.
STATEMENTS = {"insert", "update", "delete", "text"}
METHODS = {
    *("add", "add_all", "delete", "execute", "exec_driver_sql", "flush", "merge", "begin_nested"),
    *("bulk_save_objects", "bulk_insert_mappings"),
}


def writes(source: str) -> set[str]:
    """What in a source writes rows, or could: statements of SQLAlchemy, and methods of sessions and connections."""
    found: set[str] = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
            found |= {alias.name for alias in node.names} & STATEMENTS
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of, name = ast.unparse(node.func.value), node.func.attr
            if of in ("sa", "sqlalchemy", "postgresql", "sqlite") and name in STATEMENTS:
                found.add(name)
            if "capabilities" in of and name == "insert":
                found.add(name)
            if of.rpartition(".")[2] in ("session", "sync_session", "connection", "engine") and name in METHODS:
                found.add(f"session.{name}")
    return found


def past_the_write_door(path: str) -> set[str]:
    """What a module writes and may not: a domain writes by the verbs of graph/write alone."""
    found = writes(source_of(path))
    if room_of(path) in domains():
        return found
    return set() if path in BESIDE_THE_DOOR else found & STATEMENTS


def test_rows_are_written_through_the_write_door_alone() -> None:
    found = {path: past_the_write_door(path) for path in FILES}
    assert {path: past for path, past in found.items() if past} == {}


def test_rows_are_locked_in_one_place() -> None:
    """But for idempotency keys, which are no rows of the shop."""
    found = {path for path in FILES if "with_for_update" in source_of(path)}
    assert found == {"write/locks.py", "write/expired_keys.py"}


def test_the_write_door_has_no_exception_for_nothing() -> None:
    assert all(writes(source_of(path)) for path in BESIDE_THE_DOOR)


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import sqlalchemy as sa\nsa.update(table)", "update"),
        ("import sqlalchemy as sa\nsa.delete(table).where(x)", "delete"),
        ("from sqlalchemy import insert", "insert"),
        ("from sqlalchemy.dialects.postgresql import insert as put", "insert"),
        ("sqlite.insert(table)", "insert"),
        ("capabilities(dialect).insert(table)", "insert"),
        ("sa.text('DELETE FROM item')", "text"),
        ("async def f(unit):\n    await unit.session.execute(x)", "session.execute"),
        ("async def f(session):\n    await session.delete(row)", "session.delete"),
        ("async def f(connection):\n    await connection.exec_driver_sql(x)", "session.exec_driver_sql"),
        ("def f(unit):\n    unit.session.add(row)", "session.add"),
        ("def f(unit):\n    unit.session.sync_session.flush()", "session.flush"),
    ],
)
def test_the_test_of_the_write_door_sees_what_it_forbids(source: str, seen: str) -> None:
    assert writes(source) == {seen}
    assert writes("async def f(unit):\n    await unit.delete(row)\n    await unit.flush()\n    seen.add(1)") == set()


# ---- the row door

#: The one module that makes aliases of mapped classes.
ROW_DOOR = "read/rows.py"
#: Where the tables themselves are named: facts of the metadata, statements of the write door, service commands.
TABLES = {
    "read/types/checks.py": "what a type declares is held against its columns",
    "write/bounds.py": "reads checks",
    "feed/outbox.py": "which columns a field shows",
    "write/constraints.py": "reads constraints",
    "write/violations.py": "reads constraints; the database holds them against all rows, seen or not",
    "write/freed_keys.py": "rows of the session, loaded through the door, step aside for each other",
    "write/drawn_keys.py": "the name of a sequence",
    "write/door.py": "writes, with what the scope sees as a condition",
    "write/column_rows.py": "inserts for the door",
    "write/images.py": "the record of changes is of the server's own, for whoever may see it",
    "write/unit.py": "names rows by their keys, which were locked through the door",
    "write/locks.py": "names unique keys",
    "write/named_rows.py": "names unique keys",
    "write/batches.py": "as above",
    "write/bulk.py": "holds rows against checks whose keys were locked through the door",
    "write/plain_rows.py": "inserts, with a condition in the conflict clause",
    "orders/by_filter.py": "values that an UPDATE computes",
    "catalog/stock_adjustment.py": "values that an UPDATE computes",
}
#: Where the server's own scope may be asked, and why.
SERVERS = {
    "orders/reservations.py": "stock holds over all rows",
    "customers/mutations.py": "a cascade takes all orders, so all are locked",
    "archive/mutations.py": "a cascade takes all orders; what is sold stays, whoever bought it",
    "write/violations.py": "the database holds constraints against all rows",
    "access/api_keys.py": "an operator makes keys for any customer",
    "access/key_lookup.py": "API keys are no rows that clients see",
    "feed/leftovers.py": "what waits to be done waits for whoever wrote it",
    "feed/outbox.py": "it keeps all changes",
    "feed/outlook.py": "it sees for whom changes are, and says what they are to nobody",
    "read/sql/writer.py": "a cursor of a log is expired when the oldest of all its rows is gone",
    "write/sight.py": "a natural key is taken, whoever may see the row that has it",
    "write/upserts.py": "which rows were just written, also where a rule lets them go out of sight",
    "exchange/imports.py": "whoever has the command line has the database",
    "exchange/arrivals.py": "as above",
    "exchange/order_sources.py": "as above",
    "exchange/exports.py": "as above",
}
CLASSES = {name for name, each in vars(models).items() if isinstance(each, type) and issubclass(each, Base) and each is not Base}
READS = {"select", "select_from", "join", "outerjoin", "join_from", "exists", "selectinload", "joinedload", "subqueryload"}


def tables_of(node: ast.AST) -> Iterator[str]:
    """The mapped classes that an expression names: `Order`, `models.Order`, `Order.id`, `model`, `model.id`."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and (part.id in CLASSES or part.id in ("model", "models")):
            yield part.id


def calls_of(node: ast.Call) -> tuple[str, str]:
    """The name of what is called, and of what it is called on."""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr, ast.unparse(function.value)
    return (function.id if isinstance(function, ast.Name) else ""), ""


def past_the_row_door(source: str) -> list[str]:
    """Where a source takes a mapped class into a statement by itself."""
    found: list[str] = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("local_table", "__table__", "persist_selectable"):
            found.append("table")
        if not isinstance(node, ast.Call):
            continue
        name, of = calls_of(node)
        if name in ("aliased", "with_polymorphic", "query"):
            found.append(name)
        elif name in ("get", "get_one", "refresh") and of.endswith("session"):
            found.append(f"session.{name}")
        elif name in READS and any(True for argument in node.args for _ in tables_of(argument)):
            found.append(name)
    return found


def test_rows_enter_statements_through_the_row_door() -> None:
    paths = set(FILES) - {ROW_DOOR, "models.py", "sample/__init__.py"}
    found = {path: set(past_the_row_door(source_of(path))) - ({"table"} if path in TABLES else set()) for path in paths}
    assert {path: past for path, past in found.items() if past} == {}


def test_nothing_is_excused_that_needs_it_no_longer() -> None:
    for path in TABLES:
        assert "table" in past_the_row_door(source_of(path)), path
    asks = {path for path in FILES if re.search(r"(?<!SpanKind\.)\bSERVER\b", source_of(path))}
    assert asks - {ROW_DOOR, "scope.py"} == SERVERS.keys()


def test_the_row_door_sees_who_goes_past_it() -> None:
    for source in (
        "row = aliased(Order, name='t')",
        "row = orm.aliased(model)",
        "sa.select(Order.id).where(x)",
        "select(func.count(models.Order.id))",
        "sa.select(1).select_from(model)",
        "sa.select(row.id).join(Order, a == b)",
        "session.query(Order)",
        "await self.session.get(Order, 1)",
        "await session.refresh(order)",
        "found.options(selectinload(Order.items))",
        "sa.inspect(Order).local_table",
        "Order.__table__.c.id",
        "sa.select(sa.exists().select_from(model))",
    ):
        assert past_the_row_door(source), source
    for source in (
        "row = rows(Order, scope)",
        "sa.select(row.id).where(row.id == key)",
        "values.get(Order)",
        "unit.load(Order, id_)",
    ):
        assert not past_the_row_door(source), source


# ---- names

#: Files that every room of the domain may have: a stranger who knows one room knows all of them.
EVERY_ROOM = {"types", "inputs", "payloads", "mutations", "errors"}
#: Classes that may be called alike, and why.
ALIKE = {
    frozenset({"Connection", "Connections"}): "GraphQL's word for a list with pages, and what SQL runs on",
    frozenset({"Database", "Databases"}): "that of one shop, and those of all",
    frozenset({"Plain", "Plan"}): "two words that happen to be a letter apart",
}
#: Endings that make no other name.
ENDING = re.compile(r"(?:ies|ings?|ions?|ers?|ed|es|s|e|y)$")


def same_stem(one: str, other: str) -> bool:
    """Whether two names differ by an ending, or by how their words are set apart."""
    one, other = sorted((one.lower(), other.lower()), key=len)
    longer = other.startswith(one) and len(other) - len(one) <= 2
    return longer or one.replace("_", "") == other.replace("_", "") or ENDING.sub("", one) == ENDING.sub("", other)


def alike(one: str, other: str) -> bool:
    """Whether two names differ by a letter or by an ending."""
    one, other = sorted((one.lower(), other.lower()), key=len)
    if len(one) == len(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) == 1
    return same_stem(one, other) or one in {other[:i] + other[i + 1 :] for i in range(len(other))}


def classes_of(path: str) -> list[str]:
    return [node.name for node in tree_of(path).body if isinstance(node, ast.ClassDef)]


def test_no_two_files_have_names_alike() -> None:
    names = [Path(path).stem for path in FILES if not path.endswith("__init__.py")]
    shared = {Path(path).stem for path in FILES if room_of(path) in domains() and "/" in path} & EVERY_ROOM
    once = sorted(set(names))
    assert {name for name in once if names.count(name) > 1} <= shared
    assert not [(a, b) for index, a in enumerate(once) for b in once[index + 1 :] if alike(a, b)]


def test_no_two_classes_have_names_alike() -> None:
    """The domain's types are called as clients call them, `createOrder` and `createOrders`; the sample's as the domain's."""
    rooms = [path for path in FILES if room_of(path) not in {*domains(), "models", "sample"}]
    names = sorted(name for path in rooms for name in classes_of(path))
    assert len(names) > 100
    twice = {name for name in names if names.count(name) > 1}
    found = {frozenset({a, b}) for index, a in enumerate(names) for b in names[index + 1 :] if a != b and alike(a, b)}
    assert not twice
    assert found - ALIKE.keys() == set()
    assert not ALIKE.keys() - found, "excused for nothing"


@cache
def functions_of(path: str) -> set[str]:
    """The functions of a module, not those of its classes."""
    return {node.name for node in tree_of(path).body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def names_taken(source: str) -> Iterator[tuple[str, str]]:
    """The names that a source takes out of files of this package, each with the file: what it then says without the module."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graph."):
            module = str(node.module).removeprefix("graph.").replace(".", "/")
            for alias in node.names:
                yield f"{module}.py" if f"{module}.py" in FILES else f"{module}/__init__.py", alias.asname or alias.name


def functions_alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names of functions that are alike. Of short ones only endings count: `held` and `head` are words of their own."""
    once = sorted(set(names))
    pairs = ((a, b) for index, a in enumerate(once) for b in once[index + 1 :])
    return [(a, b) for a, b in pairs if same_stem(a, b) or (min(len(a), len(b)) > 5 and alike(a, b))]


def test_no_two_functions_have_names_alike() -> None:
    """Those that another module calls by their name alone; `limits.check` says whose it is."""
    travel: dict[str, set[str]] = {}
    for path in FILES:
        for file, name in names_taken(source_of(path)):
            if file in FILES and name in functions_of(file) and room_of(file) not in domains():
                travel.setdefault(name, set()).add(file)
    assert len(travel) > 200
    assert {name: files for name, files in travel.items() if len(files) > 1} == {}
    assert functions_alike(travel) == []


def test_no_two_functions_of_a_module_have_names_alike() -> None:
    """But for the inner half of one, which is called as it is, with an underscore."""
    for path in FILES:
        if room_of(path) not in domains():
            assert [(a, b) for a, b in functions_alike(functions_of(path)) if a != f"_{b}"] == [], path


def test_names_alike_are_seen() -> None:
    for pair in ("page pages", "paging page", "Undo Undone", "mirror_of mirror_or", "operation operations", "entity entities"):
        assert alike(*pair.split()), pair
    for pair in ("keyset cursors", "payload plan", "matching mutations", "rows references"):
        assert not alike(*pair.split()), pair
    for pair in ("look_up lookup", "judge judged", "coerce coercer", "mirror_of mirror_or"):
        assert functions_alike(pair.split()), pair
    assert not functions_alike(["held", "head", "read", "mirror", "mirror_of"])
    assert list(names_taken("from graph.read.sql.json import encode as e\nimport graph.base")) == [("read/sql/json.py", "e")]
