"""The unit of work on tables it has never seen: nothing in it knows an entity, everything comes from the metadata."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
import strawberry
from sqlalchemy import CheckConstraint, ForeignKey, MetaData, UniqueConstraint
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, orm_insert_sentinel, relationship

from graph.base import NAMING_CONVENTION, Key, Name
from graph.context import Context
from graph.database import Database
from graph.write.errors import MutationError, Refused, ordered
from graph.write.unit import EXPLANATIONS, Unit
from tests.conftest import Statements
from tests.renamed import NAMES, renamed
from tests.unhurried import unhurried


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    __root__: ClassVar[str | None] = None

    @declared_attr
    def _sentinel(cls) -> Mapped[int]:
        return orm_insert_sentinel()


class Owner(Base):
    __tablename__ = "owner"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[Key]
    name: Mapped[Name]
    token: Mapped[uuid.UUID | None] = mapped_column(unique=True)


class Shelf(Base):
    __tablename__ = "shelf"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("label"),
        UniqueConstraint("aisle", "place"),
        CheckConstraint("lowest <= highest", name="span"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    version: Mapped[int] = mapped_column(default=1)
    code: Mapped[str]
    label: Mapped[str | None]
    aisle: Mapped[int]
    place: Mapped[int | None]
    lowest: Mapped[int] = mapped_column(default=0)
    highest: Mapped[int] = mapped_column(default=0)

    boxes: Mapped[list[Box]] = relationship(
        back_populates="shelf", cascade="all, delete-orphan", passive_deletes=True, lazy="raise", order_by="Box.id"
    )


class Box(Base):
    __tablename__ = "Box"  # which SQL must quote
    __root__ = "shelf"
    __table_args__ = (
        UniqueConstraint("shelf_id", "slot"),
        CheckConstraint("weight > 0", name="weight"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelf.id", ondelete="CASCADE"))
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owner.id"))
    slot: Mapped[int]
    weight: Mapped[int]

    shelf: Mapped[Shelf] = relationship(back_populates="boxes", lazy="raise")
    owner: Mapped[Owner | None] = relationship(lazy="raise")


@strawberry.input
class OwnerInput:
    name: str


@strawberry.input(one_of=True)
class OwnerReference:
    id: strawberry.Maybe[strawberry.ID]
    token: strawberry.Maybe[uuid.UUID]
    create: strawberry.Maybe[OwnerInput]


@strawberry.input
class BoxInput:
    slot: int
    weight: int
    owner: strawberry.Maybe[OwnerReference | None] = None


@strawberry.input
class ShelfInput:
    code: str
    aisle: int
    label: strawberry.Maybe[str | None] = None
    place: strawberry.Maybe[int | None] = None
    lowest: strawberry.Maybe[int | None] = None
    highest: strawberry.Maybe[int | None] = None
    boxes: list[BoxInput] = strawberry.field(default_factory=list)


def some(value: Any) -> Any:
    return strawberry.Some(value)


@pytest.fixture(params=["", *NAMES])
async def tables(bare_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """The tables, whose constraints the driver calls by their names, or otherwise."""

    database = Database(unhurried(bare_url))
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    with renamed(request.param) if request.param else nullcontext():
        yield database
    await database.close()


async def attempt(database: Database, work: Callable[[Unit], Awaitable[None]]) -> list[MutationError]:
    """Do what `perform` does, without GraphQL: try, explain, and return the errors."""
    context = Context(database)
    try:
        for explanation in range(EXPLANATIONS + 1):
            unit = Unit(context, explaining=explanation > 0)
            try:
                await database.transaction(context.session, lambda unit=unit: work(unit))  # type: ignore[misc]  # mypy drops the default
                return []
            except IntegrityError:
                continue
            except Refused as refused:
                return ordered(refused.errors)
        raise AssertionError("refused again and again without a reason")
    finally:
        await context.close()


def create(*inputs: ShelfInput) -> Callable[[Unit], Awaitable[None]]:
    async def work(unit: Unit) -> None:
        unit.session.add_all([unit.create(Shelf, input_, ("input", str(n))) for n, input_ in enumerate(inputs)])  # type: ignore[type-var]  # made when the test runs
        await unit.flush()

    return work


def short(errors: list[MutationError]) -> list[tuple[str, str, Any]]:
    named = ("constraint",)
    return [(e.code.name, ".".join(e.path), next((getattr(e, n) for n in named if hasattr(e, n)), None)) for e in errors]


async def test_several_unique_constraints_at_once(tables: Database) -> None:
    first = ShelfInput(code="a", label=some("A"), aisle=1, place=some(1))
    assert await attempt(tables, create(first, ShelfInput(code="b", aisle=1), ShelfInput(code="c", aisle=1))) == []
    second = ShelfInput(code="z", label=some("Z"), aisle=2, place=some(1))
    errors = await attempt(tables, create(first, second, ShelfInput(code="y", aisle=2, place=some(1))))
    assert short(errors) == [
        ("UNIQUE", "input.0", "uq_shelf_aisle_place"),
        ("UNIQUE", "input.0.code", "uq_shelf_code"),
        ("UNIQUE", "input.0.label", "uq_shelf_label"),
        ("UNIQUE", "input.2", "uq_shelf_aisle_place"),
    ]
    assert [error.fields for error in errors if error.path == ["input", "0"]] == [["aisle", "place"]]  # type: ignore[attr-defined]  # errors are of several types


async def test_children_of_a_parent_that_has_no_key_yet(tables: Database) -> None:
    boxes = [BoxInput(slot=1, weight=1), BoxInput(slot=2, weight=0), BoxInput(slot=1, weight=1)]
    errors = await attempt(tables, create(ShelfInput(code="a", aisle=1, boxes=boxes)))
    assert short(errors) == [
        ("CHECK", "input.0.boxes.1.weight", "ck_Box_weight"),
        ("UNIQUE", "input.0.boxes.2", "uq_Box_shelf_id_slot"),
    ]


async def test_a_nullable_reference(tables: Database) -> None:
    made = BoxInput(slot=1, weight=1, owner=some(OwnerReference(id=None, token=None, create=some(OwnerInput(name="me")))))
    cleared = BoxInput(slot=2, weight=1, owner=some(None))
    there = BoxInput(slot=3, weight=1, owner=some(OwnerReference(id=some("Owner:1"), token=None, create=None)))
    assert await attempt(tables, create(ShelfInput(code="a", aisle=1, boxes=[made, cleared]))) == []
    assert await attempt(tables, create(ShelfInput(code="b", aisle=1, boxes=[there]))) == []
    async with tables.engine.begin() as connection:
        assert (await connection.execute(sa.select(Box.owner_id).order_by(Box.id))).scalars().all() == [1, None, 1]
    nobody = BoxInput(slot=1, weight=1, owner=some(OwnerReference(id=some("Owner:9"), token=None, create=None)))
    blank = BoxInput(slot=2, weight=1, owner=some(OwnerReference(id=None, token=None, create=some(OwnerInput(name=" ")))))
    errors = await attempt(tables, create(ShelfInput(code="c", aisle=1, boxes=[nobody, blank])))
    assert short(errors) == [
        ("REFERENCE_NOT_FOUND", "input.0.boxes.0.owner.id", "fk_Box_owner_id"),
        ("INVALID_INPUT", "input.0.boxes.1.owner.create.name", None),
    ]


async def test_a_natural_key_that_is_stored_in_another_form(tables: Database) -> None:
    mine, nobodys = uuid.UUID(int=1), uuid.UUID(int=2)
    async with tables.engine.begin() as connection:
        await connection.execute(sa.insert(Owner).values(name="me", token=mine))
    owners = [some(OwnerReference(id=None, token=some(token), create=None)) for token in (mine, nobodys)]
    boxes = [BoxInput(slot=n, weight=1, owner=owner) for n, owner in enumerate(owners)]
    assert await attempt(tables, create(ShelfInput(code="a", aisle=1, boxes=boxes[:1]))) == []
    errors = await attempt(tables, create(ShelfInput(code="b", aisle=1, boxes=boxes)))
    assert short(errors) == [("REFERENCE_NOT_FOUND", "input.0.boxes.1.owner.token", "fk_Box_owner_id")]


async def test_keys_that_were_drawn_stay_drawn_when_more_are(tables: Database, statements: Statements) -> None:
    async with tables.engine.begin() as connection:
        await connection.execute(sa.insert(Owner).values(name="me"))
    owner = some(OwnerReference(id=some("Owner:1"), token=None, create=None))

    async def work(unit: Unit) -> None:
        statements.clear()
        for code in "ab":
            boxes = [BoxInput(slot=slot, weight=1, owner=owner) for slot in (1, 2)]
            unit.session.add(unit.create(Shelf, ShelfInput(code=code, aisle=1, boxes=boxes)))  # type: ignore[type-var]  # made when the test runs
            await unit.look_up()
        drawn = len(unit.keys)
        await unit.flush()
        assert drawn == len(unit.keys) == (0 if tables.capabilities.drawn_keys is None else 6)

    assert await attempt(tables, work) == []
    draws = [sql for sql in statements.sql if "nextval" in sql]
    assert len(draws) == (0 if tables.capabilities.drawn_keys is None else 2)


async def test_a_row_pointed_to_is_deleted_after_it_was_looked_up(tables: Database) -> None:
    async with tables.engine.begin() as connection:
        await connection.execute(sa.insert(Owner).values(name="me"))
    deleted = []

    async def work(unit: Unit) -> None:
        owner = some(OwnerReference(id=some("Owner:1"), token=None, create=None))
        unit.session.add(unit.create(Shelf, ShelfInput(code="a", aisle=1, boxes=[BoxInput(slot=1, weight=1, owner=owner)])))  # type: ignore[type-var]  # made when the test runs
        await unit.look_up()
        # What another writer does between the look-up and the flush; here it stays, since it is done again.
        await unit.session.execute(sa.delete(Owner))
        deleted.append(unit.explaining)
        await unit.flush()

    errors = await attempt(tables, work)
    assert short(errors) == [("REFERENCE_NOT_FOUND", "input.boxes.0.owner.id", "fk_Box_owner_id")]
    assert deleted == [False, True]


async def test_a_check_over_two_columns_points_to_what_was_sent(tables: Database) -> None:
    errors = await attempt(tables, create(ShelfInput(code="a", aisle=1, lowest=some(5))))
    assert short(errors) == [("CHECK", "input.0.lowest", "ck_shelf_span")]
    errors = await attempt(tables, create(ShelfInput(code="a", aisle=1, highest=some(-5))))
    assert short(errors) == [("CHECK", "input.0.highest", "ck_shelf_span")]


async def test_a_conflict_that_is_gone_when_it_is_looked_for(tables: Database) -> None:
    tries = []

    async def work(unit: Unit) -> None:
        tries.append(unit.explaining)
        if not unit.explaining:
            await unit.session.execute(sa.insert(Shelf).values(code="a", aisle=9))
        await create(ShelfInput(code="a", aisle=1))(unit)

    assert await attempt(tables, work) == []
    assert tries == [False, True]
    async with tables.engine.begin() as connection:
        assert (await connection.execute(sa.select(Shelf.aisle))).scalars().all() == [1]


async def test_deleting_what_is_in_use(tables: Database) -> None:
    owner = some(OwnerReference(id=None, token=None, create=some(OwnerInput(name="me"))))
    assert await attempt(tables, create(ShelfInput(code="a", aisle=1, boxes=[BoxInput(slot=1, weight=1, owner=owner)]))) == []

    async def work(unit: Unit) -> None:
        await unit.session.delete(await unit.load(Owner, "Owner:1"))  # type: ignore[type-var]  # made when the test runs
        await unit.flush()

    (error,) = await attempt(tables, work)
    assert (error.code.name, error.path, error.count) == ("STILL_REFERENCED", ["input", "id"], 1)  # type: ignore[attr-defined]  # errors are of several types


async def test_a_child_moves_its_roots_version(tables: Database) -> None:
    assert await attempt(tables, create(ShelfInput(code="a", aisle=1, boxes=[BoxInput(slot=1, weight=1)]))) == []

    async def work(unit: Unit) -> None:
        shelf: Any = await unit.load(Shelf, "Shelf:1", "boxes")
        shelf.boxes[0].weight = 5
        await unit.flush()

    assert await attempt(tables, work) == []
    async with tables.engine.begin() as connection:
        assert (await connection.execute(sa.select(Shelf.version))).scalar() == 2
