"""A shop whose product reaches its PostgreSQL over a network that can be cut, and what tests of that say again and again.

What goes in: the URL of a database. What comes out: `Remote`, which sends operations, reads past the network and cuts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from graph.database import Database
from tests.audit import audit_url, checked_out, rows_of
from tests.conftest import Ask, asking
from tests.later import WHOLE_REQUEST
from tests.networks import Network, Wire, network
from tests.unhurried import unhurried

#: Nobody hangs.
HANGS_SECONDS = 40
READ = "{ items { totalCount } }"

#: A query, with its variables where it has some: many new documents at a time would be refused.
Asked = str | tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """An answer and its HTTP status."""

    status: int
    body: dict[str, Any]

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.body.get("errors", ())]

    @property
    def refused(self) -> bool:
        """Whether all of it was refused, because the service cannot answer."""
        return (self.status, set(self.codes)) == (503, {"SERVICE_UNAVAILABLE"}) and self.body.keys() == {"errors"}


async def send(ask: Ask, query: str, variables: dict[str, Any] | None = None) -> Answer:
    answer = await ask.client.post("/graphql", json={"query": query, "variables": variables})
    return Answer(answer.status_code, answer.json())


def payload(answer: Answer) -> dict[str, Any]:
    """That of the first field, or nothing."""
    found: list[dict[str, Any] | None] = [*(answer.body.get("data") or {}).values()]
    return (found[0] if found else None) or {}


async def until(holds: Any) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(HANGS_SECONDS):
        while not await holds():  # noqa: ASYNC110  # nobody tells when a server has done something
            await asyncio.sleep(0.05)


@dataclass
class Remote:
    """A shop over a network, whose limits nobody meets but by the clock that is put forward (`tests.later`)."""

    ask: Ask
    net: Network
    #: The way past the network.
    url: str

    @property
    def database(self) -> Database:
        found: Database = self.ask.app.state.database
        return found

    async def send(self, asked: Asked) -> Answer:
        query, variables = (asked, None) if isinstance(asked, str) else asked
        async with asyncio.timeout(HANGS_SECONDS + WHOLE_REQUEST["request_timeout_seconds"]):
            return await send(self.ask, query, variables)

    async def all(self, *queries: Asked) -> list[Answer]:
        return await asyncio.gather(*(self.send(query) for query in queries))

    async def meet_silence(
        self, then: Callable[[], None], *queries: Asked, silent: Callable[[Wire], bool] = attrgetter("heard")
    ) -> list[Answer]:
        """The answers to queries. Whenever all that are left wait for somebody who is silent `then` ends their time."""
        tasks, met = [asyncio.create_task(self.send(query)) for query in queries], 0
        while left := sum(not task.done() for task in tasks):
            waiting = sum(map(silent, self.net.wires))
            if waiting - met == left:
                met = waiting
                then()
            await asyncio.sleep(0.01)
        return [await task for task in tasks]

    async def rows(self, query: str) -> Sequence[Any]:
        (found,) = await rows_of(self.url, query)
        return found


@asynccontextmanager
async def remote_at(url: str, **settings: Any) -> AsyncIterator[Remote]:
    """The shop of a database; in the end it must be whole, and every connection given back."""
    async with network(url) as net, asking(unhurried(net.url, **{**WHOLE_REQUEST, **settings})) as ask:
        made = Remote(ask, net, url)
        assert not (await made.send(READ)).codes
        yield made
        assert checked_out(made.database) == 0
    await audit_url(url)
