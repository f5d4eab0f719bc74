"""References: pointers to rows that are there already, looked up together, one SELECT for each type of target.

What goes in: the references that graphs have collected. What comes out: foreign keys set, and the targets' columns for rules to
look at. What is refused here: a reference that leads nowhere, as REFERENCE_NOT_FOUND at the key as sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import RelationshipProperty

from graph.base import Base
from graph.write.columns import attribute_name, foreign_key_name, stored, target_columns, type_name
from graph.write.errors import Path, ReferenceNotFoundError

if TYPE_CHECKING:
    from graph.write.graph import Graph


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A pointer to a row that is there already, not looked up yet."""

    owner: Base
    relation: RelationshipProperty[Any]
    attribute: str
    value: Any
    text: str
    path: Path


async def look_up(graphs: Iterable[Graph]) -> None:
    """Find what the references of several graphs of one session lead to, one SELECT for each type of target."""
    by_model: dict[type[Base], list[tuple[Graph, Reference]]] = defaultdict(list)
    for graph in graphs:
        for reference in graph.references:
            by_model[reference.relation.mapper.class_].append((graph, reference))
        graph.references = []
    for model, waiting in by_model.items():
        graph = waiting[0][0]
        found = await _rows(graph, model, [reference for _, reference in waiting])
        columns = sa.inspect(model).columns
        for graph, reference in waiting:
            row = found.get((reference.attribute, stored(columns[reference.attribute], reference.value, graph.dialect)))
            if row is None:
                graph.refuse(not_found(reference))
                continue
            relation = reference.relation
            for local, remote in relation.local_remote_pairs or ():
                key = getattr(row, attribute_name(relation.mapper, remote))
                setattr(reference.owner, attribute_name(relation.parent, local), key)
            graph.targets[id(reference.owner), relation.key] = row


async def _rows(graph: Graph, model: type[Base], references: Iterable[Reference]) -> dict[tuple[str, Any], Any]:
    wanted: dict[str, set[Any]] = defaultdict(set)
    for reference in references:
        wanted[reference.attribute].add(reference.value)
    match = sa.or_(*(getattr(model, name).in_(sorted(values)) for name, values in wanted.items()))
    rows = (await graph.session.execute(sa.select(*target_columns(model)).where(match))).all()
    columns = sa.inspect(model).columns
    return {(name, stored(columns[name], getattr(row, name), graph.dialect)): row for row in rows for name in wanted}


def not_found(reference: Reference) -> ReferenceNotFoundError:
    """What a reference leads to is not there."""
    target = type_name(reference.relation.mapper)
    local = reference.relation.local_remote_pairs[0][0]
    return ReferenceNotFoundError(
        message=f"There is no {target} with this {reference.path[-1]}",
        path=list(reference.path),
        constraint=foreign_key_name(local),
        target_type=target,
        key=reference.text,
    )
