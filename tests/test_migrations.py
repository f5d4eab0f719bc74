"""The migrations: up, down, and the same schema as the tables declared, on both databases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.util import CommandError

from graph import migrate
from graph.base import Base

ROOT = Path(__file__).parents[1]

# What stands in a PostgreSQL database, in the server's own words.
CATALOG = """
    SELECT 'column', table_name, column_name, data_type, is_nullable, collation_name, column_default,
        identity_generation, generation_expression
    FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> 'alembic_version'
  UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL, NULL, NULL
    FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND conrelid::regclass::text <> 'alembic_version'
  UNION ALL
    SELECT 'index', tablename, indexname, replace(indexdef, format('ON %I.', schemaname), 'ON '), NULL, NULL, NULL, NULL, NULL
    FROM pg_indexes WHERE schemaname = current_schema() AND tablename <> 'alembic_version'
"""
# SQLite keeps the statements themselves.
MASTER = "SELECT type, tbl_name, name, sql FROM sqlite_master WHERE tbl_name NOT IN ('alembic_version', 'sqlite_sequence')"


async def tables(url: str) -> set[str]:
    async with migrate.connected(url) as connection:
        return set(await connection.run_sync(lambda c: sa.inspect(c).get_table_names()))


async def described(where: migrate.Where) -> set[object]:
    """Everything the database holds but rows, or the schema of a shop in it, without the order in which it was declared."""
    schema = None if isinstance(where, str) else where.schema
    async with migrate.connected(where) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(sa.text(f'SET search_path TO "{schema or "public"}"'))
            return {tuple(row) for row in await connection.execute(sa.text(CATALOG))}
        rows = (await connection.execute(sa.text(MASTER))).all()
        return {(*rest, frozenset(part.strip(" \t,") for part in (sql or "").splitlines())) for *rest, sql in rows}


async def test_upgrade_makes_every_table_that_the_product_declares(bare_url: str) -> None:
    import graph.schema  # noqa: F401  # whatever the product imports has declared its tables by now

    assert not await migrate.is_current(bare_url)
    await migrate.upgrade(bare_url)
    assert await migrate.is_current(bare_url)
    assert await tables(bare_url) == {*Base.metadata.tables, "alembic_version"}


async def test_upgrade_of_a_current_database_changes_nothing(empty_url: str) -> None:
    before = await described(empty_url)
    await migrate.upgrade(empty_url)
    assert await described(empty_url) == before


async def test_downgrade_to_base_leaves_no_table_and_can_be_undone(empty_url: str) -> None:
    before = await described(empty_url)
    await migrate.downgrade(empty_url, "base")
    assert await migrate.current(empty_url) is None
    assert await tables(empty_url) == {"alembic_version"}
    await migrate.upgrade(empty_url)
    assert await described(empty_url) == before


async def test_alembic_finds_no_difference(empty_url: str) -> None:
    await migrate.check(empty_url)


async def test_migrations_and_declared_tables_agree_in_every_detail(bare_url: str, empty_url: str) -> None:
    async with migrate.connected(bare_url) as connection, connection.begin():
        await connection.run_sync(Base.metadata.create_all)
    declared, migrated = await described(bare_url), await described(empty_url)
    assert declared - migrated == set()
    assert migrated - declared == set()


async def test_every_constraint_and_index_is_named(empty_url: str) -> None:
    async with migrate.connected(empty_url) as connection:
        found = await connection.run_sync(
            lambda c: [
                constraint["name"]
                for table in Base.metadata.tables
                for constraint in [
                    *sa.inspect(c).get_check_constraints(table),
                    *sa.inspect(c).get_unique_constraints(table),
                    *sa.inspect(c).get_foreign_keys(table),
                    *sa.inspect(c).get_indexes(table),
                ]
            ]
        )
    assert len(found) > 30
    assert all(name and name.startswith(("ck_", "uq_", "fk_", "ix_")) for name in found)


async def test_an_unknown_revision_is_refused_and_nothing_changes(empty_url: str) -> None:
    with pytest.raises(CommandError, match="nowhere"):
        await migrate.upgrade(empty_url, "nowhere")
    assert await migrate.is_current(empty_url)


#: What a process needs longest for is to begin: one runs both commands.
ALEMBIC = "from alembic.config import main; main(['check']); main(['upgrade', 'head', '--sql'])"


def test_alembic_itself_works_in_a_checkout(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    done = subprocess.run([sys.executable, "-c", ALEMBIC], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    checked, _, script = done.stdout.partition("\n")
    assert "No new upgrade operations" in checked
    assert 'COLLATE "C"' in script


def test_no_migration_names_a_schema() -> None:
    for path in (ROOT / "migrations" / "versions").glob("*.py"):
        # Alembic writes `schema=None` where it changes tables on SQLite.
        text = path.read_text(encoding="utf-8").replace("schema=None", "")
        assert "schema=" not in text, path
        assert "public." not in text, path


def test_migrations_that_look_at_rows_say_so() -> None:
    """Of the others a script is written once, and run in every shop."""
    for path in (ROOT / "migrations" / "versions").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert ("get_bind" in text or "is_offline_mode" in text) is ("\nlooks_at_rows = True\n" in text), path


def test_a_text_leads_to_this_version_from_where_no_migration_looks_at_rows() -> None:
    scripts = migrate.Scripts()
    looking = len(scripts.unlooking) - 1
    assert scripts.unlooking == migrate.revisions()[: looking + 1]
    assert "0005" in scripts.unlooking
    assert "0004" not in scripts.unlooking
    for index, revision in enumerate(migrate.revisions()):
        text = scripts.text(revision)
        assert (text is None) is (index > looking or index == 0), revision
        assert text is None or f"SET version_num='{migrate.head()}'" in text
    whole = scripts.text(None)
    assert whole is not None
    assert whole.startswith("CREATE TABLE alembic_version")
    assert "COMMIT" not in whole
