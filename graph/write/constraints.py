"""A constraint that refuses a row, as the error a client sees: which fields take part, under which names, at which place.

What goes in: a constraint of the metadata and the row it refuses. What comes out: its error. Which constraint refuses which row
is found in `graph.write.violations`; what the driver says of it is not asked, since Citus gives constraints other names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from graph.database.places import unmarked
from graph.write.bounds import check_columns, own_maximum, range_of
from graph.write.columns import mirror_if_any
from graph.write.errors import CheckError, ReferenceCount, Row, StillReferencedError, UniqueError
from graph.write.object_graph import Graph


def attribute_of(mapper: Mapper[Any], column: Any) -> str:
    """The attribute clients know a column by: the to-one relation of a foreign key, else its own."""
    for relation in mapper.relationships:
        if not relation.uselist and column in relation.local_columns:
            return str(relation.key)
    return str(mapper.get_property_by_column(column).key)


def graphql_name(mapper: Mapper[Any], attribute: str) -> str:
    """The GraphQL field that shows an attribute."""
    mirror = mirror_if_any(mapper.class_)
    names = {} if mirror is None else {shown: name for name, shown in mirror.attributes.items()}
    return names.get(attribute, attribute)


def unique_error(graph: Graph, mapper: Mapper[Any], constraint: Any, row: Any, key: int | None) -> UniqueError:
    """Another row has what this one wants: the row of this key, or another of the input."""
    attributes = [attribute_of(mapper, column) for column in constraint.columns]
    names = [graphql_name(mapper, attribute) for attribute in attributes]
    origin = graph.origin(row)
    mirror = mirror_if_any(mapper.class_)
    where = "stands twice in the input" if key is None else "is taken"
    return UniqueError(
        message=f"This {' with '.join(names)} {where}",
        path=list(origin.place(*attributes) if len(attributes) == 1 else origin.path),
        constraint=str(constraint.name),
        fields=names,
        row=None if key is None or mirror is None else Row(mirror.name, key),
    )


def check_text(graph: Graph, constraint: sa.CheckConstraint) -> str:
    """A check as SQL, of rows that bear the table's name and are in no place."""
    return unmarked(str(constraint.sqltext.compile(dialect=graph.dialect, compile_kwargs={"literal_binds": True})))


def check_attributes(mapper: Mapper[Any], constraint: sa.CheckConstraint) -> tuple[str, ...]:
    """The attributes that take part in a check; `info={"fields": ...}` names others where the server makes the value."""
    if "fields" in constraint.info:
        return tuple(constraint.info["fields"])
    return tuple(attribute_of(mapper, column) for column in check_columns(mapper.local_table, constraint))


def check_error(
    graph: Graph, mapper: Mapper[Any], constraint: sa.CheckConstraint, row: Any, own: int | None = None
) -> CheckError:
    """A check refuses a row; `own` is the maximum where each row has one of its own, asked of the row where it is not given."""
    attributes = check_attributes(mapper, constraint)
    named = own_maximum(constraint)
    if named is not None and own is None:
        own = getattr(row, named)
    limits = range_of(mapper.local_table, constraint, own, "" if named is None else f"the {graphql_name(mapper, named)}")
    if limits is None:
        names = " with ".join(graphql_name(mapper, attribute) for attribute in attributes)
        message = f"{names or 'The row'} is outside of what {constraint.name} allows"
        return CheckError(message=message, path=graph.place(row, *attributes), constraint=str(constraint.name))
    return CheckError(
        message=f"{graphql_name(mapper, limits.attribute)} must be {limits.words}",
        path=graph.place(row, *attributes),
        constraint=str(constraint.name),
        minimum=limits.minimum,
        maximum=limits.maximum,
    )


def mapper_of(mapper: Mapper[Any], table: sa.Table) -> Mapper[Any]:
    """The mapper of another table."""
    return next(other for other in mapper.registry.mappers if other.local_table is table)


def still_referenced(path: Iterable[str], type_: str, counts: dict[str, int]) -> StillReferencedError:
    """A row cannot go because others use it. Those that the client may not see are not counted, but keep it all the same."""
    counts = {name: count for name, count in counts.items() if count}
    total = sum(counts.values())
    by = ", ".join(f"{n} {name}" for name, n in counts.items()) or "rows that you may not see"
    return StillReferencedError(
        message=f"This {type_} is used by {by}",
        path=list(path),
        by_type=[ReferenceCount(type=name, count=n) for name, n in sorted(counts.items())],
        count=total,
    )
