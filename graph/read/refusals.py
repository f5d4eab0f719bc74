"""Refusals of requests: GraphQL errors with a stable code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphql import GraphQLError

#: Errors of a request at most.
MAX_ERRORS = 20


class Over(str):
    """A message about a limit, which knows it, and what was sent."""

    __slots__ = ("limit", "value")
    limit: int
    value: int

    def __new__(cls, message: str, limit: int, value: int) -> Over:
        made = super().__new__(cls, message)
        made.limit, made.value = limit, value
        return made


class BadUserInput(GraphQLError):
    """An input that cannot be used. `path` leads from the field's argument to it, as the client sent it.

    Where it is `Over` a limit, this stands in the extensions, with what was sent.
    """

    code = "BAD_USER_INPUT"

    def __init__(self, message: str, path: Sequence[str], nodes: Any = None) -> None:
        numbers = {"limit": message.limit, "value": message.value} if isinstance(message, Over) else {}
        super().__init__(message, nodes, extensions={"code": self.code, "path": list(path), **numbers})


class Forbidden(BadUserInput):
    """An input that whoever sends it may not send; `beside` are others of the same operation."""

    code = "FORBIDDEN"
    beside: Sequence[Forbidden] = ()


def all_of(error: GraphQLError) -> list[GraphQLError]:
    """A refusal and those beside it."""
    return [error, *error.beside] if isinstance(error, Forbidden) else [error]


class CursorExpired(GraphQLError):
    """A cursor of a log that lies before its oldest row, whose own is `oldest`: what was between is no longer told."""

    def __init__(self, oldest: str) -> None:
        message = "The cursor has expired: what followed it is no longer kept. Read again, and go on from `oldest`."
        super().__init__(message, extensions={"code": "CURSOR_EXPIRED", "oldest": oldest})


def root(error: GraphQLError) -> BaseException:
    """What was raised where graphql-core made an error of it: a refusal is an error itself."""
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def is_refusal(cause: BaseException) -> bool:
    """Whether a cause is for the client to mend: it says so by a code. What graphql-core finds wrong with an answer is a bug."""
    return isinstance(cause, GraphQLError) and "code" in (cause.extensions or {})


def each_cause_once(errors: Iterable[GraphQLError]) -> list[GraphQLError]:
    """The first error that each cause has."""
    found: dict[int, GraphQLError] = {}
    for error in errors:
        found.setdefault(id(root(error)), error)
    return list(found.values())
