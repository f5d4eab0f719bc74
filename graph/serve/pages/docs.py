"""`/docs`: the documentation of this version, from the package.

What goes in: the files that came with it, the name of one. What comes out: Markdown as pages with links that lead to each other,
pictures and other files as they are. A name that is none of theirs is not found; no path is made of it.
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

from graph.serve.browsers import page_headers
from graph.serve.pages.shell import Website, framed, shown_page, text_of, website_of
from graph.settings import Settings

if TYPE_CHECKING:
    from markdown_it.token import Token

PACKAGE = Path(__file__).parents[2]
START = "README.md"
#: The page that lists the others, under headings and in the order in which they are shown beside each.
INDEX = "docs/README.md"
HEADING_OR_LINK = re.compile(r"^## (.+)$|^- \[([^\]]+)\]\(([^)#]+)\)", re.MULTILINE)


@cache
def files() -> dict[str, Path]:
    """The files by their path in the checkout, which the wheel keeps in a folder of the package."""
    installed = PACKAGE / "docs"
    top = installed if installed.is_dir() else PACKAGE.parent
    found = [top / START, *sorted(file for pattern in ("*", "*/*") for file in (top / "docs").glob(pattern) if file.is_file())]
    return {file.relative_to(top).as_posix(): file for file in found}


def pages() -> dict[str, Path]:
    """The files that are shown as pages."""
    return {name: file for name, file in files().items() if file.suffix == ".md"}


def contents() -> dict[str, list[tuple[str, str]]]:
    """What the list of all shows: under each heading names of pages, each with what it is called there."""
    found: dict[str, list[tuple[str, str]]] = {}
    for heading, called, href in HEADING_OR_LINK.findall(text_of(pages()[INDEX])):
        if heading:
            last = found.setdefault(heading, [])
        else:
            last.append((posixpath.normpath(posixpath.join(posixpath.dirname(INDEX), href)), called))
    return found


def address(name: str) -> str:
    """Where a file is served, below what a proxy took away."""
    return "/docs" if name == START else f"/docs/{name.removeprefix('docs/')}"


def title(name: str) -> str:
    """The heading that a file opens with."""
    return text_of(pages()[name]).partition("\n")[0].lstrip("# ").strip()


def leads_to(name: str, href: str) -> str | None:
    """Where a link in a file leads, if it is to another of them: its address, and the place in it."""
    path, _, place = href.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
    return address(target) + (f"#{place}" if place else "") if path and target in files() else None


def named_in_code(name: str, code: str) -> str | None:
    """Where what stands in `` ` `` leads: texts name a file of the checkout so, from its top."""
    return address(code) if code in files() else leads_to(name, code) if code.endswith(".md") else None


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
    html = html.replace("<pre>", '<pre tabindex="0">')  # whoever has no mouse scrolls what is too wide, too
    return html.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")


def linked(tokens: Sequence[Token], name: str, root: str, make: type[Token]) -> list[Token]:
    """What stands in a line, with links as they are served: those to other files lead there, and names of files do."""
    found: list[Token] = []
    inside = False
    for token in tokens:
        if token.type in ("link_open", "link_close"):
            inside = token.type == "link_open"
            if inside and (way := leads_to(name, str(token.attrGet("href") or ""))):
                token.attrSet("href", root + way)
        if token.type == "image" and (way := leads_to(name, str(token.attrGet("src") or ""))):
            token.attrSet("src", root + way)
        if token.type == "code_inline" and not inside and (way := named_in_code(name, token.content)):
            found += [make("link_open", "a", 1, attrs={"href": root + way}), token, make("link_close", "a", -1)]
        else:
            found.append(token)
    return found


def place_of(heading: str) -> str:
    """What stands behind `#` in a link to a heading, as everybody who shows Markdown makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@lru_cache(256)
def docs_page(name: str, site: Website) -> str:
    """A file as a page, beside the list of all."""
    groups = "\n".join(
        f"<h2>{escape(heading)}</h2><ul>"
        + "\n".join(
            f'<li><a href="{escape(site.root + address(each))}"{" aria-current=page" * (each == name)}>{escape(called)}</a></li>'
            for each, called in listed
        )
        + "</ul>"
        for heading, listed in contents().items()
    )
    body = (
        f'<div class="docs"><details class="contents" open><summary>Contents</summary><nav aria-label="Documentation">{groups}'
        f"</nav></details><article>{rendered(name, site.root)}</article></div>"
    )
    return framed(f"{title(name)} · ordergraph", body, site, kind="book")


async def read(settings: Settings, request: Request) -> Response:
    """A page of the documentation, its first under `/docs`, or a file that belongs to one."""
    wanted = "/".join(["/docs", *request.path_params.values()])
    name = next((each for each in files() if address(each) == wanted), None)
    if name is None:
        raise HTTPException(404)
    if name in pages():
        return shown_page(docs_page(name, website_of(request.scope, settings)))
    media = "image/svg+xml" if name.endswith(".svg") else "text/plain"
    return Response(files()[name].read_bytes(), media_type=media, headers=page_headers(""))
