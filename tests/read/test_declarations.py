"""Whatever a mirrored type may declare works when a client asks for it; the rest stops the start-up in one sentence."""

from __future__ import annotations

import asyncio
import enum
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa
import strawberry
from sqlalchemy import ForeignKey, ForeignKeyConstraint, MetaData, UniqueConstraint, func
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionResult

from graph.base import Base as ProductBase
from graph.base import Choice, Key, Money, UtcDateTime
from graph.database import Database
from graph.read.types.checks import check
from graph.read.types.fields import Connection, NodeQueries, connection
from graph.read.types.filter_inputs import make_input
from graph.read.types.mirror import MIRRORS, MirrorError, Node, mirror
from graph.read.types.scalars import DEFINITIONS, BigInt, Date, DateTime
from graph.read.types.scalars import Money as Decimal
from graph.schema import Schema
from graph.texts import CodePointText
from tests.unhurried import unhurried


class Base(DeclarativeBase):
    metadata = MetaData()
    type_annotation_map = ProductBase.type_annotation_map


class Kind(enum.StrEnum):
    NOVEL = "NOVEL"
    ESSAY = "ESSAY"


class Other(enum.StrEnum):
    POEM = "POEM"


class PlaceRow(Base):
    __tablename__ = "place"
    __table_args__ = (UniqueConstraint("room", "shelf"),)

    id: Mapped[Key]
    room: Mapped[int]
    shelf: Mapped[int]
    label: Mapped[str]


class BookRow(Base):
    __tablename__ = "book"
    __table_args__ = (ForeignKeyConstraint(["room", "shelf"], ["place.room", "place.shelf"]),)

    id: Mapped[Key]
    title: Mapped[str]
    pages: Mapped[int]
    many: Mapped[int] = mapped_column(sa.BigInteger)
    kind: Mapped[Kind] = mapped_column(Choice(Kind))
    is_lost: Mapped[bool]
    maybe: Mapped[bool | None]
    price: Mapped[int] = mapped_column(Money)
    weight: Mapped[float]
    local: Mapped[str] = mapped_column(sa.String(20))
    bought_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    printed_on: Mapped[date | None] = mapped_column(sa.Date)
    room: Mapped[int | None]
    shelf: Mapped[int | None]
    first_id: Mapped[int | None] = mapped_column(ForeignKey("book.id"))

    place: Mapped[PlaceRow | None] = relationship(viewonly=True)
    first: Mapped[BookRow | None] = relationship(remote_side="BookRow.id", back_populates="sequels", viewonly=True)
    sequels: Mapped[list[BookRow]] = relationship(back_populates="first", order_by="BookRow.pages", viewonly=True)
    long_sequels: Mapped[list[BookRow]] = relationship(
        primaryjoin="and_(BookRow.id == remote(foreign(BookRow.first_id)), remote(BookRow.pages) > 100)",
        order_by="BookRow.pages",
        viewonly=True,
    )
    backwards: Mapped[list[BookRow]] = relationship(remote_side=first_id, order_by="BookRow.pages.desc()", viewonly=True)

    @hybrid_property
    def sheets(self) -> Any:
        return self.pages / 2

    @sheets.inplace.expression
    @classmethod
    def _sheets(cls) -> Any:
        return sa.type_coerce(sa.case((cls.pages > 100, None), else_=cls.pages * 2), sa.Integer)

    @hybrid_property
    def shout(self) -> Any:
        return self.title.upper()

    @shout.inplace.expression
    @classmethod
    def _shout(cls) -> Any:
        return func.upper(cls.title, type_=CodePointText)

    @hybrid_property
    def loose(self) -> Any:
        return 1

    @loose.inplace.expression
    @classmethod
    def _loose(cls) -> Any:
        return func.abs(sa.literal_column("1"))

    @hybrid_property
    def sequel_count(self) -> Any:
        return len(self.sequels)

    @sequel_count.inplace.expression
    @classmethod
    def _sequel_count(cls) -> Any:
        sequel = sa.orm.aliased(BookRow)
        return sa.select(func.count()).where(sequel.first_id == cls.id).correlate_except(sequel).scalar_subquery()


class Renamed(Base):
    __tablename__ = "renamed"

    id: Mapped[Key]
    title: Mapped[str] = mapped_column("another")
    pages: Mapped[int]


class Keyless(Base):
    __tablename__ = "keyless"

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    pages: Mapped[int]


KindType = strawberry.enum(Kind, name="Kind", description="A kind.")
OtherType = strawberry.enum(Other, name="Other", description="Another kind.")


@pytest.fixture(autouse=True)
def own_mirrors() -> Iterator[None]:
    """Only what a test declares is mirrored, and its inputs are made anew."""
    known = dict(MIRRORS)
    MIRRORS.clear()
    make_input.cache_clear()
    yield
    MIRRORS.clear()
    MIRRORS.update(known)
    make_input.cache_clear()


def made(name: str, model: Any, fields: dict[str, Any], **options: Any) -> Any:
    """A mirrored type with these fields."""
    type_ = strawberry.type(type(name, (Node,), {"__annotations__": fields, "__module__": __name__}), description="A row.")
    globals()[name] = type_  # which texts among the annotations name
    return mirror(model, **options)(type_)


PLACE = {"label": str}


def built(book: Any, *, searchable: bool = False, paged: bool = True) -> Schema:
    """A schema with pages of books."""
    if not paged:
        return Schema(NodeQueries, types=[book], config=StrawberryConfig(scalar_map=DEFINITIONS))
    books = {"books": connection("Book", "Books.", searchable=searchable), "__annotations__": {"books": Connection[book]}}
    query = strawberry.type(type("Query", (NodeQueries,), {**books, "__module__": __name__}))
    return Schema(query, config=StrawberryConfig(scalar_map=DEFINITIONS))


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a sort by a Boolean": ({}, {"sorts": ("is_lost",)}, "Book: 'is_lost' is Boolean(), which rows cannot be sorted by"),
    "a sort by a float": ({}, {"sorts": ("weight",)}, "Book: 'weight' is Double(), which rows cannot be sorted by"),
    "a sort by text in the locale's order": ({}, {"sorts": ("local",)}, "Book: 'local' is String"),
    "a sort by what has no type": ({}, {"sorts": ("loose",)}, "Book: 'loose' is NullType(), which rows cannot be sorted by"),
    "a sort by a list": ({}, {"sorts": ("sequels",)}, "Book: 'sequels' names no attribute of BookRow that is a value"),
    "a sort through a list": ({}, {"sorts": ("sequels.pages",)}, "goes through 'sequels', which is no to-one relation"),
    "a sort through two": ({}, {"sorts": ("first.first.pages",)}, "goes through more than one relation"),
    "a sort by nothing": ({}, {"sorts": ("gone",)}, "'gone' names no attribute of BookRow that is a value"),
    "two sorts of one name": ({}, {"sorts": ("pages", "PAGES")}, "'PAGES' names no attribute"),
    "a search in numbers": ({}, {"search": ("pages",)}, "Book: 'pages' is Integer(), and only texts can be searched"),
    "a search in Booleans": ({}, {"search": ("is_lost",)}, "Book: 'is_lost' is Boolean(), and only texts can be searched"),
    "a search by several columns": ({}, {"search": ("place.label",)}, "'place', which is more than one foreign key"),
    "a search for nothing": ({}, {"searchable": True}, "Query.books takes a search, but Book has nothing to search"),
    "hiding by a number": ({"pages": int}, {"hidden_unless_mentioned": "pages"}, "'pages' must be a Boolean that is never null"),
    "hiding by what may be null": (
        {"maybe": bool | None},
        {"hidden_unless_mentioned": "maybe"},
        "'maybe' must be a Boolean that is never null",
    ),
    "hiding by what nobody can mention": ({}, {"hidden_unless_mentioned": "is_lost"}, "no field shows 'is_lost'"),
    "a big number as an Int": ({"many": int}, {}, "Book.many: BookRow.many is BigInteger(), which Int cannot show"),
    "a float as a Decimal": ({"weight": Decimal}, {}, "Book.weight: BookRow.weight is Double(), which Decimal cannot show"),
    "a number as a Decimal": ({"pages": Decimal}, {}, "Book.pages: BookRow.pages is Integer(), which Decimal cannot show"),
    "another enum": ({"kind": OtherType}, {}, "which Other cannot show"),
    "a text as an enum": ({"title": KindType}, {}, "which Kind cannot show"),
    "a derived text as a number": ({"shout": int}, {}, "which Int cannot show"),
    "a derived value without a type": ({"loose": int}, {}, "BookRow.loose is NullType(), which Int cannot show; say its type"),
    "a column as a list": ({"title": list[str]}, {}, "a list of values must be a derived attribute"),
    "a derived number as a list": ({"sheets": list[int]}, {}, "a list of values must be a derived attribute"),
    "a relation as a value": ({"first": int | None}, {}, "BookRow.first is neither a column nor a derived attribute"),
    "a column of another name": ({}, {"model": Renamed}, "the column of Renamed.title must be called like the attribute"),
    "a text for a key": ({}, {"model": Keyless}, "the primary key of Keyless must be one whole number, called id"),
    "a list in an order that is no column": (
        {"backwards": "list[Book]"},
        {},
        "the order of BookRow.backwards must be columns, not book.pages DESC",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_stops_the_start(name: str) -> None:
    fields, options, message = REFUSED[name]
    options = {"model": BookRow, "searchable": False, "sorts": ("pages",), **options}
    searchable = options.pop("searchable")
    made("Place", PlaceRow, PLACE)
    book = made("Book", fields={"title": str, **fields}, **options)
    with pytest.raises(MirrorError) as caught:
        check(built(book, searchable=searchable)._schema)
    assert message in str(caught.value)


DAYS = {1: date(2000, 2, 29), 2: date.max, 3: date.min, 4: None, 5: date(2000, 2, 29)}
ROWS: list[dict[str, Any]] = [
    {
        "id": n,
        "title": title,
        "pages": pages,
        "many": 2**40,
        "kind": Kind.NOVEL if n % 2 else Kind.ESSAY,
        "is_lost": n == 5,
        "maybe": [None, True, False][n % 3],
        "price": n * 150,
        "weight": 0.5,
        "local": "x",
        "bought_at": None if n == 2 else datetime(2020, 1, n, tzinfo=UTC),
        "printed_on": DAYS[n],
        "room": room,
        "shelf": shelf,
        "first_id": first,
    }
    for n, title, pages, room, shelf, first in [
        (1, "b", 40, 1, 1, None),
        (2, "a", 200, 1, 2, 1),
        (3, "c", 30, 2, 1, 1),
        (4, "d", 300, None, None, 2),
        (5, "e", 50, 2, 1, 1),
    ]
]
PLACES = [
    {"id": n, "room": room, "shelf": shelf, "label": f"{room}-{shelf}"}
    for n, (room, shelf) in enumerate([(1, 1), (1, 2), (2, 1)], 1)
]


@pytest.fixture
def execute(bare_url: str) -> Iterator[Any]:
    """Runs an operation on books."""
    made("Place", PlaceRow, PLACE, sorts=("label",))
    fields = {
        "title": str,
        "pages": int,
        "kind": KindType,
        "is_lost": bool,
        "maybe": bool | None,
        "price": Decimal,
        "bought_at": DateTime | None,
        "printed_on": Date | None,
        "sheets": int | None,
        "shout": str,
        "sequel_count": int,
        "sequels": "list[Book]",
        "long_sequels": "list[Book]",
        "first": "Book | None",
        "place": MIRRORS["Place"].type | None,
    }
    book = made(
        "Book",
        BookRow,
        fields,
        sorts=("title", "pages", "kind", "price", "bought_at", "printed_on", "sheets", "shout", "sequel_count", "place.label"),
        search=("title", "shout"),
        hidden_unless_mentioned="is_lost",
    )
    schema = built(book, searchable=True)
    check(schema._schema)
    with asyncio.Runner() as runner:
        database = Database(unhurried(bare_url))

        async def fill() -> None:
            async with database.engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
                await connection.execute(sa.insert(PlaceRow), PLACES)
                await connection.execute(sa.insert(BookRow), ROWS)

        def run(query: str, variables: dict[str, Any] | None = None) -> ExecutionResult:
            return runner.run(schema.execute(query, variables, context_value=database))

        runner.run(fill())
        yield run
        runner.run(database.close())


@pytest.fixture
def read(execute: Any) -> Any:
    """Asks for books."""

    def ask(query: str, variables: dict[str, Any] | None = None) -> Any:
        result = execute(query, variables)
        assert result.errors is None, result.errors
        return (result.data or {})["books"]

    return ask


SORTED = {
    "TITLE": [2, 1, 3, 4],
    "PAGES": [3, 1, 2, 4],
    "KIND": [2, 4, 1, 3],
    "PRICE": [1, 2, 3, 4],
    "BOUGHT_AT": [1, 3, 4, 2],
    "PRINTED_ON": [3, 1, 2, 4],
    "SHEETS": [3, 1, 2, 4],
    "SHOUT": [2, 1, 3, 4],
    "SEQUEL_COUNT": [3, 4, 2, 1],
    "PLACE_LABEL": [1, 2, 3, 4],
}


def test_every_sort_works_page_by_page(read: Any) -> None:
    for field, direction in product(SORTED, ("ASC", "DESC")):
        order = f"orderBy: [{{field: {field}, direction: {direction}}}]"
        whole = [each["id"] for each in read(f"{{ books({order}) {{ nodes {{ id }} }} }}")["nodes"]]
        assert direction == "DESC" or whole == [f"Book:{n}" for n in SORTED[field]], field
        for size, after in (("first", "after"), ("last", "before")):
            query = f"query ($c: String) {{ books({order}, {size}: 1, {after}: $c) {{ edges {{ cursor node {{ id }} }} }} }}"
            found: list[str] = []
            cursor = None
            while len(found) < len(whole):
                (edge,) = read(query, {"c": cursor})["edges"]
                found.append(edge["node"]["id"])
                cursor = edge["cursor"]
            assert found == (whole if size == "first" else whole[::-1]), (field, direction)


def ids(page: Any) -> list[int]:
    return [int(each["id"].partition(":")[2]) for each in page["nodes"]]


FOUND = {
    "where: {sheets: {eq: null}}": [2, 4],
    "where: {sheets: {gt: 60}}": [1],
    'where: {shout: {in: ["A", "C"]}}': [2, 3],
    'where: {shout: {contains: "d"}}': [4],
    "where: {sequelCount: {gte: 1}}": [1, 2],
    "where: {printedOn: {eq: null}}": [4],
    "where: {printedOn: {isNull: false}}": [1, 2, 3],
    'where: {printedOn: {eq: "2000-02-29"}}': [1],
    'where: {printedOn: {ne: "2000-02-29"}}': [2, 3],
    'where: {printedOn: {in: ["0001-01-01", "9999-12-31", "1999-01-01"]}}': [2, 3],
    'where: {printedOn: {notIn: ["0001-01-01"]}}': [1, 2],
    'where: {printedOn: {gt: "2000-02-28", lt: "9999-12-31"}}': [1],
    'where: {printedOn: {gte: "2000-02-29"}}': [1, 2],
    'where: {printedOn: {lte: "2000-02-29"}}': [1, 3],
    "where: {kind: {eq: ESSAY}}": [2, 4],
    "where: {maybe: {eq: true}}": [1, 4],
    "where: {isLost: {eq: true}}": [5],
    'where: {or: [{isLost: {eq: true}}, {title: {eq: "a"}}]}': [2, 5],
    'where: {place: {label: {eq: "1-2"}}}': [2],
    'where: {place: {id: {in: ["Place:3"]}}}': [3],
    'where: {not: {place: {label: {startsWith: "1"}}}}': [3, 4],
    'where: {sequels: {some: {title: {eq: "c"}}}}': [1],
    'where: {longSequels: {some: {title: {eq: "c"}}}}': [],
    'where: {longSequels: {some: {title: {eq: "a"}}}}': [1],
    'where: {longSequels: {every: {title: {eq: "d"}}}, pages: {gte: 200}}': [2, 4],
    'where: {first: {title: {eq: "b"}}}': [2, 3],
    'search: "B"': [1],
    "": [1, 2, 3, 4],
}


def test_every_filter_works(read: Any) -> None:
    found = {
        arguments: ids(read(f"{{ books{f'({arguments})' if arguments else ''} {{ nodes {{ id }} }} }}")) for arguments in FOUND
    }
    assert found == FOUND


def test_every_field_is_shown(read: Any) -> None:
    selection = "title pages kind isLost maybe price boughtAt printedOn sheets shout sequelCount place { label }"
    page = read(f"{{ books {{ nodes {{ {selection} }} }} }}")
    assert [each["maybe"] for each in page["nodes"]] == [True, False, None, True]
    assert [each["printedOn"] for each in page["nodes"]] == ["2000-02-29", "9999-12-31", "0001-01-01", None]
    assert [each["sheets"] for each in page["nodes"]] == [80, None, 60, None]
    assert [each["place"] and each["place"]["label"] for each in page["nodes"]] == ["1-1", "1-2", "2-1", None]
    assert page["nodes"][1] == {
        "title": "a",
        "pages": 200,
        "kind": "ESSAY",
        "isLost": False,
        "maybe": False,
        "price": "3.00",
        "boughtAt": None,
        "printedOn": "9999-12-31",
        "sheets": None,
        "shout": "A",
        "sequelCount": 1,
        "place": {"label": "1-2"},
    }


def test_relations_lead_where_their_conditions_say(read: Any) -> None:
    page = read("{ books(first: 2) { nodes { title first { title } sequels { title } longSequels { title first { title } } } } }")
    assert page["nodes"] == [
        {
            "title": "b",
            "first": None,
            "sequels": [{"title": "c"}, {"title": "e"}, {"title": "a"}],
            "longSequels": [{"title": "a", "first": {"title": "b"}}],
        },
        {
            "title": "a",
            "first": {"title": "b"},
            "sequels": [{"title": "d"}],
            "longSequels": [{"title": "d", "first": {"title": "a"}}],
        },
    ]


@pytest.mark.parametrize(
    ("message", "values"),
    [
        (
            "must be text of year, month and day",
            [
                *(20000229, True, [1], "", "20000229", "2000-W09-2", "2000-2-29", " 2000-02-29", "2000-02-29\n", "-2000-02-29"),
                *("2000-02-29T00:00:00Z", "٢٠٠٠-02-29", "12000-02-29", "infinity", "today"),
            ],
        ),
        ("must be a day that exists", ["0000-01-01", "2001-02-29", "2000-13-01", "2000-00-10", "2000-01-32"]),
    ],
)
def test_what_is_no_day_is_refused(execute: Any, message: str, values: list[Any]) -> None:
    for value in values:
        result = execute("query($d: Date!) { books(where: {printedOn: {eq: $d}}) { totalCount } }", {"d": value})
        assert message in str(result.errors), value
        literal = json.dumps(value, ensure_ascii=False)
        result = execute(f"{{ books(where: {{printedOn: {{eq: {literal}}}}}) {{ totalCount }} }}")
        assert message in str(result.errors), literal


def test_a_big_number_is_written_as_json_writes_one() -> None:
    """No input of the product takes one yet; one that will must not take what Python's `int` does."""

    def echo(n: BigInt) -> BigInt:
        return n

    query = strawberry.type(type("Query", (), {"echo": strawberry.field(resolver=echo), "__module__": __name__}))
    schema = strawberry.Schema(query, config=StrawberryConfig(scalar_map=DEFINITIONS))

    def sent(value: Any) -> list[Any]:
        literal = json.dumps(value, ensure_ascii=False)
        results = [
            schema.execute_sync("query($n: BigInt!) { echo(n: $n) }", {"n": value}),
            schema.execute_sync(f"{{ echo(n: {literal}) }}"),
        ]
        return [result.data and result.data["echo"] for result in results]

    right: list[Any] = [0, -7, "10", "-7", 2**80, str(2**80)]
    for value in right:
        assert sent(value) == [str(value)] * 2
    wrong: list[Any] = [
        "1_000",
        "+5",
        "٣",
        " 1",
        "1\n",
        "",
        "-",
        "007",
        "-0x1",
        "1e3",
        "1.0",
        1.5,
        True,
        [1],
        "9" * 5_000,
        10**40,
    ]
    for value in wrong:
        assert sent(value) == [None] * 2, value


def test_a_day_is_a_day_however_it_is_sent(read: Any) -> None:
    where = "{or: [{printedOn: {eq: $d}}, {printedOn: {in: $all}}]}"
    query = f"query($d: Date, $all: [Date!]) {{ books(where: {where}) {{ nodes {{ id }} }} }}"
    assert ids(read(query, {"d": "2000-02-29", "all": []})) == [1]
    assert ids(read(query, {"d": "9999-12-31", "all": ["0001-01-01", "0001-01-01"]})) == [2, 3]
    assert ids(read(query, {"d": None, "all": ["2000-02-28"]})) == [4]


def test_a_cursor_of_another_kind_is_no_place_among_days(execute: Any) -> None:
    query = "query($a: String) { books(orderBy: [{field: PRINTED_ON}], after: $a) { nodes { id } } }"
    tag = "Book printed_on+ id+"

    def page(*values: Any) -> Any:
        return execute(query, {"a": json.dumps([tag, *values]).encode().hex()})

    assert ids(page("2000-02-28", 9).data["books"]) == [1, 2, 4]
    assert ids(page(None, 3).data["books"]) == [4]
    others: list[Any] = ["2000-02-30", "2000-02-29T00:00:00Z", 20000229, True, [], {}, "x"]
    for value in others:
        assert "The cursor does not hold values of this order." in str(page(value, 1).errors), value
