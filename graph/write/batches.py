"""Several rows at once, each with what is below it: all or nothing, or every good one.

What goes in: a list of inputs of one type. What comes out: a result for each. What may be refused here: under ROLLBACK anything
refuses all; under CONTINUE a row that is refused leaves the others alone, behind a savepoint of its own.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import strawberry
from sqlalchemy.exc import IntegrityError

from graph.base import Base
from graph.database import capabilities
from graph.write.answers import Answer, Payload, Result, row_of
from graph.write.errors import ROOT, MutationError, Path, Refused, Row, try_again
from graph.write.record import savepoint
from graph.write.references import look_up
from graph.write.unique_keys import unique_keys
from graph.write.unit import EXPLANATIONS, Unit


@strawberry.enum(description="What happens to the other rows when one is refused.")
class OnError(enum.Enum):
    ROLLBACK = strawberry.enum_value("ROLLBACK", description="Nothing is written.")
    CONTINUE = strawberry.enum_value("CONTINUE", description="The others are written.")


@strawberry.type
class EntryResult(Payload):
    """What the results of all lists share."""

    index: int = strawberry.field(description="The place in the list that was sent, from 0.")


async def create_all(unit: Unit, model: type[Base], name: str, inputs: Sequence[Any], on_error: OnError) -> Answer[Any]:
    """Make a row of each input of the list `name`."""
    if on_error is OnError.CONTINUE:
        return Answer(results=await _each(unit, model, name, inputs))
    rows = [unit.create(model, input_, (*ROOT, name, str(index))) for index, input_ in enumerate(inputs)]
    await unit.insert(*rows)
    return Answer(results=[Result(index, row_of(row)) for index, row in enumerate(rows)])


async def _each(unit: Unit, model: type[Base], name: str, inputs: Sequence[Any]) -> list[Result]:
    """Every row for itself; what they point to is looked up for all together."""
    paths = [(*ROOT, name, str(index)) for index in range(len(inputs))]
    units = [Unit(unit.context, explaining=False, order=unit.order) for _ in inputs]
    rows = [one.create(model, input_, path) for one, input_, path in zip(units, inputs, paths, strict=True)]
    await look_up(units)
    results = {}
    for index in _in_turn(unit, model, rows):
        made = await _save(units[index], rows[index]) or await _explain(unit, model, inputs[index], paths[index])
        results[index] = Result(index, made) if isinstance(made, Row) else Result(index, None, made)
    return [results[index] for index in range(len(rows))]


def _in_turn(unit: Unit, model: type[Base], rows: Sequence[Base]) -> Sequence[int]:
    """Which row is written when: in the order of their unique key, so that those who bring the same ones do not wait in a ring.

    As they were sent where one writes at a time, and gives them their ids as they are written.
    """
    keys = unique_keys(model.__mapper__.local_table)
    if capabilities(unit.dialect).one_writer or len(keys) != 1:
        return range(len(rows))
    values = [[row.__dict__.get(column.key) for column in keys[0].columns] for row in rows]
    return sorted(range(len(rows)), key=lambda index: [(value is None, value) for value in values[index]])


async def _save(unit: Unit, row: Base) -> Row | list[MutationError] | None:
    """The row written, or its errors; None where the database refused it without a word to the client yet."""
    try:
        async with savepoint(unit.session):
            await unit.insert(row)
            return row_of(row)
    except Refused as refused:
        return refused.errors
    except IntegrityError:
        return None
    finally:
        unit.session.expunge_all()


async def _explain(unit: Unit, model: type[Base], input_: Any, path: Path) -> Row | list[MutationError]:
    for _ in range(EXPLANATIONS):
        again = Unit(unit.context, explaining=True, order=unit.order)
        made = await _save(again, again.create(model, input_, path))
        if made is not None:
            return made
    return [try_again(path)]
