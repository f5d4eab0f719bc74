"""Clients that ask for large answers and read nothing.

What goes in: a port, the text of a query. What comes out: open connections, and what a process has in memory.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

#: About 15 MB of notes.
LARGE = "{ orders(first: 100) { nodes { id a: note b: note c: note } } }"
NOTE = "\u0001" * 8_500

#: A hundred orders with such notes, in requests of less than a megabyte.
CREATE = "mutation($input: CreateCustomerInput!) { createCustomer(input: $input) { errors { code } } }"
CUSTOMERS = [{"name": "Ada", "email": f"ada{part}@example.com", "orders": [{"note": NOTE}] * 10} for part in range(10)]


def resident(process_id: int) -> int | None:
    """The bytes of a process that are in memory; None where the platform does not tell."""
    status = Path(f"/proc/{process_id}/status")
    if not status.exists():
        return None
    return 1024 * int(status.read_text().partition("VmRSS:")[2].split()[0])


@asynccontextmanager
async def asking_without_reading(port: int, query: str, number: int, accept: str = "*/*") -> AsyncIterator[list[socket.socket]]:
    """So many connections, on each a request whose answer nobody reads."""
    body = json.dumps({"query": query}).encode()
    head = (
        f"POST /graphql HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    made: list[socket.socket] = []
    try:
        for _ in range(number):
            client = socket.socket()
            made.append(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            await asyncio.get_running_loop().sock_sendall(client, head.encode() + body)
        yield made
    finally:
        for client in made:
            client.close()
