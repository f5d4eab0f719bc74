"""`/`: what this is, and the address of everything.

What goes in: what the application serves, how it is. What comes out: a page for browsers, plain text for others. Nothing is
refused here.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from graph.database import Database
from graph.serve.health import Health
from graph.serve.pages.shell import HERE, fill, framed, prefers_page, shown_page, website_of
from graph.serve.playground.tabs import TABS
from graph.serve.which_shop import way_of
from graph.settings import Settings


@dataclass(frozen=True, slots=True)
class Address:
    """An address, and what is there."""

    path: str
    what: str


def served(settings: Settings) -> list[Address]:
    """What is served under these settings, the most asked first."""
    found = [
        Address(
            "/graphql",
            "GraphQL: POST, GET and QUERY, WebSockets, event streams; in a browser the playground",
        ),
        Address("/docs", "The documentation"),
        Address("/livez", "200 while the process serves"),
        Address("/readyz", "200 while requests should be sent here, 503 with the reasons otherwise"),
    ]
    if settings.introspection:
        found.insert(1, Address("/schema.graphql", "The schema as text, with a description of everything"))
    if settings.metrics:
        found.append(Address("/metrics", "Metrics for Prometheus"))
    return found


class Tour:
    """The route at `/`."""

    def __init__(self, settings: Settings, database: Database, health: Health) -> None:
        self.settings = settings
        self.addresses = served(settings)
        self.database = database.capabilities.title
        self.health = health
        self.shops = f"Many shops are served here: {way_of(settings)}." if settings.shops else ""

    async def serve(self, request: Request) -> Response:
        """The tour, as whoever asks reads it."""
        site = website_of(request.scope, self.settings)
        root = site.root
        if not prefers_page(request.scope):
            lines = "".join(f"{root + place.path:<20} {place.what}\n" for place in self.addresses)
            shops = f"{self.shops}\n\n" if self.shops else ""
            said = f"ordergraph: orders as a graph, on {self.database}.\n\n{shops}{lines}"
            return PlainTextResponse(said, headers={"vary": "Accept"})
        reasons = await self.health.reasons()
        values = {
            "state": "bad" if reasons else "good",
            "health": escape(" ".join(reasons) or "Ready"),
            "database": escape(self.database),
            "shops": f"\n<p>{escape(self.shops)}</p>" if self.shops else "",
            "root": escape(root),
            "tabs": "\n".join(
                f'<li><a href="{escape(root)}/graphql#{tab.name}">{escape(tab.title)}</a><p>{escape(tab.about)}</p></li>'
                for tab in TABS
            ),
            "places": "\n".join(
                f'<tr><td><a href="{escape(root + place.path)}"><code>{escape(place.path)}</code></a></td>'
                f"<td>{escape(place.what)}</td></tr>"
                for place in self.addresses
            ),
        }
        return shown_page(framed("ordergraph", fill(HERE / "tour.html", values), site))
