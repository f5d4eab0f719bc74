"""Deployments with shops, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from graph.database.shops import Databases
from graph.settings import Settings
from graph.shops.deployment import Deployment
from tests.conftest import made


@pytest.fixture
def with_shops(shops_url: str) -> Settings:
    """Settings of a deployment with shops."""
    return Settings(database_url=shops_url, shops=True)


@pytest.fixture
def deployment(with_shops: Settings) -> Deployment:
    """A deployment without shops."""
    return Deployment(with_shops)


@pytest.fixture
async def databases(with_shops: Settings) -> AsyncIterator[Databases]:
    """The databases of a process that serves the deployment."""
    databases = Databases(with_shops)
    try:
        yield databases
    finally:
        await databases.close()


@pytest.fixture
def one_url(shops_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of the same kind, of one shop without rows."""
    kind = "sqlite" if shops_url.startswith("sqlite") else "postgres"
    with made(request.getfixturevalue(f"{kind}_engines"), "empty") as url:
        yield url
