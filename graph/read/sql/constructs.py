"""Where PostgreSQL and SQLite differ in compiled reads: small SQL constructs, each compiled for both.

What goes in: SQL expressions. What comes out: SQL expressions of text. Both databases give the same bytes: SQLite 3.40 is
the floor (no JSONB, no ORDER BY in aggregates, no base64).
"""

from __future__ import annotations

from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BinaryExpression, ColumnClause
from sqlalchemy.sql.functions import GenericFunction

from graph.read.types.amounts import EXPONENT
from graph.read.types.encodings import MONEY, MoneyText, is_total, money_values, one
from graph.texts import CodePointText


class Concat(GenericFunction[str]):
    """`a || b || c`."""

    type = sa.Text()
    inherit_cache = True
    name = "concatenated"


class Filled(GenericFunction[str]):
    """`a || b || c` of parts none of which is NULL, without a copy for each of them where a database would make one."""

    type = sa.Text()
    inherit_cache = True
    name = "filled"


class Gathered(GenericFunction[str]):
    """`Filled` of parts that may be long: none of them is there twice, and SQLite stops at the first that is too much."""

    type = sa.Text()
    inherit_cache = True
    name = "gathered"


class Lacking(GenericFunction[bool]):
    """Whether one of several values is NULL, whatever is known of their columns: SQLite believes those that forbid it."""

    type = sa.Boolean()
    inherit_cache = True
    name = "lacking"


class MonthText(GenericFunction[str]):
    """The month of a time in UTC, such as `2026-01`: digits, which sort alike in every locale."""

    type = CodePointText
    inherit_cache = True
    name = "month_text"


class DayOf(GenericFunction[date]):
    """The day of a time in UTC."""

    type = sa.Date()
    inherit_cache = True
    name = "day_of"


class HexText(GenericFunction[str]):
    """A text as lower-case hex of its UTF-8."""

    type = sa.Text()
    inherit_cache = True
    name = "hex_text"


class ByteLength(GenericFunction[int]):
    """How many bytes a text has in UTF-8."""

    type = sa.Integer()
    inherit_cache = True
    name = "byte_length"


class Utf8(sa.types.UserDefinedType[bytes]):
    """A text that the driver gives as the bytes it comes in (`graph.database.link`). Making bytes of it there costs a copy, which
    was a fifth of the statement that lists fifty orders."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "BPCHAR"


class JoinedRows(GenericFunction[str]):
    """All rows' texts with commas between, in the order the rows come in."""

    type = sa.Text()
    inherit_cache = True
    name = "joined_rows"


#: Arguments of a function of PostgreSQL at most.
MOST = 100
#: Parts of one `printf`: three arguments each at most, and a function of SQLite takes a hundred at least.
AT_ONCE = 30


@compiles(Gathered)
def _gathered(element: Gathered, compiler: Any, **kw: Any) -> str:
    # A chain of `||` keeps what each of its steps made until the row is over.
    parts = [compiler.process(clause, **kw) for clause in element.clauses]
    return " || ".join(f"concat({', '.join(parts[start : start + MOST])})" for start in range(0, len(parts), MOST))


@compiles(Gathered, "sqlite")
@compiles(Concat)
@compiles(Filled)
def _concat(element: Concat | Filled | Gathered, compiler: Any, **kw: Any) -> str:
    def part(clause: Any) -> str:
        text = compiler.process(clause, **kw)
        return f"({text})" if isinstance(clause, BinaryExpression) else text

    return " || ".join(part(clause) for clause in element.clauses)


@compiles(Lacking, "sqlite")
def _lacking_sqlite(element: Lacking, compiler: Any, **kw: Any) -> str:
    # What is collated is no column any more of which SQLite would know, and costs nothing.
    return " OR ".join(f"{compiler.process(part, **kw)} COLLATE BINARY IS NULL" for part in element.clauses)


@compiles(Filled, "sqlite")
def _filled_sqlite(element: Filled, compiler: Any, **kw: Any) -> str:
    clauses = list(element.clauses)
    texts = []
    for start in range(0, len(clauses), AT_ONCE):
        form, values = "", [""]
        for clause in clauses[start : start + AT_ONCE]:
            if isinstance(clause, ColumnClause) and clause.is_literal and clause.name.startswith("'"):
                form += clause.name[1:-1].replace("%", "%%")
            elif isinstance(clause, MoneyText) and EXPONENT and not is_total(clause):
                form += MONEY
                values += money_values(f"({one(clause, compiler, **kw)})")
            else:
                form += "%s"
                values.append(compiler.process(clause, **kw))
        values[0] = f"'{form}'"
        texts.append(f"printf({', '.join(values)})")
    return " || ".join(texts)


@compiles(MonthText)
def _month(element: MonthText, compiler: Any, **kw: Any) -> str:
    return f"to_char({one(element, compiler, **kw)} AT TIME ZONE 'UTC', 'YYYY-MM')"


@compiles(MonthText, "sqlite")
def _month_sqlite(element: MonthText, compiler: Any, **kw: Any) -> str:
    return f"substr({one(element, compiler, **kw)}, 1, 7)"


@compiles(DayOf)
def _day(element: DayOf, compiler: Any, **kw: Any) -> str:
    return f"CAST({one(element, compiler, **kw)} AT TIME ZONE 'UTC' AS DATE)"


@compiles(DayOf, "sqlite")
def _day_sqlite(element: DayOf, compiler: Any, **kw: Any) -> str:
    return f"substr({one(element, compiler, **kw)}, 1, 10)"


@compiles(HexText)
def _hex(element: HexText, compiler: Any, **kw: Any) -> str:
    return f"encode(convert_to({one(element, compiler, **kw)}, 'UTF8'), 'hex')"


@compiles(HexText, "sqlite")
def _hex_sqlite(element: HexText, compiler: Any, **kw: Any) -> str:
    return f"lower(hex({one(element, compiler, **kw)}))"


@compiles(ByteLength)
def _bytes(element: ByteLength, compiler: Any, **kw: Any) -> str:
    return f"octet_length({one(element, compiler, **kw)})"


@compiles(ByteLength, "sqlite")
def _bytes_sqlite(element: ByteLength, compiler: Any, **kw: Any) -> str:
    return f"length(CAST({one(element, compiler, **kw)} AS BLOB))"


@compiles(JoinedRows)
def _joined(element: JoinedRows, compiler: Any, **kw: Any) -> str:
    return f"string_agg({one(element, compiler, **kw)}, ',')"


@compiles(JoinedRows, "sqlite")
def _joined_sqlite(element: JoinedRows, compiler: Any, **kw: Any) -> str:
    return f"group_concat({one(element, compiler, **kw)}, ',')"


def within_bytes(query: sa.Select[Any], most: ColumnElement[int]) -> sa.Select[Any]:
    """The text that a query is, as its UTF-8; PostgreSQL refuses one of more bytes than `most`."""
    # Without OFFSET the planner would put the text, and make it, in each of the three places. A histogram of fewer than one
    # bucket is an error that nothing else here can make.
    (text,) = query.offset(sa.literal_column("0")).subquery("answer").c
    size = func.octet_length(text)
    too_long = func.width_bucket(sa.literal_column("0"), sa.literal_column("0"), sa.literal_column("1"), most - size)
    return select(sa.cast(sa.case((size <= most, text), else_=sa.cast(too_long, sa.Text())), Utf8()))


def without_parameters(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """A condition whose values stand in its text: Citus writes the rows of a SELECT by a statement that knows no parameters."""

    def spelled(element: Any, **_: Any) -> Any:
        if not isinstance(element, sa.BindParameter):
            return None
        return sa.literal(element.value, element.type, literal_execute=True)

    return visitors.replacement_traverse(condition, {}, spelled)
