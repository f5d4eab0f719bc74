"""A unique key that one input frees can be taken by the same input, whatever the order the unit of work writes in."""

from __future__ import annotations

import asyncio
import enum
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
import strawberry
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import CheckConstraint, ForeignKey, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, orm_insert_sentinel, relationship, selectinload
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import create_type

from graph.base import NAMING_CONVENTION, Choice, Key, Money, UtcDateTime
from graph.base import Base as ProductBase
from graph.database import Database
from graph.read.types.checks import check
from graph.read.types.fields import NodeQueries
from graph.read.types.mirror import MIRRORS, Node, mirror
from graph.read.types.scalars import DEFINITIONS, Date, DateTime
from graph.read.types.scalars import Money as Decimal
from graph.schema import Schema
from graph.texts import Email
from graph.write.answers import Answer, Payload, answer, row_of
from graph.write.columns import key_in_id
from graph.write.errors import error_types
from graph.write.mutation_inputs import ABSENT
from graph.write.mutation_inputs import given as sent
from graph.write.resolvers import mutation
from graph.write.unit import Unit
from tests.examples import examples
from tests.unhurried import unhurried


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = ProductBase.type_annotation_map
    __root__: ClassVar[str | None] = None
    __mapper_args__ = ProductBase.__mapper_args__

    @declared_attr
    def _sentinel(cls) -> Mapped[int]:
        return orm_insert_sentinel()


class Color(enum.StrEnum):
    RED = "RED"
    BLUE = "BLUE"
    GREEN = "GREEN"


class BookRow(Base):
    __tablename__ = "book"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[Key]
    version: Mapped[int] = mapped_column(default=1)
    sheets: Mapped[list[SheetRow]] = relationship(
        back_populates="book", cascade="all, delete-orphan", passive_deletes=True, lazy="raise", order_by="SheetRow.id"
    )


class SheetRow(Base):
    __tablename__ = "sheet"
    __root__ = "book"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[Key]
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id", ondelete="CASCADE"))
    book: Mapped[BookRow] = relationship(back_populates="sheets", viewonly=True, lazy="raise")
    coupons: Mapped[list[CouponRow]] = relationship(
        back_populates="sheet", cascade="all, delete-orphan", passive_deletes=True, lazy="raise", order_by="CouponRow.id"
    )
    tags: Mapped[list[TagRow]] = relationship(
        back_populates="sheet", cascade="all, delete-orphan", passive_deletes=True, lazy="raise", order_by="TagRow.id"
    )


class CouponRow(Base):
    __tablename__ = "coupon"
    __root__ = "sheet"
    __table_args__ = (
        UniqueConstraint("code"),
        UniqueConstraint("sheet_id", "place"),
        UniqueConstraint("sheet_id", "color"),
        CheckConstraint("place < 8 OR color IS NOT NULL", name="color"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    sheet_id: Mapped[int] = mapped_column(ForeignKey("sheet.id", ondelete="CASCADE"))
    code: Mapped[str]
    place: Mapped[int]
    color: Mapped[Color | None] = mapped_column(Choice(Color))
    sheet: Mapped[SheetRow] = relationship(back_populates="coupons", viewonly=True, lazy="raise")


class TagRow(Base):
    """A unique key of every type of column, none of which may be null."""

    __tablename__ = "tag"
    __root__ = "sheet"
    __table_args__ = (
        UniqueConstraint("sheet_id", "flag"),
        UniqueConstraint("floor", "room"),
        CheckConstraint("length(letters) = 3 AND letters = upper(letters)", name="letters"),
        CheckConstraint("rank BETWEEN 1 AND 4", name="rank"),
        CheckConstraint("floor BETWEEN 1 AND 2 AND room BETWEEN 1 AND 2", name="floor"),
        CheckConstraint("amount BETWEEN 0 AND 100", name="amount"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    sheet_id: Mapped[int] = mapped_column(ForeignKey("sheet.id", ondelete="CASCADE"))
    letters: Mapped[str] = mapped_column(sa.String(3), unique=True, index=True)
    email: Mapped[str] = mapped_column(Email, unique=True)
    rank: Mapped[int] = mapped_column(unique=True)
    day: Mapped[date] = mapped_column(unique=True)
    clock: Mapped[time] = mapped_column(unique=True)
    moment: Mapped[datetime] = mapped_column(UtcDateTime, unique=True)
    amount: Mapped[int] = mapped_column(Money, unique=True)
    color: Mapped[Color] = mapped_column(Choice(Color), unique=True)
    token: Mapped[uuid.UUID] = mapped_column(unique=True)
    flag: Mapped[bool]
    floor: Mapped[int]
    room: Mapped[int]
    sheet: Mapped[SheetRow] = relationship(back_populates="tags", viewonly=True, lazy="raise")


class UseRow(Base):
    __tablename__ = "use"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[Key]
    coupon_id: Mapped[int] = mapped_column(ForeignKey("coupon.id"))


KNOWN = dict(MIRRORS)
ColorType = strawberry.enum(Color, name="Color", description="A color.")


@mirror(CouponRow)  # type: ignore[arg-type]  # a base of its own, so that its tables stay out of the product's
@strawberry.type(description="A coupon.")
class Coupon(Node):
    code: str = strawberry.field(description="Unique.")
    place: int = strawberry.field(description="Unique in its sheet.")
    color: ColorType | None = strawberry.field(description="Unique in its sheet.")  # type: ignore[valid-type]  # made above


@mirror(TagRow)  # type: ignore[arg-type]  # made when the test runs
@strawberry.type(description="A tag.")
class Tag(Node):
    rank: int = strawberry.field(description="Unique.")


@mirror(SheetRow)  # type: ignore[arg-type]  # made when the test runs
@strawberry.type(description="A sheet.")
class Sheet(Node):
    coupons: list[Coupon] = strawberry.field(description="Its coupons.")


@mirror(BookRow)  # type: ignore[arg-type]  # made when the test runs
@strawberry.type(description="A book.")
class Book(Node):
    version: int = strawberry.field(description="Its version.")
    sheets: list[Sheet] = strawberry.field(description="Its sheets.")


@strawberry.input
class CouponInput:
    code: str
    place: int
    color: strawberry.Maybe[ColorType | None]  # type: ignore[valid-type]  # made when the test runs


@strawberry.input
class ChangeCouponInput:
    id: strawberry.ID
    sheet: strawberry.Maybe[strawberry.ID | None]
    code: strawberry.Maybe[str | None]
    place: strawberry.Maybe[int | None]
    color: strawberry.Maybe[ColorType | None]  # type: ignore[valid-type]  # made when the test runs


@strawberry.input
class ChangeTagInput:
    id: strawberry.ID
    letters: strawberry.Maybe[str | None]
    email: strawberry.Maybe[str | None]
    rank: strawberry.Maybe[int | None]
    day: strawberry.Maybe[Date | None]
    clock: strawberry.Maybe[time | None]
    moment: strawberry.Maybe[DateTime | None]
    amount: strawberry.Maybe[Decimal | None]
    color: strawberry.Maybe[ColorType | None]  # type: ignore[valid-type]  # made when the test runs
    token: strawberry.Maybe[uuid.UUID | None]
    flag: strawberry.Maybe[bool | None]
    floor: strawberry.Maybe[int | None]
    room: strawberry.Maybe[int | None]


@strawberry.input
class TagsInput:
    update: list[ChangeTagInput] = strawberry.field(default_factory=list)


@strawberry.input
class CouponsInput:
    create: list[CouponInput] = strawberry.field(default_factory=list)
    update: list[ChangeCouponInput] = strawberry.field(default_factory=list)
    remove: list[strawberry.ID] = strawberry.field(default_factory=list)


@strawberry.input
class SheetInput:
    coupons: list[CouponInput] = strawberry.field(default_factory=list)


@strawberry.input
class ChangeSheetInput:
    id: strawberry.ID
    coupons: strawberry.Maybe[CouponsInput | None]
    tags: strawberry.Maybe[TagsInput | None]


@strawberry.input
class SheetsInput:
    create: list[SheetInput] = strawberry.field(default_factory=list)
    update: list[ChangeSheetInput] = strawberry.field(default_factory=list)
    remove: list[strawberry.ID] = strawberry.field(default_factory=list)


@strawberry.input
class UpdateBookInput:
    id: strawberry.ID
    sheets: strawberry.Maybe[SheetsInput | None]


@strawberry.type
class UpdateBookPayload(Payload):
    book: Book | None = None


@mutation("Change a book.", scope="write")
async def update_book(unit: Unit, input: UpdateBookInput) -> Answer[UpdateBookPayload]:
    book: Any = await unit.load(BookRow, input.id, "sheets")
    changes: Any = sent(input, "sheets")
    keys = [] if changes is ABSENT else [key_in_id(SheetRow, entry.id) for entry in changes.update]  # type: ignore[arg-type]  # made when the test runs
    # The coupons of a sheet that goes are not loaded: the database deletes them.
    loaded = (selectinload(SheetRow.coupons), selectinload(SheetRow.tags))
    await unit.session.scalars(sa.select(SheetRow).where(SheetRow.id.in_(keys)).options(*loaded))
    unit.fill(book, input)
    await unit.flush()
    return answer(book=row_of(book))


Mutation = create_type("Mutation", [update_book])
schema = Schema(NodeQueries, Mutation, types=[Book, *error_types()], config=StrawberryConfig(scalar_map=DEFINITIONS))
check(schema._schema)
OURS = {name: MIRRORS[name] for name in MIRRORS if name not in KNOWN}
for name in OURS:
    del MIRRORS[name]

UPDATE = """mutation($sheets: SheetsInput) { updateBook(input: {id: "Book:1", sheets: $sheets}) {
  book { version } errors { code path ... on UniqueError { constraint } } } }"""

#: Two sheets, three coupons: key to sheet, code, place, color.
TOKENS = [uuid.UUID(int=n) for n in (0, 2**128 - 1)]
TAGS: list[dict[str, Any]] = [
    {
        "id": n,
        "sheet_id": 1,
        "letters": letters,
        "email": f"{letters.lower()}@example.com",
        "rank": rank,
        "day": day,
        "clock": clock,
        "moment": moment,
        "amount": amount,
        "color": color,
        "token": TOKENS[n - 1],
        "flag": n == 1,
        "floor": n,
        "room": n,
    }
    for n, letters, rank, day, clock, moment, amount, color in (
        (1, "ABC", 1, date.min, time.min, datetime.min.replace(tzinfo=UTC), 0, Color.RED),
        (2, "XYZ", 4, date.max, time.max, datetime.max.replace(tzinfo=UTC), 100, Color.BLUE),
    )
]
START = {1: (1, "ONE", 1, "RED"), 2: (1, "TEN", 2, "BLUE"), 3: (2, "SIX", 1, "RED")}


class Books:
    """One book on a database."""

    def __init__(self, runner: asyncio.Runner, url: str) -> None:
        self.runner, self.database = runner, Database(unhurried(url))
        self.run(self._each(Base.metadata.create_all))
        if self.database.dialect.name == "postgresql":  # the keys of the start are not drawn
            for table in ("sheet", "coupon"):
                drawn = sa.text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 1000)")
                self.run(self._each(lambda connection, drawn=drawn: connection.execute(drawn)))

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    async def _each(self, work: Any) -> Any:
        async with self.database.engine.begin() as connection:
            return await connection.run_sync(work)

    def reset(self) -> None:
        """Back to the start."""

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(UseRow))
            connection.execute(sa.delete(BookRow))
            connection.execute(sa.insert(BookRow), [{"id": 1, "version": 1}])
            connection.execute(sa.insert(SheetRow), [{"id": n, "book_id": 1} for n in (1, 2)])
            rows = [{"id": k, "sheet_id": s, "code": c, "place": p, "color": o} for k, (s, c, p, o) in START.items()]
            connection.execute(sa.insert(CouponRow), rows)
            connection.execute(sa.insert(TagRow), TAGS)

        self.run(self._each(work))

    def coupons(self) -> list[tuple[Any, ...]]:
        """Sheet, code, place and color of every coupon."""
        columns = (CouponRow.sheet_id, CouponRow.code, CouponRow.place, CouponRow.color)
        rows = self.run(self._each(lambda connection: connection.execute(sa.select(*columns)).all()))
        return sorted((tuple(row) for row in rows), key=str)

    def tags(self, *columns: str) -> list[tuple[Any, ...]]:
        """What every tag holds, by key."""
        chosen = [TagRow.__table__.c[name] for name in columns]
        rows = self.run(self._each(lambda connection: connection.execute(sa.select(*chosen).order_by(TagRow.id)).all()))
        return [tuple(row) for row in rows]

    def key(self, code: str) -> int:
        """The key of a coupon."""
        found: int = self.run(self._each(lambda c: c.scalar(sa.select(CouponRow.id).where(CouponRow.code == code))))
        return found

    def use(self, key: int) -> None:
        """Let something point to a coupon."""
        self.run(self._each(lambda connection: connection.execute(sa.insert(UseRow), [{"coupon_id": key}])))

    def update(self, **sheets: Any) -> tuple[int | None, list[tuple[str, str, str]]]:
        """The book's version afterwards, and the errors."""
        result = self.run(schema.execute(UPDATE, {"sheets": sheets}, context_value=self.database))
        assert result.errors is None, result.errors
        payload = result.data["updateBook"]
        errors = [(error["code"], ".".join(error["path"][2:]), error.get("constraint", "")) for error in payload["errors"]]
        return payload["book"] and payload["book"]["version"], errors


@pytest.fixture
def books(bare_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Books]:
    for name in list(MIRRORS):
        monkeypatch.delitem(MIRRORS, name)
    for name, each in OURS.items():
        monkeypatch.setitem(MIRRORS, name, each)
    with asyncio.Runner() as runner:
        made = Books(runner, bare_url)
        made.reset()
        yield made
        made.run(made.database.close())


def sheet(number: int, **coupons: Any) -> dict[str, Any]:
    return {"id": f"Sheet:{number}", "coupons": coupons}


def coupon(key: int, **values: Any) -> dict[str, Any]:
    return {"id": f"Coupon:{key}", **values}


TAKEN: dict[str, tuple[dict[str, Any], set[tuple[Any, ...]]]] = {
    "a removed one is made again": (
        {"update": [sheet(1, remove=["Coupon:2"], create=[{"code": "TEN", "place": 2, "color": "BLUE"}])]},
        {(1, "ONE", 1, "RED"), (1, "TEN", 2, "BLUE"), (2, "SIX", 1, "RED")},
    ),
    "a removed one's key goes to another": (
        {"update": [sheet(1, remove=["Coupon:2"], update=[coupon(1, code="TEN", place=2, color="BLUE")])]},
        {(1, "TEN", 2, "BLUE"), (2, "SIX", 1, "RED")},
    ),
    "two swap": (
        {"update": [sheet(1, update=[coupon(1, code="TEN", place=2), coupon(2, code="ONE", place=1)])]},
        {(1, "TEN", 2, "RED"), (1, "ONE", 1, "BLUE"), (2, "SIX", 1, "RED")},
    ),
    "a chain that ends in a new one": (
        {
            "update": [
                sheet(1, update=[coupon(1, code="SIX"), coupon(2, code="ONE")], create=[{"code": "TEN", "place": 3}]),
                sheet(2, update=[coupon(3, code="NEW")]),
            ]
        },
        {(1, "SIX", 1, "RED"), (1, "ONE", 2, "BLUE"), (1, "TEN", 3, None), (2, "NEW", 1, "RED")},
    ),
    "across parents": (
        {"update": [sheet(1, create=[{"code": "SIX", "place": 3}]), sheet(2, remove=["Coupon:3"])]},
        {(1, "ONE", 1, "RED"), (1, "TEN", 2, "BLUE"), (1, "SIX", 3, None)},
    ),
    "from below a removed parent": (
        {"remove": ["Sheet:2"], "create": [{"coupons": [{"code": "SIX", "place": 1}]}]},
        {(1, "ONE", 1, "RED"), (1, "TEN", 2, "BLUE"), (3, "SIX", 1, None)},
    ),
    "two that change places between their parents": (
        {
            "update": [
                sheet(1, update=[coupon(2, sheet="Sheet:2", place=1)]),
                sheet(2, update=[coupon(3, sheet="Sheet:1", place=2, color="GREEN")]),
            ]
        },
        {(1, "ONE", 1, "RED"), (2, "TEN", 1, "BLUE"), (1, "SIX", 2, "GREEN")},
    ),
    "a choice that may be null": (
        {"update": [sheet(1, update=[coupon(1, color="BLUE"), coupon(2, color="RED")])]},
        {(1, "ONE", 1, "BLUE"), (1, "TEN", 2, "RED"), (2, "SIX", 1, "RED")},
    ),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_freed_key_is_taken(books: Books, name: str) -> None:
    given_, expected = TAKEN[name]
    assert books.update(**given_) == (2, [])
    found = books.coupons()
    newest = max(row[0] for row in found)
    assert {(3 if row[0] == newest and newest > 2 else row[0], *row[1:]) for row in found} == expected


#: What two tags have, as clients send it.
SWAPPED: dict[str, tuple[Any, Any]] = {
    "letters": ("ABC", "XYZ"),
    "email": ("abc@example.com", "xyz@example.com"),
    "rank": (1, 4),
    "day": ("0001-01-01", "9999-12-31"),
    "clock": ("00:00:00", "23:59:59.999999"),
    "moment": ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    "amount": ("0.00", "1.00"),
    "color": ("RED", "BLUE"),
    "token": (str(TOKENS[0]), str(TOKENS[1])),
    "floor": (1, 2),
}


def test_keys_of_every_type_are_swapped_even_at_the_ends_of_what_they_may_be(books: Books) -> None:
    version = 1
    for name, (one, two) in SWAPPED.items():
        with_it = ("floor", "room") if name == "floor" else (name,)
        before = books.tags(*with_it)
        changes = [{"id": f"Tag:{n}", **dict.fromkeys(with_it, value)} for n, value in ((1, two), (2, one))]
        version += 1
        assert books.update(update=[{"id": "Sheet:1", "tags": {"update": changes}}]) == (version, []), name
        assert books.tags(*with_it) == before[::-1]


def test_a_key_of_two_values_has_no_place_to_step_aside_to(books: Books) -> None:
    changes = [{"id": f"Tag:{n}", "flag": n == 2} for n in (2, 1)]
    version, errors = books.update(update=[{"id": "Sheet:1", "tags": {"update": changes}}])
    assert (version, errors) == (None, [("UNIQUE", "update.0.tags.update.1", "uq_tag_sheet_id_flag")])
    assert books.tags("flag") == [(True,), (False,)]


def test_a_unique_index_is_a_key_as_a_constraint_is(books: Books) -> None:
    version, errors = books.update(update=[{"id": "Sheet:1", "tags": {"update": [{"id": "Tag:2", "letters": "ABC"}]}}])
    assert (version, errors) == (None, [("UNIQUE", "update.0.tags.update.0.letters", "ix_tag_letters")])


def test_nothing_steps_aside_to_where_another_row_of_the_input_goes(books: Books) -> None:
    made = [{"code": f"N{n}", "place": n} for n in range(3, 7)]
    swap = [coupon(1, place=2), coupon(2, place=1)]
    assert books.update(update=[sheet(1, update=swap, create=made)]) == (2, [])
    assert sorted(row[2] for row in books.coupons() if row[0] == 1) == [1, 2, 3, 4, 5, 6]


def test_nothing_is_paid_where_no_key_changes_hands(books: Books, statements: Any) -> None:
    statements.clear()
    books.update(update=[sheet(1, remove=["Coupon:2"], create=[{"code": "NEW", "place": 3}], update=[coupon(1, code="OLD")])])
    assert [sql.split()[0] for sql in statements.sql if not sql.startswith("SELECT")] == ["UPDATE", "UPDATE", "INSERT", "DELETE"]


def test_a_key_that_stays_is_refused_beside_one_that_is_freed(books: Books) -> None:
    create = [{"code": "TEN", "place": 5}, {"code": "SIX", "place": 6}, {"code": "ONE", "place": 7}]
    version, errors = books.update(update=[sheet(1, remove=["Coupon:2"], create=create)])
    assert version is None
    assert errors == [("UNIQUE", f"update.0.coupons.create.{n}.code", "uq_coupon_code") for n in (1, 2)]
    assert books.coupons() == sorted(START.values(), key=str)


def test_keys_that_can_stand_on_no_other_value_are_refused_at_the_later_row(books: Books) -> None:
    made = [{"code": "EIGHT", "place": 8, "color": "BLUE"}, {"code": "NINE", "place": 9, "color": "GREEN"}]
    assert books.update(update=[sheet(2, create=made)]) == (2, [])
    before = books.coupons()
    eight, nine = (books.key(str(each["code"])) for each in made)
    swap = [coupon(nine, color="BLUE"), coupon(eight, color="GREEN")]
    version, errors = books.update(update=[sheet(2, update=swap)])
    assert (version, errors) == (None, [("UNIQUE", "update.0.coupons.update.1", "uq_coupon_sheet_id_color")])
    assert books.coupons() == before


def test_a_row_that_is_used_stays_and_its_key_with_it(books: Books) -> None:
    books.use(2)
    version, errors = books.update(update=[sheet(1, remove=["Coupon:2"], create=[{"code": "TEN", "place": 2}])])
    assert (version, errors) == (None, [("STILL_REFERENCED", "update.0.coupons.remove.0", "")])
    assert books.coupons() == sorted(START.values(), key=str)


codes = st.sampled_from(["ONE", "TEN", "SIX", "NEW"])
places = st.integers(1, 3)


@settings(max_examples=examples(20), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_any_permutation_is_written_or_refused_as_a_plain_model_says(books: Books, data: st.DataObject) -> None:
    books.reset()
    model: dict[Any, tuple[Any, ...]] = dict(START)
    updates: dict[int, dict[str, Any]] = {1: {}, 2: {}}
    for key, (parent, _, _, color) in START.items():
        match data.draw(st.sampled_from(["keep", "remove", "change", "change"])):
            case "remove":
                del model[key]
                updates[parent].setdefault("remove", []).append(f"Coupon:{key}")
            case "change":
                new = {"code": data.draw(codes), "place": data.draw(places)}
                model[key] = (parent, new["code"], new["place"], color)
                updates[parent].setdefault("update", []).append(coupon(key, **new))
    for number in range(data.draw(st.integers(0, 2))):
        parent, code, place = data.draw(st.sampled_from([1, 2])), data.draw(codes), data.draw(places)
        model["new", number] = (parent, code, place, None)
        updates[parent].setdefault("create", []).append({"code": code, "place": place})
    version, errors = books.update(update=[sheet(number, **each) for number, each in updates.items()])
    rows = list(model.values())
    unique = len({row[1] for row in rows}) == len(rows) == len({(row[0], row[2]) for row in rows})
    if unique:
        assert errors == []
        assert sorted(books.coupons(), key=str) == sorted(rows, key=str)
        assert version == (1 if rows == list(START.values()) else 2)
    else:
        assert {code for code, _, _ in errors} == {"UNIQUE"}
        assert books.coupons() == sorted(START.values(), key=str)
