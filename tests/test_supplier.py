"""The guide for adding an entity, taken at its word: followed in a copy of the checkout, on which everything is checked then."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkouts import ROOT, clone
from tests.engines import Postgres
from tests.forks import environment

GUIDE = (ROOT / "docs/adding-an-entity.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"```\w+\n# (append to|new file|in) ([\w./-]+)(?:, (before|instead of): ([^\n]*))?\n(.*?)```|((?:^    \S[^\n]*\n)+)",
    re.DOTALL | re.MULTILINE,
)


class Checkout:
    """A copy of the checkout in which the commands of the guide run."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder, self.server = folder, server

    def follow(self, how: str, file: str, where: str, place: str, code: str) -> None:
        """Do what a block of code in the guide says."""
        path = self.folder / file
        if how == "new file":
            assert not path.exists()
            path.write_text(code)
            return
        text = path.read_text()
        if how == "append to":
            path.write_text(f"{text}\n\n{code}")
            return
        assert text.count(place) == 1, f"the guide's place in {file} is gone: {place}"
        path.write_text(text.replace(place, code + place if where == "before" else code.removesuffix("\n")))

    def run(self, commands: str, **settings: str) -> None:
        """Run lines of shell as they are printed."""
        found = environment(PYTHONPATH=str(self.folder), TEST_DATABASE_URL=self.server, **settings)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=self.folder, env=found, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"


def following(folder: Path, server: str, *, commands: bool) -> Checkout:
    """A copy of the checkout in which the guide was followed block by block and, if asked, command by command, checks aside."""
    clone(folder)
    (folder / ".venv").symlink_to(sys.prefix)
    made = Checkout(folder, server)
    blocks = 0
    for *block, lines in BLOCK.findall(GUIDE):
        if not lines:
            made.follow(*block)
            blocks += 1
        elif commands and ".ci/run" not in lines:
            made.run(re.sub("^    ", "", lines, flags=re.MULTILINE))
    assert blocks == GUIDE.count("```") // 2, "a block of code says nothing of its place"
    return made


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, postgres_engines: Postgres) -> Checkout:
    return following(tmp_path_factory.mktemp("supplier") / "checkout", postgres_engines.server.url, commands=True)


def test_the_code_of_the_guide_finds_its_places_and_makes_a_schema(tmp_path: Path) -> None:
    made = following(tmp_path / "checkout", "", commands=False)
    made.run(".venv/bin/ordergraph schema > schema.graphql")
    before, after = (folder.joinpath("schema.graphql").read_text(encoding="utf-8") for folder in (ROOT, made.folder))
    assert "type Supplier implements Node" not in before
    assert "type Supplier implements Node" in after


@pytest.mark.guide
def test_the_quick_checks_pass_as_printed(checkout: Checkout) -> None:
    assert "    .ci/run --quick\n" in GUIDE
    checkout.run(".ci/run --quick")


@pytest.mark.guide
def test_the_tests_of_the_guide_and_of_migrations_pass(checkout: Checkout) -> None:
    checkout.run(".venv/bin/pytest -q -x tests/test_suppliers.py tests/test_migrations.py tests/test_docs.py")
