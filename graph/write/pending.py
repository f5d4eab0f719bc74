"""What a session is about to write, and what every write brings with it: versions, and one statement a table.

What goes in: a session with new, changed and deleted objects. What comes out: the roots' versions raised, changes of one
table brought to one shape. What may be refused here: nothing; a child whose root is not in the session is a bug and raises
`LookupError`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified, instance_state

from graph.base import Base
from graph.read.rows import needs_parent
from graph.write.columns import validators

R = TypeVar("R", bound=Base)


def name_and_key(row: Any) -> tuple[str, Any]:
    """Sorts rows that are there, the same in every run."""
    state: Any = instance_state(row)
    return type(row).__name__, state.key[1]


def changed_columns(row: Base) -> set[str]:
    """The column attributes of a loaded row whose values differ from what was loaded."""
    state: Any = instance_state(row)
    return {
        name for name in state.committed_state if name in state.mapper.column_attrs and state.attrs[name].history.has_changes()
    }


def former_value(row: Base, attribute: str) -> Any:
    """What a column of a loaded row held when it was loaded."""
    state: Any = instance_state(row)
    history = state.attrs[attribute].history
    return history.deleted[0] if history.deleted else state.dict[attribute]


class PendingRows:
    """The rows a flush would write: new and deleted ones in the order they came to the session, changed ones by their keys.

    A session keeps its changed rows as a set, in an order that is another in every run.
    """

    def __init__(self, session: Session) -> None:
        deleted = list(session.deleted)
        gone = {id(row) for row in deleted}
        self.new: list[Any] = list(session.new)
        self.deleted: list[Any] = deleted
        self.dirty: list[Any] = [
            row
            for row in session.dirty
            if id(row) not in gone and (session.is_modified(row, include_collections=False) or is_moved(session, row))
        ]
        self.dirty.sort(key=name_and_key)

    @classmethod
    def of(cls, session: Session, new: list[Any]) -> PendingRows:
        """Rows that will be inserted without the session."""
        changes = cls(session)
        changes.new = new
        return changes

    def written(self, model: type[R]) -> Iterator[R]:
        """The new and the changed rows of a class."""
        return (row for row in (*self.new, *self.dirty) if type(row) is model)

    def touched(self, model: type[R]) -> Iterator[R]:
        """The new, changed and deleted rows of a class."""
        return (row for row in (*self.new, *self.dirty, *self.deleted) if type(row) is model)


def put(row: Base, attribute: str, value: Any) -> None:
    """Set a column. A new row needs no history: its INSERT takes what stands in it. Raises what its class's validator raises."""
    if instance_state(row).key is None:
        validator = validators(type(row)).get(attribute)
        row.__dict__[attribute] = value if validator is None else validator(row, attribute, value)
    else:
        setattr(row, attribute, value)


def former_parent(session: Session, row: Any, relation: str) -> Any:
    """What a to-one relation led to before this flush moves the row to another parent, or None."""
    state: Any = instance_state(row)
    parent = None if state.key is None else state.dict.get(relation)
    if parent is None:
        return None
    former = session.identity_map.get(_target_key(row, relation))
    return None if former is parent else former


def is_moved(session: Session, row: Any) -> bool:
    """Whether this flush moves a row to another parent, even if nothing else of it changes."""
    relation = type(row).__root__
    return relation is not None and former_parent(session, row, relation) is not None


def root_of(session: Session, row: Any) -> Any:
    """The aggregate root of a row: itself, or what `__root__` leads to, which must be in the session."""
    while type(row).__root__ is not None:
        row = parent_of(session, row, type(row).__root__)
    return row


def parent_of(session: Session, row: Any, relation: str) -> Any:
    """What a to-one relation leads to, without asking the database."""
    loaded = instance_state(row).dict.get(relation)
    if loaded is not None:
        return loaded
    found = session.identity_map.get(_target_key(row, relation))
    if found is None:
        raise LookupError(f"{type(row).__name__}.{relation} is not in the session")
    return found


def _target_key(row: Any, relation: str) -> Any:
    """The identity that the foreign key of a to-one relation names."""
    property_ = type(row).__mapper__.relationships[relation]
    values = instance_state(row).dict
    names = [str(property_.parent.get_property_by_column(local).key) for local, _ in property_.local_remote_pairs or ()]
    return property_.mapper.identity_key_from_primary_key([values.get(name) for name in names])


def parent_keys(row: Base) -> Iterator[tuple[type[Base], Any]]:
    """The class and the key of every row that a written row points to and cannot be without."""
    for relation in type(row).__mapper__.relationships:
        if needs_parent(relation):
            yield relation.mapper.class_, _target_key(row, relation.key)[1][0]


def raise_versions(session: Session, changes: PendingRows, raised: set[Any]) -> None:
    """Raise the version of every root that changes or whose children do, once for each unit of work."""
    gone = {id(row) for row in changes.deleted}
    written: list[tuple[Any, Any]] = []
    for row in (*changes.new, *changes.dirty, *changes.deleted):
        relation = type(row).__root__
        written.append((row, row if relation is None else root_of(session, row)))
        former = None if relation is None else former_parent(session, row, relation)
        if former is not None:
            written.append((row, root_of(session, former)))
    for row, root in written:
        state: Any = instance_state(root)
        if id(root) in gone or not state.persistent or state.key in raised or "version" not in state.mapper.column_attrs:
            continue
        if row is root and all(state.mapper.columns[name].info.get("counter") for name in changed_columns(root)):
            continue
        raised.add(state.key)
        root.version += 1


def align(rows: Iterable[Any]) -> None:
    """Give the changed rows of a table one set of changed columns, so that their UPDATE is one executemany."""
    by_model: dict[type[Base], dict[int, set[str]]] = defaultdict(dict)
    kept: dict[int, Any] = {}
    for row in rows:
        kept[id(row)] = row
        by_model[type(row)][id(row)] = changed_columns(row)
    for sets in by_model.values():
        union: set[str] = set().union(*sets.values())
        for key, columns in sets.items():
            for name in union - columns:
                flag_modified(kept[key], name)
