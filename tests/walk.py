"""Reads as a plain walk over ORM objects: what the compiled reads must answer.

What goes in: all rows of a database, loaded once, and arguments and selections as Python data. What comes out: the answer,
computed in Python, by rules that are written down here a second time: nulls are greatest, `ne` and `notIn` want a value,
`not` is the complement, text operators ignore the case of ASCII letters.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from graph.database import Database
from graph.models import Customer, Item, Order, OrderItem
from tests.northwind import money

#: The fields of every type that are values: name and scalar.
VALUES: dict[str, dict[str, str]] = {
    "Customer": {
        "id": "ID",
        "version": "Int",
        "name": "String",
        "email": "String",
        "createdAt": "DateTime",
        "updatedAt": "DateTime",
        "archived": "Boolean",
        "archivedAt": "DateTime",
        "archivedBy": "String",
        "orderCount": "Int",
        "totalSpent": "Decimal",
    },
    "Item": {
        "id": "ID",
        "version": "Int",
        "sku": "String",
        "name": "String",
        "price": "Decimal",
        "stock": "Int",
        "createdAt": "DateTime",
        "updatedAt": "DateTime",
        "archived": "Boolean",
        "archivedAt": "DateTime",
        "archivedBy": "String",
    },
    "Order": {
        "id": "ID",
        "version": "Int",
        "number": "String",
        "status": "OrderStatus",
        "orderDate": "DateTime",
        "subtotal": "Decimal",
        "discount": "Decimal",
        "totalAmount": "Decimal",
        "note": "String",
        "createdAt": "DateTime",
        "updatedAt": "DateTime",
    },
    "OrderItem": {"id": "ID", "position": "Int", "quantity": "Int", "pricePaid": "Decimal", "lineTotal": "Decimal"},
}
#: The fields that lead to other rows: one row, a plain list, or pages of a list.
ONE: dict[str, dict[str, str]] = {"Order": {"customer": "Customer"}, "OrderItem": {"order": "Order", "item": "Item"}}
LISTS: dict[str, dict[str, str]] = {"Order": {"items": "OrderItem"}}
PAGES: dict[str, dict[str, str]] = {"Customer": {"orders": "Order"}, "Item": {"orderItems": "OrderItem"}}
ROOTS = {"customers": "Customer", "items": "Item", "orders": "Order"}
#: What rows can be sorted by.
SORTS: dict[str, dict[str, str]] = {
    "Customer": {"NAME": "name", "EMAIL": "email", "CREATED_AT": "created_at", "UPDATED_AT": "updated_at"},
    "Item": {
        "SKU": "sku",
        "NAME": "name",
        "PRICE": "price",
        "STOCK": "stock",
        "CREATED_AT": "created_at",
        "UPDATED_AT": "updated_at",
    },
    "Order": {
        "NUMBER": "number",
        "ORDER_DATE": "order_date",
        "TOTAL_AMOUNT": "total_amount",
        "STATUS": "status",
        "CREATED_AT": "created_at",
        "UPDATED_AT": "updated_at",
        "CUSTOMER_NAME": "customer.name",
    },
    "OrderItem": {"POSITION": "position", "QUANTITY": "quantity", "PRICE_PAID": "price_paid"},
}
SEARCHED = {
    "Customer": ["name", "email"],
    "Item": ["sku", "name"],
    "Order": ["number", "note", "customer.name", "customer.email"],
}
MODELS: dict[str, Any] = {"Customer": Customer, "Item": Item, "Order": Order, "OrderItem": OrderItem}

ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

Row = Any
Where = Mapping[str, Any]
Sorting = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Field:
    """One selected field: its place in the answer, its name, its arguments, what is selected below it, for which type."""

    key: str
    name: str
    arguments: Mapping[str, Any]
    below: tuple[Field, ...] = ()
    on: str | None = None


class Opaque:
    """Stands for a cursor, whose text is the server's own business."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    __hash__ = None  # type: ignore[assignment]  # equal to every text, so it has no hash


async def load(database: Database) -> dict[str, list[Row]]:
    """All rows of every type in key order, with all their relations."""
    rows: dict[str, list[Row]] = {}
    async with database.session() as session:
        for name, model in MODELS.items():
            relations = [selectinload(relation.class_attribute) for relation in model.__mapper__.relationships]
            rows[name] = list(await session.scalars(select(model).order_by(model.id).options(*relations)))
    return rows


# ---- values


def attribute(row: Row, path: str) -> Any:
    """`customer.name` of a row; GraphQL's names do as well."""
    for step in path.split("."):
        row = getattr(row, re.sub("([A-Z])", lambda found: f"_{found[1].lower()}", step))
    return row


def global_id(row: Row) -> str:
    return f"{type(row).__name__}:{row.id}"


def shown(row: Row, name: str) -> Any:
    """The value of a field as JSON shows it."""
    scalar, value = VALUES[type(row).__name__][name], attribute(row, name)
    if scalar == "ID":
        return global_id(row)
    if value is None or scalar in ("Int", "String", "Boolean"):
        return value
    if scalar == "Decimal":
        return money(Decimal(value) / 100)
    if scalar == "DateTime":
        text = value.astimezone(UTC).isoformat().removesuffix("+00:00")
        return (text.rstrip("0") if "." in text else text) + "Z"
    return str(value)


def operand(type_name: str, name: str, value: Any) -> Any:
    """What a filter compares with: an input in the form that rows hold."""
    if isinstance(value, list):
        return [operand(type_name, name, each) for each in value]
    scalar = VALUES[type_name][name]
    if scalar == "Decimal":
        return int(Decimal(str(value)) * 100)
    if scalar == "DateTime":
        return datetime.fromisoformat(value)
    return value if name not in ("email", "sku", "name") else value.strip().lower() if name == "email" else value.strip()


def operand_of(type_name: str, name: str, operator: str, given: Any) -> Any:
    """What one operator compares with: texts that are stored trimmed begin and end without blanks, but may hold some."""
    if given is None or operator == "isNull":
        return given
    if operator not in ("contains", "startsWith", "endsWith"):
        return operand(type_name, name, given)
    if name == "email":
        return given.strip().lower() or given
    if name in ("sku", "name"):
        return {"startsWith": given.lstrip(), "endsWith": given.rstrip()}.get(operator, given) or given
    return given


# ---- filters


def holds(value: Any, operator: str, given: Any) -> bool:
    """Whether one operator holds for one value."""
    if operator == "isNull":
        return (value is None) is given
    if given is None:
        return (value is None) is (operator == "eq")
    if value is None:
        return False
    match operator:
        case "eq":
            return bool(value == given)
        case "ne":
            return bool(value != given)
        case "in":
            return value in given
        case "notIn":
            return value not in given
        case "lt":
            return bool(value < given)
        case "lte":
            return bool(value <= given)
        case "gt":
            return bool(value > given)
        case "gte":
            return bool(value >= given)
    value, given = value.translate(ASCII_LOWER), given.translate(ASCII_LOWER)
    return bool({"contains": given in value, "startsWith": value.startswith(given), "endsWith": value.endswith(given)}[operator])


def matches(row: Row, where: Where) -> bool:
    """Whether a row matches a `where`."""
    return all(_condition(row, name, given) for name, given in where.items())


def _condition(row: Row, name: str, given: Any) -> bool:
    type_name = type(row).__name__
    if name == "and":
        return all(matches(row, each) for each in given)
    if name == "or":
        return any(matches(row, each) for each in given)
    if name == "not":
        return not matches(row, given)
    if name in VALUES[type_name]:
        value = global_id(row) if name == "id" else attribute(row, name)
        operands = {op: operand_of(type_name, name, op, each) for op, each in given.items()}
        return all(holds(value, op, each) for op, each in operands.items())
    if name in ONE.get(type_name, {}):
        return matches(attribute(row, name), given)
    return all(
        _quantified(quantifier, [matches(child, each) for child in attribute(row, name)]) for quantifier, each in given.items()
    )


def _quantified(quantifier: str, results: list[bool]) -> bool:
    return {"some": any(results), "every": all(results), "none": not any(results)}[quantifier]


def mentions_archived(where: Where) -> bool:
    """Whether a `where` says anything about `archived` of its own rows."""
    inner = [*where.get("and", ()), *where.get("or", ()), *([where["not"]] if "not" in where else ())]
    return "archived" in where or any(map(mentions_archived, inner))


def found(rows: Iterable[Row], where: Where | None, search: str | None = None, *, root: bool = False) -> list[Row]:
    """The rows of a list that its arguments let through."""
    kept = [row for row in rows if matches(row, where or {})]
    if root and not mentions_archived(where or {}):
        kept = [row for row in kept if not getattr(row, "archived", False)]
    if search is not None:
        searched = {row: [attribute(row, path) for path in SEARCHED[type(row).__name__]] for row in kept}
        kept = [row for row, texts in searched.items() if any(holds(text, "contains", search) for text in texts)]
    return kept


# ---- order and pages


def ordered(rows: Iterable[Row], order: Sorting | None) -> list[Row]:
    """Rows in the order of `orderBy`; the first mention of a field counts, the key goes the way of the last."""
    keys: dict[str, bool] = {}
    for each in order or ():
        keys.setdefault(each["field"], each.get("direction") == "DESC")
    result = sorted(rows, key=lambda row: int(row.id), reverse=bool(keys) and list(keys.values())[-1])

    def key(row: Row, name: str) -> tuple[bool, Any]:
        value = attribute(row, SORTS[type(row).__name__][name])
        return value is None, 0 if value is None else value

    for name, descending in reversed(keys.items()):
        result.sort(key=lambda row: key(row, name), reverse=descending)  # called within the round
    return result


def page(field: Field, rows: Iterable[Row], *, root: bool) -> dict[str, Any]:
    """A connection."""
    arguments = field.arguments
    all_ = ordered(found(rows, arguments.get("where"), arguments.get("search"), root=root), arguments.get("orderBy"))
    first, last = arguments.get("first"), arguments.get("last")
    shown_ = all_[: 50 if first is None else first] if last is None else all_[len(all_) - min(last, len(all_)) :]
    more = len(shown_) < len(all_)
    info = {
        "hasNextPage": more and last is None,
        "hasPreviousPage": more and last is not None,
        "startCursor": Opaque() if shown_ else None,
        "endCursor": Opaque() if shown_ else None,
    }
    name = type_of_page(field)

    def part(inner: Field) -> Any:
        match inner.name:
            case "totalCount":
                return len(all_)
            case "nodes":
                return [answer(row, inner.below) for row in shown_]
            case "edges":
                return [{each.key: edge(each, row) for each in inner.below} for row in shown_]
            case "pageInfo":
                return {each.key: "PageInfo" if each.name == "__typename" else info[each.name] for each in inner.below}
        return f"{name}Connection"

    def edge(inner: Field, row: Row) -> Any:
        return {"cursor": Opaque(), "__typename": f"{name}Edge"}.get(inner.name) or answer(row, inner.below)

    return {inner.key: part(inner) for inner in field.below}


def type_of_page(field: Field) -> str:
    """The type of the rows of a connection."""
    return ROOTS.get(field.name) or next(pages[field.name] for pages in PAGES.values() if field.name in pages)


# ---- answers


def answer(row: Row, selection: Iterable[Field]) -> dict[str, Any]:
    """One row as a selection shows it."""
    return {field.key: _field(row, field) for field in selection if field.on in (None, type(row).__name__)}


def _field(row: Row, field: Field) -> Any:
    type_name = type(row).__name__
    if field.name == "__typename":
        return type_name
    if field.name == "allowedTransitions":
        return [str(status) for status in row.allowed_transitions]
    if field.name in VALUES[type_name]:
        return shown(row, field.name)
    below = attribute(row, field.name)
    if field.name in ONE.get(type_name, {}):
        return answer(below, field.below)
    if field.name in LISTS.get(type_name, {}):
        return [answer(each, field.below) for each in below]
    return page(field, below, root=False)


def whole(rows: Mapping[str, list[Row]], roots: Iterable[Field]) -> dict[str, Any]:
    """The answer of a whole query operation."""
    by_id = {global_id(row): row for each in rows.values() for row in each}

    def of(field: Field) -> Any:
        if field.name in ROOTS:
            return page(field, rows[ROOTS[field.name]], root=True)
        if field.name == "nodes":
            return [answer(by_id[id_], field.below) if id_ in by_id else None for id_ in field.arguments["ids"]]
        if field.name == "__typename":
            return "Query"
        row = by_id.get(field.arguments["id"] if field.name == "node" else field.arguments["by"]["id"])
        return None if row is None else answer(row, field.below)

    return {field.key: of(field) for field in roots}
