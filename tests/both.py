"""The same app before both databases, for generated cases: what one answers the other must answer, byte for byte.

What goes in: both kinds of engines and the name of a template. What comes out: a `Both`, whose requests go to both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from tests.conftest import Ask, asking, made
from tests.engines import Postgres, Sqlite
from tests.unhurried import unhurried


@dataclass
class Both:
    """An app before SQLite and one before PostgreSQL. Generated cases are drawn outside of any event loop, which is here."""

    runner: asyncio.Runner
    asks: list[Ask]

    def bytes(self, query: str, variables: dict[str, Any] | None = None) -> list[bytes]:
        """The answers of SQLite and PostgreSQL."""
        return [self.runner.run(ask.raw(query, variables)) for ask in self.asks]

    def data(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """The data that both answer, without errors."""
        sqlite, postgresql = self.bytes(query, variables)
        assert sqlite == postgresql
        answer = orjson.loads(sqlite)
        assert "errors" not in answer, answer
        found: dict[str, Any] = answer["data"]
        return found


@contextmanager
def both_before(sqlite: Sqlite, postgres: Postgres, template: str, *, audited: bool = True) -> Iterator[Both]:
    """A copy of a template on each database, and an app before each. Tests that read much are not refused for it."""
    with (
        made(sqlite, template, audited=audited) as one,
        made(postgres, template, audited=audited) as other,
        asyncio.Runner() as runner,
    ):
        apps = [asking(unhurried(url, max_cost=10**9, max_aliases=1000)) for url in (one, other)]
        yield Both(runner, [runner.run(app.__aenter__()) for app in apps])
        for app in apps:
            runner.run(app.__aexit__(None, None, None))
