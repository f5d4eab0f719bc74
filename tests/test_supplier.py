"""The guide for adding an entity, taken at its word: followed in a copy of the checkout, on which everything is checked then."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import Postgres
from tests.test_commands import environment

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs/adding-an-entity.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"```\w+\n# (append to|new file|in) ([\w./-]+)(?:, (before|instead of): ([^\n]*))?\n(.*?)```|((?:^    \S[^\n]*\n)+)",
    re.DOTALL | re.MULTILINE,
)
#: What belongs to a checkout's user.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.db", "*.db-*", ".hypothesis", ".pytest_cache")


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


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, postgres_engines: Postgres) -> Checkout:
    """A copy of the checkout in which the guide was followed, block by block and command by command, checks aside."""
    folder = tmp_path_factory.mktemp("supplier") / "checkout"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    (folder / ".venv").symlink_to(sys.prefix)
    made = Checkout(folder, postgres_engines.server.url)
    blocks = 0
    for *block, commands in BLOCK.findall(GUIDE):
        if not commands:
            made.follow(*block)
            blocks += 1
        elif ".ci/run" not in commands:
            made.run(re.sub("^    ", "", commands, flags=re.MULTILINE))
    assert blocks == GUIDE.count("```") // 2, "a block of code says nothing of its place"
    return made


def test_the_quick_checks_pass_as_printed(checkout: Checkout) -> None:
    assert "    .ci/run --quick\n" in GUIDE
    checkout.run(".ci/run --quick")


def test_the_tests_of_the_guide_and_of_migrations_pass(checkout: Checkout) -> None:
    checkout.run(".venv/bin/pytest -q -x tests/test_suppliers.py tests/test_migrations.py tests/test_docs.py")
