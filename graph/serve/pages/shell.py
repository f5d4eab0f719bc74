"""The frame of every page: one look, one way from page to page.

What goes in: a title, what stands in the page as HTML, the path that a proxy took away. What comes out: the page, and the
response with what its text lets it do (`graph.serve.browsers`). Nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
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

HERE = Path(__file__).parent


@cache
def text_of(path: Path) -> str:
    """A file of the package."""
    return path.read_text(encoding="utf-8")


def fill(path: Path, values: Mapping[str, str]) -> str:
    """A template with its `$names` filled in. What is no HTML has to be escaped by who gives it."""
    return Template(text_of(path)).substitute(values)


def framed(title: str, body: str, root: str, *, kind: str = "text", head: str = "") -> str:
    """A page. `kind` is the class of its body: `text` is as wide as lines are read, `tool` as wide as the window."""
    values = {
        "title": escape(title),
        "style": text_of(HERE / "style.css"),
        "head": head,
        "kind": kind,
        "root": escape(root),
        "version": escape(version("ordergraph")),
        "body": body,
    }
    return fill(HERE / "shell.html", values)


def root_of(scope: Scope) -> str:
    """What stands before every path of ours where the browser is: what a proxy took away (`serve --root-path`)."""
    return str(scope.get("app_root_path", scope.get("root_path", ""))).rstrip("/")


def prefers_page(scope: Scope) -> bool:
    """Whether a request is that of a browser that opens a page."""
    return scope["method"] in ("GET", "HEAD") and accepted(header(scope, b"accept")).page


def shown_page(html: str, status: int = 200) -> HTMLResponse:
    """A page as it is sent. Under the same address others are told in plain text."""
    return HTMLResponse(html, status, headers={**page_headers(html), "vary": "Accept"})
