"""Mutations that are refused before any of their fields runs, told to whoever listens to what becomes of writes.

What goes in: a document, and who sent it. What comes out: a `WriteEnded` for each of its root fields. Nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphql import GraphQLError

from graph.context import Context
from graph.observations import WriteEnded
from graph.operations.documents import Document
from graph.operations.request_errors import RequestRefused


@contextmanager
def refusals_told(document: Document, context: Context) -> Iterator[None]:
    """Tell of the refusal that a block raises."""
    try:
        yield
    except (RequestRefused, GraphQLError) as refusal:
        if WriteEnded.listeners:
            errors = refusal.errors if isinstance(refusal, RequestRefused) else [refusal]
            codes = dict.fromkeys(str((error.extensions or {}).get("code")) for error in errors)
            for mutation in document.needs.fields:
                WriteEnded(context.client, mutation, "refused", tuple(codes)).tell()
        raise
