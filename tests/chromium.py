"""Chromium without a window, led by Playwright (the extra `browser`), which sees all that a page asks for and complains of.

What goes in: the address of a server, the width and the colours of a window. What comes out: a `Window`. What may be refused
here: without Playwright or a Chromium the tests that are marked so fail, with a message that says how to get one. No host but
this machine can be asked: every other name is unknown to the browser.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page

#: Programs of operating systems, in the order in which they are taken; the first has no more than these tests need.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ("--disable-gpu", "--disable-quic", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
#: How long whatever is waited for may take on a busy machine.
PATIENCE_SECONDS = 60
WIDTHS = {"desktop": (1280, 800), "phone": (390, 844)}
SCREENSHOTS = "BROWSER_SCREENSHOTS"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser: Playwright's own where it was installed, else the operating system's."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise RuntimeError("these tests need the extra `browser`: pip install -e '.[test,browser]'") from None
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program(playwright.chromium.executable_path), args=OPTIONS)
        try:
            yield browser
        finally:
            await browser.close()


def program(own: str) -> str | None:
    """The program that is started: none but Playwright's own where that is there, else the first of the operating system's."""
    if Path(own).is_file():
        return None
    for found in filter(None, map(shutil.which, PROGRAMS)):
        return found
    raise RuntimeError(
        "these tests need Chromium: run `playwright install --with-deps chromium`, or install the package "
        "`chromium-headless-shell` or `chromium` of your operating system"
    )


@dataclass
class Window:
    """A window of a person who was never here. `asked` has every address, `complaints` what the console and the policies said."""

    page: Page
    base: str
    folder: Path
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def abroad(self) -> list[str]:
        """What was asked of others than the server."""
        own = (self.base + "/", self.base.replace("http", "ws") + "/", "data:", f"blob:{self.base}/")
        return [address for address in self.asked if not address.startswith(own)]

    def look(self, page: Page) -> None:
        """See what a page does."""
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        page.on("console", self.hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    async def open(self, path: str) -> None:
        """Open a page of the server."""
        await self.page.goto(self.base + path)

    async def another(self) -> Page:
        """A second page of the same person."""
        page = await self.page.context.new_page()
        self.look(page)
        return page

    async def keep(self, name: str) -> None:
        """Keep a picture of each page for people to look at: in the folder that the environment names, else in the test's."""
        folder = Path(os.environ.get(SCREENSHOTS, self.folder))
        for number, page in enumerate(self.page.context.pages):
            await page.screenshot(path=folder / f"{name}-{number}.png")

    async def focused(self) -> str:
        """The name of what the keyboard is at."""
        name = (
            "document.activeElement.getAttribute('aria-label') || document.activeElement.id || document.activeElement.textContent"
        )
        return str(await self.page.evaluate(name)).strip()

    async def tab_to(self, name: str) -> list[str]:
        """Press the key Tab until something is reached, and what was passed on the way."""
        passed: list[str] = []
        while (here := await self.focused()) != name:
            assert len(passed) < 60, passed
            passed.append(here)
            await self.page.keyboard.press("Tab")
        return passed

    async def faults(self) -> list[str]:
        """What axe finds wrong with the page for people who cannot see it, or not well, or have no mouse.

        GraphiQL has its own: buttons in tabs, and colours of its editor.
        """
        from axe_playwright_python.async_playwright import Axe

        found: Any = await Axe().run(self.page, context={"exclude": [".graphiql-container"]})
        return [
            f"{rule['id']}: {node['html'][:120]} ({node['failureSummary'][:300]})"
            for rule in found.response["violations"]
            for node in rule["nodes"]
        ]


@asynccontextmanager
async def window(
    browser: Browser, base: str, folder: Path, width: str = "desktop", colours: Any = "light"
) -> AsyncIterator[Window]:
    """A window at a server. In the end no other host was asked, and nothing was complained of but what the test took away.

    What it showed when a test failed is kept, too.
    """
    across, down = WIDTHS[width]
    context = await browser.new_context(
        viewport={"width": across, "height": down}, color_scheme=colours, reduced_motion="reduce", has_touch=width == "phone"
    )
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    opened = Window(await context.new_page(), base, folder)
    context.on("request", lambda request: opened.asked.append(request.url))
    opened.look(opened.page)
    try:
        yield opened
    except BaseException:
        await opened.keep("failed")
        raise
    finally:
        await context.close()
    assert opened.abroad == []
    assert opened.complaints == []


async def tell() -> None:
    """Say which Chromium is started."""
    async with chromium() as browser:
        print(f"Chromium {browser.version}")


if __name__ == "__main__":
    asyncio.run(tell())
