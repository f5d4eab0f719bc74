"""/graphql over HTTP: POST, GET and QUERY for queries, the playground for browsers.

What goes in: an ASGI request. What comes out: JSON that came from the database untouched. A request enters here once:
read it, run it, send the answer; the session is closed before the answer is sent, whatever happens. What may be refused here:
another method (405), a client who takes no JSON (406), one who does not show who he is where he must (401).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response as Plain
from starlette.types import Receive, Scope, Send

from graph.access.gatekeeper import ANYBODY
from graph.context import Context
from graph.database.failures import CommitUnknown, Unavailable
from graph.observations import Operation
from graph.operations.budget import Share
from graph.operations.engine import Engine
from graph.operations.request_errors import RequestRefused, refused
from graph.serve import own_writes
from graph.serve.answer_time import AnswerTime
from graph.serve.caching import SAFE, cache_headers, is_kept
from graph.serve.compression import PAYS_BYTES, compressed
from graph.serve.correlation import REQUEST_ID, traceparent
from graph.serve.negotiation import GRAPHQL_RESPONSE, JSON, Accepted, accepted, takes_gzip
from graph.serve.pages.mistakes import told_as_page
from graph.serve.pages.shell import shown_page, website_of
from graph.serve.playground.page import playground
from graph.serve.requests import (
    Asked,
    ClientGone,
    check_length,
    check_media_type,
    header,
    read_body,
    read_get,
    read_post,
    with_text,
)
from graph.serve.responses import METHODS, PARTIAL, VARY, answer_body, headers_of, refusal_body
from graph.serve.shopfront import Shopfront
from graph.serve.sql_shown import explanation
from graph.serve.sse import EventStreams, Subscriber
from graph.serve.which_shop import WhichShop
from graph.settings import Settings

Headers = Sequence[tuple[bytes, bytes]]

LATER = "The service cannot answer now; try again."
TOO_SLOW = refused("REQUEST_TIMEOUT", "The request took too long to arrive.", 408)
#: How much of an answer is handed to the server at once, which waits until the network takes more: what it holds is held twice.
PIECE = 2**18


class GraphQLView:
    """The ASGI application at /graphql."""

    def __init__(
        self, engine: Engine, settings: Settings, events: EventStreams, front: Shopfront | None, shops: WhichShop | None = None
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.events = events
        self.front = front
        self.shops = shops
        self.varies = [*own_writes.varies(settings), *(shops.varies if shops is not None else ())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            told = {"allow": METHODS.decode(), "accept-query": JSON}
            await Plain(status_code=204, headers=told)(scope, receive, send)
            return
        accept = accepted(header(scope, b"accept"))
        if self.settings.playground and self._looks(scope):
            await (await self._page(scope))(scope, receive, send)
            return
        with Share(self.engine.budget) as share:
            with Operation(self._request_id(scope), traceparent(header(scope, b"traceparent"))) as operation:
                answer = await self._answer(scope, receive, share, operation, accept)
            if answer is None:
                return
            if isinstance(answer, Subscriber):
                await self.events(scope, receive, send, answer, operation.request_id)
                return
            status, headers, body = await self._message(scope, *answer, operation, accept.media or GRAPHQL_RESPONSE)
            del answer  # of a compressed body the whole one goes
            share.keep(len(body))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            if len(body) <= PIECE:
                await send({"type": "http.response.body", "body": body})
                return
            for start in range(0, len(body), PIECE):
                last = start + PIECE >= len(body)
                await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": not last})

    def _request_id(self, scope: Scope) -> str:
        """An id of our own, or that of a proxy that is trusted to know better."""
        if self.settings.trust_request_id:
            given = header(scope, b"x-request-id")
            if REQUEST_ID.fullmatch(given):
                return given
        return os.urandom(8).hex()

    async def _answer(
        self, scope: Scope, receive: Receive, share: Share, operation: Operation, accept: Accepted
    ) -> tuple[int, bytes, Headers] | Subscriber | None:
        """Status, body and headers of its own, or what is to be told as events; `None` where nobody is there to be answered."""
        context: Context | None = None
        front: Shopfront | None = None
        more: Headers = ()
        half = self.settings.request_timeout_seconds / 2
        try:
            async with asyncio.timeout(half) as deadline:  # of the request, which has half of its time to arrive
                front, sender = self.front or await self._front(scope, operation), ANYBODY
                front.visitors += 1
                if front.gatekeeper is not None:  # before anything is read of nobody
                    sender = await front.gatekeeper.admit(header(scope, b"authorization"), scope.get("client"))
                asked = await self._read(scope, receive)
                over = (deadline.when() or 0) + half
                deadline.reschedule(over)
                if accept.stream and scope["method"] != "QUERY":
                    events = await self.events.served(accept, asked, front, sender)
                    if events is not None:
                        operation.status = 200
                        return events
                if accept.media is None:
                    raise refused("NOT_ACCEPTABLE", f"Accept {GRAPHQL_RESPONSE} or {JSON}.", 406)
                # A transaction is given up earlier, so that what was committed before it can still be answered.
                given_up = over - half / 5
                answer_time = AnswerTime(deadline, given_up, half / 5)
                context = Context(
                    front.database, sender.viewer, deadline=given_up, answer_time=answer_time, share=share, spend=sender.spend
                )
                if front.database.replicas is not None:
                    context.read_after = own_writes.brought(self.settings, scope, asked.extensions, front.database.shop)
                only_queries = scope["method"] != "POST"
                status, body = await self._run(asked, context, operation.request_id, only_queries=only_queries)
        except ClientGone:
            return None
        except Exception as error:  # every failure has an answer, and none of them shows its insides
            if isinstance(error, TimeoutError):
                if context is None:
                    error = TOO_SLOW
                elif context.committed:  # a 503 would say that nothing was
                    error = CommitUnknown("the time was over after a COMMIT")
            status, body = refusal_body(error, operation.request_id)
            if isinstance(error, RequestRefused):
                more = error.headers
        finally:
            if front is not None:
                front.visitors -= 1
        operation.status = status
        if context is not None and context.wrote is not None:
            more = [*more, *own_writes.told(self.settings, scope, context.wrote, context.database.shop)]
        return status, body, more

    async def _front(self, scope: Scope, operation: Operation) -> Shopfront:
        """The shop that a request names. Raises `RequestRefused`, `Unavailable`."""
        assert self.shops is not None
        front = await self.shops.of(scope)
        operation.shop = front.database.shop or ""
        return front

    async def _page(self, scope: Scope) -> Plain:
        """The playground, or that there is none at this host."""
        site = website_of(scope, self.settings)
        if self.shops is not None:
            try:
                await self.shops.see_page(scope)
            except RequestRefused as error:
                return told_as_page(site, error.status, error.errors[0].message)
            except Unavailable:
                return told_as_page(site, 503, LATER)
        return shown_page(playground(site))

    def _looks(self, scope: Scope) -> bool:
        """Whether a request is that of a browser that asks for nothing but the page."""
        if scope["method"] != "GET" or not accepted(header(scope, b"accept")).page:
            return False
        return not any(name in scope["query_string"] for name in (b"query=", b"documentId=", b"extensions="))

    async def _read(self, scope: Scope, receive: Receive) -> Asked:
        if scope["method"] in ("POST", "QUERY"):
            check_media_type(header(scope, b"content-type"), header(scope, b"content-encoding"))
            check_length(header(scope, b"content-length"), self.settings.max_body_bytes)
            asked = read_post(await read_body(receive, self.settings.max_body_bytes))
        elif self._looks(scope):
            raise refused("BAD_REQUEST", "The playground is switched off here; send a `query`, by POST or in the URL.")
        elif scope["method"] in ("GET", "HEAD"):
            asked = read_get(scope)
        else:
            raise refused("METHOD_NOT_ALLOWED", "Send GET, POST or QUERY.", 405)
        return with_text(asked, self.engine.persisted)

    async def _run(self, asked: Asked, context: Context, request_id: str, *, only_queries: bool) -> tuple[int, bytes]:
        more: dict[str, Any] = {}
        if asked.extensions.get("explain") is True:  # before it runs: what cannot be explained does nothing
            more["explain"] = await explanation(self.engine, asked, context)
        try:
            answer = await self.engine.run(
                asked.query, asked.variables, asked.operation_name, context, only_queries=only_queries, size=asked.size
            )
        finally:
            await context.close()
        if context.wrote is not None:
            more[own_writes.EXTENSION] = str(context.wrote)
        limit = self.settings.max_answer_bytes
        return answer_body(answer, request_id, limit, with_cost=asked.extensions.get("cost") is True, more=more)

    async def _message(
        self, scope: Scope, status: int, body: bytes, own: Headers, operation: Operation, media: str
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body as they are sent."""
        more = [*own, (b"traceresponse", operation.trace.encode())] if operation.trace else [*own]
        if scope["method"] in SAFE:
            more += cache_headers(status, body, self.settings.cache_control) + self.varies
            if status == 200 and is_kept(header(scope, b"if-none-match"), body):
                return 304, [*more, VARY, (b"x-request-id", operation.request_id.encode())], b""
        if status == 405:
            more.append((b"allow", b"POST" if scope["method"] in SAFE else METHODS))
        if len(body) >= PAYS_BYTES and takes_gzip(header(scope, b"accept-encoding")):
            body = await compressed(body)
            more.append((b"content-encoding", b"gzip"))
        if status == PARTIAL and media == JSON:
            status = 200
        headers = [*headers_of(status, len(body), operation.request_id, media), *more]
        return status, headers, b"" if scope["method"] == "HEAD" else body
