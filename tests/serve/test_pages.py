"""What browsers are shown: the tour, the playground, errors; that none of it asks another host, and what it may do."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from graph.serve.pages import docs
from graph.serve.pages.shell import Website
from graph.serve.playground.tabs import TABS
from tests.conftest import Ask

SHOP = "northwind"

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
#: Whatever a page loads, or leads to.
ADDRESS = re.compile(r"""(?:src|href|action|poster|srcset|data-\w+)\s*=\s*["']?([^"'\s>]+)|url\(([^)]*)\)|@import\s+([^;]+)""")


def policy_of(answer: httpx2.Response) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))


def leads_abroad(html: str) -> list[str]:
    """The addresses in a page that are those of another host."""
    found = [next(filter(None, groups)) for groups in ADDRESS.findall(html)]
    assert found
    return [each for each in found if re.match(r"(?:[a-z]+:)?//", each)]


@pytest.mark.parametrize("path", ["/", "/graphql", "/docs", "/docs/reads.md", "/nothing", "/graphql/nothing"])
async def test_a_page_asks_no_other_host_and_stands_in_no_frame(ask: Ask, path: str) -> None:
    answer = await ask.client.get(path, headers=HTML)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Accept" in answer.headers["vary"]
    if not path.startswith("/docs"):  # whose links may lead to specifications
        assert leads_abroad(answer.text) == []
    assert re.findall("<(?:iframe|object|embed|form)", answer.text) == []
    assert [each for each in re.findall(r'<img src="([^"]*)"', answer.text) if not each.startswith("/docs/")] == []
    policy = policy_of(answer)
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in policy["script-src"]
    for sources in policy.values():
        assert not re.search(r"https?:|\*", sources)
    for words in ('<html lang="en">', 'name="viewport"', 'href="#main"', "<nav aria-label"):
        assert words in answer.text


async def test_the_ways_from_page_to_page_keep_the_path_that_a_proxy_took_away(ask: Ask) -> None:
    transport = httpx2.ASGITransport(ask.app, root_path="/shop")
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for path in ("/shop/", "/shop/graphql", "/shop/docs/reads.md", "/shop/nothing"):
            answer = await client.get(path, headers=HTML)
            ways = re.findall(r'href="(/[^"]*)"', answer.text)
            assert {"/shop/", "/shop/graphql", "/shop/docs"} <= set(ways)
            assert all(way.startswith("/shop/") for way in ways)


async def test_the_tour_leads_to_what_is_there(ask_with: Any) -> None:
    async with ask_with(metrics=True) as ask:
        page = (await ask.client.get("/", headers=HTML)).text
        assert '<span class="state good">Ready</span>' in page
        ways = {way.partition("#")[0] for way in re.findall(r'href="(/[^"]*)"', page)}
        assert {"/graphql", "/schema.graphql", "/livez", "/readyz", "/metrics"} <= ways
        for way in ways:
            assert (await ask.client.get(way, headers=HTML)).status_code == 200, way
        plain = await ask.client.get("/")
        assert plain.headers["content-type"].startswith("text/plain")
        assert set(re.findall(r"^(/\S*)", plain.text, re.MULTILINE)) <= ways


async def test_the_tour_says_what_is_wrong(ask: Ask) -> None:
    ask.app.state.streams.draining.set()
    page = (await ask.client.get("/", headers=HTML)).text
    assert '<span class="state bad">The server ends.</span>' in page


async def test_no_page_repeats_the_host_that_a_request_names(ask: Ask) -> None:
    for path in ("/", "/graphql", "/docs", "/nothing"):
        for headers in (HTML, {}):
            answer = await ask.client.get(path, headers={**headers, "host": "evil.example"})
            assert "evil" not in answer.text
            assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/<script>", 404), ("POST", "/livez", 405)]
)
async def test_errors_are_a_page_for_browsers_and_a_line_for_others(ask: Ask, method: str, path: str, status: int) -> None:
    page = await ask.client.request(method, path, headers=HTML)
    assert page.status_code == status
    assert ("<h1>" in page.text) is (method == "GET")
    assert "<script" not in page.text
    line = await ask.client.request(method, path)
    assert line.status_code == status
    assert line.headers["content-type"].startswith("text/plain")
    assert len(line.text.splitlines()) == 1
    if status == 405:
        assert set(line.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_every_page_of_the_documentation_is_served_and_its_links_lead_somewhere(ask: Ask) -> None:
    texts = {each: (await ask.client.get(docs.address(each), headers=HTML)).text for each in docs.pages()}
    assert {"README.md", "docs/http.md", "docs/decisions/0001-compiled-reads.md"} <= texts.keys()
    served = {docs.address(each) for each in docs.files()}
    for name, text in texts.items():
        assert "<h1 id=" in text, name
        for way, place in re.findall(r'(?:href|src)="(/docs[^"#]*)(?:#([^"]*))?"', text):
            assert way in served, (name, way, place)
            if place:
                target = next(each for each in texts if docs.address(each) == way)
                assert f'id="{place}"' in texts[target], (name, way, place)
        for way, place in re.findall(r'(?:href|src)="(?!/|#|https?:)([^"#]*)(?:#([^"]*))?"', text):
            assert way.startswith("data:"), (name, way, place)
    article = texts["docs/architecture.md"].partition("<article>")[2]
    assert '<a href="/docs/decisions/0005-two-doors.md">' in article
    assert '<a href="/docs/http.md"><code>docs/http.md</code></a>' in texts["docs/performance.md"]
    assert '<div class="wide" tabindex="0"><table>' in texts["README.md"]


async def test_the_list_of_pages_names_every_one_once_in_the_order_of_its_index(ask: Ask) -> None:
    listed = [name for pages in docs.contents().values() for name, _ in pages]
    assert listed[0] == "README.md"
    assert len(set(listed)) == len(listed)
    assert set(listed) - docs.pages().keys() == set()
    unlisted = docs.pages().keys() - set(listed) - {docs.INDEX}
    assert {name for name in unlisted if not name.startswith("docs/decisions/0")} == set()
    page = (await ask.client.get("/docs/http.md", headers=HTML)).text
    contents = page.partition('<nav aria-label="Documentation">')[2].partition("</nav>")[0]
    assert re.findall('href="([^"]*)"', contents) == [docs.address(name) for name in listed]
    assert re.findall('href="([^"]*)" aria-current=page', contents) == ["/docs/http.md"]


async def test_pictures_and_other_files_are_sent_as_they_are(ask: Ask) -> None:
    assert '<img src="/docs/two-ways.svg"' in (await ask.client.get("/docs", headers=HTML)).text
    answer = await ask.client.get("/docs/two-ways.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert policy_of(answer)["script-src"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content == docs.files()["docs/two-ways.svg"].read_bytes()


@pytest.mark.parametrize(
    "name",
    ["../README.md", "%2e%2e/README.md", "..%2f..%2fgraph/settings.py", "/etc/passwd", "settings.py", "", "reads.md/"],
)
async def test_no_path_is_made_of_the_name_of_a_page(ask: Ask, name: str) -> None:
    answer = await ask.client.get(f"/docs/{name}", headers=HTML)
    assert answer.status_code == 404
    assert "<article>" not in answer.text


def test_html_in_the_documentation_is_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    name = "odd" + ".md"
    file, there = tmp_path / name, docs.files()
    file.write_text("# Odd <b>\n\n<script>alert(1)</script> [x](javascript:alert(1)) `" + name + "`\n")
    monkeypatch.setattr(docs, "files", lambda: {**there, name: file})
    html = docs.docs_page(name, Website("/<shop>"))
    assert "<script" not in html
    assert "<b>" not in html
    assert 'href="javascript' not in html
    assert '<a href="/&lt;shop&gt;/docs/' + name + '"><code>' + name + "</code></a>" in html


async def test_without_the_playground_there_is_no_page_but_errors(ask_with: Any) -> None:
    async with ask_with(playground=False) as ask:
        for path in ("/", "/docs"):
            answer = await ask.client.get(path, headers=HTML)
            assert answer.status_code == 404
            assert "<h1>" in answer.text
            assert re.findall('href="/', answer.text) == [], "a way that leads nowhere"


async def test_without_introspection_no_page_leads_to_the_schema(ask_with: Any) -> None:
    async with ask_with(introspection=False) as ask:
        for path in ("/", "/graphql", "/docs", "/nothing"):
            answer = await ask.client.get(path, headers=HTML)
            assert 'href="/docs"' in answer.text
            assert "schema.graphql" not in answer.text.partition("<article>")[0], path


def test_the_ready_tabs_are_those_that_the_page_promises() -> None:
    assert [tab.title for tab in TABS] == [
        "First query",
        "Nested create",
        "Send it again and see every error",
        "Delete-orphan",
        "Dry run",
        "Subscription",
    ]
    assert len({tab.name for tab in TABS}) == len(TABS)
    assert all(re.fullmatch(r"[a-z-]+", tab.name) and tab.about.endswith(".") for tab in TABS)


async def test_the_ready_tabs_do_on_the_sample_what_they_say(shop: Ask) -> None:
    texts = {tab.name: tab.query for tab in TABS}
    first = await shop.data(texts["first-query"])
    assert first["customer"]["orders"]["totalCount"] == 6

    made = (await shop.data(texts["nested-create"]))["createCustomer"]
    assert made["errors"] == []
    assert len(made["customer"]["orders"]["nodes"][0]["items"]) == 2
    again = (await shop.data(texts["nested-create"]))["createCustomer"]["errors"]
    assert [(error["code"], error["path"]) for error in again] == [("UNIQUE", ["input", "email"])]

    wrong = (await shop.data(texts["every-error"]))["createCustomer"]
    assert wrong["customer"] is None
    assert len({tuple(error["path"]) for error in wrong["errors"]}) >= 4

    for _ in range(2):
        replaced = (await shop.data(texts["delete-orphan"]))["updateOrder"]
        assert replaced["errors"] == []
        assert [line["quantity"] for line in replaced["order"]["items"]] == [2]

    for _ in range(2):
        tried = (await shop.data(texts["dry-run"]))["deleteCustomer"]
        assert tried["deleted"] == {"customers": 1, "orders": 6, "orderItems": 12}
    assert (await shop.data('{ customer(by: {id: "Customer:1"}) { orders { totalCount } } }'))["customer"]["orders"][
        "totalCount"
    ] == 6
    assert (await shop(texts["subscription"]))["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
