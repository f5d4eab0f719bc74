"""`/docs`: the documentation of this version, from the package.

What goes in: the Markdown files that came with it, the name of one. What comes out: pages with links that lead to each other.
A name that is none of theirs is not found; no path is made of it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from graph.serve.pages.shell import framed, root_of, shown_page, text_of

if TYPE_CHECKING:
    from markdown_it.token import Token

PACKAGE = Path(__file__).parents[2]
START = "README.md"


@cache
def pages() -> dict[str, Path]:
    """The files by their path in the checkout, which the wheel keeps in a folder of the package."""
    installed = PACKAGE / "docs"
    top = installed if installed.is_dir() else PACKAGE.parent
    files = [
        top / START,
        *sorted((top / "docs").rglob("*.md"), key=lambda file: (len(file.parts), file.name != "README.md", file)),
    ]
    return {file.relative_to(top).as_posix(): file for file in files}


def address(name: str) -> str:
    """Where a file is served, below what a proxy took away."""
    return f"/docs/{name.removeprefix('docs/')}"


def title(name: str) -> str:
    """The heading that a file opens with."""
    return text_of(pages()[name]).partition("\n")[0].lstrip("# ").strip()


def leads_to(name: str, href: str) -> str | None:
    """Where a link in a file leads, if it is to another of them: its address, and the place in it."""
    path, _, place = href.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
    return address(target) + (f"#{place}" if place else "") if path and target in pages() else None


def named_in_code(name: str, code: str) -> str | None:
    """Where what stands in `` ` `` leads: texts name a file of the checkout so, from its top."""
    return address(code) if code in pages() else leads_to(name, code) if code.endswith(".md") else None


@lru_cache(256)
def rendered(name: str, root: str) -> str:
    """A file as HTML. HTML in it is text."""
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    markdown = MarkdownIt("js-default", {"html": False})
    tokens = markdown.parse(text_of(pages()[name]))
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            before.attrSet("id", place_of(token.content))
        if token.children:
            token.children = linked(token.children, name, root, Token)
    html: str = markdown.renderer.render(tokens, markdown.options, {})
    return html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def linked(tokens: Sequence[Token], name: str, root: str, make: type[Token]) -> list[Token]:
    """What stands in a line, with links as they are served: those to other files lead there, and names of files do."""
    found: list[Token] = []
    inside = False
    for token in tokens:
        if token.type in ("link_open", "link_close"):
            inside = token.type == "link_open"
            if inside and (way := leads_to(name, str(token.attrGet("href") or ""))):
                token.attrSet("href", root + way)
        if token.type == "code_inline" and not inside and (way := named_in_code(name, token.content)):
            found += [make("link_open", "a", 1, attrs={"href": root + way}), token, make("link_close", "a", -1)]
        else:
            found.append(token)
    return found


def place_of(heading: str) -> str:
    """What stands behind `#` in a link to a heading, as everybody who shows Markdown makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@lru_cache(256)
def docs_page(name: str, root: str) -> str:
    """A file as a page, beside the list of all."""
    items = "\n".join(
        f'<li><a href="{escape(root + address(each))}"{" aria-current=page" * (each == name)}>{escape(title(each))}</a></li>'
        for each in pages()
    )
    body = (
        f'<div class="docs"><details class="contents" open><summary>Contents</summary><nav aria-label="Documentation"><ul>{items}'
        f"</ul></nav></details><article>{rendered(name, root)}</article></div>"
    )
    return framed(f"{title(name)} · ordergraph", body, root, kind="book")


async def read(request: Request) -> Response:
    """A page of the documentation, its first under `/docs`."""
    wanted = request.path_params.get("name", START)
    name = next((each for each in pages() if address(each) == f"/docs/{wanted}"), None)
    if name is None:
        raise HTTPException(404)
    return shown_page(docs_page(name, root_of(request.scope)))
