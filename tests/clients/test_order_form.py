"""The example of a form: its types are made of what a server tells, held, and built into a page."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.clients.programs import HERE, Workshop

EXAMPLE = HERE.parents[1] / "docs" / "examples" / "order-form"
#: What `npm run build` does.
BUILD = (["graphql-codegen"], ["tsc"], ["vite", "build", "--logLevel", "warn"])


def test_the_example_takes_the_packages_that_are_tested() -> None:
    own = json.loads((EXAMPLE / "package.json").read_text(encoding="utf-8"))
    tested = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = own["dependencies"] | own["devDependencies"]
    assert packages == {name: tested[name] for name in packages}
    assert own["scripts"]["build"] == "npm run types && tsc && vite build"


@pytest.mark.node
def test_the_form_is_typed_and_built(workshop: Workshop, address: str) -> None:
    folder = workshop.folder / EXAMPLE.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "generated"))
    for command in BUILD:
        workshop.tool(*command, within=EXAMPLE.name, ORDERGRAPH=address)
    page = (folder / "dist" / "index.html").read_text(encoding="utf-8")
    [script] = (folder / "dist" / "assets").glob("*.js")
    assert script.name in page
    assert "createOrder" in script.read_text(encoding="utf-8")
