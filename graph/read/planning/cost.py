"""What a plan costs: a fold over it, which bounds the rows that its statement may read and knows which field is dearest.

What goes in: a finished plan, whose sizes stand in it. What comes out: `Price`s, one a field, with the prices of the fields
below it. What is refused here: prices above the limit make the error that says which field to ask less of, and how.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphql import GraphQLError

from graph.read.planning.plan import (
    Either,
    Entity,
    Every,
    Filter,
    Lookup,
    Many,
    Nodes,
    Not,
    One,
    Page,
    Plan,
    Related,
    Rows,
    SummaryPart,
    SummaryRoot,
)

#: What the rows of a bounded list such as `Order.items` are taken to be.
BOUNDED_ROWS = 10


@dataclass(frozen=True)
class Price:
    """What one field costs: `once`, and for each of its rows 1 and what the fields of a row cost.

    `path` are the response keys that lead to it from the field around it. `size` is the argument that says how many `rows`.
    """

    path: tuple[str, ...]
    rows: int = 1
    once: int = 0
    fields: tuple[Price, ...] = ()
    size: str = ""

    @cached_property
    def each(self) -> int:
        """What one row costs."""
        return 1 + total(self.fields)

    @cached_property
    def total(self) -> int:
        return self.once + self.rows * self.each


def total(prices: Iterable[Price]) -> int:
    return sum([price.total for price in prices])


def prices(plan: Plan) -> tuple[Price, ...]:
    """What the roots of a plan cost; of rows that a mutation shows, what one of them costs."""
    if isinstance(plan.roots, Rows):
        return (Price((), fields=_fields(plan.roots.entity)),)
    found: list[Price] = []
    for root in plan.roots:
        match root:
            case Page():
                found.append(_page(root, ()))
            case Lookup(key, _, _, entity):
                found.append(Price((key,), fields=_fields(entity)))
            case Nodes(key):
                found += [
                    Price((key,), rows, fields=_fields(entity)) for entity, rows in zip(root.entities, root.counts, strict=True)
                ]
            case SummaryRoot(key):
                rows = root.size if root.groups else 1
                found.append(Price((key,), rows, filter_cost(root.where), _parts(root.parts, ()), "first" if root.groups else ""))
    return tuple(found)


def _fields(entity: Entity, above: tuple[str, ...] = ()) -> tuple[Price, ...]:
    found: list[Price] = []
    for field in entity.fields:
        match field:
            case One(key, entity=inner):
                found.append(Price((*above, key), fields=_fields(inner)))
            case Many(key, entity=inner):
                found.append(Price((*above, key), BOUNDED_ROWS, fields=_fields(inner)))
            case Page():
                found.append(_page(field, above))
    return tuple(found)


def _page(page: Page, above: tuple[str, ...]) -> Price:
    fields: list[Price] = []
    once, rows = filter_cost(page.where), 0
    for part in page.parts:
        if part.what == "total_count":
            once += 1
        elif part.what != "typename":
            rows = page.size
        if part.entity is not None:
            fields += _fields(part.entity, (part.key,))
        for edge in part.edge:
            if edge.entity is not None:
                fields += _fields(edge.entity, (part.key, edge.key))
    return Price((*above, page.key), rows, once, tuple(fields), "last" if page.backward else "first")


def _parts(parts: tuple[SummaryPart, ...], above: tuple[str, ...]) -> tuple[Price, ...]:
    found: list[Price] = []
    for part in parts:
        here = (*above, part.key)
        if part.entity is not None:
            found.append(Price(here, fields=_fields(part.entity)))
        found += _parts(part.parts, here)
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
            "cost": cost,
            "limit": limit,
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
