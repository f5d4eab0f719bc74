"""What docs, docstrings and comments point to is there: modules, names, files, links, commands."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", ".github/*.md", "docs/**/*.md", "graph/**/*.py", "tests/**/*.py", "migrations/**/*.py")
    for path in ROOT.glob(pattern)
    if path != Path(__file__)  # which names what is not there
)
GUIDE = (ROOT / "docs/adding-an-entity.md").read_text(encoding="utf-8")
#: Files that the guide has its reader make.
TO_BE_MADE = set(re.findall(r"^# new file (\S+)$", GUIDE, re.MULTILINE))

DOTTED = re.compile(r"`((?:graph|tests)(?:\.\w+)+)(?:\(\))?`")
PLACE = re.compile(r"`((?:graph|tests|migrations|docs|\.ci|\.github)/[\w./*-]*)`")
FILE = re.compile(r"`([\w-]+\.(?:py|md|toml|json|graphql))`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
#: Hosts of package registries, which no file names: a mirror may stand for them.
REGISTRIES = re.compile("|".join(("pypi[.]org", "python" + "hosted[.]org", "npm" + "js[.]org", "yarn" + "pkg[.]com")))
COMMAND = re.compile(r"python3? -m ((?:graph|tests)(?:\.\w+)*)")


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module or leads to something in one."""
    first, *names = dotted.split(".")
    found: Any = importlib.import_module(first)
    for index, name in enumerate(names, 1):
        module = ".".join([first, *names[:index]])
        if hasattr(found, "__path__") and importlib.util.find_spec(module):
            found = importlib.import_module(module)
        elif hasattr(found, name):
            found = getattr(found, name)
        else:
            return False
    return True


@cache
def known_files() -> set[str]:
    """The names of all files of the checkout, and of those that the guide has its reader make."""
    kept = [path for path in ROOT.iterdir() if path.name not in (".git", ".venv")]
    return {path.name for top in kept for path in (top, *top.rglob("*"))} | {Path(made).name for made in TO_BE_MADE}


def missing(source: str, text: str) -> list[str]:
    """What a text names that is not there."""
    found = [name for name in DOTTED.findall(text) if not is_there(name)]
    found += [place for place in PLACE.findall(text) if place not in TO_BE_MADE and not list(ROOT.glob(place.rstrip("/")))]
    found += [name for name in FILE.findall(text) if name not in known_files()]
    if source.endswith(".md"):
        found += [link for link in LINK.findall(text) if not (ROOT / source).parent.joinpath(link).exists()]
    return found + [module for module in COMMAND.findall(text) if importlib.util.find_spec(module) is None]


def test_what_a_text_points_to_is_there() -> None:
    found = {source: missing(source, (ROOT / source).read_text(encoding="utf-8")) for source in SOURCES}
    assert {source: names for source, names in found.items() if names} == {}


def test_no_file_names_the_host_of_a_package_registry() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() or SOURCES  # a copy without its history
    texts = ((name, (ROOT / name).read_bytes().decode(errors="replace")) for name in names if (ROOT / name).is_file())
    assert [name for name, text in texts if REGISTRIES.search(text)] == []


def test_the_rooms_that_the_page_of_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rooms = "|".join(path.name for path in (ROOT / "graph").iterdir() if path.is_dir())
    named = re.findall(rf"`((?:{rooms})/[\w./]*)`", text)
    assert len(named) > 20
    assert not [place for place in named if not (ROOT / "graph" / place).exists()]


def test_every_fault_by_number_has_a_test_that_names_it() -> None:
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([0-9]+) \| .* \| ([^|]+) \|$", text.partition("## Faults by number")[2], re.MULTILINE)
    assert [int(number) for number, _ in rows] == [10, 11, 16, 17, 18, 19, 20, 22, 25, 26, 30]
    for number, places in rows:
        for place in re.findall(r"`([^`]+)`", places):
            named = re.findall(r"[Ff]aults?((?:,? (?:and )?[0-9]+)+)", (ROOT / place).read_text(encoding="utf-8"))
            assert number in re.findall("[0-9]+", " ".join(named)), f"{place} names no fault {number}"


def test_the_changelog_says_everything_once() -> None:
    """Two branches that both change it are merged line by line, and what one has taken out or shortened comes back."""
    releases = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for release in releases:
        parts = re.findall(r"^### .+|^- .{25}", release, re.MULTILINE)
        assert len(parts) > 2
        assert [part for part, number in Counter(parts).items() if number > 1] == []


def test_the_check_sees_what_is_not_there() -> None:
    text = (
        "`graph.operation`, `graph.operations.engine.Engine`, `graph.read.planning.plan.Gone`, `graph/nowhere.py`, `graph/read/`,"
        " `gone.py`, `models.py`, [a](nowhere.md), [b](README.md), python -m tests.nothing, python -m tests.benchmarks"
    )
    names = ["graph.operation", "graph.read.planning.plan.Gone", "graph/nowhere.py", "gone.py", "nowhere.md", "tests.nothing"]
    assert missing("README.md", text) == names
