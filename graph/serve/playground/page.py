"""The page at /graphql.

What goes in: the path that a proxy took away. What comes out: a page as HTML, of the kind that this installation has. Nothing is
refused here.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from graph.serve.pages.shell import framed, text_of
from graph.serve.playground.tabs import tabs_as_json

HERE = Path(__file__).parent


@lru_cache(8)
def playground(root: str) -> str:
    """The playground as a page; `root` is what stands before every path of ours."""
    head = f"<style>\n{text_of(HERE / 'small.css')}</style>\n"
    ready = f'<script type="application/json" id="ready">{tabs_as_json()}</script>'
    body = f"{text_of(HERE / 'small.html')}{ready}\n<script>{text_of(HERE / 'small.js')}</script>"
    return framed("Playground · ordergraph", body, root, kind="tool", head=head)
