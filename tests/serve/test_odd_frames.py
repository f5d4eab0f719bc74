"""Frames and messages of any kind on a WebSocket: the server closes by a code of the protocol, answers, and never fails.

Fault 19 of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from tests.conftest import asking
from tests.examples import examples
from tests.sockets import NEVER, listening, until
from tests.subscribers import socket
from tests.unhurried import unhurried

QUERIES = [
    "{ __typename }",
    "{",
    "subscription { changes { cursor } }",
    "subscription ($a: String) { orderChanged(after: $a) { order { id } } }",
    "query ($a: Int!) { customers(first: $a) { nodes { id } } }",
    'mutation { deleteOrder(input: {id: "Order:1"}) { errors { code } } }',
    "subscription { a: changes { cursor } b: changes { cursor } }",
]
JSON: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
PAYLOADS = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {"query": st.one_of(st.sampled_from(QUERIES), JSON)},
        optional={
            "variables": st.one_of(JSON, st.fixed_dictionaries({"a": JSON})),
            "operationName": JSON,
            "extensions": JSON,
            "documentId": JSON,
        },
    ),
)
MESSAGES = st.fixed_dictionaries(
    {"type": st.one_of(st.sampled_from(["connection_init", "ping", "pong", "subscribe", "subscribe", "complete", "next"]), JSON)},
    optional={"id": st.one_of(st.sampled_from("12"), JSON), "payload": PAYLOADS},
)
FRAMES = st.one_of(
    MESSAGES.map(json.dumps),
    JSON.map(json.dumps),
    st.text(max_size=50),
    st.binary(max_size=50),
    st.just("[" * 5_000),
    st.just("x" * 20_000),
)
CODES = {1000, 1009, 4400, 4401, 4408, 4409, 4429}


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(FRAMES, max_size=8), begins=st.booleans())
async def test_no_frames_make_the_server_fail(empty_url: str, caplog: Any, frames: list[str | bytes], begins: bool) -> None:
    made = unhurried(empty_url, max_message_bytes=10_000, max_socket_operations=3, init_timeout_seconds=NEVER)
    tasks = len(asyncio.all_tasks())
    async with asking(made) as ask, listening(ask.app, max_message_bytes=10_000) as server:
        async with socket(server.port) as client:
            if begins:
                await client.init()
            with suppress(ConnectionClosed):  # what matters is by which code
                for frame in frames:
                    await client.send(frame if isinstance(frame, bytes) else frame.encode("utf-8", "replace").decode())
                await client.connection.ping()
            await client.connection.close()
            assert client.connection.close_code in CODES, client.connection.close_code
        await until(lambda: ask.app.state.streams.open == 0 and ask.app.state.hub.members == 0)
        async with socket(server.port) as next_one:
            await next_one.init()
            await next_one.subscribe("1", "{ __typename }")
            assert await next_one.hears("1") == {"data": {"__typename": "Query"}}
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
