"""The declarative base: constraint naming, key and sentinel columns, column types.

What goes in: nothing. What comes out: `Base` and the column types every table is made of. What may be
refused here: a value a type cannot store (a naive time, an unknown choice) raises `ValueError` before SQL.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Dialect, Identity, Integer, MetaData, TypeDecorator, event
from sqlalchemy.orm import DeclarativeBase, Mapped, RelationshipProperty, declared_attr, mapped_column, orm_insert_sentinel

from graph.texts import CodePointText, Trimmed, code, not_blank

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

#: The largest price of one piece and the largest subtotal of an order, in minor units. SQLite turns an
#: integer overflow into a float, so both stay far below 2^63.
MAX_PRICE = 10**12
MAX_SUBTOTAL = 10**18
#: The most pieces of a line.
MAX_QUANTITY = 100_000

E = TypeVar("E", bound=enum.StrEnum)


class Misstored(Exception):
    """The database holds what nobody could write there: it is damaged. The message is for the log and holds no values."""


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


# A BIGINT primary key is no rowid alias on SQLite, hence the variant.
KeyType = BigInteger().with_variant(Integer(), "sqlite")


class Money(TypeDecorator[int]):
    """An amount in minor units of the deployment's one currency (an `int` in Python, BIGINT in the database)."""

    impl = BigInteger
    cache_ok = True


class Choice(TypeDecorator[E], Generic[E]):
    """A member of a `StrEnum`, stored by its value as text; the table adds the CHECK constraint."""

    impl = CodePointText
    cache_ok = True

    def __init__(self, choices: type[E]) -> None:
        super().__init__()
        self.choices = choices

    def process_bind_param(self, value: E | str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.choices(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:
        if value is None:
            return None
        try:
            return self.choices(value)
        except ValueError:
            raise Misstored(f"a column of {self.choices.__name__} holds something else") from None


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC: `timestamptz` on PostgreSQL, fixed-width ISO text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without an offset cannot be stored")
        return value.astimezone(UTC)  # SQLite stores the fields alone

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# `info["rule"]` says why a value that clients send for the column has the wrong form, `info["width"]` how many bytes a text of
# it may have; without it that is the longest text a client may send.
Name = Annotated[str, mapped_column(Trimmed, info={"rule": not_blank})]
Code = Annotated[str, mapped_column(Trimmed, info={"rule": code})]
Key = Annotated[int, mapped_column(KeyType, Identity(), primary_key=True)]
Cents = Annotated[int, mapped_column(Money)]
Utc = Annotated[datetime, mapped_column(UtcDateTime)]
Created = Annotated[datetime, mapped_column(UtcDateTime, default=utc_now)]
Updated = Annotated[datetime, mapped_column(UtcDateTime, default=utc_now, onupdate=utc_now)]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a check allows an attribute to be, both ends included. An end may be open, or be another attribute of the row."""

    attribute: str
    minimum: int | None = None
    maximum: int | str | None = None


def between(
    attribute: str, minimum: int | None = None, maximum: int | None = None, *, sql: str | None = None, **info: Any
) -> CheckConstraint:
    """A check that an attribute stays within bounds, which clients are told. `sql` computes what is no column.

    `fields` names what a client would change to mend it, where the server makes the value; `made_of` the attributes the
    server makes it of, `relation.attribute`: where one of these is refused, that is the cause, and this is not told beside it.
    """
    value = sql or attribute
    ends = [f"{value} >= {minimum}"] if minimum is not None else []
    ends += [f"{value} <= {maximum}"] if maximum is not None else []
    return CheckConstraint(" AND ".join(ends), name=attribute, info={"bounds": Bounds(attribute, minimum, maximum), **info})


class Base(DeclarativeBase):
    """Every mapped class. `__root__` names the relationship that leads to the aggregate root, if it is another row."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: CodePointText, datetime: UtcDateTime}

    __root__: ClassVar[str | None] = None

    # What the database computes is read by the payload's own statement. A row that makes way for another is deleted before the
    # flush, which then finds it gone.
    __mapper_args__ = {"eager_defaults": False, "confirm_deleted_rows": False}  # noqa: RUF012  # declared an instance variable by SQLAlchemy

    # Lets the unit of work insert many rows in one statement on both databases and match RETURNING by key.
    @declared_attr
    def _sentinel(cls) -> Mapped[int]:
        return orm_insert_sentinel()


def beside(row: Any, model: type[Base]) -> Any:
    """The rows of another class in an expression over `row`: those that whoever reads the row may see.

    `row` has come through the row door (`graph.read.rows`), which knows; or it is the class, whose expression is never run.
    """
    return model if isinstance(row, type) else row.__door__.beside(row, model)


def kind_of_viewer(row: Any) -> str:
    """Who reads a row in an expression over it, where what it tells depends on that: nobody where `row` is the class."""
    return "" if isinstance(row, type) else str(row.__door__.kind)


@event.listens_for(Base, "attribute_instrument", propagate=True)
def _keep_for_reading(class_: type[Base], key: str, attribute: Any) -> None:
    """Make an assignment to a relation that is for reading an error; SQLAlchemy would let it pass and write nothing."""
    relation = attribute.property
    if isinstance(relation, RelationshipProperty) and relation.viewonly:

        def refuse(row: Base, value: Any, *_: Any) -> None:
            raise TypeError(f"{class_.__name__}.{key} is for reading; put the row into {relation.back_populates} of its parent")

        event.listen(attribute, "set", refuse)
