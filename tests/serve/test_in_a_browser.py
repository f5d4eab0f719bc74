"""The pages in Chromium: what a person sees, runs and reaches with the keyboard; nothing is asked of another host."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from graph.serve.playground.page import is_graphiql
from graph.serve.playground.tabs import TABS
from tests.chromium import Window, chromium, window
from tests.servers import start, start_anew

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

SHOP = "northwind"

#: A server from a wheel that was built without GraphiQL.
WITHOUT = """
from pathlib import Path
from graph.__main__ import main
from graph.serve.playground import page
page.BUILT = Path("nothing")
main()
"""
NOT_FOUND = "Failed to load resource: the server responded with a status of 404 (Not Found)"
RUN = re.compile("^(Run|Execute query)")


@pytest.fixture(scope="session")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@asynccontextmanager
async def served(kind: str, url: str, folder: Path) -> AsyncIterator[str]:
    """The address of a server whose playground is of one kind, GraphiQL or the small page."""
    if kind == "graphiql":
        assert is_graphiql(), "build GraphiQL into this checkout, where npm can be had: pip wheel --no-deps -w /tmp ."
        server = await start(url, folder)
    else:
        server = await start_anew(url, folder, code=WITHOUT)
    try:
        yield server.url
    finally:
        server.kill()


class Small:
    """The small page, as a person uses it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @property
    def answer(self) -> Locator:
        return self.page.get_by_role("region", name="Answer as JSON")

    def tab(self, title: str) -> Locator:
        return self.page.get_by_role("tab", name=title, exact=True)

    async def ready(self) -> None:
        await self.page.get_by_role("button", name=RUN).wait_for()

    async def enter_editor(self) -> None:
        await self.page.get_by_role("textbox", name="Operation").click()

    async def ask_for_sql(self) -> None:
        await self.page.get_by_label("SQL and plan").check()

    async def listens(self) -> None:
        await self.page.get_by_text("Listening.").wait_for()

    async def run(self, title: str) -> None:
        """Choose a tab and run what it has, without a pause."""
        await self.tab(title).click()
        await self.page.get_by_role("button", name=RUN).click()

    async def shows(self, *texts: str) -> None:
        """Wait until an answer has these texts. Blanks may be those that break no line."""
        answer = self.answer
        for text in texts:
            answer = answer.filter(has_text=re.compile(re.escape(text).replace(r"\ ", r"\s")))
        await answer.wait_for()


class Graphiql(Small):
    """GraphiQL, whose tabs are called as their operations are."""

    @property
    def answer(self) -> Locator:
        return self.page.locator(".graphiql-response")

    def tab(self, title: str) -> Locator:
        query = next(tab.query for tab in TABS if tab.title == title)
        operation = re.search(r"^\w+ (\w+)", query, re.MULTILINE)
        assert operation is not None
        return self.page.locator(".graphiql-tab-button", has_text=operation[1])

    async def ready(self) -> None:
        await self.page.locator(".graphiql-query-editor .view-line").first.wait_for()
        await self.page.locator(".graphiql-response .view-lines").wait_for(state="attached")

    async def enter_editor(self) -> None:
        await self.page.locator(".graphiql-query-editor .view-lines").click()

    async def ask_for_sql(self) -> None:
        await self.page.get_by_role("button", name="SQL and plan").click()

    async def listens(self) -> None:
        await self.page.get_by_role("button", name="Stop query").wait_for()


KINDS = {"graphiql": Graphiql, "small": Small}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_person_runs_what_the_ready_tabs_promise(kind: str, browser: Browser, shop_url: str, tmp_path: Path) -> None:
    async with served(kind, shop_url, tmp_path) as base, window(browser, base, tmp_path) as opened:
        first = KINDS[kind](opened.page)
        await opened.open("/graphql")
        await first.ready()
        await first.run("First query")
        await first.shows('"totalCount": 6')
        await opened.keep(f"{kind}-query")
        await first.run("Subscription")
        await first.listens()

        page = await opened.another()
        second = KINDS[kind](page)
        await page.goto(f"{base}/graphql#nested-create")
        await second.ready()
        await second.enter_editor()
        await page.keyboard.press("Control+Enter")
        await second.shows('"customer"', '"number"', '"position": 2', '"errors": []')
        await first.shows('"CREATED"', '"Order:831"', '"73.00"')
        await opened.keep(f"{kind}-subscription")

        await second.run("Send it again and see every error")
        await second.shows('"customer": null', '"UNIQUE"', '"CHECK"')
        await second.run("Nested create")
        await second.shows('"customer": null', '"UNIQUE"', '"email"')
        await second.run("Dry run")
        await second.shows('"orderItems": 12')
        await page.set_viewport_size({"width": 1280, "height": 3000})  # an editor draws what is in sight alone
        await second.ask_for_sql()
        await second.run("First query")
        await second.shows('"totalCount": 6', '"explain"', '"sql": "SELECT ')
        await opened.keep(f"{kind}-explain")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_person_without_a_mouse_runs_a_query(kind: str, browser: Browser, shop_url: str, tmp_path: Path) -> None:
    async with served(kind, shop_url, tmp_path) as base, window(browser, base, tmp_path) as opened:
        playground = KINDS[kind](opened.page)
        await opened.open("/graphql")
        await playground.ready()
        assert "Playground" in await opened.tab_to("Docs")
        await opened.open("/graphql")
        await playground.ready()
        await opened.tab_to("Skip to the content")
        await opened.page.keyboard.press("Enter")
        await opened.page.keyboard.press("Tab")
        passed = await opened.tab_to("run" if kind == "small" else "Execute query (Ctrl-Enter)")
        assert not {"ordergraph", "Playground", "Docs"} & set(passed)
        await opened.page.keyboard.press("Enter")
        await playground.shows('"totalCount": 6')


@pytest.mark.parametrize(("width", "colours"), [("desktop", "light"), ("phone", "dark")])
async def test_every_page_is_whole_for_everybody(
    width: str, colours: str, browser: Browser, shop_url: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        bases = {kind: await stack.enter_async_context(served(kind, shop_url, tmp_path)) for kind in KINDS}
        pages = [("graphiql", path) for path in ("/", "/docs", "/docs/reads.md", "/nothing", "/graphql")]
        for kind, path in [*pages, ("small", "/graphql")]:
            opened = await stack.enter_async_context(window(browser, bases[kind], tmp_path, width, colours))
            await opened.open(path)
            if path == "/graphql":
                await KINDS[kind](opened.page).ready()
            await see(opened, f"{kind}{path.replace('/', '-')}-{width}-{colours}")
            if path == "/nothing":
                assert opened.complaints.pop() == NOT_FOUND
            light = await opened.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0] > 127")
            assert light is (colours == "light"), path


async def see(opened: Window, name: str) -> None:
    """Look at a page: nothing is wider than the window, nothing keeps anybody out."""
    await opened.keep(name)
    assert await opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    assert await opened.faults() == [], name


async def test_a_window_sees_who_asks_abroad_and_what_a_policy_forbids(browser: Browser, shop_url: str, tmp_path: Path) -> None:
    async with served("graphiql", shop_url, tmp_path) as base, window(browser, base, tmp_path) as opened:
        async with opened.page.expect_console_message() as told:
            await opened.page.set_content('<img src="https://cdn.example/x.png">')
        assert "ERR_NAME_NOT_RESOLVED" in (await told.value).text
        assert opened.abroad == ["https://cdn.example/x.png"]
        await opened.open("/")
        for element in ("script'), {text: '1'}", "img'), {src: 'http://cdn.example/'}"):
            async with opened.page.expect_console_message() as told:
                await opened.page.evaluate(f"document.body.append(Object.assign(document.createElement('{element}))")
            assert "Content Security Policy" in (await told.value).text
        assert len(opened.complaints) == 3
        await opened.page.set_content("<main><img src='data:,'><a></a><h1>It</h1></main>")
        assert {fault.partition(":")[0] for fault in await opened.faults()} >= {"image-alt", "html-has-lang"}
        opened.asked.clear()
        opened.complaints.clear()
