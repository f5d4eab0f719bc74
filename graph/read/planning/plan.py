"""Plans: what a read will ask the database, as frozen data.

What goes in and out: records only. A plan knows names of types and attributes, sources of values, and decisions; it knows no
SQL, so it can be printed, compared and tested without a database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graph.read.planning.arguments import Source

# ---- filters


@dataclass(frozen=True, slots=True)
class Compare:
    """One operator on one attribute: eq ne lt lte gt gte contains starts_with ends_with in not_in."""

    attribute: str
    operator: str
    source: Source
    is_id: str | None = None


@dataclass(frozen=True, slots=True)
class IsNull:
    attribute: str
    null: bool


@dataclass(frozen=True, slots=True)
class IsTrue:
    """A Boolean attribute has this value."""

    attribute: str
    true: bool


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold; true where there are none."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part holds; false where there are none."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part is false or unknown."""

    part: Filter


@dataclass(frozen=True, slots=True)
class Related:
    """A condition on the rows of a relation."""

    relation: str
    quantifier: Literal["one", "some", "every", "none"]
    type_name: str
    part: Filter


@dataclass(frozen=True, slots=True)
class Search:
    """One of the attributes (`relation.attribute` for a to-one relation) contains the text."""

    paths: tuple[str, ...]
    source: Source


Filter = Compare | IsNull | IsTrue | Every | Either | Not | Related | Search

# ---- order


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of an order. `kind` names what a cursor holds for it."""

    path: str
    descending: bool
    nullable: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an order: where its text comes from, and which of its keys are null."""

    source: Source
    nulls: tuple[bool, ...]
    argument: tuple[str, ...]


# ---- selections


@dataclass(frozen=True, slots=True)
class Typename:
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar, an enum value or a list of them, shown as its GraphQL type asks."""

    key: str
    attribute: str
    scalar: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Untold:
    """A value that the viewer is not told: null."""

    key: str


@dataclass(frozen=True, slots=True)
class Entity:
    """What is selected of a row of a mirrored type."""

    type_name: str
    fields: tuple[Field, ...]

    def attributes(self) -> list[str]:
        """The attributes and relations of the mapped class that are read."""
        found = [getattr(field, "attribute", None) or getattr(field, "relation", None) for field in self.fields]
        found += [name for field in self.fields if isinstance(field, AnyRow) for name in (field.types, field.keys)]
        return [name for name in found if name is not None]

    @property
    def lists(self) -> int:
        """How many of its fields lead to rows of a list, and may be long."""
        return sum(
            isinstance(f, (Many, Page))
            or (isinstance(f, One) and f.entity.lists > 0)
            or (isinstance(f, AnyRow) and any(entity.lists for entity in f.entities))
            for f in self.fields
        )


@dataclass(frozen=True, slots=True)
class One:
    """The row a to-one relation leads to."""

    key: str
    relation: str
    nullable: bool
    entity: Entity


@dataclass(frozen=True, slots=True)
class AnyRow:
    """The row whose type and key stand in two attributes, null where it is not there; what is selected of each type."""

    key: str
    types: str
    keys: str
    entities: tuple[Entity, ...]


@dataclass(frozen=True, slots=True)
class Many:
    """All rows of a bounded relation, in the relation's order."""

    key: str
    relation: str
    entity: Entity


@dataclass(frozen=True, slots=True)
class EdgePart:
    key: str
    what: Literal["cursor", "node", "typename"]
    entity: Entity | None = None


@dataclass(frozen=True, slots=True)
class PagePart:
    """One field of a connection: nodes, edges, totalCount, __typename, or one of pageInfo with its keys."""

    key: str
    what: Literal["nodes", "edges", "total_count", "typename", "page_info"]
    entity: Entity | None = None
    edge: tuple[EdgePart, ...] = ()
    info: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A connection: of a relation, or of all rows where `relation` is None."""

    key: str
    type_name: str
    relation: str | None
    where: Filter
    order: tuple[SortKey, ...]
    size: int
    backward: bool
    after: Cursor | None
    before: Cursor | None
    parts: tuple[PagePart, ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """One row by a unique attribute, or null."""

    key: str
    attribute: str
    source: Source
    entity: Entity


@dataclass(frozen=True, slots=True)
class RowsById:
    """Rows by global ids, in the order given; one row where `single`.

    Only types that the ids name are here; `counts` says how many ids name each.
    """

    key: str
    source: Source
    single: bool
    entities: tuple[Entity, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RowsByKey:
    """Rows by their keys: entities of mutation payloads. The keys are bound as a list; each row comes as `key:bytes;JSON`."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Meta:
    """Introspection beside data: JSON that graphql-core makes and the statement carries through."""

    key: str


@dataclass(frozen=True, slots=True)
class ViewerPart:
    """One selected field of the viewer: what is known of him, `__typename`, or the row whose key he has under this name."""

    key: str
    what: Literal["known", "row", "typename"]
    name: str
    entity: Entity | None = None


@dataclass(frozen=True, slots=True)
class ViewerRoot:
    """Who asks, among a query's root fields; null where nobody has to say so. `type_name` is that of the field."""

    key: str
    type_name: str
    parts: tuple[ViewerPart, ...] | None


# ---- summaries


@dataclass(frozen=True, slots=True)
class SummaryPart:
    """One selected field: a group's value, a group's row, a measure, an object of measures, or `__typename`."""

    key: str
    what: Literal["group", "entity", "measure", "object", "typename"]
    name: str
    entity: Entity | None = None
    parts: tuple[SummaryPart, ...] = ()


@dataclass(frozen=True, slots=True)
class SummaryRoot:
    """A summary among a query's root fields."""

    key: str
    type_name: str
    groups: tuple[str, ...]
    where: Filter
    size: int
    parts: tuple[SummaryPart, ...]


Field = Typename | Value | Untold | One | AnyRow | Many | Page
Root = Typename | Page | Lookup | RowsById | Meta | SummaryRoot | ViewerRoot


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole query operation, or one entity of a mutation's payload."""

    roots: tuple[Root, ...] | RowsByKey
