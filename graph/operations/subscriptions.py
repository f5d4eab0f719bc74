"""Subscriptions: what the transports ask for, whoever tells it.

What goes in: a document's text, variables, a `Context`. What comes out: `Event`s, each with the cursor that goes on after it.
What is refused here: whatever a query's document is refused for, before the first event; `Ended` after it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple, Protocol

from graphql import GraphQLError

from graph.context import Context
from graph.operations.documents import refused


class Event(NamedTuple):
    """The text of one response, and the cursor by which a later subscription goes on after it."""

    cursor: str
    text: str


class Ended(GraphQLError):
    """A subscription ends before its client asked for it. `resumable` says that it can be asked for anew with the last cursor."""

    def __init__(self, code: str, message: str, *, resumable: bool, **more: Any) -> None:
        super().__init__(message, extensions={"code": code, **more})
        self.resumable = resumable


class Subscribe(Protocol):
    """Begins a subscription. `after` wins over what the document says: a client that lost its connection sends it beside the same
    document.

    Raises as `Engine.run` does before the first event, and `Ended` after it. Whoever asks closes the generator.
    """

    async def __call__(
        self,
        text: str,
        raw_variables: Mapping[str, Any],
        operation_name: str | None,
        context: Context,
        *,
        after: str | None = None,
    ) -> AsyncGenerator[Event]: ...


async def nothing_told(
    text: str, raw_variables: Mapping[str, Any], operation_name: str | None, context: Context, *, after: str | None = None
) -> AsyncGenerator[Event]:
    """What answers while the schema tells nothing: validation lets no document come here."""
    raise refused("BAD_REQUEST", "Nothing is told here.")
