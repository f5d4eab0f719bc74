"""Refusals of requests: GraphQL errors with a stable code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError


class BadUserInput(GraphQLError):
    """An input that cannot be used. `path` leads from the field's argument to it, as the client sent it."""

    def __init__(self, message: str, path: Sequence[str], nodes: Any = None) -> None:
        super().__init__(message, nodes, extensions={"code": "BAD_USER_INPUT", "path": list(path)})
