"""Documents: parsed, limited, validated once, and kept with what every request of theirs needs.

What goes in: the text of a document and an operation name. What comes out: a `Document`, frozen. What is refused here:
syntax, validation and limit errors are a `RequestRefused` with a code on each error.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from graphql import (
    SKIP,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    IntValueNode,
    ListValueNode,
    Node,
    OperationDefinitionNode,
    OperationType,
    StringValueNode,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableNode,
    Visitor,
    VisitorAction,
    parse,
    specified_rules,
    type_from_ast,
    validate,
    visit,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.utilities import validate_input_literal
from graphql.validation import NoSchemaIntrospectionCustomRule

from graph.operations import limits
from graph.operations.coercers import Coercer, coercer
from graph.read.arguments import Shaper, id_type, ids_shape, shaper
from graph.read.errors import BadUserInput
from graph.read.paging import cursor_shape, decode, is_storable
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
MAX_VALIDATION_ERRORS = 20
#: Digits of a whole number in a document: far more than any type takes.
MAX_DIGITS = 100


class RequestRefused(Exception):
    """A request that never ran: its GraphQL errors, each with `extensions.code`, and the HTTP status that fits."""

    def __init__(self, errors: list[GraphQLError], status: int = 400) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors
        self.status = status


def refused(code: str, message: str, status: int = 400) -> RequestRefused:
    return RequestRefused([GraphQLError(message, extensions={"code": code})], status)


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One operation of a validated document.

    `uses` are the variables with each place they stand at: the way from a field's argument, as error paths start, never empty.
    `signatures` are the variables by name, each with what coerces its values. `shapers` reduce the variables that a plan may
    depend on: all of a query's, those below the root fields of a mutation.
    """

    document: DocumentNode
    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDetails]
    uses: tuple[tuple[str, tuple[str, ...]], ...]
    signatures: tuple[tuple[str, GraphQLVariableSignature, Coercer], ...]
    shapers: tuple[tuple[str, Shaper], ...]

    @property
    def kind(self) -> OperationType:
        return self.operation.operation

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
    rules = [input_rule(settings) if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules]
    if not settings.introspection:
        rules.append(NoSchemaIntrospectionCustomRule)
    errors = validate(
        schema,
        document,
        rules,
        max_errors=MAX_VALIDATION_ERRORS,
        hide_suggestions=not settings.introspection,
    )
    if errors:
        for problem in errors:
            problem.extensions = {"code": "GRAPHQL_VALIDATION_FAILED", **(problem.extensions or {})}
        raise RequestRefused(errors)
    # What is kept needs no locations: they hold every token, and are more than half of a tree's memory.
    document = parse(text, no_location=True)
    operation = _pick(document, operation_name)
    fragments = {d.name.value: FragmentDetails(d, None) for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    usage = _Usage(operation)
    for part in (operation, *_reached(operation, fragments)):
        visit(part, usage)
    known: dict[str, Shaper] = {}
    shapers: list[tuple[str, Shaper]] = []
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        if name in usage.shaping:
            shapers.append((name, ARGUMENT_SHAPES.get(usage.arguments.get(name, "")) or _shaper(schema, definition.type, known)))
    signatures = [get_variable_signature(schema, definition) for definition in operation.variable_definitions or ()]
    named = tuple((each.name, each, coercer(each.type)) for each in signatures if isinstance(each, GraphQLVariableSignature))
    return Document(document, operation, fragments, tuple(usage.uses), named, tuple(shapers))


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


def _shaper(schema: GraphQLSchema, node: Any, known: dict[str, Shaper]) -> Shaper:
    type_: Any = type_from_ast(schema, node)
    return shaper(type_, known)


def _parse(text: str, settings: Settings) -> DocumentNode:
    try:
        return parse(text, max_lexical_tokens=settings.max_tokens, max_comments=settings.max_tokens)
    except GraphQLError as error:
        over = "Document contains more than" in error.message
        error.extensions = {"code": "OPERATION_TOO_LARGE" if over else "GRAPHQL_PARSE_FAILED"}
        raise RequestRefused([error]) from None


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


class InputRule(ValuesOfCorrectTypeRule):
    """The standard rule, and texts that a database could not store; both are bad input, not a bad document."""

    settings: Settings

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        look = _Storable(self)
        visit(node, look)
        if input_type is not None and not look.refused:

            def refuse(error: GraphQLError, steps: list[str | int]) -> None:
                self.refuse(error.message, node, *map(str, steps))

            validate_input_literal(node, input_type, refuse, None, None, self.context.hide_suggestions)
        return SKIP

    def refuse(self, message: str, node: ValueNode, *steps: str) -> None:
        """Report a value in the document; `steps` lead from the node to it."""
        self.report_error(BadUserInput(message, (*argument_path(self.context.document, node), *steps), node))


@cache
def input_rule(settings: Settings) -> type[InputRule]:
    """The rule under some settings: validation makes its rules itself and hands them nothing."""
    return type("InputRule", (InputRule,), {"settings": settings})


class _Storable(Visitor):
    """Looks for texts that no database can store and lists that are too long, in a value the standard rule has for itself."""

    def __init__(self, rule: InputRule) -> None:
        super().__init__()
        self.rule = rule
        self.refused = False

    def refuse(self, message: str, node: ValueNode) -> None:
        self.refused = True
        self.rule.refuse(message, node)

    def enter_int_value(self, node: IntValueNode, *_: Any) -> None:
        if len(node.value) > MAX_DIGITS:
            self.refuse("The number has too many digits.", node)

    def enter_string_value(self, node: StringValueNode, *_: Any) -> None:
        if not is_storable(node.value):
            self.refuse("Text cannot hold NUL or lone surrogates.", node)
        elif len(node.value) > self.rule.settings.max_text_length and decode(node.value) is None:  # a cursor may be longer
            self.refuse(f"Text may have at most {self.rule.settings.max_text_length} characters.", node)

    def enter_list_value(self, node: ListValueNode, *_: Any) -> None:
        if len(node.values) > self.rule.settings.max_input_list:
            limit = self.rule.settings.max_input_list
            self.refuse(f"A list in a document may have at most {limit} entries.", node)


def argument_path(document: DocumentNode, wanted: Node) -> tuple[str, ...]:
    """The way from a field's argument to a value in the document: `("input", "items", "0", "sku")`."""
    found: list[tuple[str, ...]] = []

    class Finder(Visitor):
        def enter(self, node: Node, _key: Any, parent: Any, _path: Any, ancestors: list[Any]) -> None:
            if node is wanted and not found:
                found.append(_path_of([*ancestors, parent, node]))

    visit(document, Finder())
    return found[0] if found else ()


def _path_of(ancestors: list[Any]) -> tuple[str, ...]:
    path: list[str] = []
    for index, node in enumerate(ancestors):
        kind = getattr(node, "kind", None)
        if kind == "field":
            path = []
        elif kind in ("argument", "object_field"):
            path.append(node.name.value)
        elif kind == "list_value" and index + 2 < len(ancestors):
            children = list(node.values)
            path.append(str(next(i for i, child in enumerate(children) if child is ancestors[index + 2])))
    return tuple(path)


class _Usage(Visitor):
    """Where an operation uses its variables."""

    def __init__(self, operation: OperationDefinitionNode) -> None:
        super().__init__()
        self.operation = operation
        self.uses: list[tuple[str, tuple[str, ...]]] = []
        self.arguments: dict[str, str] = {}
        self.shaping: set[str] = set()

    def enter_variable(self, node: VariableNode, _key: Any, parent: Any, _path: Any, above: list[Any]) -> None:
        name = node.name.value
        ancestors = [*above, parent]  # which the visitor leaves out
        kinds = [getattr(ancestor, "kind", "") for ancestor in ancestors]
        if "variable_definition" in kinds:
            return
        path = _path_of([*ancestors, node])
        self.uses.append((name, path or (name,)))
        if path and path[0] in ARGUMENT_SHAPES and "directive" not in kinds:
            if len(path) == 1:
                self.arguments[name] = path[0]
            elif path[0] == "ids":
                self.arguments[name] = "id"
        # The input of a mutation's root field never shapes a plan: its variables are used above the selection.
        fields = [a for a in ancestors if isinstance(a, FieldNode)]
        if (
            self.operation.operation is OperationType.QUERY
            or len(fields) != 1
            or "fragment_definition" in kinds
            or "directive" in kinds
        ):
            self.shaping.add(name)
