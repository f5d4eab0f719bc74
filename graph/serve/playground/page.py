"""The page at /graphql, and the files that it loads.

What goes in: the path that a proxy took away. What comes out: GraphiQL as a page, where the wheel was built with it, by
`hatch_build.py`, else the small page, which is whole in itself. A file that was not built is not found.
"""

from __future__ import annotations

from functools import cache, lru_cache
from html import escape
from pathlib import Path

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from graph.serve.compression import LEVEL, PAYS_BYTES
from graph.serve.pages.shell import Website, framed, text_of
from graph.serve.playground.tabs import tabs_as_json

HERE = Path(__file__).parent
BUILT = HERE / "built"
#: Where the page finds what was built, beside itself.
ASSETS = "/assets"


@cache
def is_graphiql() -> bool:
    """Whether this installation has GraphiQL."""
    return (BUILT / "playground.js").is_file()


def kind_of_page() -> str:
    """What a browser is shown, in words."""
    return "GraphiQL" if is_graphiql() else "a small playground (GraphiQL was not built into this installation)"


@lru_cache(8)
def playground(site: Website) -> str:
    """The playground as a page."""
    ready = f'<script type="application/json" id="ready">{tabs_as_json()}</script>'
    if is_graphiql():
        assets = escape(site.root + ASSETS)
        head = f'<link rel="stylesheet" href="{assets}/playground.css">\n'
        place = '<h1 class="spoken">Playground</h1><div id="playground"></div>'
        body = f'{place}{ready}\n<script type="module" src="{assets}/playground.js"></script>'
        return framed("Playground · ordergraph", body, site, kind="whole", head=head)
    head = f"<style>\n{text_of(HERE / 'small.css')}</style>\n"
    body = f"{text_of(HERE / 'small.html')}{ready}\n<script>{text_of(HERE / 'small.js')}</script>"
    return framed("Playground · ordergraph", body, site, kind="tool", head=head)


class Assets(StaticFiles):
    """What was built. Names of entries stay from version to version, so browsers ask each time whether they have it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or that a browser has it already."""
        response = await super().get_response(path, scope)
        response.headers.update({"cache-control": "no-cache", "x-content-type-options": "nosniff"})
        return response


def assets(called: list[Middleware]) -> list[BaseRoute]:
    """The route of what was built; none where nothing was."""
    if not is_graphiql():
        return []
    gzip = Middleware(GZipMiddleware, minimum_size=PAYS_BYTES, compresslevel=LEVEL)
    return [Mount(ASSETS, Assets(directory=BUILT), middleware=[*called, gzip])]
