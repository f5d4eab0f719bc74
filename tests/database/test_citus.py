"""What Citus' schema-based sharding cannot run, held on plain PostgreSQL: the shapes of all statements, and the schema.

Each rule says where it comes from; `docs/scale.md` says how the product runs there. Statements are those of every mutation of the
schema, of what a server does by itself, of the command line, and of the golden cases, which have every kind of query.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from graph import migrate, sample
from graph.access import api_keys
from graph.access.key_lookup import KeyLookup
from graph.database import Database
from graph.database.heartbeat import BEAT, FORGOTTEN
from graph.database.places import unmarked
from graph.database.replicas import guarded
from graph.database.shops import Databases
from graph.feed import purge
from graph.feed.outlook import Outlook
from graph.feed.sequence import number_some, waiting_since
from graph.observations import StatementBegan, listening
from graph.scope import BOUND, OPEN, Scope
from graph.settings import Settings
from graph.write import expired_keys
from tests.conftest import Ask
from tests.deployments import deployment
from tests.engines import Postgres
from tests.exchange.files import bring, line, lines_file
from tests.test_golden import CASES, FOLDER
from tests.unseen import Asked
from tests.write import test_locks
from tests.write.test_locks import INPUTS, MUTATION
from tests.written import DOCS, held

SHOP = test_locks.SHOP
MIGRATIONS = Path(__file__).parents[2] / "migrations" / "versions"

#: Functions by how much of them the server promises, as pg_proc has it: (v)olatile or (s)table.
Functions = dict[str, str]


@pytest.fixture
def engines(postgres_engines: Postgres) -> Postgres:
    """The rules are about SQL for PostgreSQL."""
    return postgres_engines


# ---- the rules


@dataclass(frozen=True)
class Rule:
    """What no statement may do; `breaks` says it of one, which is on one line, given the functions that are not immutable."""

    name: str
    source: str
    breaks: Callable[[str, Functions], object]


#: Citus' own sources and pages.
CODE, PAGES = (
    "https://github.com/citusdata/citus/blob/main/src/backend/distributed",
    "https://docs.citusdata.com/en/stable/develop",
)
INSERT_SELECT = f"[InsertSelectResultIdPrefix]({CODE}/planner/insert_select_planner.c)"
ON_CONFLICT = f"[ErrorIfOnConflictNotSupported]({CODE}/planner/multi_router_planner.c)"
MODIFY = f"[ModifyQuerySupported]({CODE}/planner/multi_router_planner.c)"
WORKAROUNDS = f"[SQL support]({PAGES}/reference_workarounds.html)"
SETTINGS = f"[propagate_set_commands]({PAGES}/api_guc.html)"
SCHEMAS = f"[schema_based_sharding.c]({CODE}/commands/schema_based_sharding.c)"
REMOTE = f"[SendRemoteCommandParams]({CODE}/connection/remote_commands.c)"
POSTGRESQL = "https://www.postgresql.org/docs/current"

PARAMETER = re.compile(r"\$\d+")
TYPED = re.compile(r"(\$\d+)::|CAST\((\$\d+) AS ")
CALL = re.compile(r"\b([a-z_0-9]+)\(")


def bare(sql: str) -> str:
    """A statement on one line without its literals."""
    return re.sub(r"\s+", " ", re.sub(r"'(?:[^']|'')*'", "''", sql)).strip()


def inserts(sql: str) -> Iterator[str]:
    """The INSERTs of a statement, in its WITH clause too, each to its end."""
    for found in re.finditer(r"\bINSERT INTO\b", sql):
        depth = 0
        for end in range(found.start(), len(sql)):
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            if depth < 0:
                break
        else:
            end = len(sql)
        yield sql[found.start() : end]


def from_select(insert: str) -> bool:
    """Whether an INSERT takes its rows from a SELECT."""
    head = insert.partition(" ON CONFLICT ")[0].partition(" RETURNING ")[0]
    return re.match(r"INSERT INTO \S+ (\(.*?\) )?SELECT ", head) is not None


def conflict(insert: str) -> str:
    """The conflict clause of an INSERT."""
    return insert.partition(" ON CONFLICT ")[2].partition(" RETURNING ")[0]


def calls(sql: str, functions: Functions, kinds: str) -> list[str]:
    """The functions of these kinds that a piece of SQL calls."""
    return [name for name in CALL.findall(sql) if functions.get(name, "i") in kinds]


def changes(sql: str) -> bool:
    """Whether a statement updates or deletes rows."""
    return re.match(r"(WITH .*\) )?(UPDATE|DELETE FROM) ", sql) is not None


RULES = [
    Rule(
        "an INSERT of a SELECT without RETURNING: its rows are copied, and a unique violation is XX000",
        INSERT_SELECT,
        lambda sql, _: [each for each in inserts(sql) if from_select(each) and " RETURNING " not in each],
    ),
    Rule(
        "a parameter in the conflict clause of an INSERT of a SELECT, whose rows are written by a second statement",
        INSERT_SELECT,
        lambda sql, _: [each for each in inserts(sql) if from_select(each) and PARAMETER.search(conflict(each))],
    ),
    Rule(
        "a function in a conflict clause that is not immutable",
        ON_CONFLICT,
        lambda sql, functions: [found for each in inserts(sql) for found in calls(conflict(each), functions, "sv")],
    ),
    Rule(
        "a query in a conflict clause, or beside the values of an INSERT",
        MODIFY,
        lambda sql, _: (
            [
                each
                for each in inserts(sql)
                if "SELECT " in conflict(each) or (not from_select(each) and "SELECT " in each.partition(" RETURNING ")[0])
            ]
            if not re.search(r"\bFROM \(VALUES ", sql)  # rows that SQLAlchemy matches with their keys
            else []
        ),
    ),
    Rule(
        "an INSERT below a WITH clause that writes",
        MODIFY,
        lambda sql, _: re.match(r"WITH .*\b(INSERT INTO|UPDATE|DELETE FROM) .*\) INSERT INTO ", sql),
    ),
    Rule(
        "a volatile function in an UPDATE or DELETE, or a stable one in its RETURNING",
        MODIFY,
        lambda sql, functions: (
            changes(sql) and (calls(sql, functions, "v") or calls(sql.partition(" RETURNING ")[2], functions, "sv"))
        ),
    ),
    Rule(
        "a stable function of a column in an UPDATE",
        WORKAROUNDS,
        lambda sql, functions: sql.startswith("UPDATE ") and re.search(rf"\b({'|'.join(stable(functions))})\([^)]*[a-z]", sql),
    ),
    Rule(
        "a number of a transaction, which is another one on each node",
        f"[transactions and identifiers]({POSTGRESQL}/transaction-id.html)",
        lambda sql, _: re.search(
            r"\b(txid_\w+|pg_current_(xact_id\w*|snapshot)|pg_snapshot_\w+|pg_visible_in_\w+|xmin|ctid)\b", sql
        ),
    ),
    Rule(
        "an advisory lock, which is held on the node that was asked alone",
        f"[advisory locks]({POSTGRESQL}/explicit-locking.html#ADVISORY-LOCKS)",
        lambda sql, _: "advisory" in sql,
    ),
    Rule(
        "a setting for more than a transaction, which no other node hears of, and a pooler hands on",
        SETTINGS,
        lambda sql, _: re.match(r"(SET|RESET|DISCARD|LISTEN|NOTIFY|DECLARE|PREPARE)\b", sql),
    ),
    Rule(
        "a table of `public`, which Citus distributes to nobody",
        SCHEMAS,
        lambda sql, _: re.search(r"\b(public|pg_temp)\.", sql),
    ),
    Rule(
        "a parameter without a type, which a shard may take for another one than the table does",
        REMOTE,
        lambda sql, _: set(PARAMETER.findall(sql)) - {name for pair in TYPED.findall(sql) for name in pair},
    ),
]


def test_the_page_tells_the_rules(request: pytest.FixtureRequest) -> None:
    rows = [f"| {rule.name[0].upper()}{rule.name[1:]} | {rule.source} |\n" for rule in RULES]
    held(request, DOCS / "scale.md", "shapes", f"| What | Where it is said |\n|---|---|\n{''.join(rows)}")


def stable(functions: Functions) -> list[str]:
    """The names of functions that are stable."""
    return [re.escape(name) for name, kind in functions.items() if kind == "s"]


def broken(sql: str, functions: Functions) -> list[str]:
    """The rules that a statement breaks."""
    found = bare(sql)
    return [rule.name for rule in RULES if rule.breaks(found, functions)]


WRONG = [
    ("INSERT INTO item (sku) SELECT unnest($1::text[])", "without RETURNING"),
    ("WITH kept AS (INSERT INTO item (sku) SELECT unnest($1::text[])) SELECT $2::int", "without RETURNING"),
    (
        "INSERT INTO item (sku) SELECT unnest($1::text[]) ON CONFLICT (sku) DO UPDATE SET stock = $2::int RETURNING 1",
        "a parameter in the conflict clause",
    ),
    ("INSERT INTO item (sku) VALUES ($1::text) ON CONFLICT (sku) DO UPDATE SET at = now()", "not immutable"),
    (
        "INSERT INTO item (sku) VALUES ($1::text) ON CONFLICT (sku) DO UPDATE SET stock = 1 WHERE id IN (SELECT id FROM seen)",
        "a query in a conflict clause",
    ),
    ("INSERT INTO item (sku) VALUES ((SELECT sku FROM item))", "a query in a conflict clause"),
    ("WITH kept AS (INSERT INTO item (sku) VALUES ($1::text)) INSERT INTO line (sku) VALUES ($2::text)", "below a WITH clause"),
    ("UPDATE item SET stock = random()", "a volatile function"),
    ("DELETE FROM item RETURNING to_char(at, 'x')", "a volatile function"),
    ("UPDATE item SET name = to_char(item.at, 'x')", "a stable function of a column"),
    ("SELECT 1 FROM changes WHERE xmin > 1", "a number of a transaction"),
    ("SELECT pg_current_xact_id()", "a number of a transaction"),
    ("SELECT pg_advisory_xact_lock(1)", "an advisory lock"),
    ("SET search_path = a", "a setting"),
    ("SELECT id FROM public.item", "a table of `public`"),
    ("SELECT id FROM item LIMIT $1", "a parameter without a type"),
]
RIGHT = [
    "INSERT INTO item (sku) SELECT unnest($1::text[]) ON CONFLICT (sku) DO UPDATE SET name = excluded.name RETURNING 1",
    "WITH kept AS (INSERT INTO item (sku) SELECT unnest($1::text[]) RETURNING id) SELECT * FROM (SELECT now()) AS shown",
    "DELETE FROM item WHERE at < now() - interval '1 day'",
    "SELECT 'public.item', 'SET', '$1' FROM item",
    "INSERT INTO item (sku) VALUES ($1::text) ON CONFLICT (sku) DO UPDATE SET stock = $2::int",
]


@pytest.fixture
async def functions(postgres_url: str) -> Functions:
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await connection.fetch("SELECT proname, max(provolatile::text) FROM pg_proc WHERE provolatile <> 'i' GROUP BY 1")
    finally:
        await connection.close()
    return dict(rows)


@pytest.mark.parametrize(("sql", "said"), WRONG)
async def test_the_rules_see_what_is_wrong(functions: Functions, sql: str, said: str) -> None:
    assert [name for name in broken(sql, functions) if said in name]


async def test_the_rules_let_pass_what_is_right(functions: Functions) -> None:
    assert {sql: found for sql in RIGHT if (found := broken(sql, functions))} == {}


# ---- every statement


@contextmanager
def collected() -> Iterator[dict[str, None]]:
    """The statements that are sent meanwhile, each once."""
    found: dict[str, None] = {}
    with listening(StatementBegan, lambda began: found.setdefault(began.sql)):
        yield found


async def by_itself(database: Database) -> None:
    """What a server does unasked, and what a command does."""
    await number_some(database)
    await waiting_since(database)
    outlook = Outlook(database)
    await outlook.bounds()
    await outlook.look(0)
    await purge.purge_some(database)
    await expired_keys.purge_some(database)
    key = await api_keys.create(database, "shop", ["read"])
    await KeyLookup(database).find(key)
    await api_keys.every(database)
    await api_keys.revoke(database, "shop")


async def errors(database: Database, field: str, input_: Any, scope: Scope = OPEN, before: str = "", **parts: str) -> Any:
    """What a mutation is refused for, if it is. Directives stand `before` the operation's braces and `after` its field."""
    type_ = MUTATION.fields[field].args["input"].type
    made = f"{field}(input: $input) {parts.get('after', '')} {{ {parts.get('shown', '')} errors {{ code path }} }}"
    asked = Asked(database, scope).raw(f"mutation ($input: {type_}) {before} {{ a: {made} }}", {"input": input_})
    answer = orjson.loads(await asked)
    assert "errors" not in answer, answer
    return answer["data"]["a"]["errors"]


async def every_mutation(database: Database) -> None:
    """Every mutation as `tests/write/test_locks.py` sends it; the last of each with a key, whole; and one that shows its row."""
    assert INPUTS.keys() == MUTATION.fields.keys()
    for field, inputs in INPUTS.items():
        for input_ in inputs:
            assert await errors(database, field, input_, before="@dryRun") == [], (field, input_)
    for field, inputs in INPUTS.items():
        for _ in range(2):  # some are refused after the others
            await errors(database, field, inputs[-1], after=f'@idempotent(key: "{field}")')
    assert await errors(database, "createItem", {"sku": "Z", "name": "z", "price": "1"}, shown="item { sku }") == []


#: What is refused for each kind of constraint, so that reasons are looked for.
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("createItem", {"sku": "A", "name": "x", "price": "-1"}),
    ("createOrder", {"customer": {"email": "ada@x.io"}, "discount": "9999", "items": test_locks.LINES}),
    ("createCustomer", {**test_locks.EVE, "orders": [{"items": [{"item": {"sku": "none"}, "quantity": 0}]}]}),
    ("insertItems", {"rows": [test_locks.NEW, test_locks.NEW], "onConflict": "ERROR"}),
    ("deleteItem", {"id": "Item:1"}),
    ("discountOrders", {"all": True, "percent": "-1"}),
]


async def every_refusal(database: Database) -> None:
    """Refusals that the database makes, and their reasons."""
    for field, input_ in REFUSED:
        assert await errors(database, field, input_), field


async def by_whom_rules_hold_for(database: Database) -> None:
    """The writes with conflict clauses, by a viewer whose rows a rule picks out; he is Ada."""
    ada, scope = {"name": "Ada", "email": "ada@x.io"}, Scope(BOUND, {"customer": 1})
    for field, input_ in (("upsertCustomer", ada), ("insertCustomers", {"rows": [ada], "onConflict": "UPDATE"})):
        assert await errors(database, field, input_, scope, before="@dryRun") == []


async def everything(database: Database, folder: Path) -> None:
    """All that is sent to the database of a shop that begins as SHOP."""
    await by_whom_rules_hold_for(database)
    await every_refusal(database)
    await every_mutation(database)
    await by_itself(database)
    await bring(database, lines_file(folder, line(), line("2", sku="PEN")))


async def test_no_statement_is_one_that_citus_cannot_run(shop: Ask, bare_url: str, functions: Functions, tmp_path: Path) -> None:
    with collected() as found:
        await everything(shop.database, tmp_path)
        await migrate.upgrade(bare_url)
        await sample.load_into(Settings(database_url=bare_url))
    golden = [tomllib.loads((FOLDER / f"{name}.toml").read_text())["postgresql"].split("\n;\n") for name in CASES]
    statements = [*found, *(sql for each in golden for sql in each if sql)]
    statements += [guarded(sql, len(set(PARAMETER.findall(sql))), "") for (sql, *_) in golden if sql.startswith("SELECT")]
    statements += map(unmarked, (BEAT, FORGOTTEN))
    assert len(statements) > 250
    hold(found, statements, functions)


async def test_no_statement_of_a_shop_among_others_is_one(
    postgres_engines: Postgres, functions: Functions, tmp_path: Path
) -> None:
    """As they are on Citus, where a shop is a schema: each names it, and is else as where there is one shop."""
    url = postgres_engines.new("nothing")
    databases = Databases(await deployment(url, "here"))
    try:
        database = databases.of("here")
        for field, input_ in SHOP:
            assert await errors(database, field, input_) == []
        with collected() as sent:
            await everything(database, tmp_path)
    finally:
        await databases.close()
        postgres_engines.drop(url)
    named = [sql for sql in sent if not own(sql) and re.search(r"\b(FROM|INTO|UPDATE) (?!unnest|json|generate|\()", bare(sql))]
    assert [sql for sql in named if '"shop_here".' not in sql and " set_config(" not in sql] == []
    found = {sql.replace('"shop_here".', ""): None for sql in sent}
    hold(found, found, functions)


def hold(found: Iterable[str], statements: Iterable[str], functions: Functions) -> None:
    """See that what was found is all, and that no statement breaks a rule."""
    assert [form for form in FORMS if not any(re.search(form, bare(sql)) for sql in found)] == []
    wrong = {bare(sql): names for sql in statements if not own(sql) and (names := broken(sql, functions))}
    assert wrong == {}


#: Forms that must be among what is collected, or it is not all.
FORMS = [
    r"^WITH kept AS \( ?INSERT INTO changes",
    r"^INSERT INTO changes",
    r"^INSERT INTO \w+ \(.*\) SELECT .*unnest.* RETURNING (\w+\.)?\w+, ",
    r"unnest.* ON CONFLICT \(\w+\) DO NOTHING RETURNING",
    r"unnest.* ON CONFLICT \(\w+\) DO UPDATE .* RETURNING",
    r"^INSERT INTO item .* VALUES .* ON CONFLICT",
    r"ON CONFLICT .* WHERE customer\.id = 1 RETURNING",
    r"ON CONFLICT .* WHERE customer\.id = \$",
    r"^INSERT INTO idempotency_key .* ON CONFLICT",
    r"FOR NO KEY UPDATE OF",
    r"FOR UPDATE SKIP LOCKED",
    r"^WITH .*DELETE FROM idempotency_key",
    r"DELETE FROM changes",
    r"nextval",
    r"^WITH waiting ",
]


def own(sql: str) -> bool:
    """Whether a statement is the driver's or SQLAlchemy's own: it begins or ends a transaction."""
    return re.match(r"(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b", sql) is not None


# ---- the schema

#: What a shop's schema has that Citus would refuse, or keep on one node; the rows say what and where.
UNFIT = """
    SELECT 'trigger', tgname::text FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
  UNION ALL SELECT 'exclusion', conname FROM pg_constraint WHERE contype = 'x'
  UNION ALL SELECT 'foreign key to another schema', conname FROM pg_constraint
    JOIN pg_class AS here ON here.oid = conrelid JOIN pg_class AS there ON there.oid = confrelid
    WHERE contype = 'f' AND here.relnamespace <> there.relnamespace
  UNION ALL SELECT 'type', typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')
  UNION ALL SELECT 'kind of relation', relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('r', 'i', 'S', 'c')
  UNION ALL SELECT 'inheritance', inhrelid::regclass::text FROM pg_inherits
  UNION ALL SELECT 'policy', polname FROM pg_policy
  UNION ALL SELECT 'rule', rulename FROM pg_rewrite WHERE ev_class::regclass::text NOT LIKE '%.%' AND oid >= 16384
  UNION ALL SELECT 'unlogged or temporary', relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relpersistence <> 'p'
  UNION ALL SELECT 'sequence too small for ranges of nodes', sequencename FROM pg_sequences WHERE data_type::text <> 'bigint'
  UNION ALL SELECT 'default that is volatile and no key', concat(attrelid::regclass, '.', attname) FROM pg_attribute
    JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attgenerated = '' AND attrelid >= 16384
"""
#: What a migration may not do there.
FORBIDDEN = re.compile(
    r"\b(CREATE (OR REPLACE )?(FUNCTION|PROCEDURE|TRIGGER|RULE|VIEW|EXTENSION|TYPE|SCHEMA|TEMP)|CONCURRENTLY|EXCLUDE|INHERITS|"
    r"PARTITION BY|search_path|DO \$|UNLOGGED)",
    re.IGNORECASE,
)


async def test_the_schema_is_one_that_citus_can_hold(empty_url: str) -> None:
    connection = await asyncpg.connect(empty_url)
    try:
        assert await connection.fetch(UNFIT) == []
        await connection.execute(
            "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE odd (a serial, b mood, EXCLUDE USING btree (a WITH =));"
            "CREATE VIEW shown AS SELECT a FROM odd; CREATE TABLE below () INHERITS (odd);"
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER t BEFORE INSERT ON odd EXECUTE FUNCTION f(); CREATE POLICY p ON odd; CREATE UNLOGGED TABLE u ();"
            "CREATE SCHEMA other; CREATE TABLE other.x (i bigint REFERENCES item)"
        )
        seen = {kind for kind, _ in await connection.fetch(UNFIT)}
        assert len(seen) >= 11, seen
        await connection.execute(
            "DROP SCHEMA other CASCADE; DROP VIEW shown; DROP TABLE below, odd, u; DROP FUNCTION f; DROP TYPE mood"
        )
    finally:
        await connection.close()


def test_no_migration_does_what_citus_cannot() -> None:
    for path in sorted(MIGRATIONS.glob("*.py")):
        assert FORBIDDEN.findall(path.read_text(encoding="utf-8")) == [], path


def test_the_list_of_what_migrations_may_not_do_is_one() -> None:
    assert FORBIDDEN.search("CREATE OR REPLACE FUNCTION f()")
    assert FORBIDDEN.search("CREATE INDEX CONCURRENTLY i")
    assert not FORBIDDEN.search("CREATE TABLE a (b bigint)")
