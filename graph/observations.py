"""What happens in this process, told to whoever listens: logs, metrics and traces hear of it here, and nowhere else.

What goes in: observations, frozen records, one type for each kind of thing that happens. What comes out: each is handed to the
listeners of its type, in order, on the thread that tells it; of what nobody listens to no record is made. An observation holds no
value that a client sent: SQL has its parameters left out, and a name is that of an operation that was found valid. What may be
raised here: whatever a listener raises, to whoever tells.

`Operation` is what is known of one while it runs. It is found by `running`, wherever in the task of a request one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from time import perf_counter
from typing import Any, ClassVar, Self, TypeVar


class Observation:
    """Something that happened. Each type has listeners of its own."""

    __slots__ = ()
    listeners: ClassVar[list[Callable[[Any], None]]]

    def __init_subclass__(cls) -> None:
        cls.listeners = []

    def tell(self) -> None:
        """Hand it to everybody who listens. Ask first whether anybody does: `if Kind.listeners: Kind(...).tell()`."""
        for listener in self.listeners:
            listener(self)


class Running:
    """How many operations run in this process.

    It is no attribute of their class: each change of one makes Python forget what it knows of a class, and look up all its names
    anew.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


RUNNING = Running()


class Operation:
    """An operation while it runs: `with Operation(request_id) as operation:`, which tells its beginning and its end.

    Whoever learns something of one says so here: the engine name, kind and cost, the database its slowest statement, whoever
    makes the answer its status and the codes of its errors.
    """

    __slots__ = (
        "_token",
        "began",
        "codes",
        "cost",
        "document",
        "kind",
        "learned",
        "name",
        "request_id",
        "shop",
        "span",
        "sql",
        "sql_seconds",
        "status",
        "trace",
    )

    def __init__(self, request_id: str, trace: str = "") -> None:
        self.request_id = request_id
        self.shop = ""  # where there are several
        self.trace = trace  # a valid W3C `traceparent` that came with the request
        self.name = ""  # of the operation in its document, once that was found valid
        self.kind = ""  # query, mutation, subscription
        self.document = ""  # its text, which may hold values
        self.cost: int | None = None
        self.learned = False  # whether its document or its plan had to be made
        self.codes: list[str] = []
        self.status = 0  # of HTTP; 0 where the client was gone before
        self.sql = ""  # the statement that took longest
        self.sql_seconds = 0.0
        self.span: Any = None  # of whoever traces
        self.began = 0.0
        self._token: Token[Operation | None] | None = None

    def __enter__(self) -> Self:
        self._token = _running.set(self)
        self.began = perf_counter()
        RUNNING.count += 1
        if OperationBegan.listeners:
            OperationBegan(self).tell()
        return self

    def __exit__(self, *_: object) -> None:
        RUNNING.count -= 1
        try:
            if OperationFinished.listeners:
                OperationFinished(self, perf_counter() - self.began).tell()
        finally:
            assert self._token is not None
            _running.reset(self._token)

    @property
    def outcome(self) -> str:
        """How it ended, in a word of `OUTCOMES`."""
        if not self.codes and 0 < self.status < 400:
            return "ok"
        if self.status == 0:
            return "gone"
        if self.status == 503 or any(code in UNAVAILABLE for code in self.codes):
            return "unavailable"
        if self.status >= 500 or "INTERNAL_SERVER_ERROR" in self.codes:
            return "failed"
        return "refused"


#: Characters of an operation's name that are told.
LONGEST_NAME = 64
#: How operations end: answered; refused, in whole or in part; the database did not serve; a bug; the client left before.
OUTCOMES = ("ok", "refused", "unavailable", "failed", "gone")
#: What is told where the database did not serve.
UNAVAILABLE = ("SERVICE_UNAVAILABLE", "TRY_AGAIN", "COMMIT_UNKNOWN")

_running: ContextVar[Operation | None] = ContextVar("operation", default=None)


def running() -> Operation | None:
    """The operation that runs here, if one does."""
    return _running.get()


@dataclass(frozen=True, slots=True)
class OperationBegan(Observation):
    """A request for an operation is there. What it asks for is not known yet."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class OperationFinished(Observation):
    """The answer to an operation is made; it is yet to be sent."""

    operation: Operation
    seconds: float


@dataclass(frozen=True, slots=True)
class StatementBegan(Observation):
    """A statement goes to the database; `direct`, straight to the driver, where SQLAlchemy's own events do not see it."""

    sql: str
    direct: bool


@dataclass(frozen=True, slots=True)
class StatementFinished(Observation):
    """A statement was answered, or failed. Times are those of `time.perf_counter`."""

    sql: str
    system: str  # the kind of database, as traces call it
    began: float
    ended: float
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class TransactionRetried(Observation):
    """A transaction was refused for a passing reason and is run again."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ReplicaAsked(Observation):
    """Where there are replicas, what became of a query there, as a word of `OF_REPLICAS`."""

    outcome: str


#: It answered; it does not show yet what the query must see; it failed; there was none to be asked. Then the primary answers.
OF_REPLICAS = ("answered", "behind", "failed", "none")


@dataclass(frozen=True, slots=True)
class WriteEnded(Observation):
    """A field of a mutation has ended, or was refused before it ran: who sent it, and what became of it.

    `who` is an identity, empty where nobody has to say who he is. `outcome` is a word of `OUTCOMES`, or `undone` for a dry run,
    or `unknown` where a COMMIT was not answered. `ids` are global ids of rows that it wrote, the first of `rows`.
    """

    who: str
    mutation: str
    outcome: str
    codes: tuple[str, ...]
    ids: tuple[str, ...] = ()
    rows: int = 0


@dataclass(frozen=True, slots=True)
class TurnWaited(Observation):
    """Somebody waited for his turn: at a connection, or in the line of writers. `came` says whether it came in time."""

    place: str
    seconds: float
    came: bool


@dataclass(frozen=True, slots=True)
class RequestShed(Observation):
    """A request was refused before the application saw it: too much load, no room, a head too large or too slow."""

    code: str
    status: int


@dataclass(frozen=True, slots=True)
class SubscribersCame(Observation):
    """So many subscribers more has this process now; fewer, where it is below zero."""

    change: int


E = TypeVar("E", bound=Observation)


@contextmanager
def listening(kind: type[E], listener: Callable[[E], None]) -> Iterator[None]:
    """Hear of one kind of thing while this block runs."""
    kind.listeners.append(listener)
    try:
        yield
    finally:
        kind.listeners.remove(listener)


def listening_to(*pairs: tuple[type[Any], Callable[[Any], None]]) -> ExitStack:
    """Hear of several kinds of things until what is returned is closed."""
    stack = ExitStack()
    for kind, listener in pairs:
        stack.enter_context(listening(kind, listener))
    return stack
