"""Input to object graph: rows of mapped classes tied by relationships, each knowing where in the input it came from.

What goes in: Strawberry inputs whose fields are named like the attributes of a mapped class. What comes out: objects whose
columns and collections are set, and for each its `Origin`. What may be refused here: required values cleared, values of
the wrong form, references and children that do not exist; all are collected as errors, none is raised.

References (`@oneOf {id | natural key | create}`) are collected while the graph is built and looked up together: one
SELECT for each type of target, however many rows point to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy.orm.attributes import instance_state
from strawberry import Some

from graph.base import Base, utc_now
from graph.context import Context
from graph.write.columns import (
    Step,
    attribute_name,
    key_in_id,
    missing,
    refusal,
    required,
    start_of,
    steps,
    stored,
    type_name,
    way_back,
)
from graph.write.errors import ROOT, MutationError, Order, Path, by_name, invalid
from graph.write.mutation_inputs import ABSENT, chosen, given, input_fields, sent
from graph.write.new_rows import new_row
from graph.write.origins import Origin, Reference
from graph.write.pending import put

R = TypeVar("R", bound=Base)


class Graph:
    """The rows that one input makes or changes, and what is wrong with them so far. All its new rows are made `now`.

    `order` tells which of two places of the input comes first.
    """

    def __init__(self, context: Context, order: Order = by_name) -> None:
        self.context = context
        self.scope = context.scope
        #: Parts of loaded lists that the scope does not see: they count, but nobody can name them.
        self.unseen: set[tuple[type[Base], int]] = set()
        self.order = order
        session = self.session = context.session
        self.dialect = session.get_bind().dialect
        self.origins: dict[int, Origin] = {}
        self.now = utc_now()
        self.errors: list[MutationError] = []
        self.references: list[Reference] = []
        self.targets: dict[tuple[int, str], Any] = {}
        self.replaced: set[tuple[int, str]] = set()
        self.parents: list[Base] = []
        self.keys: dict[int, int] = {}

    def refuse(self, error: MutationError) -> None:
        """Collect a reason; the unit of work stops before the database is written."""
        self.errors.append(error)

    def sees(self, part: Any) -> bool:
        """Whether the scope sees a part of a loaded list; new ones it does."""
        return not self.unseen or (type(part), part.__dict__.get("id")) not in self.unseen

    def origin(self, row: Base, path: Path = ROOT) -> Origin:
        """Where a row came from; a row nobody sent stands at `path`."""
        found = self.origins.get(id(row))
        if found is None:
            found = self.origins[id(row)] = Origin(row, path)
        return found

    def place(self, row: Base, *attributes: str) -> list[str]:
        """Where an error about these attributes of a row belongs."""
        return list(self.origin(row).place(*attributes))

    def last(self, rows: Iterable[R]) -> R:
        """The row that comes last in the input."""
        return max(rows, key=lambda row: self.order(self.origin(row).path))

    def target(self, row: Base, relation: str) -> Any:
        """What a looked-up or created reference leads to: an object with the target's attributes, or None."""
        return self.targets.get((id(row), relation))

    def create(self, model: type[R], input_: Any, path: Path = ROOT) -> R:
        """A new row from an input, with everything below it."""
        row = new_row(model, start_of(model).values(self.now))
        # Nothing was loaded, so nothing needs a history: an INSERT takes what stands here.
        self._fill(row, input_, path, row.__dict__)
        return row

    def fill(self, row: Base, input_: Any, path: Path = ROOT) -> None:
        """Set what an input sends for a row that is there: columns, references, and the rows below it."""
        self._fill(row, input_, path, None)

    def _fill(self, row: Base, input_: Any, path: Path, values: dict[str, Any] | None) -> None:
        origin = self.origin(row, path)
        for step in steps(type(row), type(input_)):
            value = getattr(input_, step.attribute)
            if value is None or value is ABSENT:
                continue
            if type(value) is Some:
                value = value.value
            place = origin.sent[step.attribute] = (*path, step.name)
            if step.relation is None:
                if step.normal is not None and value is not None:
                    value = step.normal(value)
                if value is None and values is not None and step.starts and not step.column.nullable:
                    del origin.sent[step.attribute]  # a new row starts as if it were left out
                elif (step.free and value is not None) or self.fits(step.column, value, place):
                    if values is not None and step.validator is None:
                        values[step.attribute] = value
                    else:
                        self.assign(row, step.attribute, value, place)
            elif step.column is not None:
                self._refer(origin, step, value, place)
            elif value is None:
                self.refuse(required(None, place))
            elif isinstance(value, list):
                model = step.relation.mapper.class_
                for index, inner in enumerate(value):
                    self.adopt(row, step.attribute, self.create(model, inner, (*place, str(index))))
            else:
                self.change(row, step.attribute, value, place)

    def assign(self, row: Base, attribute: str, value: Any, place: Path) -> None:
        """Set a column, unless a validator of the class refuses the value."""
        try:
            put(row, attribute, value)
        except ValueError as error:
            self._not_valid(error, place)

    def _not_valid(self, error: ValueError, place: Path) -> None:
        """Refuse what a validator of a mapped class (`@validates`) did not let pass."""
        self.refuse(invalid(place, str(error) or "is not allowed"))

    def adopt(self, parent: Base, relation: str, child: Base) -> None:
        """Put a row into the list of a parent; the way back is known at once, also where it is for reading only."""
        try:
            getattr(parent, relation).append(child)
        except ValueError as error:
            self._not_valid(error, self.origin(child).path)
        back = way_back(type(parent), relation)
        if back is not None:
            child.__dict__[back] = parent

    def remove(self, parent: Base, relation: str, child: Base, path: Path = ROOT) -> None:
        """Take a row out of the list of a parent, to be deleted; an error about it stands at `path`."""
        self.origins[id(child)] = Origin(child, path)
        try:
            getattr(parent, relation).remove(child)
        except ValueError as error:
            self._not_valid(error, path)
        # An orphan is deleted by the flush anyway; saying so lets rules see it before.
        self.session.sync_session.delete(child)

    def change(self, row: Base, relation: str, input_: Any, path: Path) -> None:
        """Create, update, remove or replace rows of a loaded collection: an input with a list for each of these.

        Rows that no list names stay, unless `replace` is sent: then those it does not name go. It leaves the collection in the
        order sent.
        """
        present = {child.id: child for child in getattr(row, relation) if self.sees(child)}
        model = type(row).__mapper__.relationships[relation].mapper.class_
        replacing = given(input_, "replace")
        if replacing is None:
            self.refuse(required(None, (*path, "replace")))
        elif replacing is not ABSENT:
            self.replaced.add((id(row), relation))
            self._replace(row, relation, present, replacing, (*path, "replace"))
            if len(list(sent(input_))) > 1 and any(entries for field_, entries in sent(input_) if field_.attribute != "replace"):
                self.refuse(invalid((*path, "replace"), "must be sent alone"))
            return
        updates, removals = _list(input_, "update"), _list(input_, "remove")
        places = [((*path, "update", str(index), "id"), entry.id) for index, entry in enumerate(updates)]
        places += [((*path, "remove", str(index)), id_) for index, id_ in enumerate(removals)]
        again = self._named_again(places)
        for index, entry in enumerate(updates):
            place = (*path, "update", str(index))
            child = None if (*place, "id") in again else self._child(model, present, entry.id, (*place, "id"))
            if child is not None:
                self._fill_child(child, entry, place)
        for index, id_ in enumerate(removals):
            place = (*path, "remove", str(index))
            child = None if place in again else self._child(model, present, id_, place)
            if child is not None:
                self.remove(row, relation, child, place)
        for index, entry in enumerate(_list(input_, "create")):
            self.adopt(row, relation, self.create(model, entry, (*path, "create", str(index))))

    def _named_again(self, places: Iterable[tuple[Path, str]]) -> set[Path]:
        """Refuse the places that name a row which an earlier place of the input names: what is to become of it is not clear."""
        first: dict[str, Path] = {}
        again: set[Path] = set()
        for place, id_ in sorted(places, key=lambda named: self.order(named[0])):
            if first.setdefault(id_, place) is not place:
                again.add(place)
                reason = f"must name a row that {'.'.join(first[id_])} does not name"
                self.refuse(invalid(place, reason))
        return again

    def _replace(self, row: Base, relation: str, present: dict[int, Any], entries: list[Any], path: Path) -> None:
        model = type(row).__mapper__.relationships[relation].mapper.class_
        collection = getattr(row, relation)
        kept: list[Any] = []
        ids = [given(entry, "id") for entry in entries]
        again = self._named_again(((*path, str(index), "id"), id_) for index, id_ in enumerate(ids) if isinstance(id_, str))
        for index, (entry, id_) in enumerate(zip(entries, ids, strict=True)):
            place = (*path, str(index))
            if id_ is ABSENT or id_ is None:
                for field_ in input_fields(type(entry)):
                    if field_.needed and given(entry, field_.attribute) in (ABSENT, None):
                        column = self._column(model, field_.attribute)
                        self.refuse(required(column, (*place, field_.name)))
                made = self.create(model, entry, place)
                self.adopt(row, relation, made)
                kept.append(made)
                continue
            child = None if (*place, "id") in again else self._child(model, present, id_, (*place, "id"))
            if child is not None:
                del present[child.id]
                self._fill_child(child, entry, place)
                kept.append(child)
        for child in present.values():
            self.remove(row, relation, child, path)
        collection[:] = [*kept, *(child for child in collection if not self.sees(child))]

    def _fill_child(self, child: Base, entry: Any, place: Path) -> None:
        self.origins.pop(id(child), None)
        self.fill(child, entry, place)

    def _child(self, model: type[Base], present: dict[int, Any], id_: str, path: Path) -> Any:
        key = key_in_id(model, id_)
        child = None if key is None else present.get(key)
        if child is None:
            self.refuse(missing(type_name(model.__mapper__), id_, path))
        return child

    def _column(self, model: type[Base], attribute: str) -> Any:
        mapper = model.__mapper__
        if attribute in mapper.relationships:
            return mapper.relationships[attribute].local_remote_pairs[0][0]
        return mapper.columns[attribute]

    def fits(self, column: Any, value: Any, place: Path) -> bool:
        """Whether a column can take a value, or a refusal."""
        if value is None:
            if not column.nullable:
                self.refuse(required(column, place))
            return bool(column.nullable)
        reason = refusal(column, value)
        if reason is not None:
            self.refuse(invalid(place, reason))
        return reason is None

    def _refer(self, origin: Origin, step: Step, value: Any, place: Path) -> None:
        row, relation = origin.row, step.relation
        if value is None:
            if step.column.nullable:
                if not relation.viewonly:
                    setattr(row, relation.key, None)
                setattr(row, attribute_name(relation.parent, step.column), None)
            else:
                self.refuse(required(step.column, place))
            return
        field_, key = chosen(value) if not isinstance(value, str) else (None, value)
        model = relation.mapper.class_
        path = place if field_ is None else (*place, field_.name)
        origin.sent[relation.key] = path
        if field_ is not None and field_.attribute == "create":
            made = self.create(model, key, path)
            if relation.viewonly:
                if instance_state(row).key is not None:
                    # The flush sets the foreign key; that it changes must show before.
                    setattr(row, attribute_name(relation.parent, step.column), None)
                self.adopt(made, str(relation.back_populates), row)
                self.parents.append(made)
            else:
                setattr(row, relation.key, made)
            self.targets[id(row), relation.key] = made
            return
        attribute = "id" if field_ is None else field_.attribute
        found = key_in_id(model, key) if attribute == "id" else stored(model.__mapper__.columns[attribute], key, self.dialect)
        reference = Reference(row, relation, attribute, found, str(key), path)
        if found is None:
            self.refuse(reference.not_found())
        else:
            self.references.append(reference)


def _list(input_: Any, attribute: str) -> list[Any]:
    value = given(input_, attribute)
    return [] if value is ABSENT or value is None else value
