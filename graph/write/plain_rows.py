"""Plain rows without objects: inserted, or merged by a natural key, in one statement whatever their number.

What goes in: a list of inputs of one mapped class. What comes out: how many were inserted, updated and skipped. What may be
refused here: whatever the table's constraints and the columns' rules refuse, each at its row; a key twice in one list, unless it
is to be skipped or the last is to win.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import strawberry

from graph.base import Base
from graph.database import capabilities
from graph.write import door
from graph.write.column_rows import insert_values
from graph.write.columns import refusal, start_of, stored, validators
from graph.write.drawn_keys import next_keys
from graph.write.errors import ROOT, Path, Refused, UniqueError
from graph.write.mutation_inputs import input_fields
from graph.write.new_rows import new_row
from graph.write.pending import PendingRows, put
from graph.write.sight import Keyed, hides
from graph.write.unique_keys import unique_keys
from graph.write.unit import Unit
from graph.write.violations import violations


@strawberry.enum(description="What happens to a row whose key is taken.")
class OnConflict(enum.Enum):
    ERROR = strawberry.enum_value("ERROR", description="Nothing is written; the row is refused.")
    SKIP = strawberry.enum_value("SKIP", description="The row is left out; the other stays as it is.")
    UPDATE = strawberry.enum_value(
        "UPDATE",
        description="The other row takes its values, but keeps its stock where none is sent; of two in one list the last wins.",
    )


@dataclass(frozen=True, slots=True)
class InsertCounts:
    """What became of the rows."""

    inserted: int
    updated: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Plain:
    """Inputs as rows of a table. `name` is the list's in the input, None for an input that is the row; `key` the natural key.

    `refused` are the places of rows that a validator of the class refuses.
    """

    unit: Unit
    model: type[Base]
    name: str | None
    inputs: Sequence[Any]
    key: str
    refused: list[int] = field(default_factory=list)

    @property
    def table(self) -> Any:
        return sa.inspect(self.model).local_table

    def values(self) -> dict[str, list[Any]]:
        """What clients send for the rows by column, made without an object for each row."""
        fields = input_fields(type(self.inputs[0])) if self.inputs else ()
        names = [field.attribute for field in fields if field.attribute in self.table.columns]
        sent = {name: [getattr(input_, name) for input_ in self.inputs] for name in names}
        values = {name: [v.value if type(v) is strawberry.Some else v for v in listed] for name, listed in sent.items()}
        start = self.start()
        for name in values.keys() & start.keys():
            if not self.table.columns[name].nullable:
                values[name] = [start[name] if value is None else value for value in values[name]]
        if any(name in validators(self.model) for name in values):
            self._validate(values, start)
        return values

    def _validate(self, values: dict[str, list[Any]], start: dict[str, Any]) -> None:
        """Put the values through the validators of the class. What one refuses stays as it is: a row made of it is refused."""
        for index in range(len(self.inputs)):
            row = new_row(self.model, start)
            for name, listed in values.items():
                if listed[index] is None and not self.table.columns[name].nullable:
                    continue
                try:
                    put(row, name, listed[index])
                    listed[index] = row.__dict__[name]
                except ValueError:
                    self.refused.append(index)

    def start(self) -> dict[str, Any]:
        """What every new row starts with."""
        return start_of(self.model).values(self.unit.now)

    def fit(self, values: dict[str, list[Any]]) -> bool:
        """Whether all values have the form their columns ask for."""
        by_column = [(self.table.columns[name], listed) for name, listed in values.items()]
        return not self.refused and not any(refusal(column, value) for column, listed in by_column for value in listed)

    def insert(self, values: dict[str, list[Any]], start: dict[str, Any]) -> Any:
        """One INSERT of all rows, whatever their number. What is not sent is as rows start."""
        return insert_values(self.unit, self.model, values, start)

    def identities(self, values: dict[str, list[Any]]) -> list[Any]:
        """The natural keys of the rows in stored form."""
        key = self.table.columns[self.key]
        return [stored(key, value, self.unit.dialect) for value in values.get(self.key, ())]

    def keyed(self, identities: Sequence[Any]) -> Keyed:
        """The rows by their natural keys, for the door. Of two in one list the last counts."""

        def place(identity: Any) -> Path:
            return self.path(max(index for index, other in enumerate(identities) if other == identity))

        return Keyed(self.model, self.key, list(dict.fromkeys(identities)), place)

    def path(self, index: int) -> Path:
        """Where a row stands in the input."""
        return ROOT if self.name is None else (*ROOT, self.name, str(index))

    async def explain(self, *, taken: bool, twice: bool) -> None:
        """Refuse the rows with everything that is wrong; whether a key that is taken is, or one that stands twice.

        A key that a row has which the scope does not see is always refused: that row is not changed.
        """
        rows = [self.unit.create(self.model, input_, self.path(i)) for i, input_ in enumerate(self.inputs)]
        found = [*self.unit.errors, *await violations(self.unit, PendingRows.of(self.unit.session.sync_session, list(rows)))]
        name = next(str(each.name) for each in unique_keys(self.table) if each.columns.keys() == [self.key])
        ours = [error for error in found if isinstance(error, UniqueError) and error.constraint == name]
        theirs = {error.row.key for error in ours if error.row is not None}
        hidden = theirs.difference(await self.unit.seen_keys(self.model, sorted(theirs)))
        allowed = [error for error in ours if not (twice if error.row is None else taken or error.row.key in hidden)]
        if len(found) > len(allowed):
            raise Refused(error for error in found if error not in allowed)


async def insert_rows(plain: Plain, on_conflict: OnConflict) -> InsertCounts:
    """Insert rows as `on_conflict` says."""
    unit, table = plain.unit, plain.table
    values, number = plain.values(), len(plain.inputs)
    identities = plain.identities(values)
    # A row that another one in the list overwrites is judged, too, though the database never sees it.
    overwritten = on_conflict is OnConflict.UPDATE and len(set(identities)) < number
    if unit.explaining or overwritten or not plain.fit(values):
        error = on_conflict is OnConflict.ERROR
        await plain.explain(taken=error, twice=error)
    if not number:
        return InsertCounts(0)
    keyed = plain.keyed(identities)
    if on_conflict is OnConflict.ERROR:
        values = await _in_turn(plain, values, identities)
        return InsertCounts(await door.insert(unit, keyed, plain.insert(values, plain.start())))
    if on_conflict is OnConflict.SKIP:
        order = sorted(range(number), key=identities.__getitem__)
        inserted = await door.insert(unit, keyed, plain.insert(_picked(values, order), plain.start()), skip=True)
        return InsertCounts(inserted, skipped=number - inserted)
    if await hides(unit, keyed):
        await plain.explain(taken=False, twice=False)
    last = {identity: index for index, identity in enumerate(identities)}
    insert = plain.insert(_picked(values, [last[identity] for identity in sorted(last)]), plain.start())
    sets = {name: insert.excluded[name] for name in values if name != plain.key}
    for name, value in sets.items():
        if table.columns[name].info.get("counter"):
            sets[name] = sa.func.coalesce(value, table.columns[name])
    clause = versioned(insert, sets)
    made = await door.merge(unit, keyed, insert, clause, returning=[table.c.created_at])
    inserted = sum(created == unit.now for created in made.scalars())
    return InsertCounts(inserted, updated=number - inserted)


async def _in_turn(plain: Plain, values: dict[str, list[Any]], identities: Sequence[Any]) -> dict[str, list[Any]]:
    """The values of rows in the order of their keys, with ids in that in which the rows were sent, which are drawn for it.

    As they are where they are sent so, and where one writes at a time: nobody waits there.
    """
    number, unit = len(identities), plain.unit
    order = sorted(range(number), key=identities.__getitem__)
    if capabilities(unit.dialect).one_writer or order == list(range(number)):
        return values
    keys = await next_keys(unit.context, unit.dialect, {plain.model: number})
    return _picked({**values, "id": list(keys[plain.model])}, order)


def _picked(values: dict[str, list[Any]], order: Sequence[int]) -> dict[str, list[Any]]:
    """The values of these rows, in this order: that of their keys, so that writers of the same rows do not wait in a ring."""
    return {name: [listed[index] for index in order] for name, listed in values.items()}


def in_text(value: int) -> sa.ColumnClause[int]:
    """A number as it stands in SQL."""
    return sa.literal_column(str(value), sa.BigInteger)


def versioned(insert: Any, sets: dict[str, Any]) -> dict[str, Any]:
    """The conflict clause of an INSERT that raises the version where a column changes; counters do not count.

    It holds no parameter of its own: where the rows come from a SELECT, Citus writes them by a second statement that knows none.
    """
    table = insert.table
    ordinary = [name for name in sets if not table.columns[name].info.get("counter")]
    changes = sa.or_(sa.false(), *(table.columns[name].is_distinct_from(sets[name]) for name in ordinary))
    return {
        **sets,
        "version": table.c.version + sa.case((changes, in_text(1)), else_=in_text(0)),
        "updated_at": sa.case((changes, insert.excluded.updated_at), else_=table.c.updated_at),
    }
