"""/graphql over a WebSocket: `graphql-transport-ws`, and no other subprotocol.

What goes in: the handshake and text messages. What comes out: operations that run (`graph.serve.socket_operations`). What is
refused here: a page of another origin (403), bad credentials (401) and one socket too many (503) at the handshake; another
subprotocol, messages that are none, credentials that are not good or not any more by the protocol's close codes; an operation
that would wait too long behind others (`graph.serve.admission`), before it is looked at, as an `error` of its own.

Strawberry's handler is not used: it runs the operations of a socket on one context, knows neither a bound of our kind nor the
engine, and closes the whole socket for a document that does not parse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from typing import Any

import orjson
from graphql import GraphQLError, OperationType
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from graph.access.gatekeeper import ANYBODY, Sender
from graph.database.failures import Unavailable
from graph.observations import Operation
from graph.operations.engine import Engine
from graph.operations.request_errors import RequestRefused, refused
from graph.serve.admission import Admission
from graph.serve.browsers import may_open
from graph.serve.guarded import whole_refusal
from graph.serve.requests import Asked, asked_in, check_values, decode, header, with_text
from graph.serve.responses import RETRY_AFTER_SECONDS
from graph.serve.shopfront import Shopfront
from graph.serve.socket_messages import Closed, closing, id_of, last_message, payload_in
from graph.serve.socket_operations import SocketOperation, errors_of, new_id
from graph.serve.streams import Streams
from graph.serve.turned_away import OVERLOADED, shed
from graph.serve.which_shop import WhichShop
from graph.settings import Settings

PROTOCOL = "graphql-transport-ws"
#: How long an operation waits for room, where others that nobody wants any more are about to end.
ENDING_SECONDS = 1.0
#: How much of a request's time a subscription may wait for its turn under too much load.
SHARE_OF_WAIT = 0.5


class SocketView:
    """The ASGI application at /graphql for WebSockets."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        streams: Streams,
        admission: Admission,
        front: Shopfront | None,
        shops: WhichShop | None = None,
    ) -> None:
        self.admission = admission
        self.engine = engine
        self.settings = settings
        self.streams = streams
        self.front = front
        self.shops = shops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        with suppress(WebSocketDisconnect):
            try:
                if not may_open(self.settings, socket.headers):
                    raise refused(
                        "FORBIDDEN",
                        "Pages of this origin may not open a WebSocket here: ORDERGRAPH_CORS_ORIGINS does not name it.",
                        403,
                    )
                front, sender, authorization = self.front, ANYBODY, header(scope, b"authorization")
                if self.shops is not None:
                    front = await self.shops.of_handshake(scope)
                if front is not None and front.gatekeeper is not None and (authorization or front.gatekeeper.credentials is None):
                    sender = await front.gatekeeper.admit(authorization, scope.get("client"))
                with self.streams.one():
                    await Conversation(self, socket, front, sender).run()
            except (RequestRefused, Unavailable) as error:
                await socket.send_denial_response(whole_refusal(error))


class Conversation:
    """One socket."""

    def __init__(self, view: SocketView, socket: WebSocket, front: Shopfront | None, sender: Sender) -> None:
        self.shops = view.shops
        self._front = front  # as the handshake says, or as `connection_init` does; so of who it is
        self.sender = sender
        self._until_the_end = ExitStack()
        self.admission = view.admission
        self.engine = view.engine
        self.settings = view.settings
        self.socket = socket
        self.initialised = False
        self.come_back = 0.0  # when a client who was turned away may ask again
        self.operations: dict[str, SocketOperation] = {}  # those whose ids are taken
        self.running: set[asyncio.Task[None]] = set()
        self.handlers: dict[str, Callable[[dict[str, Any], int], Coroutine[Any, Any, None]]] = {
            "connection_init": self._init,
            "ping": self._ping,
            "pong": self._pong,
            "subscribe": self._subscribe,
            "complete": self._complete,
        }

    @property
    def front(self) -> Shopfront:
        """The shop it is for, once that is known."""
        assert self._front is not None
        return self._front

    async def run(self) -> None:
        """Talk until either side closes. No task is left."""
        wanted = PROTOCOL in self.socket.scope["subprotocols"]
        with self._until_the_end:
            if self._front is not None:
                self._until_the_end.enter_context(self._front.visited())
            await self.socket.accept(PROTOCOL if wanted else None)
            try:
                if not wanted:
                    raise Closed(4406, "Subprotocol not acceptable")
                await self._listen()
            except Closed as end:
                self._stop_all()
                await self.socket.close(end.code, end.reason)
            finally:
                self._stop_all()
                if self.running:
                    await asyncio.wait(self.running)

    def _stop_all(self) -> None:
        for operation in self.operations.values():
            operation.stop()
        self.operations.clear()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            with ExitStack() as watching:
                async with asyncio.timeout(self.settings.init_timeout_seconds) as deadline:
                    while (message := await self.socket.receive())["type"] != "websocket.disconnect":
                        before = self.initialised
                        await self._hear(message.get("text"))
                        if self.initialised and not before:
                            deadline.reschedule(None)
                            for each in (self.front, self.sender):
                                watching.enter_context(each.watched(lambda: deadline.reschedule(loop.time())))
        except TimeoutError:
            if self.initialised:
                with closing():
                    self.front.check()
                    self.sender.check()
            raise Closed(4408, "Connection initialisation timeout") from None

    async def _hear(self, text: str | None) -> None:
        """One message. Raises `Closed` for what is none."""
        if text is None:
            raise Closed(4400, "Messages are text")
        body = text.encode()
        try:
            check_values(body)
            message = decode(body, "The message")
        except RequestRefused as error:
            raise Closed(4400, error.errors[0].message) from None
        kind = message.get("type") if isinstance(message, dict) else None
        handler = self.handlers.get(kind) if isinstance(kind, str) else None
        if handler is None:
            raise Closed(4400, "Messages are objects with a `type` of the protocol")
        await handler(message, len(body))

    async def _init(self, message: dict[str, Any], _: int) -> None:
        payload = payload_in(message) or {}
        if self.initialised:
            raise Closed(4429, "Too many initialisation requests")
        given = {str(value) for name, value in payload.items() if name.lower() == "authorization"} or {
            header(self.socket.scope, b"authorization")
        }
        with closing():
            await self._enter(payload, given.pop() if len(given) == 1 else "")
        self.initialised = True
        await self._say(type="connection_ack")

    async def _enter(self, payload: dict[str, Any], authorization: str) -> None:
        """See which shop is meant, where there are several, and who it is, where that is asked.

        Raises `RequestRefused`, `Unavailable`.
        """
        if self.shops is not None:
            before, self._front = self._front, await self.shops.of_message(payload, authorization, self._front)
            if before is None:
                self._until_the_end.enter_context(self._front.visited())
        self.front.check()
        gatekeeper = self.front.gatekeeper
        if gatekeeper is not None and (self.sender is ANYBODY or gatekeeper.credentials is not None):
            self.sender = await gatekeeper.admit(authorization, self.socket.scope.get("client"))

    async def _ping(self, message: dict[str, Any], _: int) -> None:
        payload_in(message)  # not sent back: not all that JSON holds can be written as it was
        await self._say(type="pong")

    async def _pong(self, message: dict[str, Any], _: int) -> None:
        payload_in(message)

    async def _complete(self, message: dict[str, Any], _: int) -> None:
        operation = self.operations.pop(id_of(message), None)
        if operation is not None:
            operation.stop()

    async def _subscribe(self, message: dict[str, Any], size: int) -> None:
        name = id_of(message)
        try:
            asked = asked_in(payload_in(message) or {}, size)
        except RequestRefused as error:
            raise Closed(4400, error.errors[0].message) from None
        if not self.initialised:
            raise Closed(4401, "Unauthorized")
        with closing():
            self.sender.check()
        if name in self.operations:
            raise Closed(4409, f"Subscriber for {name} already exists")
        most = self.settings.max_socket_operations
        if len(self.running) >= most and (ending := self.running - {each.task for each in self.operations.values()}):
            await asyncio.wait(ending, timeout=ENDING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if len(self.running) >= most:
            said = f"At most {most} operations may run on a WebSocket at once."
            full = GraphQLError(said, extensions={"code": "TOO_MANY_OPERATIONS", "limit": most})
            await self._refuse(name, RequestRefused([full]))
            return
        try:
            asked = with_text(asked, self.engine.persisted)
        except RequestRefused as error:
            await self._refuse(name, error)
            return
        if not await self._is_let_in(asked):
            _, body, _ = shed(OVERLOADED)
            await self.socket.send_text(last_message(name, orjson.loads(body)["errors"]))
            return
        task = SocketOperation(
            name, self.operations, self.socket.send_text, self.front, self.sender, self.engine, self.settings, self.admission
        ).begin(asked)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def _refuse(self, name: str, error: RequestRefused) -> None:
        """Refuse an operation that was not begun."""
        await self.socket.send_text(last_message(name, errors_of(error, Operation(new_id()))))

    async def _is_let_in(self, asked: Asked) -> bool:
        """Whether an operation may begin. What waits for its turn holds up all that its client sends behind it.

        Subscriptions do, as those of everybody come at once where a server was started anew, and clients take their refusal for
        their end; of others those who ask again too soon.
        """
        admission, time = self.admission, asyncio.get_running_loop().time
        if admission.admits():
            return True
        patient = await self._is_subscription(asked)
        over = time() + self.settings.request_timeout_seconds * SHARE_OF_WAIT if patient else self.come_back
        while time() < over:
            turn = asyncio.Event()
            admission.early_on_sockets.add(turn.set)
            await turn.wait()
            if admission.admits():
                return True
            if not patient:
                break
        self.come_back = time() + RETRY_AFTER_SECONDS
        return False

    async def _is_subscription(self, asked: Asked) -> bool:
        try:
            document = await self.engine.document(asked.query, asked.operation_name, asked.size)
        except (RequestRefused, Unavailable):
            return False
        return document.kind is OperationType.SUBSCRIPTION

    async def _say(self, **message: Any) -> None:
        await self.socket.send_text(orjson.dumps(message).decode())
