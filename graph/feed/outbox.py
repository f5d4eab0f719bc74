"""The outbox: the table `changes`, and the rows that every write leaves there in its own transaction.

What goes in: a session whose work is done, and its record of changes (`graph.write.record`). What comes out: a row a change, by
one statement that goes to the driver directly: through SQLAlchemy it would cost a write six times as much. What may be refused
here: nothing.

An id is drawn when its row is inserted, which is after the root is locked: so the order of the ids is that of a root's versions.
A row is told once it has a position. SQLite has one writer at a time: there the position is the id. On PostgreSQL
`graph.feed.sequence` numbers what has become visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql import visitors

from graph.base import Base, Choice, Key, Utc, kind_of_viewer, utc_now
from graph.database import REPLICATED, WRITTEN, capabilities, once_a_kind, rows_within
from graph.database.insert_texts import behind
from graph.database.read_after import ReadAfter
from graph.feed.positions import TAG, cursor_at
from graph.read.planning.arguments import Given
from graph.read.sql.bound_lists import object_rows
from graph.read.sql.connections import cursor_text
from graph.read.sql.statement import Statement
from graph.read.sql.writer import Writer
from graph.read.types.encodings import literal
from graph.read.types.mirror import MIRRORS, expression_of
from graph.scope import BOUND, SERVER
from graph.texts import CodePointText
from graph.write.record import Change, Kind, record_of


class ChangeRow(Base):
    """A change as it is kept.

    `root_type` and `root` say whose feed it is in, and what `version` belongs to; MANY has 0 as its root. `changed` is the JSON
    of a list of GraphQL names. The owners are what row rules ask for.
    `by` is the identity of who did it, empty where nobody has to say who he is.
    """

    __tablename__ = "changes"
    _sentinel = None  # type: ignore[assignment]  # no unit of work inserts here

    id: Mapped[Key]
    position: Mapped[int | None] = mapped_column(sa.BigInteger)
    kind: Mapped[Kind] = mapped_column(Choice(Kind))
    type: Mapped[str]
    key: Mapped[int | None] = mapped_column(sa.BigInteger)
    root_type: Mapped[str]
    root: Mapped[int] = mapped_column(sa.BigInteger)
    version: Mapped[int | None]
    changed: Mapped[str]
    owner_before: Mapped[int | None] = mapped_column(sa.BigInteger)
    owner_after: Mapped[int | None] = mapped_column(sa.BigInteger)
    count: Mapped[int]
    mutation: Mapped[str | None]
    at: Mapped[Utc]
    by: Mapped[str | None]

    __table_args__ = (
        # On PostgreSQL a row has its position later, and stands here from then on. SQLite's `max` makes no use of such an index.
        sa.Index(None, "position", unique=True, postgresql_where=sa.literal_column("position IS NOT NULL")),
        sa.Index(None, "root_type", "root", "position", postgresql_where=sa.literal_column("position IS NOT NULL")),
        # Those that wait for a position: read in order of their ids, as few as there are.
        sa.Index(
            "ix_changes_waiting",
            "id",
            postgresql_where=sa.literal_column("position IS NULL"),
            sqlite_where=sa.literal_column("position IS NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    @hybrid_property
    def cursor(self) -> str | None:
        return None if self.position is None else cursor_at(self.position)

    @cursor.inplace.expression
    @classmethod
    def _cursor(cls) -> sa.ColumnElement[Any]:
        return cursor_text(TAG, [sa.type_coerce(cls.position, sa.BigInteger)])

    @hybrid_property
    def entity_id(self) -> str | None:
        return None if self.key is None else f"{self.type}:{self.key}"

    @entity_id.inplace.expression
    @classmethod
    def _entity_id(cls) -> sa.ColumnElement[Any]:
        return cls.type + ":" + sa.cast(cls.key, CodePointText)

    @hybrid_property
    def fields(self) -> str:
        return self.changed

    @fields.inplace.expression
    @classmethod
    def _fields(cls) -> sa.ColumnElement[str]:
        return sa.type_coerce(without_untold(cls, cls.changed) if kind_of_viewer(cls) == BOUND else cls.changed, CodePointText)


def without_untold(change: Any, names: Any) -> Any:
    """The JSON of a change's names without those of fields that are not told to bound viewers."""
    found: dict[str, Any] = {}
    for mirror in MIRRORS.values():
        shown = names
        for name in sorted(name for name, attribute in mirror.attributes.items() if attribute in mirror.untold):
            for text in (f'"{name}",', f',"{name}"', f'"{name}"'):
                shown = sa.func.replace(shown, text, "")
        if shown is not names:
            found[mirror.name] = shown
    return sa.case(found, value=change.type, else_=names) if found else names


#: One row: the last position given. Whoever numbers holds it.
HEAD = sa.Table(
    "changes_head",
    Base.metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)

#: What a change tells of itself, by the names of the columns.
TOLD = ("kind", "type", "key", "root_type", "root", "version", "changed", "owner_before", "owner_after", "count", "mutation")


def last_id(dialect: sa.Dialect) -> sa.Select[tuple[int]] | None:
    """A query of the last id that was given, where it is the position; else None."""
    last = capabilities(dialect).last_keys
    if last is None:
        return None
    key = sa.func.coalesce(sa.func.max(last.c.key), sa.literal_column("0")).label("key")
    return sa.select(key).where(last.c.name == literal(ChangeRow.__tablename__))


@once_a_kind
def _insert(dialect: sa.Dialect) -> Statement:
    """The INSERT of a list of changes, each a JSON object with its place in the list as `n`.

    Ids are drawn as the rows come. Arrays would cost twice as much: the driver looks at every value of theirs several times.
    Where nobody else writes meanwhile the next ids are known, and are the positions.
    """
    writer, last = Writer(dialect, SERVER), last_id(dialect)
    table: Any = ChangeRow.__mapper__.local_table
    told = object_rows(
        dialect,
        writer.bind(Given(("told",)), sa.Text()),
        [*(table.c[name] for name in TOLD), sa.Column("n", sa.Integer())],
        "told",
    )
    values: dict[str, Any] = {name: told.c[name] for name in TOLD}
    values |= {name: writer.bind(Given((name,)), table.c[name].type) for name in ("at", "by")}
    if last is not None:
        values |= dict.fromkeys(("id", "position"), last.subquery("last").c.key + told.c.n)
    rows = sa.select(*values.values())
    insert_ = sa.insert(table).from_select(list(values), rows, include_defaults=False)
    return writer.spelled(insert_.returning(table.c.id, table.c.at))


async def keep(session: AsyncSession, changes: Sequence[Change]) -> None:
    """Write changes to the outbox, in the transaction of a session, if no read has: one of `Database.before_commit`."""
    record = record_of(session)
    if record is not None and record.kept is not None:
        return
    sql, arguments = insert(session, changes)
    rows = await rows_within(session, sql, arguments)
    if session.info.get(REPLICATED):  # any of the rows proves that a server shows the transaction
        session.info[WRITTEN] = ReadAfter.of(*max((id_, at) for id_, at in rows))


def insert(session: AsyncSession, changes: Sequence[Change], after: int = 0) -> tuple[str, list[Any]]:
    """The INSERT of changes into the outbox: SQL, in a statement with so many parameters before it, and its arguments."""
    statement, record = _insert(session.get_bind().dialect), record_of(session)
    told = orjson.dumps([{"n": n, **_told(change)} for n, change in enumerate(changes, 1)]).decode()
    given = {"told": told, "at": utc_now(), "by": None if record is None else record.by}
    return behind(statement.sql, after), statement.arguments(given)


def _told(change: Change) -> dict[str, Any]:
    root = change.root
    return {
        "kind": change.kind.value,
        "type": change.type,
        "key": change.key,
        "root_type": root.type_name,
        "root": root.key,
        "version": change.version,
        "changed": field_names(change.type, change.fields) if change.fields else "[]",
        "owner_before": change.owner_before,
        "owner_after": change.owner_after,
        "count": change.count,
        "mutation": change.mutation,
    }


@lru_cache(1_000)
def field_names(type_: str, attributes: frozenset[str]) -> str:
    """The JSON of the names, in the order of the type, of the fields that show what attributes hold."""
    return orjson.dumps([name for name, shown in _shown(type_) if not shown.isdisjoint(attributes)]).decode()


@cache
def _shown(type_: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """The fields of a type, and the attributes of its own row that each of them shows: a derived field and a relation others."""
    mirror = MIRRORS[type_]
    mapper, found = mirror.mapper, list[tuple[str, frozenset[str]]]()
    for name, attribute in mirror.attributes.items():
        if attribute in mirror.links:
            continue
        descriptor = mapper.all_orm_descriptors[attribute]
        if attribute in mapper.relationships:
            columns = [local for local, _ in mapper.relationships[attribute].local_remote_pairs or ()]
        elif isinstance(descriptor, hybrid_property):
            columns = [each for each in visitors.iterate(expression_of(mapper, attribute)) if isinstance(each, sa.Column)]
        else:
            columns = list(mapper.column_attrs[attribute].columns)
        own = (each for each in columns if each.table is mapper.local_table and not each.primary_key)
        found.append((name, frozenset(str(mapper.get_property_by_column(each).key) for each in own)))
    return tuple(found)
