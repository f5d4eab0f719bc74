"""`docs/schema.md` at its word: its snapshot test in pytest, and the rule for what is deprecated. Jest's is in tests/clients."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from graphql import build_schema

from graph.comparison import deprecations
from graph.schema import schema
from tests.forks import environment

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/schema.md").read_text(encoding="utf-8")
#: What a reason must say: what to use, and in which version it goes.
REASON = re.compile(r"Use \S.*\. Goes in [0-9]+\.[0-9]+\.")


@pytest.mark.long
def test_the_snapshot_test_passes_and_sees_a_change(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "test_snapshot.py").write_text(source)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    reviewed = tmp_path / "schema.graphql"
    shutil.copy(ROOT / "schema.graphql", reviewed)

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)

    assert run().returncode == 0
    reviewed.write_text(reviewed.read_text(encoding="utf-8").replace("totalSpent: Decimal!", "totalSpent: Decimal"))
    failed = run()
    assert failed.returncode == 1
    assert "totalSpent" in failed.stdout


def unexplained(text: str) -> list[str]:
    """What is deprecated in a schema without a word of what to use, or of when it goes."""
    return [name for name, reason in deprecations(build_schema(text)) if not REASON.fullmatch(reason)]


def test_what_is_deprecated_says_what_to_use_and_when_it_goes() -> None:
    assert unexplained(schema.as_str()) == []


@pytest.mark.parametrize(
    ("reason", "found"), [("Use total. Goes in 0.3.", []), ("Old.", ["Query.sum"]), ("Use total.", ["Query.sum"])]
)
def test_a_reason_that_says_too_little_is_seen(reason: str, found: list[str]) -> None:
    assert unexplained(f'type Query {{ total: Int  sum: Int @deprecated(reason: "{reason}") }}') == found
    assert '@deprecated(reason: "Use total. Goes in 0.3.")' in PAGE
