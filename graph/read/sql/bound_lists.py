"""Lists that clients and the product give, as one parameter each, whatever their length.

What goes in: columns, lists of values. What comes out: conditions and rows in SQL, for both databases: arrays on PostgreSQL, the
text of a JSON list on SQLite. Nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy import ColumnElement, FromClause, all_, any_, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from graph.database import capabilities
from graph.read.types.encodings import literal

T = TypeVar("T")

#: How many entries PostgreSQL takes a list for that it does not know (`estimate_array_length` in its `selfuncs.c`).
UNKNOWN_LENGTH = 10
#: No row has this key.
NO_KEY = -(2**63)


def unchanged(value: Any) -> Any:
    """What encodes values that are stored as they are."""
    return value


MakeBind = Callable[[TypeEngine[Any], Callable[[Any], Any]], ColumnElement[Any]]


def padded(entries: list[T], entry: T) -> list[T]:
    """A short list as long as PostgreSQL takes one for that it does not know, by `entry` again and again. An empty one stays so.

    A prepared statement keeps its plan where this is estimated as no dearer than plans for the values at hand. For a shorter list
    those always are cheaper, and it would be planned for each execution: of what a nested create is for the server that was 43%.
    """
    return entries + [entry] * (UNKNOWN_LENGTH - len(entries)) if entries else entries


def padded_keys(keys: list[Any]) -> list[Any]:
    """Padded by a key that no row has; where keys are texts, of which each has one row, by the first of them.

    A key that many rows point to would be counted, with all of them, again and again.
    """
    return padded(keys, NO_KEY if isinstance(keys[0], int) else keys[0]) if keys else keys


def member(
    dialect: sa.Dialect, column: Any, encode: Callable[[Any], Any], bind: MakeBind, *, negated: bool = False, keys: bool = False
) -> ColumnElement[bool]:
    """`column IN (the bound list)`. `keys` says that these are keys of rows, the column's own or a row's that it points to."""
    if capabilities(dialect).arrays:
        pad = padded_keys if keys else unchanged
        listed = bind(ARRAY(column.type), lambda values: pad([encode(value) for value in values]))
        return column != all_(listed) if negated else column == any_(listed)  # type: ignore[no-any-return]  # an attribute found by name
    (process,) = _processes(dialect, [column])
    text = bind(sa.Text(), lambda values: orjson.dumps([process(encode(value)) for value in values]).decode())
    values = select(func.json_each(text).table_valued("value").c.value)
    return column.not_in(values) if negated else column.in_(values)  # type: ignore[no-any-return]  # an attribute found by name


def id_rows(dialect: sa.Dialect, bind: MakeBind, encode: Callable[[Any], list[tuple[str, int]]], name: str) -> FromClause:
    """The bound list of `(type name, key)` pairs as rows `n`, `type`, `key`."""
    text = bind(sa.Text(), lambda values: orjson.dumps(encode(values)).decode())
    if capabilities(dialect).arrays:
        each = (
            func.json_array_elements(sa.cast(text, sa.JSON))
            .table_valued("e", with_ordinality="n", name=f"{name}e")
            .render_derived()
        )
        pair: list[Any] = [
            sa.cast(each.c.e.op("->>")(sa.literal_column(str(i))), kind) for i, kind in ((0, sa.Text), (1, sa.BigInteger))
        ]
        return select(each.c.n, pair[0].label("type"), pair[1].label("key")).order_by(each.c.n).subquery(name)
    each = func.json_each(text).table_valued("key", "value", name=f"{name}e")
    pair = [func.json_extract(each.c.value, literal(f"$[{i}]")) for i in (0, 1)]
    return select(each.c.key.label("n"), pair[0].label("type"), pair[1].label("key")).order_by(each.c.key).subquery(name)


def object_rows(dialect: sa.Dialect, text: ColumnElement[str], columns: Sequence[sa.Column[Any]], name: str) -> FromClause:
    """The objects of a JSON list, a text, as rows of columns; what an object holds for each stands under the column's name."""
    if capabilities(dialect).arrays:
        named = [sa.column(c.name, c.type.dialect_impl(dialect)) for c in columns]
        return func.json_to_recordset(sa.cast(text, sa.JSON)).table_valued(*named).render_derived(name, with_types=True)
    each = func.json_each(text).table_valued("value", name=f"{name}e")
    return select(*[func.json_extract(each.c.value, literal(f"$.{c.name}")).label(c.name) for c in columns]).subquery(name)


def value_rows(dialect: sa.Dialect, values: Sequence[tuple[sa.Column[Any], Sequence[Any]]]) -> list[ColumnElement[Any]]:
    """The values of columns as columns of one FROM: a parameter for each on PostgreSQL, one for all on SQLite."""
    if capabilities(dialect).arrays:
        lists = [sa.cast(sa.literal(v, ARRAY(c.type)), ARRAY(c.type.dialect_impl(dialect))) for c, v in values]
        names = [sa.column(c.name, c.type) for c, _ in values]
        return list(func.unnest(*lists).table_valued(*names, name="given").render_derived().c)
    text = orjson.dumps(list(zip(*driver_values(dialect, values), strict=True))).decode()
    each = func.json_each(sa.literal(text, sa.Text())).table_valued("value", name="given")
    return [func.json_extract(each.c.value, literal(f"$[{i}]"), type_=c.type) for i, (c, _) in enumerate(values)]


def driver_values(dialect: sa.Dialect, values: Sequence[tuple[sa.Column[Any], Iterable[Any]]]) -> list[Iterable[Any]]:
    """The values of columns as the driver takes them."""
    processes = [column.type.dialect_impl(dialect).bind_processor(dialect) for column, _ in values]
    return [held if process is None else map(process, held) for process, (_, held) in zip(processes, values, strict=True)]


def _processes(dialect: sa.Dialect, columns: Sequence[sa.Column[Any]]) -> list[Callable[[Any], Any]]:
    return [column.type.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value) for column in columns]
