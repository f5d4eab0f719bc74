"""The scalars of the API: money, times and global ids.

What goes in: JSON values and literals of a document. What comes out: minor units (`int`), aware `datetime`s in UTC,
`(type name, key)` pairs. What is refused here: whatever is not exactly representable, as a `GraphQLError` that
graphql-core reports at the value's place.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any, NewType

import strawberry
from graphql import FloatValueNode, GraphQLError, IntValueNode, StringValueNode, ValueNode

from graph import settings
from graph.sums import DIGITS

EXPONENT = settings.current().currency_exponent
#: Digits before the point of a stored amount and of a percentage. 10^10 major units stay far inside BIGINT.
MAX_WHOLE_DIGITS = 10
#: Digits before the point of any amount: as many as the greatest sum shows, so that every answer can be asked for.
MAX_SHOWN_DIGITS = DIGITS - EXPONENT
#: The usual context rounds to 28 digits.
EXACT = Context(prec=100)
DECIMAL = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
MAX_KEY = 2**63 - 1


class NumberText(float):
    """A JSON number with a point or an exponent that keeps its text, so that money never passes through a float."""

    text: str

    def __new__(cls, text: str) -> NumberText:
        number = super().__new__(cls, text)
        number.text = text
        return number


def decimal_of(value: object, name: str = "Decimal") -> Decimal:
    """The exact number in a JSON string or number for the scalar of this name. Raises `GraphQLError`."""
    if isinstance(value, NumberText):
        text = value.text
    elif isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        text = str(value) if not isinstance(value, int) or abs(value) < 10**DIGITS else "x"
    else:
        raise GraphQLError(f'{name} must be a string or a number, such as "10.50".')
    if len(text) > 40 or not DECIMAL.fullmatch(text):
        raise GraphQLError(f'{name} must be digits with an optional point, such as "10.50".')
    try:
        return Decimal(text)
    except InvalidOperation:
        raise GraphQLError(f"{name} is out of range.") from None


def minor_units(value: object) -> int:
    """Minor units of an amount given in major ones: "10.50" is 1050 where the currency has two decimals."""
    number = decimal_of(value)
    if number and number.adjusted() >= MAX_SHOWN_DIGITS:
        raise GraphQLError(f"Decimal may have at most {MAX_SHOWN_DIGITS} digits before the point.")
    if number and number.adjusted() < -30:
        raise GraphQLError(f"Decimal may have at most {EXPONENT} decimals in this currency.")
    scaled = number.scaleb(EXPONENT, EXACT)
    if scaled != scaled.to_integral_value():
        raise GraphQLError(f"Decimal may have at most {EXPONENT} decimals in this currency.")
    return int(scaled)


def hundredths(value: object) -> int:
    """A percentage in hundredths: "12.5" is 1250. Whether it is in range is the domain's affair."""
    number = decimal_of(value, "Percent")
    scaled = number.scaleb(2, EXACT) if not number or -30 < number.adjusted() < MAX_WHOLE_DIGITS else Decimal("0.1")
    if scaled != scaled.to_integral_value():
        raise GraphQLError("Percent may have at most 2 decimals and 10 digits before the point.")
    return int(scaled)


def percent_literal(node: ValueNode, variables: Any = None) -> int:
    """A percentage written in a document."""
    if isinstance(node, (IntValueNode, FloatValueNode, StringValueNode)):
        return hundredths(node.value)
    raise GraphQLError('Percent must be a string or a number, such as "10.50".')


def percent_text(value: object) -> str:
    """A percentage as the API shows it."""
    return f"{Decimal(int(value)).scaleb(-2):.2f}"  # type: ignore[call-overload]  # an int


def money_literal(node: ValueNode, variables: Any = None) -> int:
    """Minor units of a literal, taken by its text: 10.50 and "10.50" alike."""
    if isinstance(node, (IntValueNode, FloatValueNode, StringValueNode)):
        return minor_units(node.value)
    raise GraphQLError('Decimal must be a string or a number, such as "10.50".')


def money_text(value: object) -> str:
    """An amount in minor units as the API shows it."""
    return f"{Decimal(int(value)).scaleb(-EXPONENT, EXACT):.{EXPONENT}f}"  # type: ignore[call-overload]  # int or its text


TIME = re.compile(r"(\d{4})(-\d\d-\d\d[Tt]\d\d:\d\d:)(\d\d)(?:\.(\d{1,6})\d*)?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))", re.ASCII)
EXAMPLE = '"2026-01-31T10:00:00Z"'
#: After so many years the calendar repeats.
CYCLE = 400


def utc_time(value: object) -> datetime:
    """An aware time in UTC from RFC 3339 text; digits beyond microseconds are cut. Raises `GraphQLError`."""
    found = TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise GraphQLError(f"DateTime must be RFC 3339 text with seconds and an offset, such as {EXAMPLE}.")
    year, rest, seconds, fraction, offset = found.groups("")
    if seconds == "60":
        raise GraphQLError("DateTime cannot hold a leap second; send second 59 or the next minute.")
    # The year before the first may be one in UTC, but no `datetime`.
    shift = CYCLE if year == "0000" else 0
    try:
        time = datetime.fromisoformat(f"{int(year) + shift:04}{rest}{seconds}.{fraction or 0}{offset or '+00:00'}")
    except ValueError:
        raise GraphQLError(f"DateTime must be a day and a time that exist, such as {EXAMPLE}.") from None
    try:
        time = time.astimezone(UTC)
        return time.replace(year=time.year - shift) if shift else time
    except (ValueError, OverflowError):
        raise GraphQLError("DateTime must lie in the years 0001 to 9999 in UTC.") from None


def time_literal(node: ValueNode, variables: Any = None) -> datetime:
    return utc_time(node.value if isinstance(node, StringValueNode) else None)


def time_text(value: datetime) -> str:
    """A time as the API shows it: UTC, `Z`, no more fraction than there is."""
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0') if '.' in text else text}Z"


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
Percent = NewType("Percent", int)

SCALARS: dict[object, Any] = {
    Money: strawberry.scalar(
        name="Decimal",
        description=(
            "An amount of money in the shop's one currency, as a string with the currency's decimals, such as "
            '"10.50". Inputs may be strings or numbers; more decimals than the currency has are refused.'
        ),
        serialize=money_text,
        parse_value=minor_units,
        parse_literal=money_literal,
    ),
    Percent: strawberry.scalar(
        name="Percent",
        description='A percentage with at most two decimals, such as "12.5", as a string or a number.',
        serialize=percent_text,
        parse_value=hundredths,
        parse_literal=percent_literal,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number that may be too large for an Int, as a string.",
        serialize=str,
        parse_value=int,
    ),
    DateTime: strawberry.scalar(
        name="DateTime",
        description=(
            'A moment in UTC as RFC 3339 writes it, such as "2026-01-31T10:00:00Z", from year 0001 to 9999. Inputs must carry '
            "seconds and an offset; digits beyond microseconds are cut; there are no leap seconds."
        ),
        serialize=time_text,
        parse_value=utc_time,
        parse_literal=time_literal,
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
    ),
}
