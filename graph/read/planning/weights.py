"""What the planner counts, told in the schema: `@cost` and `@listSize` of the GraphQL Cost Directives specification.

What goes in: the schema, when everything in it is made. What comes out: the same with these directives on its definitions, from
which tools reckon what a document costs before it is sent. Nothing is refused here.

A type weighs 1 as in that specification where `graph.read.planning.cost` counts a row of it, and 0 where it does not. Five
things cannot be told so: a page of which nothing but `pageInfo` is asked has its rows; `nodes` and `edges` of one page are one
list; a filter by relations within relations counts their product, and one by a foreign key alone nothing; a row that may be wide
counts for several; lists by ids or by the entries of an input have these as their size.
"""

from __future__ import annotations

from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

from graph.read.planning.cost import BOUNDED_ROWS
from graph.read.planning.groups import DEFAULT_GROUPS, SUMMARIES
from graph.read.types.mirror import MIRRORS, connection_node, python_name
from graph.read.types.sizes import DESCRIPTIONS, PAGE, ListSize, Weighing, sized
from graph.settings import Settings


def weigh(schema: GraphQLSchema, settings: Settings) -> None:
    """Write on a schema's definitions what their cost is under these settings."""
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    objects = [type_ for type_ in schema.type_map.values() if isinstance(type_, GraphQLObjectType)]
    objects = [type_ for type_ in objects if type_ not in roots and not type_.name.startswith("__")]
    nodes = {connection_node(field.type) for type_ in (*objects, schema.query_type) if type_ for field in type_.fields.values()}
    for type_ in objects:
        if type_.name not in {*MIRRORS, *SUMMARIES, *nodes}:
            write_on(type_, Weighing(weight="0"))
        for name, field in type_.fields.items():
            if name == "totalCount" and "nodes" in type_.fields:
                write_on(field, Weighing(weight="1"))
            elif connection_node(field.type) is not None:
                write_on(field, page(field, settings.nested_page_size))
            elif type_.name in MIRRORS and is_list_type(get_nullable_type(field.type)) and is_row(field.type):
                write_on(field, sized(BOUNDED_ROWS))
    for field in schema.query_type.fields.values() if schema.query_type else ():
        if connection_node(field.type) is not None:
            write_on(field, page(field, settings.default_page_size))
        elif get_named_type(field.type).name in SUMMARIES:
            write_on(field, sized(DEFAULT_GROUPS, ["first"]))
    for directive in schema.directives:
        if directive.name in ("cost", "listSize"):
            for name, argument in directive.args.items():
                argument.description = DESCRIPTIONS[name]
    for mirror in MIRRORS.values():
        where = schema.type_map.get(f"{mirror.name}Where")
        for field in where.fields.values() if isinstance(where, GraphQLInputObjectType) else ():
            relation = mirror.mapper.relationships.get(python_name(field))
            if relation is not None:
                write_on(field, Weighing(weight=str(BOUNDED_ROWS if relation.uselist else 1)))


def page(field: GraphQLField, assumed: int) -> ListSize:
    """The size of a connection, said by those of a page's arguments that it has."""
    arguments, fields = PAGE
    return sized(assumed, [name for name in arguments if name in field.args], fields)


def is_row(type_: Any) -> bool:
    return get_named_type(type_).name in MIRRORS


def write_on(definition: Any, directive: Any) -> None:
    """Add a directive to what a type or a field was made from, once."""
    declared = definition.extensions["strawberry-definition"]
    if not any(isinstance(known, type(directive)) for known in declared.directives):
        declared.directives = (*declared.directives, directive)
