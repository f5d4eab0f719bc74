"""Documents: parsed, limited, validated once, and kept with what every request of theirs needs.

What goes in: the text of a document and an operation name. What comes out: a `Document`, frozen. What is refused here:
syntax, validation and limit errors are a `RequestRefused` with a code on each error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSchema,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    TypeInfo,
    TypeInfoVisitor,
    ValueNode,
    VariableNode,
    Visitor,
    get_named_type,
    is_non_null_type,
    parse,
    validate,
    visit,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature

from graph.observations import LONGEST_NAME
from graph.operations import limits
from graph.operations.authorization import Needs, needs_of
from graph.operations.coercers import Coercer, coercer
from graph.operations.faults import ROWS, Fault, Path, counted, faults, too_many
from graph.operations.request_errors import RequestRefused, refused
from graph.operations.validation import argument_path, path_of, rules
from graph.read.planning.arguments import Shaper, id_type, ids_shape, shaper
from graph.read.planning.cursors import cursor_shape
from graph.read.refusals import MAX_ERRORS, BadUserInput
from graph.settings import Settings

#: Arguments whose values stand in the SQL or pick its form, whatever their type: page sizes, cursors, ids of any type.
ARGUMENT_SHAPES: dict[str, Shaper] = {
    "first": lambda value: value,
    "last": lambda value: value,
    "after": cursor_shape,
    "before": cursor_shape,
    "id": lambda value: None if value is None else id_type(value),
    "ids": ids_shape,
}


@dataclass(frozen=True, slots=True)
class Use:
    """A place where a variable stands: the way from a field's argument, as error paths start, never empty.

    `needed` says that null may not stand there, though the variable's type has it.
    """

    path: tuple[str, ...]
    needed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """A variable of an operation, with what coerces its values and all places where it stands.

    `default_entries` says how many objects stand in the lists of its default.
    """

    name: str
    signature: GraphQLVariableSignature
    convert: Coercer
    uses: tuple[Use, ...]
    default_entries: int

    def faults(self, value: Any, settings: Settings) -> list[Fault]:
        """What is wrong with a value, told at the first place that minds."""
        for use in self.uses:
            if found := list(islice(faults(value, self.signature.type, use.path, settings), MAX_ERRORS)):
                return found
        return []


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One operation of a validated document.

    `shapers` reduce the variables that a plan may depend on: all of a query's, those below the root fields of a mutation.
    `needs` is what its root fields need, those included that @skip and @include may leave out.
    `only_inserts` says that all it does is to insert plain rows, of which a request may hold more.
    `entries` says how many objects stand in the lists of its literals.
    """

    document: DocumentNode
    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDetails]
    variables: tuple[Variable, ...]
    shapers: tuple[tuple[str, Shaper], ...]
    entries: int
    needs: Needs
    only_inserts: bool
    kind: OperationType = field(init=False)
    #: The operation's name, or nothing, and its kind, as they are told to whoever watches.
    title: tuple[str, str] = field(init=False)

    def __post_init__(self) -> None:
        kind, name = self.operation.operation, self.operation.name
        object.__setattr__(self, "kind", kind)  # looked at by every request, which a property would cost as much as a look-up
        object.__setattr__(self, "title", ("" if name is None else name.value[:LONGEST_NAME], kind.value))

    def shape(self, variables: Mapping[str, Any]) -> Hashable:
        """What a plan of this document may depend on in the coerced variables."""
        return tuple(shape(variables[name]) if name in variables else ... for name, shape in self.shapers)


def read_document(schema: GraphQLSchema, settings: Settings, text: str, operation_name: str | None) -> Document:
    """Parse, limit and validate. Raises `RequestRefused`."""
    document = _parse(text, settings)
    try:
        limits.check(document, settings)
    except GraphQLError as error:
        raise RequestRefused([error]) from None
    errors = validate(
        schema,
        document,
        rules(settings),
        max_errors=MAX_ERRORS,
        hide_suggestions=not settings.suggestions,
    )
    if errors:
        for problem in errors:
            place = argument_path(document, problem.nodes[0]) if problem.nodes else ()
            where = {"path": list(place)} if place else {}
            problem.extensions = {"code": "GRAPHQL_VALIDATION_FAILED", **where, **(problem.extensions or {})}
        raise RequestRefused(errors)
    # What is kept needs no locations: they hold every token, and are more than half of a tree's memory.
    document = parse(text, no_location=True)
    operation = _pick(document, operation_name)
    fragments = {d.name.value: FragmentDetails(d, None) for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    types = TypeInfo(schema)
    usage = _Usage(operation, types)
    for part in (operation, *_reached(operation, fragments)):
        visit(part, TypeInfoVisitor(types, usage))
    known: dict[str, Shaper] = {}
    shapers: list[tuple[str, Shaper]] = []
    variables: list[Variable] = []
    for definition in operation.variable_definitions or ():
        signature = get_variable_signature(schema, definition)
        assert isinstance(signature, GraphQLVariableSignature), "validation has seen to it"
        name, uses = signature.name, tuple(usage.uses.get(signature.name, ()))
        listed = sum(count for _, count in lists_in(definition.default_value, uses[0].path)) if uses else 0
        variables.append(Variable(name, signature, coercer(signature.type), uses, listed))
        if name in usage.shaping:
            shapers.append((name, ARGUMENT_SHAPES.get(usage.arguments.get(name, "")) or shaper(signature.type, known)))
    entries = 0
    for path, count in usage.lists:
        entries += count
        if entries > settings.max_nested_rows:
            raise RequestRefused([BadUserInput(too_many(settings.max_nested_rows, entries), path)])
    needs, only_inserts = needs_of(schema, operation, fragments), _only_inserts(schema, operation)
    read = Document(document, operation, fragments, tuple(variables), tuple(shapers), entries, needs, only_inserts)
    check_defaults(read, settings)
    return read


def _only_inserts(schema: GraphQLSchema, operation: OperationDefinitionNode) -> bool:
    """Whether every root field takes plain rows. Fragments are not looked into."""
    if operation.operation is not OperationType.MUTATION or schema.mutation_type is None:
        return False
    for selection in operation.selection_set.selections:
        field = schema.mutation_type.fields.get(selection.name.value) if isinstance(selection, FieldNode) else None
        inputs = [get_named_type(argument.type) for argument in field.args.values()] if field is not None else []
        if not any(isinstance(input_, GraphQLInputObjectType) and ROWS in input_.fields for input_ in inputs):
            return False
    return True


def check_defaults(document: Document, settings: Settings) -> None:
    """Hold the defaults of variables against the places where these stand. Raises `RequestRefused`."""
    found = [
        BadUserInput(message, path)
        for variable in document.variables
        if variable.signature.default is not None
        for path, message in variable.faults(variable.signature.default.literal, settings)
    ]
    if found:
        raise RequestRefused(list(found[:MAX_ERRORS]))


def lists_in(value: ValueNode | None, path: Path) -> Iterator[tuple[Path, int]]:
    """The lists in a literal, each with its place and how many of its objects count as rows."""
    if isinstance(value, ListValueNode):
        if counted(path[-1]):
            yield path, sum(isinstance(part, ObjectValueNode) for part in value.values)
        for index, part in enumerate(value.values):
            yield from lists_in(part, (*path, str(index)))
    elif isinstance(value, ObjectValueNode):
        for field in value.fields:
            yield from lists_in(field.value, (*path, field.name.value))


def _reached(operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDetails]) -> list[FragmentDefinitionNode]:
    """The fragments that an operation spreads, directly or not."""
    names: dict[str, None] = {}

    class Spreads(Visitor):
        def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
            if node.name.value not in names:
                names[node.name.value] = None
                visit(fragments[node.name.value].definition, self)

    visit(operation, Spreads())
    return [fragments[name].definition for name in names]


def _parse(text: str, settings: Settings) -> DocumentNode:
    try:
        return parse(text, max_lexical_tokens=settings.max_tokens, max_comments=settings.max_tokens)
    except GraphQLError as error:
        over = "Document contains more than" in error.message
        limit = {"limit": settings.max_tokens, "value": settings.max_tokens + 1} if over else {}  # where reading ended
        error.extensions = {"code": "OPERATION_TOO_LARGE" if over else "GRAPHQL_PARSE_FAILED", **limit}
        raise RequestRefused([error], 422 if over else 400) from None


def _pick(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    if name:
        operations = [d for d in operations if d.name is not None and d.name.value == name]
        if not operations:
            raise refused("OPERATION_RESOLUTION_FAILURE", f"The document has no operation named {name!r}.")
    if len(operations) != 1:
        problem = "several operations; name one in operationName" if operations else "no operation"
        raise refused("OPERATION_RESOLUTION_FAILURE", f"The document has {problem}.")
    return operations[0]


class _Usage(Visitor):
    """Where an operation uses its variables, and the lists of its literals."""

    def __init__(self, operation: OperationDefinitionNode, types: TypeInfo) -> None:
        super().__init__()
        self.operation = operation
        self.types = types
        self.nullable = {d.variable.name.value for d in operation.variable_definitions or () if d.type.kind != "non_null_type"}
        self.uses: dict[str, list[Use]] = defaultdict(list)
        self.arguments: dict[str, str] = {}
        self.shaping: set[str] = set()
        self.lists: list[tuple[Path, int]] = []

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
        self.lists += lists_in(node.value, (node.name.value,))

    def enter_variable(self, node: VariableNode, _key: Any, parent: Any, _path: Any, above: list[Any]) -> None:
        name = node.name.value
        ancestors = [*above, parent]  # which the visitor leaves out
        kinds = [getattr(ancestor, "kind", "") for ancestor in ancestors]
        if "variable_definition" in kinds:
            return
        path = path_of([*ancestors, node])
        needed = name in self.nullable and is_non_null_type(self.types.get_input_type())
        self.uses[name].append(Use(path or (name,), needed))
        if path and path[0] in ARGUMENT_SHAPES and "directive" not in kinds:
            if len(path) == 1:
                self.arguments[name] = path[0]
            elif path[0] == "ids":
                self.arguments[name] = "id"
        # The input of a mutation's root field never shapes a plan: its variables are used above the selection.
        fields = [a for a in ancestors if isinstance(a, FieldNode)]
        if (
            self.operation.operation is not OperationType.MUTATION
            or len(fields) != 1
            or "fragment_definition" in kinds
            or "directive" in kinds
        ):
            self.shaping.add(name)
