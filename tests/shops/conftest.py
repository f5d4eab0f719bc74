"""Deployments with shops, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from graph.database.shops import Databases
from graph.settings import Settings
from graph.shops.deployment import Deployment
from tests.conftest import made


@pytest.fixture(params=["sqlite", "postgresql"])
def shops_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where shops may be made: a folder that is not there yet, a database without any table."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path / 'shops'}"
        else:
            yield stack.enter_context(made(request.getfixturevalue("postgres_engines"), "nothing", audited=False))


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
