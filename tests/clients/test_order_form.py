"""The example of a form: it is built with types that a server tells, and shows each error at its field."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.chromium import chromium, window
from tests.clients.programs import HERE, SECONDS, Workshop
from tests.test_commands import free_port

if TYPE_CHECKING:
    from playwright.async_api import Page

EXAMPLE = HERE.parents[1] / "docs" / "examples" / "order-form"
#: What `npm run build` does.
BUILD = (["graphql-codegen"], ["tsc"], ["vite", "build", "--logLevel", "warn"])
#: What is said at each field that has an error.
ERRORS = """() => Object.fromEntries([...document.querySelectorAll("[aria-invalid]")].map((field) =>
    [field.name, document.getElementById(field.getAttribute("aria-describedby")).textContent]))"""


def test_the_example_takes_the_packages_that_are_tested() -> None:
    own = json.loads((EXAMPLE / "package.json").read_text(encoding="utf-8"))
    tested = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = own["dependencies"] | own["devDependencies"]
    assert packages == {name: tested[name] for name in packages}
    assert own["scripts"]["build"] == "npm run types && tsc && vite build"


@pytest.fixture
def folder(workshop: Workshop, address: str) -> Path:
    """The example's folder, in which it is built for a server."""
    made = workshop.folder / EXAMPLE.name
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(EXAMPLE, made, ignore=shutil.ignore_patterns("node_modules", "dist", "generated"))
    for command in BUILD:
        workshop.tool(*command, within=EXAMPLE.name, ORDERGRAPH=address)
    return made


@pytest.mark.node
def test_the_form_is_typed_and_built(folder: Path) -> None:
    page = (folder / "dist" / "index.html").read_text(encoding="utf-8")
    [script] = (folder / "dist" / "assets").glob("*.js")
    assert script.name in page
    assert "createOrder" in script.read_text(encoding="utf-8")


@pytest.fixture
def page_address(folder: Path, address: str) -> Iterator[str]:
    """Where the built page is served, and what it asks is passed on."""
    port = free_port()
    vite = str(folder.parent / "node_modules" / ".bin" / "vite")
    command = [vite, "preview", "--host", "127.0.0.1", "--port", str(port), "--strictPort"]
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | {"ORDERGRAPH": address}, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + SECONDS
        while True:
            assert process.poll() is None
            assert time.monotonic() < end
            try:
                httpx2.get(f"http://127.0.0.1:{port}/")
            except httpx2.TransportError:
                time.sleep(0.1)
            else:
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def order(page: Page) -> Any:
    """Send the form; what is said at each field then."""
    await page.get_by_role("button", name="Order", exact=True).click()
    await page.locator(".error").first.wait_for()
    return await page.evaluate(ERRORS)


@pytest.mark.node
@pytest.mark.browser
async def test_each_error_is_shown_at_its_field(page_address: str, tmp_path: Path) -> None:
    async with chromium() as browser, window(browser, page_address, tmp_path, "phone") as person:
        page = person.page
        email, discount = page.get_by_label("Customer's e-mail"), page.get_by_label("Discount")
        items, quantities = page.get_by_label("Item"), page.get_by_label("Quantity")
        await person.open("/")
        await page.locator('option[value="NW-1"]').wait_for(state="attached")
        await page.get_by_role("button", name="Add a line").click()
        await email.fill("nobody@northwind.example")
        await items.nth(0).fill("NW-1")
        await quantities.nth(0).fill("0")
        await items.nth(1).fill("NW-200")
        none = "There is none like that."
        assert await order(page) == {"customer.email": none, "items.0.quantity": "At least 1.", "items.1.item.sku": none}
        assert await person.faults() == []
        await person.keep("order-form")

        # What is no value of its type has its place, too.
        await email.fill("alfki@northwind.example")
        await items.nth(1).fill("NW-2")
        await quantities.nth(0).fill("1.5")
        await discount.fill("much")
        found = await order(page)
        assert set(found) == {"items.0.quantity", "discount"}
        assert person.complaints.pop().endswith("422 (Unprocessable Entity)")

        await quantities.nth(0).fill("2")
        await discount.fill("10")
        await page.get_by_role("button", name="Order", exact=True).click()
        await page.get_by_role("status").filter(has_text="SO-").wait_for()
        assert str(await page.get_by_role("status").text_content()).endswith(": 45.00")
        assert await page.evaluate(ERRORS) == {}
