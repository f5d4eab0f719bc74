"""The snapshot test of `docs/schema.md` in Jest, against a real server."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.clients.programs import HERE, Workshop

pytestmark = pytest.mark.node

PAGE = (HERE.parents[1] / "docs" / "schema.md").read_text(encoding="utf-8")
(PROGRAM,) = re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL)
SERVER = "http://127.0.0.1:8000"


@pytest.fixture
def folder(workshop: Workshop, address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A front end's folder below the packages, with its test and its copy of the schema."""
    made = Path(tmp_path_factory.mktemp("jest", numbered=True).name)
    there = workshop.folder / made
    there.mkdir()
    assert PROGRAM.count(SERVER) == 1
    (there / "schema.test.cjs").write_text(PROGRAM.replace(SERVER, address.partition("/graphql")[0]), encoding="utf-8")
    (there / "package.json").write_text("{}")
    shutil.copy(workshop.folder / "schema.graphql", there)
    return there


def test_the_snapshot_is_taken_once_and_then_holds(workshop: Workshop, folder: Path) -> None:
    # Said, because Jest would find out whether a CI runs it, and write nothing there.
    workshop.tool("jest", "--ci=false", within=folder.name)
    (snapshot,) = (folder / "__snapshots__").iterdir()
    taken = snapshot.read_text(encoding="utf-8")
    assert "type Customer implements Node" in taken
    workshop.tool("jest", "--ci", within=folder.name)

    snapshot.write_text(taken.replace("totalSpent: Decimal!", "totalSpent: Decimal"), encoding="utf-8")
    with pytest.raises(AssertionError, match="1 snapshot failed"):
        workshop.tool("jest", "--ci", within=folder.name)


def test_what_has_gone_is_named(workshop: Workshop, folder: Path) -> None:
    reviewed = folder / "schema.graphql"
    text = reviewed.read_text(encoding="utf-8")
    reviewed.write_text(text.replace("  totalSpent: Decimal!", "  totalSpent: Decimal!\n  spent: Decimal!"), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"Customer\.spent was removed"):
        workshop.tool("jest", within=folder.name)
