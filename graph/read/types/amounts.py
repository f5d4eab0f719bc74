"""Amounts of money and percentages: exact numbers, whole in the database.

What goes in: JSON values and literals of a document. What comes out: minor units and hundredths (`int`), and their texts. What is
refused here: whatever is not exactly representable, as a `GraphQLError` that graphql-core reports at the value's place.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, InvalidOperation

from graphql import GraphQLError

from graph.environment import current
from graph.sums import DIGITS

EXPONENT = current().currency_exponent
#: Digits before the point of a stored amount and of a percentage. 10^10 major units stay far inside BIGINT.
MAX_WHOLE_DIGITS = 10
#: The greatest amount that is stored as clients send it, in minor units.
MOST_MONEY = 10 ** (MAX_WHOLE_DIGITS + EXPONENT) - 1
#: Digits before the point of any amount: as many as the greatest sum shows, so that every answer can be asked for.
MAX_SHOWN_DIGITS = DIGITS - EXPONENT
#: The usual context rounds to 28 digits.
EXACT = Context(prec=100)
WHOLE = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
DECIMAL = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)


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


def whole_number(value: object) -> int:
    """A whole number given as text or as a number, written as JSON writes one. Raises `GraphQLError`."""
    text = value if isinstance(value, str) else ""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**DIGITS:
        text = str(value)
    if len(text) > DIGITS or not WHOLE.fullmatch(text):
        raise GraphQLError(f'BigInt must be a whole number of at most {DIGITS - 1} digits, such as "10".')
    return int(text)


def hundredths(value: object) -> int:
    """A percentage in hundredths: "12.5" is 1250. Whether it is in range is the domain's affair."""
    number = decimal_of(value, "Percent")
    scaled = number.scaleb(2, EXACT) if not number or -30 < number.adjusted() < MAX_WHOLE_DIGITS else Decimal("0.1")
    if scaled != scaled.to_integral_value():
        raise GraphQLError("Percent may have at most 2 decimals and 10 digits before the point.")
    return int(scaled)


def percent_text(value: object) -> str:
    """A percentage as the API shows it."""
    return f"{Decimal(int(value)).scaleb(-2):.2f}"  # type: ignore[call-overload]  # an int


def money_text(value: object) -> str:
    """An amount in minor units as the API shows it."""
    return f"{Decimal(int(value)).scaleb(-EXPONENT, EXACT):.{EXPONENT}f}"  # type: ignore[call-overload]  # int or its text
