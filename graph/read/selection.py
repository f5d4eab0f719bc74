"""Selections become plans: merged, with fragments and directives applied, every decision taken.

What goes in: a validated operation and coerced variables. What comes out: a `Plan` and its cost. What is refused here:
arguments that only planning can judge (page sizes, cursors, nulls in filters) raise `BadUserInput`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)
from graphql.execution.collect_fields import FieldDetailsList, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues

from graph.read.arguments import Leaf, id_type, read_arguments
from graph.read.errors import BadUserInput
from graph.read.filters import BOUNDED_ROWS, EVERYTHING, filter_cost, mentions, read_where
from graph.read.mirror import MIRRORS, Mirror, connection_node, mirror_of, python_name
from graph.read.paging import cursor_values, order_tag, read_order
from graph.read.plan import (
    Cursor,
    EdgePart,
    Entity,
    Every,
    Field,
    Filter,
    IsTrue,
    Lookup,
    Many,
    Meta,
    Nodes,
    One,
    Page,
    PagePart,
    Plan,
    Root,
    Rows,
    Search,
    SortKey,
    SummaryPart,
    SummaryRoot,
    Typename,
    Value,
)
from graph.read.summary import DEFAULT_GROUPS, MAX_GROUPS, SUMMARIES, Summary
from graph.settings import Settings

PAGE_INFO = {
    "hasNextPage": "has_next",
    "hasPreviousPage": "has_previous",
    "startCursor": "start",
    "endCursor": "end",
    "__typename": "typename",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What the planner needs of a request: the operation, its fragments and coerced variables."""

    schema: GraphQLSchema
    settings: Settings
    node: OperationDefinitionNode
    fragments: Mapping[str, FragmentDetails]
    variables: VariableValues


def plan_query(operation: Operation) -> Plan:
    """The plan of a whole query operation."""
    root = operation.schema.query_type
    assert root is not None
    collected = collect_fields(operation.schema, dict(operation.fragments), operation.variables, root, operation.node)
    roots: list[Root] = []
    cost = 0
    for key, details in collected.grouped_field_set.items():
        planned, price = _root(operation, root, key, details)
        roots.append(planned)
        cost += price
    return Plan(tuple(roots), cost)


def plan_rows(operation: Operation, type_name: str, details: FieldDetailsList) -> Plan:
    """The plan of rows of a type that a mutation has written, as the fields in `details` select them."""
    entity, cost = _entity(operation, type_name, details)
    return Plan(Rows(entity), 1 + cost)


def meta_keys(plan: Plan) -> list[str]:
    """The response keys of introspection fields among a plan's roots."""
    return [root.key for root in plan.roots if isinstance(root, Meta)] if isinstance(plan.roots, tuple) else []


def _root(operation: Operation, root: GraphQLObjectType, key: str, details: FieldDetailsList) -> tuple[Root, int]:
    node = details[0].node
    name = node.name.value
    if name == "__typename":
        return Typename(key, root.name), 0
    if name.startswith("__"):
        return Meta(key), 0
    field = root.fields[name]
    arguments = read_arguments(field, node, operation.variables.coerced)
    if connection_node(field.type) is not None:
        return _page(operation, key, None, name, field.type, details, arguments)
    named = get_named_type(field.type)
    if isinstance(named, GraphQLInterfaceType):
        return _nodes(operation, key, details, arguments)
    if named.name in SUMMARIES:
        return _summary(operation, key, named.name, details, arguments)
    mirror = MIRRORS[named.name]
    ((by, leaf),) = arguments["by"].items()
    entity, cost = _entity(operation, mirror.name, details)
    return Lookup(key, mirror.attributes[by], leaf.source, entity), 1 + cost


def _nodes(operation: Operation, key: str, details: FieldDetailsList, arguments: dict[str, Any]) -> tuple[Root, int]:
    ((name, leaf),) = arguments.items()
    single = name == "id"
    texts = [leaf.value] if single else leaf.value
    if len(texts) > operation.settings.max_page_size:
        raise BadUserInput(f"at most {operation.settings.max_page_size} ids at a time", (name,))
    types = [id_type(text) for text in texts]
    entities = {type_: _entity(operation, type_, details) for type_ in dict.fromkeys(types) if type_}
    cost = sum(1 + entities[type_][1] for type_ in types if type_)
    return Nodes(key, leaf.source, single, tuple(entity for entity, _ in entities.values())), cost


def _summary(
    operation: Operation, key: str, type_name: str, details: FieldDetailsList, arguments: dict[str, Any]
) -> tuple[Root, int]:
    spec = SUMMARIES[type_name]
    groups = arguments.get("groupBy")
    size = arguments["first"].value if "first" in arguments and arguments["first"].value is not None else DEFAULT_GROUPS
    if not 0 <= size <= MAX_GROUPS:
        raise BadUserInput(f"first must be from 0 to {MAX_GROUPS}", ("first",))
    names = tuple(dict.fromkeys(choice.value for choice in groups.value)) if groups is not None and groups.value else ()
    type_ = operation.schema.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType)
    parts, cost = _summary_parts(operation, spec, type_, details)
    rows = size if names else 1
    where = _where(MIRRORS[spec.of], spec.of, arguments)
    return SummaryRoot(key, type_name, names, where, size, parts), rows * (1 + cost) + filter_cost(where)


def _summary_parts(
    operation: Operation, spec: Summary, type_: GraphQLObjectType, details: FieldDetailsList
) -> tuple[tuple[SummaryPart, ...], int]:
    parts: list[SummaryPart] = []
    cost = 0
    for key, inner in _subfields(operation, type_, details):
        name = inner[0].node.name.value
        group = spec.groups.get(name)
        if name == "__typename":
            parts.append(SummaryPart(key, "typename", type_.name))
        elif group is not None and group.entity:
            entity, price = _entity(operation, group.entity, inner)
            parts.append(SummaryPart(key, "entity", name, entity))
            cost += 1 + price
        elif group is not None:
            parts.append(SummaryPart(key, "group", name))
        elif isinstance(named := get_named_type(type_.fields[name].type), GraphQLObjectType):
            nested, price = _summary_parts(operation, spec, named, inner)
            parts.append(SummaryPart(key, "object", name, parts=nested))
            cost += price
        else:
            parts.append(SummaryPart(key, "measure", name))
    return tuple(parts), cost


def _entity(operation: Operation, type_name: str, details: FieldDetailsList) -> tuple[Entity, int]:
    type_ = operation.schema.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType)
    mirror = MIRRORS[type_name]
    fields: list[Field] = []
    cost = 0
    for key, inner in _subfields(operation, type_, details):
        name = inner[0].node.name.value
        if name == "__typename":
            fields.append(Typename(key, type_name))
            continue
        planned, price = _field(operation, mirror, type_, key, name, inner)
        fields.append(planned)
        cost += price
    return Entity(type_name, tuple(fields)), cost


def _field(
    operation: Operation, mirror: Mirror, type_: GraphQLObjectType, key: str, name: str, details: FieldDetailsList
) -> tuple[Field, int]:
    field = type_.fields[name]
    attribute = python_name(field)
    named = get_named_type(field.type)
    if is_leaf_type(named):
        listed = is_list_type(get_nullable_type(field.type))
        return Value(key, attribute, "JSON" if listed else named.name), 0
    relation = mirror.mapper.relationships[attribute]
    if connection_node(field.type) is not None:
        arguments = read_arguments(field, details[0].node, operation.variables.coerced)
        page, cost = _page(operation, key, attribute, name, field.type, details, arguments)
        return page, cost
    target = mirror_of(relation.mapper.class_)
    entity, cost = _entity(operation, target.name, details)
    if relation.uselist:
        return Many(key, attribute, entity), BOUNDED_ROWS * (1 + cost)
    nullable = any(column.nullable for column in relation.local_columns) or target.visible is not None
    return One(key, attribute, nullable, entity), 1 + cost


def _subfields(operation: Operation, type_: GraphQLObjectType, details: FieldDetailsList) -> list[tuple[str, FieldDetailsList]]:
    collected = collect_subfields(
        operation.schema, dict(operation.fragments), operation.variables, operation.node, type_, details
    )
    return list(collected.grouped_field_set.items())


def _page(
    operation: Operation,
    key: str,
    relation: str | None,
    field_name: str,
    type_: Any,
    details: FieldDetailsList,
    arguments: dict[str, Any],
) -> tuple[Page, int]:
    connection = get_named_type(type_)
    assert isinstance(connection, GraphQLObjectType)
    mirror = MIRRORS[connection_node(type_) or ""]
    size, backward = _size(operation.settings, arguments)
    order = read_order(mirror, arguments["orderBy"] if isinstance(arguments.get("orderBy"), list) else None)
    parts, cost = _page_parts(operation, connection, mirror.name, size, details)
    where = _where(mirror, relation, arguments)
    cost += filter_cost(where)
    page = Page(
        key=key,
        type_name=mirror.name,
        relation=relation,
        where=where,
        order=order,
        size=size,
        backward=backward,
        after=_cursor(mirror.name, order, arguments, "after"),
        before=_cursor(mirror.name, order, arguments, "before"),
        parts=parts,
    )
    return page, cost


def _where(mirror: Mirror, relation: str | None, arguments: dict[str, Any]) -> Filter:
    template = arguments.get("where")
    parts: list[Filter] = []
    if isinstance(template, dict):
        parts.append(read_where(mirror, template, ("where",)))
    search = arguments.get("search")
    if search is not None and search.value is not None:
        parts.append(Search(mirror.search, search.source))
    hidden = mirror.hidden_unless_mentioned
    if hidden is not None and relation is None and not mentions(template, hidden):
        parts.append(IsTrue(hidden, False))
    return parts[0] if len(parts) == 1 else Every(tuple(parts)) if parts else EVERYTHING


def _size(settings: Settings, arguments: dict[str, Any]) -> tuple[int, bool]:
    given = {name: arguments[name].value for name in ("first", "last") if name in arguments and arguments[name].value is not None}
    if len(given) == 2:
        raise BadUserInput("first and last cannot be given together", ("last",))
    for name, size in given.items():
        if not 0 <= size <= settings.max_page_size:
            raise BadUserInput(f"{name} must be from 0 to {settings.max_page_size}", (name,))
    return next(iter(given.values()), settings.default_page_size), "last" in given


def _cursor(type_name: str, order: tuple[SortKey, ...], arguments: dict[str, Any], name: str) -> Cursor | None:
    leaf: Leaf | None = arguments.get(name)
    if leaf is None or leaf.value is None:
        return None
    values = cursor_values(leaf.value, order_tag(type_name, order), order, (name,))
    return Cursor(leaf.source, tuple(value is None for value in values), (name,))


def _page_parts(
    operation: Operation, connection: GraphQLObjectType, type_name: str, size: int, details: FieldDetailsList
) -> tuple[tuple[PagePart, ...], int]:
    parts: list[PagePart] = []
    per_row, cost = 0, 0
    rows = False
    for key, inner in _subfields(operation, connection, details):
        name = inner[0].node.name.value
        if name == "nodes":
            entity, price = _entity(operation, type_name, inner)
            parts.append(PagePart(key, "nodes", entity))
            per_row, rows = per_row + price, True
        elif name == "edges":
            edge, price = _edge(operation, connection, type_name, inner)
            parts.append(PagePart(key, "edges", edge=edge))
            per_row, rows = per_row + price, True
        elif name == "totalCount":
            parts.append(PagePart(key, "total_count"))
            cost += 1
        elif name == "pageInfo":
            info_type = get_named_type(connection.fields["pageInfo"].type)
            assert isinstance(info_type, GraphQLObjectType)
            rows = True
            info = tuple((k, PAGE_INFO[d[0].node.name.value]) for k, d in _subfields(operation, info_type, inner))
            parts.append(PagePart(key, "page_info", info=info))
        else:
            parts.append(PagePart(key, "typename", Entity(connection.name, ())))
    return tuple(parts), cost + (size * (1 + per_row) if rows else 0)


def _edge(
    operation: Operation, connection: GraphQLObjectType, type_name: str, details: FieldDetailsList
) -> tuple[tuple[EdgePart, ...], int]:
    edge_type = get_named_type(connection.fields["edges"].type)
    assert isinstance(edge_type, GraphQLObjectType)
    parts: list[EdgePart] = []
    cost = 0
    for key, inner in _subfields(operation, edge_type, details):
        name = inner[0].node.name.value
        if name == "node":
            entity, price = _entity(operation, type_name, inner)
            parts.append(EdgePart(key, "node", entity))
            cost += price
        elif name == "cursor":
            parts.append(EdgePart(key, "cursor"))
        else:
            parts.append(EdgePart(key, "typename", Entity(edge_type.name, ())))
    return tuple(parts), cost
