"""Selections become plans: merged, with fragments and directives applied, every decision taken.

What goes in: a validated operation and coerced variables. What comes out: a `Plan`. What is refused here:
arguments that only planning can judge (page sizes, cursors, nulls in filters) raise `BadUserInput`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import FieldDetailsList, collect_fields, collect_subfields

from graph.read.planning.arguments import id_type
from graph.read.planning.groups import DEFAULT_GROUPS, MAX_GROUPS, SUMMARIES, Summary
from graph.read.planning.order import log_order, read_order
from graph.read.planning.page_arguments import ANY_ROW, cursor_of, size_of, where_of
from graph.read.planning.plan import (
    AnyRow,
    EdgePart,
    Entity,
    Field,
    Lookup,
    Many,
    Meta,
    One,
    Page,
    PagePart,
    Plan,
    Root,
    RowsById,
    RowsByKey,
    SummaryPart,
    SummaryRoot,
    Typename,
    Untold,
    Value,
    ViewerPart,
    ViewerRoot,
)
from graph.read.planning.planning_context import PlanningContext
from graph.read.refusals import BadUserInput, Over
from graph.read.types.mirror import MIRRORS, Mirror, connection_node, may_be_missing, mirror_of, python_name
from graph.scope import BOUND, SCOPED

#: The type of who asks, and the kinds of those who have said who they are.
VIEWER_TYPE, KNOWN = "Viewer", (SCOPED.kind, BOUND)
PAGE_INFO = {
    "hasNextPage": "has_next",
    "hasPreviousPage": "has_previous",
    "startCursor": "start",
    "endCursor": "end",
    "__typename": "typename",
}


def plan_query(operation: PlanningContext) -> Plan:
    """The plan of a whole query operation."""
    root = operation.schema.query_type
    assert root is not None
    collected = collect_fields(operation.schema, dict(operation.fragments), operation.variables, root, operation.node)
    roots: list[Root] = []
    with operation.permitted():
        for key, details in collected.grouped_field_set.items():
            with operation.below(key):
                roots.append(_root(operation, root, key, details))
    return Plan(tuple(roots))


def plan_rows(operation: PlanningContext, type_name: str, details: FieldDetailsList) -> Plan:
    """The plan of rows of a type that a mutation has written, as the fields in `details` select them.

    What the viewer may not send is noted: whoever plans all of an operation says where it is `permitted`.
    """
    return Plan(RowsByKey(_entity(operation, type_name, details)))


def meta_keys(plan: Plan) -> list[str]:
    """The response keys of introspection fields among a plan's roots."""
    return [root.key for root in plan.roots if isinstance(root, Meta)] if isinstance(plan.roots, tuple) else []


def tells_viewer(plan: Plan) -> bool:
    """Whether a plan tells who asks what is known of him."""
    return isinstance(plan.roots, tuple) and any(isinstance(root, ViewerRoot) and root.parts is not None for root in plan.roots)


def _root(operation: PlanningContext, root: GraphQLObjectType, key: str, details: FieldDetailsList) -> Root:
    node = details[0].node
    name = node.name.value
    if name == "__typename":
        return Typename(key, root.name)
    if name.startswith("__"):
        return Meta(key)
    field = root.fields[name]
    arguments = operation.arguments(field, node)
    if connection_node(field.type) is not None:
        return _page(operation, key, None, field.type, details, arguments)
    named = get_named_type(field.type)
    if isinstance(named, GraphQLInterfaceType):
        return _nodes(operation, key, details, arguments)
    if named.name in SUMMARIES:
        return _summary(operation, key, named.name, details, arguments)
    if named.name == VIEWER_TYPE and isinstance(named, GraphQLObjectType):
        return _viewer(operation, key, named, details)
    mirror = MIRRORS[named.name]
    ((by, leaf),) = arguments["by"].items()
    return Lookup(key, mirror.attributes[by], leaf.source, _entity(operation, mirror.name, details))


def _nodes(operation: PlanningContext, key: str, details: FieldDetailsList, arguments: dict[str, Any]) -> Root:
    ((name, leaf),) = arguments.items()
    single = name == "id"
    texts = [leaf.value] if single else leaf.value
    most = operation.settings.max_page_size
    if len(texts) > most:
        raise BadUserInput(Over(f"At most {most} ids at a time.", most, len(texts)), (name,))
    counts = Counter(type_ for text in texts if (type_ := id_type(text)))
    return RowsById(
        key, leaf.source, single, tuple(_entity(operation, type_, details) for type_ in counts), tuple(counts.values())
    )


def _summary(operation: PlanningContext, key: str, type_name: str, details: FieldDetailsList, arguments: dict[str, Any]) -> Root:
    spec = SUMMARIES[type_name]
    groups = arguments.get("groupBy")
    size = arguments["first"].value if "first" in arguments and arguments["first"].value is not None else DEFAULT_GROUPS
    if not 0 <= size <= MAX_GROUPS:
        raise BadUserInput(Over(f"first must be from 0 to {MAX_GROUPS}.", MAX_GROUPS, size), ("first",))
    names = tuple(dict.fromkeys(choice.value for choice in groups.value)) if groups is not None and groups.value else ()
    type_ = operation.schema.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType)
    where = where_of(MIRRORS[spec.of], spec.of, arguments)
    return SummaryRoot(key, type_name, names, where, size, _summary_parts(operation, spec, type_, details))


def _summary_parts(
    operation: PlanningContext, spec: Summary, type_: GraphQLObjectType, details: FieldDetailsList
) -> tuple[SummaryPart, ...]:
    parts: list[SummaryPart] = []
    for key, inner in _subfields(operation, type_, details):
        name = inner[0].node.name.value
        group = spec.groups.get(name)
        if name == "__typename":
            parts.append(SummaryPart(key, "typename", type_.name))
        elif group is not None and group.entity:
            parts.append(SummaryPart(key, "entity", name, _entity(operation, group.entity, inner)))
        elif group is not None:
            parts.append(SummaryPart(key, "group", name))
        elif isinstance(named := get_named_type(type_.fields[name].type), GraphQLObjectType):
            parts.append(SummaryPart(key, "object", name, parts=_summary_parts(operation, spec, named, inner)))
        else:
            parts.append(SummaryPart(key, "measure", name))
    return tuple(parts)


def _viewer(operation: PlanningContext, key: str, type_: GraphQLObjectType, details: FieldDetailsList) -> ViewerRoot:
    parts: list[ViewerPart] = []
    for each, inner in _subfields(operation, type_, details):
        name = inner[0].node.name.value
        if name == "__typename":
            parts.append(ViewerPart(each, "typename", type_.name))
        elif is_leaf_type(named := get_named_type(type_.fields[name].type)):
            parts.append(ViewerPart(each, "known", name))
        else:
            entity = _entity(operation, named.name, inner)
            parts.append(ViewerPart(each, "row", name, entity if operation.kind == BOUND else None))
    return ViewerRoot(key, type_.name, tuple(parts) if operation.kind in KNOWN else None)


def _entity(operation: PlanningContext, type_name: str, details: FieldDetailsList) -> Entity:
    type_ = operation.schema.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType)
    mirror = MIRRORS[type_name]
    fields: list[Field] = []
    for key, inner in _subfields(operation, type_, details):
        name = inner[0].node.name.value
        if name == "__typename":
            fields.append(Typename(key, type_name))
        else:
            fields.append(_field(operation, mirror, type_, key, name, inner))
    return Entity(type_name, tuple(fields))


def _field(
    operation: PlanningContext, mirror: Mirror, type_: GraphQLObjectType, key: str, name: str, details: FieldDetailsList
) -> Field:
    field = type_.fields[name]
    attribute = python_name(field)
    named = get_named_type(field.type)
    if is_leaf_type(named):
        if operation.kind == BOUND and attribute in mirror.untold:
            return Untold(key)
        listed = is_list_type(get_nullable_type(field.type))
        return Value(key, attribute, "JSON" if listed else named.name, not is_non_null_type(field.type))
    if isinstance(named, GraphQLInterfaceType):
        nodes = [each.name for each in MIRRORS.values() if each.is_node and each.name in operation.schema.type_map]
        return AnyRow(key, *ANY_ROW, tuple(_entity(operation, node, details) for node in nodes))
    if connection_node(field.type) is not None:
        arguments = operation.arguments(field, details[0].node)
        return _page(operation, key, attribute, field.type, details, arguments)
    relation = mirror.mapper.relationships[attribute]
    target = mirror_of(relation.mapper.class_)
    entity = _entity(operation, target.name, details)
    if relation.uselist:
        return Many(key, attribute, entity)
    return One(key, attribute, may_be_missing(relation), entity)


def _subfields(
    operation: PlanningContext, type_: GraphQLObjectType, details: FieldDetailsList
) -> list[tuple[str, FieldDetailsList]]:
    collected = collect_subfields(
        operation.schema, dict(operation.fragments), operation.variables, operation.node, type_, details
    )
    return list(collected.grouped_field_set.items())


def _page(
    operation: PlanningContext,
    key: str,
    relation: str | None,
    type_: Any,
    details: FieldDetailsList,
    arguments: dict[str, Any],
) -> Page:
    connection = get_named_type(type_)
    assert isinstance(connection, GraphQLObjectType)
    mirror = MIRRORS[connection_node(type_) or ""]
    size, backward = size_of(operation.settings, arguments, nested=relation is not None)
    order = read_order(mirror, arguments["orderBy"] if isinstance(arguments.get("orderBy"), list) else None)
    order = log_order(mirror) or order
    return Page(
        key=key,
        type_name=mirror.name,
        relation=relation,
        where=where_of(mirror, relation, arguments),
        order=order,
        size=size,
        backward=backward,
        after=cursor_of(mirror.name, order, arguments, "after"),
        before=cursor_of(mirror.name, order, arguments, "before"),
        parts=_page_parts(operation, connection, mirror.name, details),
    )


def _page_parts(
    operation: PlanningContext, connection: GraphQLObjectType, type_name: str, details: FieldDetailsList
) -> tuple[PagePart, ...]:
    parts: list[PagePart] = []
    for key, inner in _subfields(operation, connection, details):
        name = inner[0].node.name.value
        if name == "nodes":
            parts.append(PagePart(key, "nodes", _entity(operation, type_name, inner)))
        elif name == "edges":
            parts.append(PagePart(key, "edges", edge=_edge(operation, connection, type_name, inner)))
        elif name == "totalCount":
            parts.append(PagePart(key, "total_count"))
        elif name == "pageInfo":
            info_type = get_named_type(connection.fields["pageInfo"].type)
            assert isinstance(info_type, GraphQLObjectType)
            info = tuple((k, PAGE_INFO[d[0].node.name.value]) for k, d in _subfields(operation, info_type, inner))
            parts.append(PagePart(key, "page_info", info=info))
        else:
            parts.append(PagePart(key, "typename", Entity(connection.name, ())))
    return tuple(parts)


def _edge(
    operation: PlanningContext, connection: GraphQLObjectType, type_name: str, details: FieldDetailsList
) -> tuple[EdgePart, ...]:
    edge_type = get_named_type(connection.fields["edges"].type)
    assert isinstance(edge_type, GraphQLObjectType)
    parts: list[EdgePart] = []
    for key, inner in _subfields(operation, edge_type, details):
        name = inner[0].node.name.value
        if name == "node":
            parts.append(EdgePart(key, "node", _entity(operation, type_name, inner)))
        elif name == "cursor":
            parts.append(EdgePart(key, "cursor"))
        else:
            parts.append(EdgePart(key, "typename", Entity(edge_type.name, ())))
    return tuple(parts)
