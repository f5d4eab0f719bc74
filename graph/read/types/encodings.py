"""How a value is written as JSON text: small SQL constructs, each compiled for both databases, which give the same bytes.

What goes in: SQL expressions. What comes out: SQL expressions of text. What is refused here: nothing.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from graph.read.types.amounts import EXPONENT
from graph.sums import DIGITS, Total

#: A constant, or an expression, of a JSON text.
Part = str | ColumnElement[Any]


def literal(text: str) -> ColumnElement[str]:
    """A text constant, spelled in the SQL."""
    return sa.literal_column("'" + text.replace("'", "''") + "'", sa.Text())


class JsonString(GenericFunction[str]):
    """A text as a JSON string, quotes included."""

    type = sa.Text()
    inherit_cache = True
    name = "json_string"


class MoneyText(GenericFunction[str]):
    """Minor units as a decimal number with the currency's decimals."""

    type = sa.Text()
    inherit_cache = True
    name = "money_text"


class TimeText(GenericFunction[str]):
    """A time in ISO 8601 without its `Z`, no more fraction than there is."""

    type = sa.Text()
    inherit_cache = True
    name = "time_text"


def one(element: Any, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **kw))


@compiles(JsonString)
def _json_string(element: JsonString, compiler: Any, **kw: Any) -> str:
    return f"to_json({one(element, compiler, **kw)})"


@compiles(JsonString, "sqlite")
def _json_string_sqlite(element: JsonString, compiler: Any, **kw: Any) -> str:
    return f"json_quote({one(element, compiler, **kw)})"


@compiles(MoneyText)
def _money(element: MoneyText, compiler: Any, **kw: Any) -> str:
    # Multiplying by a numeric keeps the exact scale and is cheaper than a division or to_char.
    amount = one(element, compiler, **kw)
    return f"(({amount}) * {'0.' + '1'.zfill(EXPONENT) if EXPONENT else 1})"


@compiles(MoneyText, "sqlite")
def _money_sqlite(element: MoneyText, compiler: Any, **kw: Any) -> str:
    amount = f"({one(element, compiler, **kw)})"
    if is_total(element):
        point, whole = DIGITS - EXPONENT, f"ltrim(substr({amount}, 1, {DIGITS - EXPONENT - 1}), '0')"
        decimals = f" || '.' || substr({amount}, {point + 1})" if EXPONENT else ""
        return f"({whole} || substr({amount}, {point}, 1){decimals})"
    if not EXPONENT:
        return amount
    return f"CASE WHEN {amount} IS NOT NULL THEN printf('{MONEY}', {', '.join(money_values(amount))}) END"


def is_total(element: MoneyText) -> bool:
    """Whether the amount is a sum, which SQLite holds as text."""
    return isinstance(next(iter(element.clauses)).type, Total)


#: How `printf` shows an amount with decimals.
MONEY = f"%s%d.%0{EXPONENT}d"


def money_values(amount: str) -> list[str]:
    unit = 10**EXPONENT
    return [f"CASE WHEN {amount} < 0 THEN '-' ELSE '' END", f"abs({amount}) / {unit}", f"abs({amount}) % {unit}"]


@compiles(TimeText)
def _time(element: TimeText, compiler: Any, **kw: Any) -> str:
    # Every connection has ISO's style of dates (`graph.database.link`); to_json, which has it anyway,
    # made the statement that lists fifty orders an eighth dearer.
    return f"replace(({one(element, compiler, **kw)} AT TIME ZONE 'UTC')::text, ' ', 'T')"


@compiles(TimeText, "sqlite")
def _time_sqlite(element: TimeText, compiler: Any, **kw: Any) -> str:
    time = one(element, compiler, **kw)
    return f"(substr({time}, 1, 10) || 'T' || rtrim(rtrim(substr({time}, 12), '0'), '.'))"
