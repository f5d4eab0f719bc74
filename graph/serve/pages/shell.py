"""The frame of every page: one look, one way from page to page.

What goes in: a title, what stands in the page as HTML, where it is served. What comes out: the page, and the response with what
its text lets it do (`graph.serve.browsers`). Nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template

from starlette.responses import HTMLResponse
from starlette.types import Scope

from graph.serve.browsers import page_headers
from graph.serve.negotiation import accepted
from graph.serve.requests import header
from graph.settings import Settings

HERE = Path(__file__).parent


@cache
def text_of(path: Path) -> str:
    """A file of the package."""
    return path.read_text(encoding="utf-8")


def fill(path: Path, values: Mapping[str, str]) -> str:
    """A template with its `$names` filled in. What is no HTML has to be escaped by who gives it."""
    return Template(text_of(path)).substitute(values)


@dataclass(frozen=True, slots=True)
class Website:
    """Where pages are served: what a proxy took away from their addresses, and which places they may lead to."""

    root: str
    places: tuple[tuple[str, str], ...] = ()

    def ways(self) -> str:
        """The name of it all and the ways to its places, as every page begins; no way leads to what is not there."""
        if not self.places:
            return '<span class="name">ordergraph</span>'
        root = escape(self.root)
        ways = "\n".join(f'<a href="{root}{path}">{name}</a>' for path, name in self.places)
        return f'<a class="name" href="{root}/">ordergraph</a>\n<nav aria-label="Pages">\n{ways}\n</nav>'


def framed(title: str, body: str, site: Website, *, kind: str = "text", head: str = "") -> str:
    """A page. `kind` is the class of its body: `text` is as wide as lines are read, `tool` as wide as the window."""
    values = {
        "title": escape(title),
        "style": text_of(HERE / "style.css"),
        "head": head,
        "kind": kind,
        "ways": site.ways(),
        "version": escape(version("ordergraph")),
        "body": body,
    }
    return fill(HERE / "shell.html", values)


def root_of(scope: Scope) -> str:
    """What stands before every path of ours where the browser is: what a proxy took away (`serve --root-path`)."""
    return str(scope.get("app_root_path", scope.get("root_path", ""))).rstrip("/")


def website_of(scope: Scope, settings: Settings) -> Website:
    """Where a request is answered, with the places that are served under these settings."""
    places = [("/graphql", "Playground"), ("/docs", "Docs")] if settings.playground else []
    if settings.playground and settings.introspection:
        places.append(("/schema.graphql", "Schema"))
    return Website(root_of(scope), tuple(places))


def prefers_page(scope: Scope) -> bool:
    """Whether a request is that of a browser that opens a page."""
    return scope["method"] in ("GET", "HEAD") and accepted(header(scope, b"accept")).page


def shown_page(html: str, status: int = 200) -> HTMLResponse:
    """A page as it is sent. Under the same address others are told in plain text."""
    return HTMLResponse(html, status, headers={**page_headers(html), "vary": "Accept"})
