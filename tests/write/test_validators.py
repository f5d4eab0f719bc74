"""A validator of a mapped class holds on every way a row is written: `@validates` of SQLAlchemy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
import strawberry
from sqlalchemy import ForeignKey, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, orm_insert_sentinel, relationship, validates

from graph.base import NAMING_CONVENTION, Created, Key, Updated
from graph.base import Base as ProductBase
from graph.database import Database
from graph.write.plain_rows import OnConflict, Plain, insert_rows
from graph.write.unit import Unit
from graph.write.upserts import upsert_rows
from tests.unhurried import unhurried
from tests.write.test_any_entity import attempt


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = ProductBase.type_annotation_map
    __root__: ClassVar[str | None] = None

    @declared_attr
    def _sentinel(cls) -> Mapped[int]:
        return orm_insert_sentinel()


class Tag(Base):
    __tablename__ = "tag"
    __table_args__ = (UniqueConstraint("word"), {"sqlite_autoincrement": True})

    id: Mapped[Key]
    version: Mapped[int] = mapped_column(default=1)
    word: Mapped[str]
    rank: Mapped[int | None]
    note: Mapped[str | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]

    marks: Mapped[list[Mark]] = relationship(back_populates="tag", cascade="all, delete-orphan", lazy="raise")

    @validates("note", include_removes=True)
    def _is_short(self, key: str, value: Any, removed: bool) -> Any:  # as SQLAlchemy calls it
        if value is not None and len(value) > 3:
            raise ValueError("must be short")
        return value

    @validates("marks", include_removes=True)
    def _holds(self, key: str, mark: Mark, removed: bool) -> Mark:
        if mark.text == ("kept" if removed else "bad"):
            raise ValueError("must stay" if removed else "must be good")
        return mark

    @validates("word", "rank")
    def _fits(self, key: str, value: Any) -> Any:
        if key == "word":
            if "#" in value:
                raise ValueError("must not hold a #")
            return value.upper()
        if value is not None and value > 9:
            raise ValueError
        return value


class Mark(Base):
    __tablename__ = "mark"
    __root__ = "tag"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[Key]
    tag_id: Mapped[int] = mapped_column(ForeignKey("tag.id", ondelete="CASCADE"))
    text: Mapped[str]
    tag: Mapped[Tag] = relationship(back_populates="marks", viewonly=True, lazy="raise")


TAG: Any = Tag  # its base is not the product's


@strawberry.input
class MarkInput:
    text: str


@strawberry.input
class MarksInput:
    create: list[MarkInput] = strawberry.field(default_factory=list)
    remove: list[strawberry.ID] = strawberry.field(default_factory=list)


@strawberry.input
class TagInput:
    word: str
    rank: strawberry.Maybe[int | None] = None
    note: strawberry.Maybe[str | None] = None


@strawberry.input
class MarkedInput(TagInput):
    marks: list[MarkInput] = strawberry.field(default_factory=list)


@strawberry.input
class ChangeMarkedInput:
    note: strawberry.Maybe[str | None] = None
    marks: strawberry.Maybe[MarksInput | None] = None


@pytest.fixture
async def tags(bare_url: str) -> AsyncIterator[Database]:
    database = Database(unhurried(bare_url))
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield database
    await database.close()


async def rows(database: Database) -> list[tuple[str, int | None]]:
    async with database.engine.begin() as connection:
        return [tuple(row) for row in await connection.execute(sa.select(Tag.word, Tag.rank).order_by(Tag.id))]  # type: ignore[misc]  # the row's type is not told


Work = Callable[[Unit], Awaitable[None]]


def create(*inputs: TagInput) -> Work:
    async def work(unit: Unit) -> None:
        unit.session.add_all([unit.create(TAG, each, ("input", "rows", str(n))) for n, each in enumerate(inputs)])
        await unit.flush()

    return work


def change(input_: Any) -> Work:
    async def work(unit: Unit) -> None:
        unit.fill(await unit.load(TAG, "Tag:1", "marks"), input_)
        await unit.flush()

    return work


def plain(on_conflict: OnConflict | None, *inputs: TagInput) -> Work:
    async def work(unit: Unit) -> None:
        made = Plain(unit, TAG, "rows", inputs, "word")
        await (upsert_rows(made) if on_conflict is None else insert_rows(made, on_conflict))

    return work


WAYS: dict[str, Callable[..., Work]] = {
    "create": create,
    **{f"insert, {each.name}": lambda *inputs, each=each: plain(each, *inputs) for each in OnConflict},
    "upsert": lambda *inputs: plain(None, *inputs),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_validator_holds_for_new_rows(tags: Database, way: str) -> None:
    assert await attempt(tags, WAYS[way](TagInput(word="one", rank=strawberry.Some(9)), TagInput(word="two"))) == []
    assert await rows(tags) == [("ONE", 9), ("TWO", None)]
    bad = [TagInput(word="a"), TagInput(word="b#", rank=strawberry.Some(10)), TagInput(word="c", rank=strawberry.Some(None))]
    errors = await attempt(tags, WAYS[way](*bad))
    assert [(e.code.name, ".".join(e.path), e.message) for e in errors] == [
        ("INVALID_INPUT", "input.rows.1.rank", "rank is not allowed"),
        ("INVALID_INPUT", "input.rows.1.word", "word must not hold a #"),
    ]
    assert await rows(tags) == [("ONE", 9), ("TWO", None)]


async def test_a_validator_holds_for_a_change(tags: Database) -> None:
    assert await attempt(tags, create(TagInput(word="one"))) == []
    assert await attempt(tags, change(TagInput(word="two", rank=strawberry.Some(1)))) == []
    assert await rows(tags) == [("TWO", 1)]
    (error,) = await attempt(tags, change(TagInput(word="#")))
    assert (error.code.name, error.path) == ("INVALID_INPUT", ["input", "word"])
    assert await rows(tags) == [("TWO", 1)]


async def test_what_a_validator_makes_of_a_key_is_what_is_compared(tags: Database) -> None:
    assert await attempt(tags, create(TagInput(word="one"))) == []
    (error,) = await attempt(tags, plain(OnConflict.ERROR, TagInput(word="One")))
    assert (error.code.name, error.path) == ("UNIQUE", ["input", "rows", "0", "word"])
    assert await attempt(tags, plain(OnConflict.UPDATE, TagInput(word="oNe", rank=strawberry.Some(3)))) == []
    assert await attempt(tags, plain(None, TagInput(word="onE", rank=strawberry.Some(4)))) == []
    assert await rows(tags) == [("ONE", 4)]


async def test_a_validator_of_a_list_holds_for_what_comes_and_what_goes(tags: Database) -> None:
    def told(errors: Any) -> list[tuple[str, str, str]]:
        return [(e.code.name, ".".join(e.path), e.reason) for e in errors]

    bad = MarkedInput(word="one", note=strawberry.Some("long"), marks=[MarkInput(text="a"), MarkInput(text="bad")])
    assert told(await attempt(tags, create(bad))) == [
        ("INVALID_INPUT", "input.rows.0.marks.1", "must be good"),
        ("INVALID_INPUT", "input.rows.0.note", "must be short"),
    ]
    assert await rows(tags) == []
    assert await attempt(tags, create(MarkedInput(word="one", marks=[MarkInput(text="kept"), MarkInput(text="b")]))) == []
    marks = MarksInput(create=[MarkInput(text="bad")], remove=[strawberry.ID("Mark:1"), strawberry.ID("Mark:2")])
    assert told(await attempt(tags, change(ChangeMarkedInput(note=strawberry.Some("long"), marks=strawberry.Some(marks))))) == [
        ("INVALID_INPUT", "input.marks.create.0", "must be good"),
        ("INVALID_INPUT", "input.marks.remove.0", "must stay"),
        ("INVALID_INPUT", "input.note", "must be short"),
    ]
    assert await attempt(tags, change(ChangeMarkedInput(note=strawberry.Some("abc")))) == []
    async with tags.engine.begin() as connection:
        assert (await connection.scalars(sa.select(Mark.text).order_by(Mark.id))).all() == ["kept", "b"]
