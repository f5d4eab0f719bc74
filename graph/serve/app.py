"""The application: routes, and what starts and stops with the process.

What goes in: settings. What comes out: a Starlette application that owns one `Database` for its lifetime.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import cache, partial

from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from graph import migrate
from graph.environment import current
from graph.schema import schema
from graph.serve import hosts, logs
from graph.serve.admission import Admission
from graph.serve.guarded import Page, guarded
from graph.serve.health import Health, alive
from graph.serve.metrics import metrics_of
from graph.serve.pages import docs
from graph.serve.pages.mistakes import handlers
from graph.serve.pages.tour import Tour
from graph.serve.playground.page import assets
from graph.serve.premises import premises_of
from graph.serve.sse import EventStreams
from graph.serve.streams import Streams
from graph.serve.tracing import tracing_of
from graph.serve.view import GraphQLView
from graph.serve.websocket import SocketView
from graph.settings import Settings


class Application(Starlette):
    """Starlette, with a shorter way to the one path that nearly every request asks for.

    Its router and the two layers that answer exceptions cost a point read processor time for nothing: the view answers every
    exception itself. `called` is the view behind what browsers need; none while middleware stands before all paths.
    """

    called: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/graphql" and not self.user_middleware:
            await self.called(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings | None = None) -> Starlette:
    """The ASGI application. Raises `ValueError` for a database URL it cannot use."""
    settings = settings or current()
    premises = premises_of(settings)
    engine, streams = premises.engine, Streams(settings.max_streams)
    admission = Admission(settings.pool_timeout_seconds)
    view = GraphQLView(engine, settings, EventStreams(engine, settings, streams), premises.front, premises.shops)
    sockets = SocketView(engine, settings, streams, admission, premises.front, premises.shops)
    health = Health(premises.checkup, streams.draining)
    metrics = metrics_of(premises) if settings.metrics else None
    tracing = tracing_of(settings) if settings.traces else None

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tune_collector()
        sys.setswitchinterval(SWITCH_SECONDS)
        migrate.revisions()  # read once, before anybody is served
        await premises.start()
        tasks = [asyncio.create_task(each) for each in premises.beside_requests()]
        with ExitStack() as listening:
            listening.enter_context(logs.observing(settings))
            if metrics is not None:
                listening.enter_context(metrics.observing())
                tasks.append(asyncio.create_task(metrics.keep_sampling()))
            if tracing is not None:
                listening.enter_context(tracing.observing())
            yield
        await end(tasks)
        await health.stop()
        if tracing is not None:
            await tracing.close()
        await premises.close()
        logs.finish()

    called = hosts.middleware(settings)
    graphql = Route("/graphql", view, middleware=called)
    routes: list[BaseRoute] = [
        graphql,
        WebSocketRoute("/graphql", sockets, middleware=called),
        Route("/livez", alive),
        Route("/readyz", health.ready),
    ]
    if metrics is not None:
        routes.append(Route("/metrics", guarded(metrics.serve, premises.gatekeeper)))
    if settings.introspection:
        routes.append(Route("/schema.graphql", sdl, middleware=called))
    if settings.playground:
        routes += page_routes(settings, Tour(settings, premises.database, health), called)
    app = Application(routes=routes, lifespan=lifespan, exception_handlers=handlers(settings))
    app.called = graphql.app
    app.router.redirect_slashes = False  # it sends people to the host that the request names, whoever wrote that
    parts = {
        "premises": premises,
        "database": premises.database,
        "engine": engine,
        "streams": streams,
        "admission": admission,
        "gatekeeper": premises.gatekeeper,
        "rota": premises.rota,
    }
    if premises.front is not None:
        parts |= {"sequencer": premises.front.sequencer, "hub": premises.front.subscriptions.hub}
    app.state = State(parts)
    return app


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End what was done beside requests."""
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def page_routes(settings: Settings, tour: Tour, called: list[Middleware]) -> list[BaseRoute]:
    """What browsers are shown beside the page at /graphql."""
    book = partial(docs.read, settings)
    pages: dict[str, Page] = {"/": tour.serve, "/docs": book, "/docs/{name:path}": book}
    return [*(Route(path, page, middleware=called) for path, page in pages.items()), *assets(called)]


async def sdl(request: Request) -> Response:
    """The schema in the schema definition language."""
    return PlainTextResponse(schema.as_str() + "\n")


#: How long one thread keeps the interpreter while another waits for it. A request gets it back several times: after Python's 5 ms
#: each, a point read beside a thread that plans new operations would take ten times as long as alone.
SWITCH_SECONDS = 0.0001


@cache
def tune_collector() -> None:
    """Take modules, models and schema out of the garbage collector's sight, and let it look less often.

    Full collections over everything that was loaded at start cost a point read's 99th percentile three times its worth. Everybody
    waits while it looks: for the new objects 1 ms where these are 5,000, up to 10 where they are 20,000; for those of the
    generation above, which holds what was in flight, 10 ms where they are 100,000 and 300 where they are 400,000. Once a process:
    what an application made before its lifespan would never be freed when a later one froze it too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)
