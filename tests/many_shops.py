"""One server before many shops, in this process.

What goes in: settings of a deployment. What comes out: `Shops`, which asks each of them as the settings say that shops are told
apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from httpx2 import ASGITransport, AsyncClient, Response
from starlette.applications import Starlette

from graph.serve.app import create_app
from graph.serve.kept_shops import KeptShops
from graph.serve.premises import ManyShops
from graph.settings import Settings
from graph.shops.deployment import Deployment
from graph.shops.directory import Directory
from tests.conftest import given_back
from tests.deployments import make_shops
from tests.tokens import token


class Shops:
    """The shops behind one application."""

    def __init__(self, app: Starlette, client: AsyncClient, settings: Settings) -> None:
        self.app = app
        self.client = client
        self.settings = settings
        self.deployment = Deployment(settings)

    @property
    def premises(self) -> ManyShops:
        found: ManyShops = self.app.state.premises
        return found

    @property
    def kept(self) -> KeptShops:
        return self.premises.kept

    @property
    def directory(self) -> Directory:
        return self.premises.directory

    def names(self, shop: str) -> dict[str, str]:
        """The headers by which a request names a shop."""
        if self.settings.shop_from == "host":
            return {"host": f"{shop}.example:8000"}
        if self.settings.shop_from == "header":
            return {self.settings.shop_header: shop}
        return {"authorization": f"Bearer {token('admin', shop=shop)}"}

    async def post(
        self, shop: str, query: str, variables: dict[str, Any] | None = None, head: dict[str, str] | None = None
    ) -> Response:
        """The answer of a shop."""
        body = {"query": query, "variables": variables or {}}
        return await self.client.post("/graphql", json=body, headers={**self.names(shop), **(head or {})})

    async def data(self, shop: str, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The data of a shop's answer, which has no errors."""
        answer = (await self.post(shop, query, variables)).json()
        assert "errors" not in answer, answer
        return answer["data"]

    async def told(self) -> None:
        """See that the server has heard of what happened to shops."""
        await self.directory.start()


@asynccontextmanager
async def many_shops(settings: Settings, *names: str, hosts: bool = True) -> AsyncIterator[Shops]:
    """Serve a deployment with these shops, each at `NAME.example`."""
    await make_shops(settings, {name: [f"{name}.example"] if hosts else [] for name in names})
    app = create_app(settings)
    async with app.router.lifespan_context(app), AsyncClient(transport=ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield Shops(app, client, settings)
        for front in app.state.premises.kept.fronts():
            await given_back(front.database)
