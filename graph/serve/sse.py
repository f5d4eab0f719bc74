"""Subscriptions as event streams: GraphQL over SSE in distinct connections, by POST, or by GET as EventSource asks.

What goes in: a request for a subscription that accepts `text/event-stream`. What comes out: an event `next` a response, its `id`
the cursor to go on after, which the client sends as `Last-Event-ID`; comments while there is nothing to tell; `complete` where a
client should not come back. What is refused here: one stream too many (503), before it begins; all else in the stream, since
EventSource shows its page nothing of an answer that is none.

Queries and mutations are answered in JSON, whoever lists this type too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from graphql import OperationType
from starlette.types import Receive, Scope, Send

from graph.access.gatekeeper import Sender
from graph.context import Context
from graph.database.failures import Unavailable
from graph.feed.events import Told
from graph.operations.aside import aside
from graph.operations.engine import Engine
from graph.operations.request_errors import RequestRefused
from graph.operations.subscriptions import FellBehind
from graph.serve.negotiation import Accepted
from graph.serve.requests import Asked, header, only_declared
from graph.serve.responses import refusal_body
from graph.serve.shopfront import Shopfront
from graph.serve.streams import Streams
from graph.settings import Settings

HEARTBEAT = b":\n\n"
COMPLETE = b"event: complete\ndata:\n\n"  # without data it would not reach a page


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is told events for a while: of what, where, and by which right."""

    asked: Asked
    front: Shopfront
    sender: Sender


class EventStreams:
    """What answers subscriptions at /graphql."""

    def __init__(self, engine: Engine, settings: Settings, streams: Streams) -> None:
        self.engine = engine
        self.settings = settings
        self.streams = streams

    async def served(self, accept: Accepted, asked: Asked, front: Shopfront, sender: Sender) -> Subscriber | None:
        """What to tell whom, if anything. Raises `RequestRefused` as reading the document does, and for want of room.

        Who takes nothing but an event stream is told in one what is wrong with his document.
        """
        try:
            document = await self.engine.document(asked.query, asked.operation_name, asked.size)
        except RequestRefused:
            if accept.media is not None:
                raise
            asked = replace(asked, variables={}, extensions={})
        else:
            if document.kind is not OperationType.SUBSCRIPTION:
                return None
            asked = only_declared(asked, document)
        self.streams.check()
        return Subscriber(asked, front, sender)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, subscriber: Subscriber, request_id: str) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # proxies pass each event on
            (b"x-request-id", request_id.encode()),
        ]
        with self.streams.one(), subscriber.front.visited():
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            with aside():
                if scope["method"] != "HEAD":
                    await self._stream(receive, send, subscriber, header(scope, b"last-event-id") or None, request_id)
            await send({"type": "http.response.body", "body": b""})

    async def _stream(self, receive: Receive, send: Send, subscriber: Subscriber, after: str | None, request_id: str) -> None:
        telling, over = asyncio.create_task(self._tell(send, subscriber, after, request_id)), asyncio.Event()
        others = (left(receive), self.streams.draining.wait(), over.wait())
        ends = {telling, *map(asyncio.create_task, others)}
        try:
            with subscriber.front.watched(over.set), subscriber.sender.watched(over.set):
                while not await one_of(ends, self.settings.heartbeat_seconds):
                    await send(part(HEARTBEAT))
        finally:
            for task in ends:
                task.cancel()
            await asyncio.wait(ends)
        if not telling.cancelled():
            telling.result()
        elif over.is_set():
            await self._tell_end(send, subscriber, request_id)

    async def _tell_end(self, send: Send, subscriber: Subscriber, request_id: str) -> None:
        """Tell why it ends: he may not any more, or the shop is gone. He may come back where only the database does not say."""
        try:
            subscriber.front.check()
            subscriber.sender.check()
        except (RequestRefused, Unavailable) as error:
            await send(part(as_event(refusal_body(error, request_id)[1])))
            if isinstance(error, RequestRefused):
                await send(part(COMPLETE))

    async def _tell(self, send: Send, subscriber: Subscriber, after: str | None, request_id: str) -> None:
        """Send events until there are no more of them."""
        asked, front, sender = subscriber.asked, subscriber.front, subscriber.sender
        try:
            async with asyncio.timeout(self.settings.request_timeout_seconds):
                context = Context(front.database, sender.viewer, spend=sender.spend)
                events = await front.subscriptions(asked.query, asked.variables, asked.operation_name, context, after=after)
            await send(part(HEARTBEAT))  # the client learns that it listens
            await send_all(send, events)
        except Exception as error:  # every failure has an answer, and none of them shows its insides
            _, body = refusal_body(error, request_id)
            seconds = (error.errors[0].extensions or {}).get("retryAfter") if isinstance(error, RequestRefused) else None
            if seconds:
                await send(part(b"retry: %d\n\n" % (1_000 * seconds)))
            await send(part(as_event(body)))
            if seconds or isinstance(error, FellBehind):
                return  # a stream that ends without `complete` is asked for again
        await send(part(COMPLETE))


async def send_all(send: Send, events: AsyncGenerator[Told]) -> None:
    async with aclosing(events):
        async for event in events:
            await send(part(b"event: next\nid: %b\ndata: %b\n\n" % (event.cursor.encode(), event.text.encode())))


async def one_of(tasks: set[asyncio.Task[Any]], seconds: float) -> bool:
    """Whether one of them is done, or comes to be in this time."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


def as_event(body: bytes) -> bytes:
    """A response that has no place in the feed."""
    return b"event: next\ndata: %b\n\n" % body


def part(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def left(receive: Receive) -> None:
    """Wait until the client closes its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
