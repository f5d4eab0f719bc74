"""Deployments with shops, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from graph.database.shops import Databases
from graph.settings import Settings
from graph.shops.deployment import Deployment


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
