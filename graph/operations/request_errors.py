"""Requests that do not run.

What goes in: what is wrong with one. What comes out: `RequestRefused`, raised wherever it is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError


class RequestRefused(Exception):
    """A request that never ran: its GraphQL errors, each with `extensions.code`, and the HTTP status that fits.

    422 is for what was understood and cannot be run; 400 for what cannot be understood. `headers` say what to do about it.
    """

    def __init__(self, errors: list[GraphQLError], status: int = 422, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors
        self.status = status
        self.headers = headers


def refused(code: str, message: str, status: int = 422, **more: Any) -> RequestRefused:
    """One error; `more` stands in its extensions."""
    return RequestRefused([GraphQLError(message, extensions={"code": code, **more})], status)
