"""What caches may keep of answers to safe requests (GET, HEAD, QUERY).

What goes in: a request's `If-None-Match`, an answer. What comes out: the headers by which caches keep it and ask again (RFC
9111), and whether the one that is kept is still right. Nothing is refused here.
"""

from __future__ import annotations

import re
from hashlib import blake2b

SAFE = ("GET", "HEAD", "QUERY")
#: The tags in a list; what is weak about one does not matter here (RFC 9110, section 13.1.2).
TAG = re.compile(r'(?:W/)?("[^"]*")')


def cache_headers(status: int, body: bytes, cache_control: str) -> list[tuple[bytes, bytes]]:
    """What stands above an answer to a safe request. Refusals are not kept."""
    if status != 200:
        return [(b"cache-control", b"no-store")]
    return [(b"cache-control", cache_control.encode()), (b"etag", tag(body).encode())]


def tag(body: bytes) -> str:
    """An answer's tag: weak, since it is the same whether the body is sent compressed or not."""
    return f'W/"{blake2b(body, digest_size=15).hexdigest()}"'


def is_kept(if_none_match: str, body: bytes) -> bool:
    """Whether the client has this answer already."""
    if not if_none_match:
        return False
    return if_none_match.strip() == "*" or tag(body)[2:] in TAG.findall(if_none_match)
