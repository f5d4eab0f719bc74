"""Every statement, told as it goes to the database and when it is answered: those of SQLAlchemy and those straight to the driver.

What goes in: SQL, without its values. What comes out: observations, and the slowest statement of the operation that runs. What
may be refused here: nothing.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from graph.observations import StatementBegan, StatementFinished, running


class Watch:
    """Tells of the statements of one process at one database. `answered` is when the last one was, by `time.perf_counter`."""

    def __init__(self, engine: AsyncEngine, system: str) -> None:
        self.system = system
        self.answered = 0.0
        event.listen(engine.sync_engine, "before_cursor_execute", self._before)
        event.listen(engine.sync_engine, "after_cursor_execute", self._after)
        event.listen(engine.sync_engine, "handle_error", self._failed)

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

    def _before(self, _: Any, __: Any, sql: str, ___: Any, context: Any, ____: bool) -> None:
        if StatementBegan.listeners:
            StatementBegan(sql, direct=False).tell()
        context.began = perf_counter()

    def _after(self, _: Any, __: Any, sql: str, ___: Any, context: Any, ____: bool) -> None:
        self.ended(sql, context.began)

    def _failed(self, met: ExceptionContext) -> None:
        began = getattr(met.execution_context, "began", None)
        if began is not None and met.statement is not None:
            self.ended(met.statement, began, met.original_exception)
