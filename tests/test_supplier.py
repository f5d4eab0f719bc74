"""The guide for adding an entity, taken at its word: its code is put into a copy of the package and used on both databases."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"```python\n# (append to|new file|in) ([\w./]+)(?:, before: ([^\n]*))?\n(.*?)```", re.DOTALL)

USE = '''
import asyncio, json, sys

from graph import migrate
from graph.database import Database
from graph.schema import schema
from graph.settings import Settings

MAKE = """mutation($input: CreateSupplierInput!) { createSupplier(input: $input) {
  supplier { id name items { totalCount nodes { sku suppliers { nodes { name } } } } }
  errors { code path }
} }"""
READ = """{
  suppliers(where: {items: {some: {sku: {startsWith: "a-"}}}}, orderBy: [{field: NAME, direction: DESC}]) {
    totalCount
    nodes { name country items(first: 1, orderBy: [{field: SKU, direction: DESC}]) { nodes { sku } pageInfo { hasNextPage } } }
  }
  items(where: {suppliers: {none: {name: {eq: "Acme"}}}}) { totalCount }
  supplier(by: {name: "Acme"}) { version }
  node(id: "Supplier:1") { id }
}"""


async def use(url):
    await migrate.upgrade(url)
    database = Database(Settings(database_url=url))
    items = [{"sku": f"A-{n}", "name": f"Item {n}", "price": "1.50"} for n in (1, 2)]
    answers = []
    for given in (
        {"name": "Acme", "country": "NL", "items": items},
        {"name": "Acme", "items": [{"sku": "A-3", "name": "Item", "price": "2"}, {"sku": "A-2", "name": "Item", "price": "2"}]},
    ):
        answers.append((await schema.execute(MAKE, {"input": given}, context_value=database)).data["createSupplier"])
    result = await schema.execute(READ, context_value=database)
    answers.append(result.data or [str(error) for error in result.errors])
    await database.close()
    print(json.dumps(answers))


asyncio.run(use(sys.argv[1]))
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the guide's code in it and a migration made from it."""
    target = tmp_path_factory.mktemp("supplier")
    for name in ("graph", "migrations"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)
    blocks = BLOCK.findall((ROOT / "docs/adding-an-entity.md").read_text())
    assert len(blocks) == 6
    for how, file, before, code in blocks:
        path = target / file
        if how == "new file":
            path.write_text(code)
            continue
        text = path.read_text()
        if how == "append to":
            path.write_text(f"{text}\n\n{code}")
            continue
        assert text.count(before) == 1, f"the guide's place in {file} is gone: {before}"
        gap = "\n\n" if "class" in before or before.startswith("@") else ""
        path.write_text(text.replace(before, f"{code}{gap}{before}"))
    models = target / "graph/models.py"
    models.write_text(
        models.read_text().replace("from sqlalchemy import (", "from sqlalchemy import (\n    Column,\n    Table,", 1)
    )
    assembled = target / "graph/schema.py"
    text = assembled.read_text()
    text = re.sub(
        r"class (Query|Mutation)\(",
        lambda found: f"class {found[1]}(Supplier{'Queries' if found[1] == 'Query' else 'Mutations'}, ",
        text,
    )
    assembled.write_text(text)
    run(target, "-m", "alembic", "upgrade", "head", DATABASE_URL=f"sqlite:///{target}/made.db")
    run(target, "-m", "alembic", "revision", "--autogenerate", "-m", "suppliers", DATABASE_URL=f"sqlite:///{target}/made.db")
    return target


def run(folder: Path, *arguments: str, **environment: str) -> str:
    """Run Python in a folder; what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_guide_makes_a_supplier(copy: Path, bare_url: str) -> None:
    made, refused, read = json.loads(run(copy, "-c", USE, bare_url))
    assert made["errors"] == []
    assert made["supplier"]["items"] == {
        "totalCount": 2,
        "nodes": [{"sku": f"A-{n}", "suppliers": {"nodes": [{"name": "Acme"}]}} for n in (1, 2)],
    }
    assert refused["supplier"] is None
    paths = sorted(".".join(error["path"]) for error in refused["errors"] if error["code"] == "UNIQUE")
    assert paths == ["input.items.1.sku", "input.name"]
    acme = {"name": "Acme", "country": "NL", "items": {"nodes": [{"sku": "A-2"}], "pageInfo": {"hasNextPage": True}}}
    assert read == {
        "suppliers": {"totalCount": 1, "nodes": [acme]},
        "items": {"totalCount": 0},
        "supplier": {"version": 1},
        "node": {"id": "Supplier:1"},
    }
