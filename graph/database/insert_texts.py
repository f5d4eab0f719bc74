"""INSERTs spelled for a driver: of one row, of any number of rows of one table, of several tables in one statement.

What goes in: INSERTs as SQLAlchemy's unit of work makes them. What comes out: their texts, and what the driver is given for rows.
Nothing is refused here: an INSERT in which anything is computed is `None`, and goes SQLAlchemy's own way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import itemgetter
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import Dialect

#: A parameter in the text of a statement. What is quoted is matched whole, and so are names with a $, which hold none.
PARAMETER = re.compile(r"""'[^']*'|"[^"]*"|\w[\w$]*|\$(\d+)""")


@dataclass(frozen=True, slots=True)
class PlainInsert:
    """An INSERT of values, spelled for a driver: of one row, or of any number with an array for each column.

    Many are inserted in the order of their `unique` values, so that those who bring the same ones do not wait in a ring.
    """

    compiled: Any
    sql: str
    encoders: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    many: bool
    unique: tuple[str, ...] = ()

    def arguments(self, rows: Sequence[Any]) -> list[Any]:
        """What the driver is given for rows."""
        if self.many:
            if self.unique:
                rows = sorted(rows, key=itemgetter(*self.unique))
            return [[row[name] if encode is None else encode(row[name]) for row in rows] for name, encode in self.encoders]
        row = rows[0]
        return [row[name] if encode is None else encode(row[name]) for name, encode in self.encoders]

    def answer(self, rows: Sequence[Any]) -> Any:
        """What the unit of work looks at of what was executed."""
        context = SimpleNamespace(compiled=self.compiled, compiled_parameters=rows, executemany=self.many, isinsert=True)
        return SimpleNamespace(context=context, returned_defaults=None)


#: Kept by dialect: by table, names of the values, and whether there are many rows. `None`: it is not plain.
PLAIN: WeakKeyDictionary[Dialect, dict[tuple[Any, tuple[str, ...], bool], PlainInsert | None]] = WeakKeyDictionary()


def plain_insert(statement: sa.Insert, names: tuple[str, ...], dialect: Dialect, *, many: bool) -> PlainInsert | None:
    """An INSERT without clauses of its own as it is sent; `None` where the database or SQLAlchemy computes something in it."""
    known = PLAIN.setdefault(dialect, {})
    key = (statement.table, names, many)
    if key not in known:
        known[key] = _compiled(statement, names, dialect, many=many)
    return known[key]


def _compiled(statement: sa.Insert, names: tuple[str, ...], dialect: Dialect, *, many: bool) -> PlainInsert | None:
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(names), for_executemany=many)
    computed = compiled.prefetch or any(column.default is not None for column in compiled.postfetch)
    if computed or compiled.effective_returning or set(compiled.positiontup) != set(names):
        return None
    types = {name: compiled.binds[name].type for name in compiled.positiontup}
    kinds = {name: type_.dialect_impl(dialect) for name, type_ in types.items()}
    is_inserted = all(kind.bind_expression(compiled.binds[name]) is None for name, kind in kinds.items())
    if many and ("[]" in str(compiled) or not is_inserted):  # of arrays there is no array, of their elements is another one
        return None
    encoders = ((name, kind.bind_processor(dialect)) for name, kind in kinds.items())
    sql = of_many(statement.table, types, dialect) if many else str(compiled)
    unique = tuple(name for name in unique_columns(statement.table) if name in types)
    return PlainInsert(compiled, sql, tuple(encoders), many, unique)


def unique_columns(table: Any) -> Iterator[str]:
    """The columns of constraints that keep rows apart, one constraint after the other, as far as they are never null."""
    for constraint in sorted(table.constraints, key=lambda each: str(each.name)):
        if isinstance(constraint, sa.UniqueConstraint):
            yield from (column.key for column in constraint.columns if not column.nullable)


def of_many(table: Any, types: dict[str, Any], dialect: Dialect) -> str:
    """An INSERT of any number of rows, each parameter an array of the values of a column.

    It answers something, though nobody asks, since of others Citus copies the rows, and a unique violation is no longer one.
    """
    arrays = [sa.func.unnest(sa.bindparam(name, type_=sa.ARRAY(type_))) for name, type_ in types.items()]
    insert = table.insert().from_select(list(types), sa.select(*arrays))
    return str(insert.returning(sa.literal_column("1")).compile(dialect=dialect))


@lru_cache(1_000)
def behind(text: str, number: int) -> str:
    """A statement with its parameters behind so many of others."""
    return PARAMETER.sub(partial(_moved, number), text) if number else text


@lru_cache(1_000)
def together(texts: tuple[tuple[str, int], ...]) -> str:
    """INSERTs as one statement, each with the number of its parameters. Below a WITH clause that writes Citus takes no INSERT."""
    if len(texts) == 1:
        return texts[0][0]
    return f"WITH {', '.join(f'w{n} AS ({text})' for n, text in enumerate(_numbered(texts)))} SELECT 1"


def _numbered(texts: tuple[tuple[str, int], ...]) -> Iterator[str]:
    before = 0
    for text, number in texts:
        yield behind(text, before)
        before += number


def _moved(by: int, found: re.Match[str]) -> str:
    return f"${int(found[1]) + by}" if found[1] else found[0]
