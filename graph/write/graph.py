"""Input to object graph: rows of mapped classes tied by relationships, each knowing where in the input it came from.

What goes in: Strawberry inputs whose fields are named like the attributes of a mapped class. What comes out: objects whose
columns and collections are set, and for each its `Origin`. What may be refused here: required values cleared, values of
the wrong form, references and children that do not exist; all are collected as errors, none is raised.

References (`@oneOf {id | natural key | create}`) are collected while the graph is built and looked up together: one
SELECT for each type of target, however many rows point to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapper, RelationshipProperty

from graph.base import Base
from graph.context import Context
from graph.write.columns import attribute_name, defaults, key_of, missing, refusal, required, type_name
from graph.write.errors import ROOT, InvalidInputError, MutationError, Path
from graph.write.inputs import ABSENT, chosen, given, input_fields, sent
from graph.write.references import Reference, look_up, not_found

R = TypeVar("R", bound=Base)


@dataclass(slots=True, eq=False)
class Origin:
    """Where a row came from. `sent` leads from attributes to the place of the value in the input, exactly as sent."""

    row: Base
    path: Path
    sent: dict[str, Path] = field(default_factory=dict)

    def place(self, *attributes: str) -> Path:
        """The place of the first of these attributes that was sent, else of the row."""
        return next((self.sent[name] for name in attributes if name in self.sent), self.path)


class Graph:
    """The rows that one input makes or changes, and what is wrong with them so far."""

    def __init__(self, context: Context) -> None:
        self.context = context
        session = self.session = context.session
        self.dialect = session.get_bind().dialect
        self.origins: dict[int, Origin] = {}
        self.errors: list[MutationError] = []
        self.references: list[Reference] = []
        self.targets: dict[tuple[int, str], Any] = {}
        self.replaced: set[tuple[int, str]] = set()

    def refuse(self, error: MutationError) -> None:
        """Collect a reason; the unit of work stops before the database is written."""
        self.errors.append(error)

    def origin(self, row: Base, path: Path = ROOT) -> Origin:
        """Where a row came from; a row nobody sent stands at `path`."""
        found = self.origins.get(id(row))
        if found is None:
            found = self.origins[id(row)] = Origin(row, path)
        return found

    def place(self, row: Base, *attributes: str) -> list[str]:
        """Where an error about these attributes of a row belongs."""
        return list(self.origin(row).place(*attributes))

    def target(self, row: Base, relation: str) -> Any:
        """What a looked-up or created reference leads to: an object with the target's attributes, or None."""
        return self.targets.get((id(row), relation))

    def create(self, model: type[R], input_: Any, path: Path = ROOT) -> R:
        """A new row from an input, with everything below it."""
        row = model()
        for name, make in defaults(model):
            setattr(row, name, make())
        self.fill(row, input_, path)
        return row

    def fill(self, row: Base, input_: Any, path: Path = ROOT) -> None:
        """Set what an input sends for a row: columns, references, and the rows below it."""
        origin = self.origin(row, path)
        mapper: Mapper[Any] = sa.inspect(type(row))
        for field_, value in sent(input_):
            name = field_.attribute
            place = (*path, field_.name)
            if name in mapper.column_attrs and not mapper.column_attrs[name].columns[0].primary_key:
                origin.sent[name] = place
                self._set(row, mapper.column_attrs[name].columns[0], name, value, place)
            elif name in mapper.relationships:
                origin.sent[name] = place
                relation = mapper.relationships[name]
                if not relation.uselist:
                    self._refer(row, relation, value, place)
                elif isinstance(value, list):
                    collection = getattr(row, name)
                    for index, inner in enumerate(value):
                        collection.append(self.create(relation.mapper.class_, inner, (*place, str(index))))
                elif value is not None:
                    self.change(row, name, value, place)

    def change(self, row: Base, relation: str, input_: Any, path: Path) -> None:
        """Create, update, remove or replace rows of a loaded collection: an input with a list for each of these.

        Rows that no list names stay, unless `replace` is sent: then those it does not name go. It leaves the collection in the
        order sent.
        """
        present = {child.id: child for child in getattr(row, relation)}
        model = sa.inspect(type(row)).relationships[relation].mapper.class_
        collection = getattr(row, relation)
        replacing = given(input_, "replace")
        if replacing is not ABSENT and replacing is not None:
            self.replaced.add((id(row), relation))
            self._replace(model, collection, present, replacing, (*path, "replace"))
            if len(list(sent(input_))) > 1 and any(entries for field_, entries in sent(input_) if field_.attribute != "replace"):
                reason = "must be sent alone"
                self.refuse(InvalidInputError(message=f"replace {reason}", path=[*path, "replace"], reason=reason))
            return
        for index, entry in enumerate(_list(input_, "update")):
            place = (*path, "update", str(index))
            child = self._child(model, present, entry.id, (*place, "id"))
            if child is not None:
                self._fill_child(child, entry, place)
        for index, id_ in enumerate(_list(input_, "remove")):
            place = (*path, "remove", str(index))
            child = self._child(model, present, id_, place)
            if child is not None:
                del present[child.id]
                self._remove(collection, child, place)
        for index, entry in enumerate(_list(input_, "create")):
            collection.append(self.create(model, entry, (*path, "create", str(index))))

    def _replace(self, model: type[Base], collection: list[Any], present: dict[int, Any], entries: list[Any], path: Path) -> None:
        kept: list[Any] = []
        for index, entry in enumerate(entries):
            place = (*path, str(index))
            id_ = given(entry, "id")
            if id_ is ABSENT or id_ is None:
                for field_ in input_fields(type(entry)):
                    if field_.needed and given(entry, field_.attribute) is ABSENT:
                        column = self._column(model, field_.attribute)
                        self.refuse(required(column, (*place, field_.name)))
                kept.append(self.create(model, entry, place))
                continue
            child = self._child(model, present, id_, (*place, "id"))
            if child is not None:
                del present[child.id]
                self._fill_child(child, entry, place)
                kept.append(child)
        for child in present.values():
            self._remove(collection, child, path)
        collection[:] = kept

    def _fill_child(self, child: Base, entry: Any, place: Path) -> None:
        self.origins.pop(id(child), None)
        self.fill(child, entry, place)

    def _remove(self, collection: list[Any], child: Base, place: Path) -> None:
        self.origins[id(child)] = Origin(child, place)
        collection.remove(child)
        # An orphan is deleted by the flush anyway; saying so lets rules see it before.
        self.session.sync_session.delete(child)

    def _child(self, model: type[Base], present: dict[int, Any], id_: str, path: Path) -> Any:
        key = key_of(model, id_)
        child = None if key is None else present.get(key)
        if child is None:
            self.refuse(missing(type_name(sa.inspect(model)), id_, path))
        return child

    def _column(self, model: type[Base], attribute: str) -> Any:
        mapper = sa.inspect(model)
        if attribute in mapper.relationships:
            return mapper.relationships[attribute].local_remote_pairs[0][0]
        return mapper.columns[attribute]

    def _set(self, row: Base, column: Any, name: str, value: Any, place: Path) -> None:
        if value is None and not column.nullable:
            self.refuse(required(column, place))
            return
        reason = refusal(column, value)
        if reason is not None:
            self.refuse(InvalidInputError(message=f"{place[-1]} {reason}", path=list(place), reason=reason))
            return
        setattr(row, name, value)

    def _refer(self, row: Base, relation: RelationshipProperty[Any], value: Any, place: Path) -> None:
        column = relation.local_remote_pairs[0][0]
        if value is None:
            if column.nullable:
                setattr(row, relation.key, None)
                setattr(row, attribute_name(relation.parent, column), None)
            else:
                self.refuse(required(column, place))
            return
        field_, key = chosen(value) if not isinstance(value, str) else (None, value)
        model = relation.mapper.class_
        path = place if field_ is None else (*place, field_.name)
        self.origin(row).sent[relation.key] = path
        if field_ is not None and field_.attribute == "create":
            made = self.create(model, key, path)
            setattr(row, relation.key, made)
            self.targets[id(row), relation.key] = made
            return
        attribute = "id" if field_ is None else field_.attribute
        found = key_of(model, key) if attribute == "id" else key
        reference = Reference(row, relation, attribute, found, str(key), path)
        if found is None:
            self.refuse(not_found(reference))
        else:
            self.references.append(reference)

    async def look_up(self) -> None:
        """Find what all references lead to, and set the foreign keys."""
        await look_up([self])


def _list(input_: Any, attribute: str) -> list[Any]:
    value = given(input_, attribute)
    return [] if value is ABSENT or value is None else value
