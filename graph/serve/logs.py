"""The log of `serve`: one line an event, its time and level first, and no value that anybody sent.

What goes in: records of the standard library's logging, ours and those of the libraries, and warnings. What comes out: lines on
the error stream, as text or JSON. Of an exception its types and places are told, never its message: drivers write parameters and
rows into it. What repeats is told once, and after a while how often; what `ordergraph.access` and `ordergraph.audit` tell is told
each time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from logging.config import dictConfig
from pathlib import Path
from time import gmtime, strftime
from typing import Any

from graph.database.failures import driver_error, own_name
from graph.observations import OperationFinished, WriteEnded, listening_to, running
from graph.serve.correlation import trace_id
from graph.settings import Settings

#: How long a repeated event is only counted.
QUIET_SECONDS = 10.0
#: Characters of a statement that are told.
LONGEST_SQL = 4_000
#: Frames of this package that are told of a traceback, the innermost ones.
FRAMES = 8
PACKAGE = Path(__file__).parents[1]


#: Of a process among several, which it is.
worker = ""
ACCESS, AUDIT, WORKERS = "ordergraph.access", "ordergraph.audit", "ordergraph.workers"


def is_first() -> bool:
    """Whether this process tells what holds for all that serve together."""
    return worker in ("", "1")


def time_of(record: logging.LogRecord) -> str:
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(record.created))}.{int(record.msecs):03d}Z"


def told_with(record: logging.LogRecord) -> dict[str, Any]:
    """What belongs to a record beside what happened: the request, its operation, and what is measured of it."""
    operation = running()
    found: dict[str, Any] = {"worker": worker}
    found["request"] = getattr(record, "request_id", "") or (operation.request_id if operation else "")
    if operation is not None:
        found |= {"shop": operation.shop, "operation": operation.name, "trace": trace_id(operation.trace)}
    found |= getattr(record, "measured", {})
    return {name: value for name, value in found.items() if value not in ("", None)}


class LogLine(logging.Formatter):
    """A record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        beside = ", ".join(f"{name} {shown(name, printable(str(value)))}" for name, value in told_with(record).items())
        parts = [time_of(record), record.levelname, f"{record.name}:", event(record), f"({beside})" if beside else ""]
        return " ".join(part for part in parts if part)


class JsonLine(logging.Formatter):
    """A record as one JSON object on a line."""

    def format(self, record: logging.LogRecord) -> str:
        told = {"time": time_of(record), "level": record.levelname, "logger": record.name, "event": event(record)}
        return json.dumps({**told, **told_with(record)})  # which escapes all that is not ASCII


def event(record: logging.LogRecord) -> str:
    """What happened, without when and to whom: equal for events that are the same."""
    # Drivers put values, and the event loop its objects, behind the first line.
    text = record.getMessage().partition("\n")[0]
    if record.exc_info and record.exc_info[1] is not None:
        text = f"{text}: {described(record.exc_info[1])}"
    return printable(text)


def printable(text: str) -> str:
    """Text on one line: a line break, or a terminal's control sequence, would forge lines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(name: str, value: str) -> str:
    """A value within a line of text: how people call themselves is quoted where it could be taken for what comes after it."""
    return json.dumps(value, ensure_ascii=False) if name == "who" and BETWEEN.search(value) else value


def described(error: BaseException) -> str:
    """An exception and what caused it: types, codes, names of constraints, and where each was raised."""
    return "; caused by ".join(f"{named(each)} at {where(each)}" for each in chain(error))


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, then what it was raised from or while handling."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def named(error: BaseException) -> str:
    """An exception's type, and what the database calls it."""
    names = [own_name(error), getattr(driver_error(error), "constraint_name", "")]
    return " ".join([type(error).__name__, *(name for name in names if name)])


def where(error: BaseException) -> str:
    """Where an exception was raised and who asked for it in this package, innermost first: the program's own words."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [(code, line) for code, line in frames[:-1] if Path(code.co_filename).is_relative_to(PACKAGE)][-FRAMES:]
    places = (f"{short(code.co_filename)}:{line} {code.co_name}" for code, line in reversed([*ours, *frames[-1:]]))
    return " < ".join(places) or "an unknown place"


def short(path: str) -> str:
    """A file's path from its package on."""
    parts = Path(path).parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return Path(path).relative_to(PACKAGE.parent).as_posix() if Path(path).is_relative_to(PACKAGE) else Path(path).name


#: What stands around values in a line of text.
BETWEEN = re.compile(r'[,()"]')
#: Loggers whose events are told each time: they are news, or a thread that sums up would be lost in a fork.
EACH = (ACCESS, AUDIT, WORKERS)


class Quiet(logging.StreamHandler[Any]):
    """Writes the first of equal events at once, and after a while how many more there were."""

    def __init__(self, seconds: float = QUIET_SECONDS) -> None:
        super().__init__()
        self.seconds = seconds
        self.more: dict[tuple[str, int, str], int] = {}
        self.timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `handle`, which holds the lock."""
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            return  # of a task that was ended; whoever ended it tells why
        if record.name in EACH:
            super().emit(record)
            return
        key = (record.name, record.levelno, event(record))
        if key in self.more:
            self.more[key] += 1
            return
        self.more[key] = 0
        if self.timer is None:
            self.timer = threading.Timer(self.seconds, self.sum_up)
            self.timer.daemon = True
            self.timer.start()
        super().emit(record)

    def sum_up(self) -> None:
        """Write how often each event was repeated; the next one of its kind is news again."""
        self.acquire()
        try:
            told, self.more, self.timer = self.more, {}, None
            for (name, level, text), more in told.items():
                if more:
                    super().emit(logging.LogRecord(name, level, "", 0, f"{more} more: {text}", None, None))
        finally:
            self.release()

    def close(self) -> None:
        """Write what is still counted."""
        if self.timer is not None:
            self.timer.cancel()
        self.sum_up()
        super().close()


#: What `logging.config` is told: everything goes to one handler.
CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"text": {"()": LogLine}, "json": {"()": JsonLine}},
    "handlers": {"quiet": {"()": Quiet, "formatter": "text"}},
    "root": {"handlers": ["quiet"], "level": "INFO"},
    # Alembic tells every step, and SQLAlchemy's pool, a class of ours, what it failed to say to a connection that is gone.
    "loggers": {"alembic": {"level": "WARNING"}, "sqlalchemy": {"level": "CRITICAL"}, "graph": {"level": "CRITICAL"}},
}


def configure(settings: Settings) -> None:
    """Send every log of this process, and warnings, the same way. Called once, by `serve`."""
    logging.raiseExceptions = False  # or what cannot be written is written with its values
    dictConfig({**CONFIG, "handlers": {"quiet": {"()": Quiet, "formatter": settings.log_format}}})
    logging.captureWarnings(True)


def observing(settings: Settings) -> ExitStack:
    """Log what is slow, and where the settings say so each operation and each write, until what is returned is closed."""
    audit = logging.getLogger(AUDIT)
    access, slow = logging.getLogger(ACCESS), logging.getLogger("ordergraph.slow")

    def finished(seen: OperationFinished) -> None:
        operation = seen.operation
        if settings.access_log:
            measured = {
                "status": operation.status,
                "outcome": operation.outcome,
                "codes": " ".join(dict.fromkeys(operation.codes)),
                "seconds": round(seen.seconds, 4),
                "cost": operation.cost,
            }
            access.info(operation.kind or "request", extra={"measured": measured})
        if seen.seconds < settings.slow_seconds:
            return
        never_came = operation.status == 408 or not (operation.status or operation.kind)  # the client is slow, not the server
        if not never_came:
            measured = {
                "seconds": round(seen.seconds, 3),
                "cost": operation.cost,
                "sql_seconds": round(operation.sql_seconds, 3),
                "sql": operation.sql[:LONGEST_SQL],
            }
            name = operation.name or "without a name"
            slow.warning("A slow operation: %s %s", operation.kind or "a request", name, extra={"measured": measured})

    def written(seen: WriteEnded) -> None:
        measured = {
            "who": seen.who,
            "outcome": seen.outcome,
            "codes": " ".join(seen.codes),
            "rows": seen.rows,
            "ids": " ".join(seen.ids),
        }
        audit.info(seen.mutation, extra={"measured": measured})

    return listening_to((OperationFinished, finished), *([(WriteEnded, written)] if settings.audit_log else []))


def finish() -> None:
    """Write what is still counted: a signal that ends a process lets nothing run afterwards."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Quiet):
            handler.sum_up()
