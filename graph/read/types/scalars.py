"""The scalars of the API, and all that is known of each: a record says how it is parsed, shown, filtered and sorted by.

What goes in: JSON values and literals of a document, SQL expressions, column types. What comes out: values as columns hold them,
the parts of a JSON text, `(type name, key)` pairs. What is refused here: what a scalar cannot hold, as a `GraphQLError` that
graphql-core reports at the value's place. A new scalar is one record here and one golden case.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NewType

import strawberry
from graphql import FloatValueNode, IntValueNode, StringValueNode
from sqlalchemy import case, not_
from sqlalchemy.sql import sqltypes
from sqlalchemy.types import TypeEngine

from graph import base
from graph.read.types.amounts import hundredths, minor_units, money_text, percent_text, whole_number
from graph.read.types.codec import Position, Scalar, bare, custom, escaped, moment, one_of, quoted, undecorated
from graph.read.types.encodings import MoneyText, literal
from graph.read.types.operators import EQUALITY, RANGE, TEXT
from graph.read.types.times import day, time_text, utc_time
from graph.sums import Total
from graph.texts import CodePointText, by_code_point

MAX_KEY = 2**63 - 1


def parse_id(text: str) -> tuple[str, int] | None:
    """The type name and key in a global id, or None where it is not one. One row has one text: no sign, no zeros."""
    name, colon, digits = text.partition(":")
    if not colon or not (digits.isascii() and digits.isdigit()) or digits[0] == "0" or len(digits) > 19:
        return None
    key = int(digits)
    return (name, key) if key <= MAX_KEY else None


def global_id(type_name: str, key: int) -> str:
    """The global id of a row."""
    return f"{type_name}:{key}"


def id_form(type_name: str) -> str:
    """What a global id of this type looks like."""
    return f'global id of {type_name}, which looks like "{global_id(type_name, 42)}"'


def is_storable(text: str) -> bool:
    """Whether both databases can hold a text: no NUL, no lone surrogate."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return "\x00" not in text


Money = NewType("Money", int)
BigInt = NewType("BigInt", int)
DateTime = NewType("DateTime", datetime)
Date = NewType("Date", date)
Percent = NewType("Percent", int)


def whole(value: Any) -> int:
    """A number that a cursor may hold: as large as a column can, or larger than any in it."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_KEY:
        raise ValueError("no whole number")
    return value


def storable(value: Any) -> str:
    """A text that a cursor may hold."""
    if not isinstance(value, str) or not is_storable(value):
        raise ValueError("no text")
    return value


NUMBER = Position("int", lambda type_: isinstance(undecorated(type_), sqltypes.Integer), bare, whole, sqltypes.BigInteger())
CHARACTERS = Position("text", by_code_point, escaped, storable, CodePointText)
NUMBERS = (IntValueNode, FloatValueNode, StringValueNode)

RECORDS = (
    Scalar(
        "ID",
        strawberry.ID,
        quoted,
        derives=lambda type_: isinstance(undecorated(type_), sqltypes.String),
        operators=EQUALITY,
        what="an id",
    ),
    Scalar(
        "String",
        str,
        escaped,
        shows=lambda type_: isinstance(undecorated(type_), sqltypes.String),
        operators=EQUALITY | RANGE | TEXT,
        what="a text; order is by code point",
        position=CHARACTERS,
    ),
    Scalar(
        "Int",
        int,
        bare,
        shows=lambda type_: isinstance(type_, sqltypes.Integer) and not isinstance(type_, sqltypes.BigInteger),  # it has 32 bits
        operators=EQUALITY | RANGE,
        what="a whole number",
        position=NUMBER,
    ),
    Scalar(
        "Boolean",
        bool,
        lambda value: [case((value, literal("true")), else_=literal("false"))],
        shows=one_of(sqltypes.Boolean),
        encode_nullable=lambda value: [case((value, literal("true")), (not_(value), literal("false")))],
        operators={"eq": EQUALITY["eq"]},
        what="a Boolean",
    ),
    Scalar(
        "Decimal",
        Money,
        lambda value: quoted(MoneyText(value)),
        shows=one_of(base.Money, Total),
        derives=one_of(sqltypes.Integer),  # what is computed of amounts is a whole number to SQLAlchemy
        operators=EQUALITY | RANGE,
        what="an amount of money",
        position=NUMBER,
        definition=custom(
            "Decimal",
            "An amount of money in the shop's one currency, as a string with the currency's decimals, such as "
            '"10.50". Inputs may be strings or numbers; more decimals than the currency has are refused.',
            minor_units,
            money_text,
            *NUMBERS,
        ),
    ),
    Scalar(
        "DateTime",
        DateTime,
        moment,
        shows=one_of(base.UtcDateTime),
        operators=EQUALITY | RANGE,
        what="a moment",
        position=Position("time", one_of(base.UtcDateTime), moment, utc_time),
        definition=custom(
            "DateTime",
            'A moment in UTC as RFC 3339 writes it, such as "2026-01-31T10:00:00Z", from year 0001 to 9999. Inputs must carry '
            "seconds and an offset; digits beyond microseconds are cut; there are no leap seconds.",
            utc_time,
            time_text,
            StringValueNode,
            specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        ),
    ),
    Scalar(
        "Date",
        Date,
        escaped,
        shows=one_of(sqltypes.Date),
        operators=EQUALITY | RANGE,
        what="a day",
        position=Position("day", one_of(sqltypes.Date), escaped, day),
        definition=custom(
            "Date",
            'A day as RFC 3339 writes it, such as "2026-01-31", from year 0001 to 9999.',
            day,
            date.isoformat,
            StringValueNode,
            specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        ),
    ),
    Scalar(
        "Percent",
        Percent,
        None,
        definition=custom(
            "Percent",
            'A percentage with at most two decimals, such as "12.5", as a string or a number.',
            hundredths,
            percent_text,
            *NUMBERS,
        ),
    ),
    Scalar(
        "BigInt",
        BigInt,
        quoted,
        shows=one_of(sqltypes.Integer),
        position=NUMBER,
        definition=custom(
            "BigInt",
            "A whole number that may be too large for an Int, as a string.",
            whole_number,
            str,
            IntValueNode,
            StringValueNode,
        ),
    ),
)
#: What all enums share: their names need no escape.
ENUM = Scalar("", None, quoted, shows=one_of(base.Choice), operators=EQUALITY, position=CHARACTERS)
#: No scalar of the schema: a list, which an expression of the model shows as JSON text already.
LISTED = Scalar("JSON", None, bare)

SCALARS = {scalar.name: scalar for scalar in RECORDS}
POSITIONS = {scalar.position.kind: scalar.position for scalar in RECORDS if scalar.position is not None}
#: Strawberry's definitions by annotation.
DEFINITIONS: dict[object, Any] = {scalar.python: scalar.definition for scalar in RECORDS if scalar.definition is not None}


def scalar_of(name: str) -> Scalar:
    """The scalar of this name. A name that is none is that of an enum."""
    return LISTED if name == LISTED.name else SCALARS.get(name, ENUM)


def position_for(type_: TypeEngine[Any]) -> Position | None:
    """What a cursor holds for a key of this type; None where rows cannot be sorted by it alike on every database."""
    return next((position for position in POSITIONS.values() if position.sorts(type_)), None)
