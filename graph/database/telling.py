"""Every statement, told as it goes to the database and when it is answered: those of SQLAlchemy and those straight to the driver.

What goes in: SQL, without its values. What comes out: observations, and the slowest statement of the operation that runs. What
may be refused here: nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from graph.database.places import PLACE, names_shops, placed
from graph.observations import StatementBegan, StatementFinished, running


class Watch:
    """Tells of the statements of one process at one database. `answered` is when the last one was, by `time.perf_counter`.

    It stands in the dialect, through which SQLAlchemy hands each statement to the driver: one listener to its events makes it
    look for others at every step of every statement.
    """

    def __init__(self, engine: AsyncEngine, system: str) -> None:
        self.system = system
        self.answered = 0.0
        dialect: Any = engine.dialect
        for name in ("do_execute", "do_execute_no_params", "do_executemany"):
            told = self._told(getattr(dialect, name))
            setattr(dialect, name, naming_shop(told) if names_shops(dialect) else told)

    def began(self, sql: str, *, direct: bool = True) -> float:
        """A statement goes to the driver, straight unless said otherwise. Returns the time."""
        if StatementBegan.listeners:
            StatementBegan(sql, direct).tell()
        return perf_counter()

    def ended(self, sql: str, began: float, error: BaseException | None = None) -> None:
        """A statement was answered, or failed."""
        now = perf_counter()
        if error is None:
            self.answered = now
        operation = running()
        if operation is not None and now - began > operation.sql_seconds:
            operation.sql, operation.sql_seconds = sql, now - began
        if StatementFinished.listeners:
            StatementFinished(sql, self.system, began, now, error).tell()

    def _told(self, execute: Callable[..., None]) -> Callable[..., None]:
        """One of a dialect's ways to execute a statement, which is told."""

        def told(cursor: Any, sql: str, *arguments: Any) -> None:
            began = perf_counter()
            try:
                if StatementBegan.listeners:
                    StatementBegan(sql, direct=False).tell()
                execute(cursor, sql, *arguments)
            except BaseException as error:
                self.ended(sql, began, error)
                raise
            self.ended(sql, began)

        return told


def naming_shop(execute: Callable[..., None]) -> Callable[..., None]:
    """One of a dialect's ways to execute a statement, which names the shop of the engine that it is executed by."""

    def named(cursor: Any, sql: str, *arguments: Any) -> None:
        place = arguments[-1].execution_options.get(PLACE)  # the last one is SQLAlchemy's context
        execute(cursor, placed(sql, place), *arguments)

    return named
