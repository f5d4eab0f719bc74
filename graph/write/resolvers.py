"""What every mutation has: one argument `input`, a payload with `errors`, and its work done in a transaction.

What goes in: a function of a `Unit` and an input that says what it answers. What comes out: the field of the schema. What may be
refused here: a function that is not of this form raises `TypeError` when it is declared.

A mutation is no more than this, and its name in the room's list `MUTATIONS`:

    @mutation("Make an order with its lines, in one piece.", scope="write")
    async def create_order(unit: Unit, input: CreateOrderInput) -> Answer[CreateOrderPayload]:
        order = unit.create(models.Order, input)
        await unit.insert(order)
        return answer(order=order)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import strawberry
from graphql import GraphQLResolveInfo, GraphQLSchema
from strawberry.types.base import StrawberryList, get_object_definition
from strawberry.types.field import StrawberryField

from graph.context import Context
from graph.read.payloads.running import running_in
from graph.read.types.permissions import root_use
from graph.write.answers import Answer, Payload
from graph.write.converters import converter
from graph.write.perform import perform
from graph.write.unit import Unit

In = TypeVar("In")
P = TypeVar("P", bound=Payload)

#: In the metadata of a mutation: what runs its work without Strawberry's resolver.
DIRECT = "direct"

ABOUT_INPUT = "All that the mutation is told."


def mutation(
    description: str, *, scope: str, unbound: bool = False
) -> Callable[[Callable[[Unit, In], Awaitable[Answer[P]]]], StrawberryField]:
    """Make a function the field of the schema that has its name, and say which scope it needs; `unbound`: not for bound viewers.

    What it returns names the payload: `Answer[...Payload]`.
    """

    def declare(work: Callable[[Unit, In], Awaitable[Answer[P]]]) -> StrawberryField:
        input_type, payload = _annotated(work)
        entries, convert = entries_of(input_type, payload), converter(input_type)

        async def resolve(info: strawberry.Info[Context, None] | GraphQLResolveInfo[Context], input: In) -> P:
            context = info.context
            field = running_in(context).fields[str(info.path.key)]
            return await perform(context, field, payload, lambda unit: work(unit, input), entries)

        async def direct(source: None, info: GraphQLResolveInfo[Context], input: Mapping[str, Any]) -> P:
            return await resolve(info, convert(input))

        resolve.__name__ = work.__name__
        argument: Any = Annotated[input_type, strawberry.argument(description=ABOUT_INPUT)]
        resolve.__annotations__ = {"info": strawberry.Info[Context, None], "input": argument, "return": payload}
        needs = {**root_use(scope, unbound=unbound), DIRECT: direct}
        field: StrawberryField = strawberry.mutation(resolver=resolve, description=description, metadata=needs)
        return field

    return declare


def use_resolvers(schema: GraphQLSchema) -> None:
    """Run the work of all mutations straight from their coerced inputs."""
    assert schema.mutation_type is not None
    for field in schema.mutation_type.fields.values():
        field.resolve = field.extensions["strawberry-definition"].metadata[DIRECT]


def _annotated(work: Callable[..., Any]) -> tuple[type, type[Any]]:
    """The input and the payload that a function names. Raises `TypeError`."""
    hints = get_type_hints(work)
    answered = hints.pop("return", None)
    if [*hints.values()][:1] != [Unit] or len(hints) != 2 or get_origin(answered) is not Answer:
        raise TypeError(f"{work.__name__} must take a Unit and an input and return an Answer[...] of its payload")
    _, input_type = hints.values()
    (payload,) = get_args(answered)
    if not issubclass(payload, Payload):
        raise TypeError(f"{work.__name__} must answer a Payload, not {payload.__name__}")
    return input_type, payload


def entries_of(input_type: type, payload: type) -> str:
    """The name of the list of an input whose entries have results of their own in the payload; empty where none has."""
    if get_object_definition(payload, strict=True).get_field("results") is None:
        return ""
    lists = [f.name for f in get_object_definition(input_type, strict=True).fields if isinstance(f.type, StrawberryList)]
    if len(lists) != 1:
        raise TypeError(f"{input_type.__name__} must have one list, whose entries have the results of {payload.__name__}")
    return lists[0]
