"""What a database must be for this product: one protocol, which a module for each kind of database fulfils.

What goes in: nothing. What comes out: `Backend`, what such a module holds; `Capabilities`, what statements may ask of a kind of
database; `Connections`, what reads and transactions run on; `DatabaseUrl`, where a database is. What may be refused here:
nothing; what is not fulfilled mypy says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from graph.database.open_files import OpenFiles
from graph.database.turns import Turns
from graph.settings import Settings

#: A host that may be tried, and its port; `None` leaves it to the driver and its environment.
Host = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where a database is, and what its driver is told on the way."""

    #: For SQLAlchemy. Of a server it names the driver and nothing else, so no error of an engine can show a secret.
    url: URL
    #: The URL for people: no password, no parameters.
    shown: str
    #: In the order they are tried; empty leaves the choice to the driver.
    hosts: tuple[Host, ...] = ()
    #: Arguments of the driver's `connect` for every host.
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: What the server is told when a connection starts.
    server_settings: Mapping[str, str] = field(default_factory=dict)
    #: Which of the hosts will do, as libpq says it.
    target_session_attrs: str | None = None
    #: How long opening a connection to one host may take; `None` leaves it to the settings.
    timeout_seconds: float | None = None
    #: (level, option, value) for the socket of a connection.
    socket_options: tuple[tuple[int, int, int], ...] = ()
    #: Whether a pooler stands before the server, so that two transactions of one connection may meet two sessions.
    pooled: bool = False
    #: Whether it follows another server, who is asked where this one fails.
    replica: bool = False
    #: The schema of a shop, which statements name; `None` where nothing stands before the name of a table.
    schema: str | None = None
    #: The role of that shop, where shops have roles and whoever connects has no right of his own in one.
    role: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Capabilities:
    """What a kind of database can do, as far as those ask who write statements. There is one object for each kind."""

    #: What traces call it: `db.system.name` of OpenTelemetry. Nobody decides anything by it.
    system: str
    #: What people call it.
    title: str
    #: Makes an INSERT that can have a conflict clause: `on_conflict_do_update`, `excluded`.
    insert: Callable[[Any], Any]
    #: Whether a parameter may be an array; else a list is sent as the text of a JSON array.
    arrays: bool
    #: Whether a value must be cast where nothing else says its type; else it brings its type, which a cast could only spoil.
    typed_values: bool
    #: One row with one column, `keys`: keys of new rows, table after table, for `tables`, `attributes` and `numbers`. `None`
    #: where a key is known only when its row is written.
    drawn_keys: sa.TextualSelect | None
    #: Rows of `name` and `key`: the last key that the table of this name has given, which the next ones follow. `None` where keys
    #: are drawn.
    last_keys: sa.FromClause | None
    #: Whether an INSERT can be a part of a query.
    writes_in_queries: bool
    #: How many symbols the parser's stack holds; `None` where nobody meets its end.
    parser_room: int | None
    #: Whether a connection bounds how long a text may get; else a statement that may make long ones does.
    bounds_texts: bool
    #: Whether there is one writer at a time, who need not lock rows.
    one_writer: bool
    #: Whether a damaged table may hold NULL where its columns forbid it, and nobody but who reads it notices.
    may_lack: bool
    #: Whether a table is changed by copying it, which Alembic calls batch mode.
    copies_tables: bool
    #: Makes those wait who change the schema at the same time, until the first one's transaction ends; `None` where
    #: transactions wait for each other anyway.
    schema_lock: sa.Select[Any] | None
    #: Whether the database belongs to the process that opens it, which then makes, migrates and fills it.
    embedded: bool
    #: What stands before a statement to be told how the database would run it, and the lines of what it says then.
    explain: str
    explained: Callable[[Sequence[Sequence[Any]]], list[str]]


class Connections(Protocol):
    """The connections of one process to one database."""

    @property
    def engine(self) -> AsyncEngine:
        """What sessions are bound to."""

    @property
    def turns(self) -> Turns:
        """As many as transactions can run at once."""

    def at(self, schema: str) -> Connections:
        """The same connections, for statements that name this schema."""

    def open_with(self, files: OpenFiles, seconds: float) -> None:
        """Be open while it is used, and as one of so many files, for which one waits so long."""

    async def fetch(self, sql: str, arguments: Sequence[Any], max_bytes: int) -> Any:
        """The first value of the first row of a query, a text as its UTF-8. It may fail where it makes more bytes.

        Raises `Unavailable`, `TooComplex`.
        """

    async def begin(self, session: AsyncSession) -> Any:
        """Begin the transaction of a session, bounded as the settings say. Returns the driver's connection."""

    async def rows(self, driver: Any, sql: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """All rows of a query on a connection that `begin` returned."""

    def check(self, driver: Any) -> None:
        """Raise what a connection that `begin` returned would, where it is known before anything is sent that it is gone."""

    async def commit(self, session: AsyncSession) -> None:
        """Commit the transaction of a session. Raises `CommitUnknown` where an answer came that is no promise."""

    async def give_up(self, session: AsyncSession) -> None:
        """Drop the connection of a session's transaction, whatever is running on it: it is not used again."""

    async def probe(self) -> None:
        """See that connections are what the settings say. Raises `Unavailable`, whose message is a sentence for an operator."""

    def distrust(self) -> None:
        """Use no connection again that was opened before: one has met what others will meet."""

    async def close(self) -> None:
        """Close every connection."""


class Backend(Protocol):
    """What the module of a kind of database holds."""

    @property
    def SCHEMES(self) -> tuple[str, ...]:  # noqa: N802  # a constant of a module
        """What its URLs begin with."""

    @property
    def CAPABILITIES(self) -> Capabilities:  # noqa: N802  # a constant of a module
        """What it can do."""

    @property
    def OF_SHOPS(self) -> Capabilities:  # noqa: N802  # as above
        """What it can do where statements name their shop."""

    def understood(self, text: str, rest: str, /) -> DatabaseUrl:
        """What a URL says, whole and behind its `://`. Raises `DatabaseUrlError`."""

    def of_shop(self, target: DatabaseUrl, shop: str | None) -> DatabaseUrl:
        """Where a shop of the many that a URL names has its tables; `None`: where the table of them is."""

    def check(self, settings: Settings) -> None:
        """Refuse settings that mean another kind of database. Raises `SettingsError`."""

    def connect(self, target: DatabaseUrl, settings: Settings) -> Connections:
        """Connections, none of them opened yet."""

    async def schema_engine(self, target: DatabaseUrl, *, make: bool) -> AsyncEngine:
        """An engine for changing the schema: nothing bounds its statements, and no foreign key acts. Raises `Unavailable`.

        `make` says that an embedded database may be made where there is none.
        """
