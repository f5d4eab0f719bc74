"""An operation of a WebSocket, from its document to its last message.

What goes in: what a `subscribe` asked, of which shop, and who asked it. What comes out: text messages, JSON from the database
untouched in them. What may be refused here: what the engine and subscriptions refuse, as an `error` of this operation alone.

Whoever has the last message may use the id again, so it is given back before that is sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import OperationType
from starlette.websockets import WebSocketDisconnect

from graph.access.gatekeeper import Sender
from graph.context import Context
from graph.database.failures import CommitUnknown
from graph.feed.events import Told
from graph.observations import Operation
from graph.operations.budget import Share
from graph.operations.engine import Engine
from graph.serve.admission import Admission
from graph.serve.answer_time import AnswerTime
from graph.serve.own_writes import EXTENSION, in_extensions
from graph.serve.requests import Asked
from graph.serve.responses import answer_body, refusal_body
from graph.serve.shopfront import Shopfront
from graph.serve.socket_messages import last_message, next_message
from graph.settings import Settings


@dataclass(slots=True, eq=False)
class SocketOperation:
    """One operation. `stoppable` says that it can be broken off: it does nothing but tell."""

    name: str
    taken: dict[str, SocketOperation]  # those of the socket, by their ids
    send: Callable[[str], Awaitable[None]]
    front: Shopfront
    sender: Sender
    engine: Engine
    settings: Settings
    admission: Admission
    task: asyncio.Task[None] | None = None
    wanted: bool = True
    stoppable: bool = False

    def begin(self, asked: Asked) -> asyncio.Task[None]:
        """Run beside the socket, which goes on to hear of others."""
        self.admission.began()
        self.taken[self.name] = self
        self.task = asyncio.create_task(self._run(asked))
        return self.task

    def stop(self) -> None:
        """Nobody waits for it any more. What may write runs on to its end, which its deadline bounds."""
        self.wanted = False
        if self.stoppable and self.task is not None:
            self.task.cancel()

    async def _run(self, asked: Asked) -> None:
        """Run it, and tell what becomes of it as long as somebody wants to know."""
        failed: list[Any] = []
        answer: str | None = None
        events: AsyncGenerator[Told] | None = None
        with suppress(WebSocketDisconnect), Share(self.engine.budget) as share:
            try:
                with Operation(new_id()) as observed:
                    observed.shop = self.front.database.shop or ""
                    try:
                        answer = await self._answer(asked, share, observed)
                    except Exception as error:  # every failure has an answer, and none of them shows its insides
                        failed = errors_of(error, observed)
                self.stoppable = True
                if answer is None and not failed and self.wanted:
                    try:
                        events = await self._subscribe(asked)
                    except Exception as error:
                        failed = errors_of(error, observed)
            finally:
                self.admission.ended()  # who is told what happens keeps nobody waiting
            del asked  # a subscription may be long, and its variables large
            if answer is not None and self.wanted:
                await self.send(next_message(self.name, answer))
            elif events is not None:
                try:
                    await self._tell(events)
                except WebSocketDisconnect:
                    raise
                except Exception as error:
                    failed = errors_of(error, observed)
            if self.wanted:
                del self.taken[self.name]
                await self.send(last_message(self.name, failed))

    async def _answer(self, asked: Asked, share: Share, observed: Operation) -> str | None:
        """The response to a query or mutation, on a context of its own; nothing for a subscription."""
        seconds = self.settings.request_timeout_seconds
        context: Context | None = None
        try:
            async with asyncio.timeout(seconds) as deadline:
                # A transaction is given up earlier, so that what was committed before it can still be answered.
                given_up = (deadline.when() or 0) - seconds / 10
                document = await self.engine.document(asked.query, asked.operation_name, asked.size)
                if document.kind is OperationType.SUBSCRIPTION:
                    observed.status = 200
                    return None
                context = Context(
                    self.front.database,
                    self.sender.viewer,
                    deadline=given_up,
                    answer_time=AnswerTime(deadline, given_up, seconds / 10),
                    share=share,
                    spend=self.sender.spend,
                )
                context.read_after = in_extensions(asked.extensions)
                try:
                    answer = await self.engine.run(asked.query, asked.variables, asked.operation_name, context, size=asked.size)
                finally:
                    await context.close()
        except TimeoutError:
            if context is not None and context.committed:
                raise CommitUnknown("the time was over after a COMMIT") from None
            raise
        with_cost = asked.extensions.get("cost") is True
        more = {} if context.wrote is None else {EXTENSION: str(context.wrote)}
        limit = self.settings.max_answer_bytes
        observed.status, body = answer_body(answer, observed.request_id, limit, with_cost=with_cost, more=more)
        share.keep(len(body))
        return body.decode()

    async def _subscribe(self, asked: Asked) -> AsyncGenerator[Told]:
        """Begin a subscription."""
        async with asyncio.timeout(self.settings.request_timeout_seconds):
            context = Context(self.front.database, self.sender.viewer, spend=self.sender.spend)
            return await self.front.subscriptions(asked.query, asked.variables, asked.operation_name, context)

    async def _tell(self, events: AsyncGenerator[Told]) -> None:
        """Tell events until there are no more of them."""
        async with aclosing(events):
            async for event in events:
                await self.send(next_message(self.name, event.text))


def new_id() -> str:
    """An id for a request, by which the log is searched."""
    return os.urandom(8).hex()


def errors_of(error: Exception, observed: Operation) -> list[Any]:
    """What a client is told of a failure; it is logged where it is none of his."""
    observed.status, body = refusal_body(error, observed.request_id)
    found: list[Any] = orjson.loads(body)["errors"]
    return found
