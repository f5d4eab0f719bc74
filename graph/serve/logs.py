"""The log of `serve`: one line an event, its time and level first, and no value that anybody sent.

What goes in: records of the standard library's logging, ours and those of the libraries, and warnings. What comes out: lines on
the error stream. Of an exception its types and places are told, never its message: drivers write parameters and rows into it.
What repeats is told once, and after a while how often.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Iterator
from logging.config import dictConfig
from pathlib import Path
from time import gmtime, strftime
from typing import Any

from graph.database.failures import driver_error, own_name

#: How long a repeated event is only counted.
QUIET_SECONDS = 10.0
#: Frames of this package that are told of a traceback, the innermost ones.
FRAMES = 8
PACKAGE = Path(__file__).parents[1]


class LogLine(logging.Formatter):
    """A record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        time = f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(record.created))}.{int(record.msecs):03d}Z"
        request = getattr(record, "request_id", "")
        parts = [time, record.levelname, f"{record.name}:", event(record), f"(request {request})" if request else ""]
        return " ".join(part for part in parts if part)


def event(record: logging.LogRecord) -> str:
    """What happened, without when and to whom: equal for events that are the same."""
    # Drivers put values, and the event loop its objects, behind the first line.
    text = record.getMessage().partition("\n")[0]
    if record.exc_info and record.exc_info[1] is not None:
        text = f"{text}: {described(record.exc_info[1])}"
    # A terminal's control sequence in a message would forge lines.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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


class Quiet(logging.StreamHandler[Any]):
    """Writes the first of equal events at once, and after a while how many more there were."""

    def __init__(self, seconds: float = QUIET_SECONDS) -> None:
        super().__init__()
        self.seconds = seconds
        self.more: dict[tuple[str, int, str], int] = {}
        self.timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `handle`, which holds the lock."""
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
    "formatters": {"line": {"()": LogLine}},
    "handlers": {"quiet": {"()": Quiet, "formatter": "line"}},
    "root": {"handlers": ["quiet"], "level": "INFO"},
    # Alembic tells every step, and SQLAlchemy's pool, a class of ours, what it failed to say to a connection that is gone.
    "loggers": {"alembic": {"level": "WARNING"}, "sqlalchemy": {"level": "CRITICAL"}, "graph": {"level": "CRITICAL"}},
}


def configure() -> None:
    """Send every log of this process, and warnings, the same way. Called once, by `serve`."""
    logging.raiseExceptions = False  # or what cannot be written is written with its values
    dictConfig(CONFIG)
    logging.captureWarnings(True)


def finish() -> None:
    """Write what is still counted: a signal that ends a process lets nothing run afterwards."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Quiet):
            handler.sum_up()
