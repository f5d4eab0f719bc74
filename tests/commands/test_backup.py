"""Copies of a file that is in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.test_commands import Run, refused


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    """A folder with a database that holds the sample."""
    assert run("sample").returncode == 0
    return tmp_path


def orders(path: Path) -> int:
    with closing(sqlite3.connect(path)) as file:
        found: int = file.execute("SELECT count(*) FROM orders").fetchone()[0]
        return found


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm"))}


def test_a_file_is_copied_as_it_was_committed_while_another_writes(run: Run, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ordergraph.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA foreign_keys=ON")
        writer.execute("DELETE FROM orders WHERE id = 1")  # in the log beside the file, and in no checkpoint
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM orders WHERE id > 1")
        done = run("backup", "copy.db")
        writer.execute("ROLLBACK")
    assert done.returncode == 0, done
    assert done.stdout.startswith("Copied sqlite:///./ordergraph.db to copy.db (")
    assert orders(folder / "copy.db") == 829
    assert names(folder) == {"ordergraph.db", "copy.db"}


def test_a_copy_replaces_nothing_and_leaves_nothing_where_it_is_refused(run: Run, folder: Path) -> None:
    (folder / "there.db").write_text("mine")
    assert "there.db is there already: name another file" in refused(run("backup", "there.db"))
    assert (folder / "there.db").read_text() == "mine"
    assert "cannot be written" in refused(run("backup", "no/such/folder.db"))
    assert names(folder) == {"ordergraph.db", "there.db"}


def test_a_damaged_file_is_not_copied(run: Run, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ordergraph.db", isolation_level=None)) as file:
        file.execute("UPDATE order_item SET item_id = 999999 WHERE id = 1")  # foreign keys are off by default
    assert "a row of order_item has lost its item" in refused(run("backup", "copy.db"))
    with closing(sqlite3.connect(folder / "ordergraph.db", isolation_level=None)) as file:
        file.execute("UPDATE order_item SET item_id = 1 WHERE id = 1")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = bytearray((folder / "ordergraph.db").read_bytes())
    raw[40960:61440] = bytes(20480)
    (folder / "ordergraph.db").write_bytes(raw)
    assert refused(run("backup", "copy.db"))
    assert names(folder) == {"ordergraph.db"}


def test_without_a_file_there_is_no_copy(run: Run, tmp_path: Path) -> None:
    assert "there is no such file" in refused(run("backup", "copy.db"))
    assert names(tmp_path) == set()


def test_postgresql_is_backed_up_by_the_line_that_is_named(run: Run, tmp_path: Path) -> None:
    done = run("backup", "a file", DATABASE_URL="postgresql://shop:secret@127.0.0.1:1/orders")
    assert done.returncode == 1
    assert """pg_dump --format=custom --file='a file' "$DATABASE_URL"\n""" in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert names(tmp_path) == set()
