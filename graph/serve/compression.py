"""Bodies of answers compressed.

What goes in: a body. What comes out: the same as gzip, made beside the loop where it takes longer than a point read. Nothing is
refused here.
"""

from __future__ import annotations

import asyncio
import zlib

#: Smaller bodies fit into one packet as they are.
PAYS_BYTES = 1_400
#: Larger ones take more than half a millisecond.
ON_LOOP_BYTES = 2**14
#: A tenth larger than at zlib's own level, in half of the time.
LEVEL = 3
#: What makes zlib write the head and the sum of gzip, without name or time: equal bodies are equal.
AS_GZIP = 31


async def compressed(body: bytes) -> bytes:
    """A body as gzip."""
    if len(body) <= ON_LOOP_BYTES:
        return gzip(body)
    return await asyncio.to_thread(gzip, body)


def gzip(body: bytes) -> bytes:
    return zlib.compress(body, LEVEL, AS_GZIP)
