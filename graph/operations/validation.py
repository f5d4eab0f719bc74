"""Validation rules of our own, for values in a document and for the places where its variables and directives stand.

What goes in: the standard validation of a document. What comes out: `BAD_USER_INPUT` at the input path, in the words that
variables are refused with, where the standard rules would speak of the document. A directive of a mutation's fields that stands
on another field is refused, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import islice
from typing import Any

from graphql import (
    SKIP,
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FieldsOnCorrectTypeRule,
    GraphQLArgument,
    GraphQLError,
    GraphQLInputType,
    GraphQLObjectType,
    GraphQLSchema,
    KnownArgumentNamesRule,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    ProvidedRequiredArgumentsRule,
    ValidationRule,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariablesInAllowedPositionRule,
    Visitor,
    VisitorAction,
    get_named_type,
    get_nullable_type,
    is_input_object_type,
    is_input_type,
    is_non_null_type,
    is_object_type,
    is_required_argument,
    is_specified_directive,
    specified_rules,
    type_from_ast,
    visit,
)
from graphql.pyutils import did_you_mean, suggestion_list
from graphql.validation import ASTValidationRule, NoSchemaIntrospectionCustomRule
from graphql.validation.rules.variables_in_allowed_position import allowed_variable_usage

from graph.operations.faults import faults
from graph.read.refusals import MAX_ERRORS, BadUserInput
from graph.settings import Settings


@cache
def rules(settings: Settings) -> tuple[type[ASTValidationRule], ...]:
    """What a document is validated by. Validation makes its rules itself and hands them nothing: a class knows its settings."""
    values = type("ValuesRule", (ValuesRule,), {"settings": settings})
    own: dict[type[ASTValidationRule], type[ASTValidationRule]] = {
        FieldsOnCorrectTypeRule: FieldsRule,
        KnownArgumentNamesRule: ArgumentsRule,
        ProvidedRequiredArgumentsRule: RequiredArgumentsRule,
        ValuesOfCorrectTypeRule: values,
        VariablesInAllowedPositionRule: VariablesRule,
    }
    more = () if settings.introspection else (NoSchemaIntrospectionCustomRule,)
    return (*(own.get(rule, rule) for rule in specified_rules), MutationDirectivesRule, *more)


class ValuesRule(ValuesOfCorrectTypeRule):
    """Values of arguments fit their types and limits. Defaults of variables are judged where the variables stand, later."""

    settings: Settings

    def enter_variable_definition(self, *_: Any) -> VisitorAction:
        return SKIP

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        if input_type is not None:
            place = argument_path(self.context.document, node)
            for path, message in islice(faults(node, input_type, place, self.settings), MAX_ERRORS):
                self.report_error(BadUserInput(message, path, node))
        return SKIP


class FieldsRule(FieldsOnCorrectTypeRule):
    """The standard rule, which also knows fields that stand one step deeper, or at another root."""

    def enter_field(self, node: FieldNode, *more: Any) -> None:
        type_, name = self.context.get_parent_type(), node.name.value
        if self.context.get_field_def() is None and is_object_type(type_) and not self.context.hide_suggestions:
            hint = elsewhere(self.context.schema, type_, name)
            if hint:
                self.report_error(GraphQLError(f"Cannot query field '{name}' on type '{type_}'.{hint}", node))
                return
        super().enter_field(node, *more)


def elsewhere(schema: GraphQLSchema, type_: GraphQLObjectType, name: str) -> str:
    """Where a field is that a type does not have: a sentence, empty where it is nowhere near."""
    roots = [root for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root is not None]
    if type_ in roots:
        found = next((root.name for root in roots if name in root.fields), None)
        return "" if found is None else f" It is a field of {found}: write {found.lower()} {{ {name} }}."
    deeper = []
    for step, field in type_.fields.items():
        inner = get_named_type(field.type)
        if is_object_type(inner) and name in inner.fields and not any(map(is_required_argument, field.args.values())):
            deeper.append(f"{step} {{ {name} }}")
    return did_you_mean([*suggestion_list(name, list(type_.fields)), *deeper]) if deeper else ""


class ArgumentsRule(KnownArgumentNamesRule):
    """The standard rule, which also knows what is a field of an argument, such as of `by` and `input`."""

    def enter_argument(self, node: ArgumentNode, *more: Any) -> None:
        field, name, holder = self.context.get_field_def(), node.name.value, more[-1][-1]
        if field is not None and name not in field.args and isinstance(holder, FieldNode) and not self.context.hide_suggestions:
            inputs = {key: get_named_type(argument.type) for key, argument in field.args.items()}
            deeper = [
                f"{key}: {{{name}: …}}" for key, type_ in inputs.items() if is_input_object_type(type_) and name in type_.fields
            ]
            if deeper:
                hint = did_you_mean([*suggestion_list(name, list(field.args)), *deeper])
                where = f"{self.context.get_parent_type()}.{holder.name.value}"
                self.report_error(GraphQLError(f"Unknown argument '{name}' on field '{where}'.{hint}", node))
                return
        super().enter_argument(node, *more)


class RequiredArgumentsRule(ValidationRule):
    """Arguments that must be there are; one that is misspelt is told once, as unknown."""

    def leave_field(self, node: FieldNode, *_: Any) -> None:
        definition = self.context.get_field_def()
        if definition is not None:
            self._look(node, definition.args, node.name.value)

    def leave_directive(self, node: DirectiveNode, *_: Any) -> None:
        definition = self.context.schema.get_directive(node.name.value)
        if definition is not None:
            self._look(node, definition.args, f"@{definition.name}")

    def _look(self, node: FieldNode | DirectiveNode, known: Mapping[str, GraphQLArgument], name: str) -> None:
        given = {argument.name.value for argument in node.arguments or ()}
        for argument, definition in known.items() if given <= known.keys() else ():
            if is_required_argument(definition) and argument not in given:
                self.report_error(BadUserInput(f"{name} needs {argument}, of type {definition.type}.", (argument,), node))


class MutationDirectivesRule(ValidationRule):
    """Directives of this schema that stand on fields act on those of a mutation: nobody reads them anywhere else."""

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        if self.context.get_parent_type() is self.context.schema.mutation_type:
            return
        for directive in node.directives or ():
            definition = self.context.schema.get_directive(directive.name.value)
            if definition is not None and not is_specified_directive(definition):
                where = (
                    f"Directive '@{definition.name}' may only stand on a field of a mutation itself, not on '{node.name.value}'."
                )
                self.report_error(GraphQLError(where, directive))


class VariablesRule(VariablesInAllowedPositionRule):
    """The standard rule, which also sees the fields of `@oneOf` inputs that stand where null may not."""

    def leave_operation_definition(self, operation: OperationDefinitionNode, *_: Any) -> None:
        schema = self.context.schema
        for usage in self.context.get_recursive_variable_usages(operation):
            name = usage.node.name.value
            declared = self.var_def_map.get(name)
            type_ = None if declared is None else type_from_ast(schema, declared.type)
            if declared is None or usage.type is None or not is_input_type(type_):
                continue  # other rules say so
            parent: Any = usage.parent_type and get_nullable_type(usage.parent_type)
            problem = None
            if is_input_object_type(parent) and parent.is_one_of and not is_non_null_type(type_):
                if has_siblings(self.context.document, usage.node):
                    continue  # the fault is that there are several fields, and it is told already
                problem = f"Variable '${name}' must be of type '{type_}!', since it chooses the one field of {parent.name}."
            elif not allowed_variable_usage(schema, type_, declared.default_value, usage.type, usage.default_value):
                problem = f"Variable '${name}' of type '{type_}' stands where '{usage.type}' is needed."
            if problem:
                path = argument_path(self.context.document, usage.node)
                self.report_error(BadUserInput(problem, path, [declared, usage.node]))


def has_siblings(document: DocumentNode, wanted: Node) -> bool:
    """Whether a value stands in an object of the document that has other fields, too."""
    found = False

    class Finder(Visitor):
        def enter_object_value(self, node: ObjectValueNode, *_: Any) -> None:
            nonlocal found
            found = found or (len(node.fields) > 1 and any(field.value is wanted for field in node.fields))

    visit(document, Finder())
    return found


def argument_path(document: DocumentNode, wanted: Node) -> tuple[str, ...]:
    """The way from a field's argument to a value in the document: `("input", "items", "0", "sku")`."""
    found: list[tuple[str, ...]] = []

    class Finder(Visitor):
        def enter(self, node: Node, _key: Any, parent: Any, _path: Any, ancestors: list[Any]) -> None:
            if node is wanted and not found:
                found.append(path_of([*ancestors, parent, node]))

    visit(document, Finder())
    return found[0] if found else ()


def path_of(ancestors: list[Any]) -> tuple[str, ...]:
    """The way from a field's argument to the last of these nodes, each of which holds the next."""
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
