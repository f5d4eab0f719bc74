"""Golden cases: an operation, its variables, its answer, its record of changes and its SQL on both databases, in `tests/golden/`.

Queries lie in the folder itself, mutations in `writes`, each before a shop of its own. A new case is a file with `query`, and
`variables` if it has any; `pytest tests/test_golden.py --update-golden` writes the rest.
SQL is broken into lines for readers; nothing else is changed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from graph.write.record import Change
from tests.conftest import Ask, Statements

SHOP = "varied"

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.toml"))
PARTS = ("query", "variables", "answer", "changes", "sqlite", "postgresql")


def readable(sql: str) -> str:
    """SQL with a line for each SELECT, FROM, WHERE and piece of a long concatenation."""
    sql = re.sub(r"\s*\n\s*", " ", sql)
    sql = re.sub(r" (?=(?:FROM|WHERE|ORDER BY|LIMIT) )|(?<=\()(?=SELECT )", "\n", sql)
    lines: list[str] = []
    depth = 0
    for line in sql.split("\n"):
        pieces = re.split(r" (?=\|\| ',)", line) if len(line) > 120 else [line]
        for number, piece in enumerate(pieces):
            lines.append("  " * (depth + (number > 0)) + piece)
        unquoted = re.sub(r"'(?:[^']|'')*'", "", line)
        depth = max(0, depth + unquoted.count("(") - unquoted.count(")"))
    return "\n".join(lines)


def shown(value: Any, indent: int = 0) -> str:
    """JSON that puts what is short on one line."""
    short = json.dumps(value, ensure_ascii=False).replace("\u007f", "\\u007f")  # TOML takes no DEL
    if len(short) + indent <= 110 or not isinstance(value, (dict, list)):
        return short
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(key)}: {shown(each, indent + 2)}" for key, each in value.items()]
    else:
        lines = [f"{inner}{shown(each, indent + 2)}" for each in value]
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    return f"{opened}\n" + ",\n".join(lines) + f"\n{' ' * indent}{closed}"


def written(case: dict[str, str]) -> str:
    """The text of a case's file."""
    return "\n".join(f"{part} = '''\n{case[part].strip()}\n'''\n" for part in PARTS if part in case)


@pytest.mark.parametrize("name", CASES)
async def test_golden(name: str, request: pytest.FixtureRequest, shop: Ask, statements: Statements) -> None:
    path = FOLDER / f"{name}.toml"
    case = tomllib.loads(path.read_text())
    answer = await shop(case["query"], json.loads(case.get("variables", "{}")))
    found = {"answer": shown(answer), shop.app.state.database.dialect.name: "\n;\n".join(map(readable, statements.sql)).strip()}

    if request.config.getoption("--update-golden"):
        path.write_text(written({**case, **found}))
        return
    assert {part: case[part].strip() for part in found} == found


WRITES = [name for name in CASES if name.startswith("writes/")]


@pytest.mark.parametrize("name", WRITES)
async def test_the_record_of_changes(name: str, request: pytest.FixtureRequest, shop: Ask) -> None:
    """Read aside: statements are counted as they are when nobody listens."""
    path = FOLDER / f"{name}.toml"
    case = tomllib.loads(path.read_text())
    heard: list[Sequence[Change]] = []
    shop.app.state.database.listeners.append(heard.append)
    answer = await shop(case["query"])
    found = {"answer": shown(answer), "changes": "\n".join(map(told, heard[0] if heard else ()))}
    assert len(heard) <= 1

    if request.config.getoption("--update-golden"):
        path.write_text(written({**case, **found}))
        return
    assert {part: case[part].strip() for part in found} == found


def told(change: Change) -> str:
    """A change on a line: what happened to which row, of which root at which version, whose, and which fields."""
    owners = " ".join(f"{owner}" for owner in (change.owner_before, change.owner_after))
    root = f"{change.root.type_name}:{change.root.key}@{change.version}"
    return f"{change.kind.name} {change.type}:{change.key} of {root}, owner {owners}: {' '.join(sorted(change.fields))}".rstrip()


def test_there_are_golden_cases() -> None:
    assert len(CASES) - len(WRITES) >= 25
    assert len(WRITES) >= 8
