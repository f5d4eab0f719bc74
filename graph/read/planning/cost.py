"""What a plan costs: a fold over it, which bounds the rows that its statement may read and knows which field is dearest.

What goes in: a finished plan, whose sizes stand in it, and how long a text may be. What comes out: `Price`s, one a field, with
the prices of those below it. What is refused here: prices above the limit make the error that says which field to ask less of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from graphql import GraphQLError

from graph.read.planning.plan import (
    AnyRow,
    Either,
    Entity,
    Every,
    Filter,
    Lookup,
    Many,
    Not,
    One,
    Page,
    Plan,
    Related,
    RowsById,
    RowsByKey,
    SummaryPart,
    SummaryRoot,
    Value,
    ViewerRoot,
)
from graph.read.types.mirror import MIRRORS, VALUE_BYTES, mirror_of, width

#: What the rows of a bounded list such as `Order.items` are taken to be.
BOUNDED_ROWS = 10
#: What a row may have in an answer, the fields below it aside, for the price of one; more costs more.
ROW_BYTES = 32_768


@dataclass(frozen=True)
class Price:
    """What one field costs: `once`, and for each of its rows what its bytes do and what the fields of a row cost.

    `path` are the response keys that lead to it from the field around it. `size` is the argument that says how many `rows`,
    `width` how many bytes one of them is taken to have.
    """

    path: tuple[str, ...]
    rows: int = 1
    once: int = 0
    fields: tuple[Price, ...] = ()
    size: str = ""
    width: int = 0

    @cached_property
    def each(self) -> int:
        """What one row costs."""
        return max(1, -(-self.width // ROW_BYTES)) + total(self.fields)

    @cached_property
    def total(self) -> int:
        return self.once + self.rows * self.each

    @cached_property
    def bytes(self) -> int:
        """What it is taken to add to an answer."""
        return self.rows * (self.width + sum(price.bytes for price in self.fields))


def total(prices: Iterable[Price]) -> int:
    return sum([price.total for price in prices])


def bytes_of(prices: Iterable[Price]) -> int:
    return sum([price.bytes for price in prices])


def prices(plan: Plan, longest: int) -> tuple[Price, ...]:
    """What the roots of a plan cost; of rows that a mutation shows, what one of them costs. `longest`: a text's characters."""
    fold = _Fold(longest)
    if isinstance(plan.roots, RowsByKey):
        return (fold.row((), plan.roots.entity),)
    found: list[Price] = []
    for root in plan.roots:
        match root:
            case Page():
                found.append(fold.page(root, ()))
            case Lookup(key, _, _, entity):
                found.append(fold.row((key,), entity))
            case RowsById(key):
                found += [fold.row((key,), entity, rows) for entity, rows in zip(root.entities, root.counts, strict=True)]
            case SummaryRoot(key):
                rows, size = (root.size, "first") if root.groups else (1, "")
                width_ = VALUE_BYTES * len(root.parts)
                found.append(Price((key,), rows, filter_cost(root.where), fold.parts(root.parts, ()), size, width_))
            case ViewerRoot(key, _, parts):
                found += [fold.row((key, part.key), part.entity) for part in parts or () if part.entity is not None]
    return tuple(found)


class _Fold:
    """The prices of what is selected; a text that no column bounds is taken to be the longest."""

    def __init__(self, longest: int) -> None:
        self.longest = longest

    def row(self, path: tuple[str, ...], entity: Entity, rows: int = 1) -> Price:
        return Price(path, rows, fields=self.fields(entity), width=self.width(entity))

    def width(self, entity: Entity) -> int:
        """The bytes of a row's own values, their keys included."""
        found = 0
        for field in entity.fields:
            found += len(field.key)
            found += width(entity.type_name, field.attribute, self.longest) if isinstance(field, Value) else VALUE_BYTES
        return found

    def fields(self, entity: Entity, above: tuple[str, ...] = ()) -> tuple[Price, ...]:
        found: list[Price] = []
        for field in entity.fields:
            match field:
                case One(key, entity=inner):
                    found.append(self.row((*above, key), inner))
                case AnyRow(key, entities=entities):
                    # Of a row it is one of them; the bytes may be those of another than the dearest.
                    found.append(max((self.row((*above, key), each) for each in entities), key=lambda price: price.total))
                case Many(key, entity=inner):
                    found.append(self.row((*above, key), inner, BOUNDED_ROWS))
                case Page():
                    found.append(self.page(field, above))
        return tuple(found)

    def page(self, page: Page, above: tuple[str, ...]) -> Price:
        fields: list[Price] = []
        once, rows, wide = filter_cost(page.where), 0, 0
        for part in page.parts:
            if part.what == "total_count":
                once += 1
            elif part.what != "typename":
                rows = page.size
            if part.entity is not None:
                fields += self.fields(part.entity, (part.key,))
                wide += self.width(part.entity)
            for edge in part.edge:
                if edge.entity is not None:
                    fields += self.fields(edge.entity, (part.key, edge.key))
                    wide += self.width(edge.entity)
                elif edge.what == "cursor":
                    wide += self.cursor(page)
        return Price((*above, page.key), rows, once, tuple(fields), "last" if page.backward else "first", wide)

    def cursor(self, page: Page) -> int:
        """The bytes of a cursor: two for each of the values in it."""
        found = VALUE_BYTES
        for key in page.order:
            relation, _, attribute = key.path.rpartition(".")
            type_name = page.type_name
            if relation:
                type_name = mirror_of(MIRRORS[type_name].mapper.relationships[relation].mapper.class_).name
            found += 2 * width(type_name, attribute, self.longest)
        return found

    def parts(self, parts: tuple[SummaryPart, ...], above: tuple[str, ...]) -> tuple[Price, ...]:
        found: list[Price] = []
        for part in parts:
            here = (*above, part.key)
            if part.entity is not None:
                found.append(self.row(here, part.entity))
            found += self.parts(part.parts, here)
        return tuple(found)


def filter_cost(filter_: Filter, rows: int = 1) -> int:
    """What the relations in a filter are taken to cost: a row for one, `BOUNDED_ROWS` for a list, times those around it."""
    match filter_:
        case Every(parts) | Either(parts):
            return sum(filter_cost(part, rows) for part in parts)
        case Not(part):
            return filter_cost(part, rows)
        case Related(_, quantifier, _, part):
            rows *= 1 if quantifier == "one" else BOUNDED_ROWS
            return rows + filter_cost(part, rows)
    return 0


# ---- report


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation costs: all of it, how much is allowed, and what the dearest fields add themselves, dearest first."""

    total: int
    limit: int
    fields: tuple[tuple[tuple[str, ...], int], ...]

    @property
    def report(self) -> dict[str, Any]:
        """As clients are told who ask, in the names of the GraphQL Cost Directives specification."""
        fields = [{"field": path, "cost": cost} for path, cost in self.fields]
        return {"requestedQueryCost": self.total, "maximum": self.limit, "fields": fields}


#: How many fields are told.
DEAREST = 5


def cost_of(found: Sequence[Price], limit: int) -> Cost:
    """The cost of an operation's fields."""
    own = [(place.path, place.own) for place in _places(found) if place.own]
    return Cost(total(found), limit, tuple(sorted(own, key=lambda each: -each[1])[:DEAREST]))


def _places(found: Sequence[Price]) -> Iterable[_Place]:
    waiting = [_Place(price.path, price, 1) for price in found]
    for place in waiting:
        yield place
        waiting += [_Place((*place.path, *each.path), each, place.times * place.price.rows) for each in place.price.fields]


# ---- refusal


@dataclass(frozen=True, slots=True)
class _Place:
    """A field in an operation: the response keys from the root to it, its price, and how often the operation pays it."""

    path: tuple[str, ...]
    price: Price
    times: int

    @property
    def cost(self) -> int:
        return self.times * self.price.total

    @property
    def own(self) -> int:
        """What it costs without the fields below it."""
        return self.times * (self.price.total - self.price.rows * total(self.price.fields))

    def affordable(self, over: int) -> int:
        """How many rows it may have for the operation to cost `over` less; 0 where that is not enough."""
        return max(0, ((self.cost - over) // self.times - self.price.once) // self.price.each)


def too_expensive(found: Sequence[Price], limit: int) -> GraphQLError:
    """An operation that may read too many rows: which field to ask less of, its share of the cost, and what to write there."""
    cost = total(found)
    way = _heavy(found)
    sized = [place for place in reversed(way) if place.price.size]
    place = next((place for place in sized if place.affordable(cost - limit)), sized[0] if sized else way[-1])
    rows = place.affordable(cost - limit) if place.price.size else 0
    suggestion = f"{place.price.size}: {rows}" if rows else None
    if suggestion:
        advice = f"write `{suggestion}` there"
    elif place.price.once * 2 > place.price.total:
        advice = "filter by fewer relations there"
    else:
        advice = "ask for less there and above"
    share = place.cost / cost
    return GraphQLError(
        f"The operation costs {cost:,}; at most {limit:,} is allowed. `{'.'.join(place.path)}` is {share:.0%} of it: {advice}.",
        extensions={
            "code": "OPERATION_TOO_EXPENSIVE",
            "limit": limit,
            "value": cost,
            "field": list(place.path),
            "share": round(share, 3),
            "suggestion": suggestion,
        },
    )


def _heavy(found: Sequence[Price]) -> list[_Place]:
    """From the dearest root downwards, as long as one field is at least half of what is above it."""
    price = max(found, key=lambda each: each.total)
    place = _Place(price.path, price, 1)
    way = [place]
    while place.price.fields:
        price = max(place.price.fields, key=lambda each: each.total)
        inner = _Place((*place.path, *price.path), price, place.times * place.price.rows)
        if inner.cost * 2 < place.cost:
            break
        way.append(inner)
        place = inner
    return way
