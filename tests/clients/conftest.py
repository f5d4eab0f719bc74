"""What tests of clients may ask for: a server of the sample on each database, and a workshop for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.clients.programs import Workshop
from tests.conftest import made
from tests.engines import Engines
from tests.servers import start
from tests.sockets import PATIENCE


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server before the sample. All clients share it, in any order:

    each makes rows of its own, takes the customers among them away, and looks at no orders but those of the sample.
    """
    engines: Engines = request.getfixturevalue("sqlite_engines" if request.param == "sqlite" else "postgres_engines")
    with made(engines, "northwind") as url:
        served = asyncio.run(start(url, tmp_path_factory.mktemp("served")))
        try:
            yield served.url
        finally:
            served.process.terminate()
            assert served.process.wait(PATIENCE) == 0
