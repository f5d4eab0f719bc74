"""Which shop a request means: its host, a header or a claim of its token says so, whichever the settings name.

What goes in: the head of a request; of a WebSocket also its first message. What comes out: the `Shopfront`. What is refused here:
who names no shop, or none that is served: SHOP_NOT_FOUND (404); one that waits for its migration: SHOP_NOT_MIGRATED (503); where
the token says it, one that is not good or says nothing: UNAUTHENTICATED (401).

Nothing else of a request was looked at before: neither its body nor, but for the claim, who sends it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.types import Scope

from graph.access.credentials import Credentials
from graph.operations.request_errors import refused
from graph.serve.kept_shops import KeptShops
from graph.serve.requests import header
from graph.serve.shopfront import Shopfront
from graph.settings import Settings

#: A host as `Host` names it: with a port or without.
HOST = re.compile(r"([^:\[\]]+)(?::[0-9]*)?")

#: How a deployment tells its shops apart, in words for people.
WAYS = {
    "host": "the host name of a request says which one it means",
    "header": "the header {} of a request says which one it means",
    "claim": "the claim `shop` of a token says which one a request means",
}


def way_of(settings: Settings) -> str:
    """How shops are told apart, in words."""
    return WAYS[settings.shop_from].format(settings.shop_header)


class WhichShop:
    """Finds the shop of a request."""

    def __init__(self, settings: Settings, kept: KeptShops, credentials: Credentials | None) -> None:
        self.settings = settings
        self.kept = kept
        self.credentials = credentials
        self.way = settings.shop_from
        self.header = settings.shop_header.lower().encode()
        #: What caches are told of answers.
        self.varies = [(b"vary", settings.shop_header.encode())] if self.way == "header" else []

    async def of(self, scope: Scope) -> Shopfront:
        """The shop that a request names. Raises `RequestRefused`, `Unavailable`."""
        if self.way == "header":
            return await self._named(header(scope, self.header).strip(" \t"))  # which may stand beside a value
        if self.way == "host":
            return await self._at(header(scope, b"host"))
        return await self._bound(header(scope, b"authorization"))

    async def see_page(self, scope: Scope) -> None:
        """Refuse a browser that opens a page at the host of no shop. No page can be asked for by a header or with a token."""
        if self.way == "host":
            await self._at(header(scope, b"host"))

    async def of_handshake(self, scope: Scope) -> Shopfront | None:
        """The shop that a WebSocket names before it is open; none where its first message is to say it. Raises as `of` does."""
        if self.way == "header" and not header(scope, self.header):
            return None
        if self.way == "claim" and not header(scope, b"authorization"):
            return None
        return await self.of(scope)

    async def of_message(self, payload: Mapping[str, Any], authorization: str, before: Shopfront | None) -> Shopfront:
        """The shop that a WebSocket is for, whose first message and maybe the handshake say it. Raises as `of` does."""
        if self.way == "header":
            named = {str(value) for name, value in payload.items() if name.lower() == self.header.decode()}
            if before is None:
                return await self._named(named.pop() if len(named) == 1 else "")
            if named - {before.database.shop}:
                raise refused("SHOP_NOT_FOUND", "The message names another shop than the handshake did.", 404)
            return before
        return before or await self._bound(authorization)

    async def _named(self, name: str) -> Shopfront:
        if not name:
            raise refused("SHOP_NOT_FOUND", f"Say which shop is meant, by the header {self.settings.shop_header}.", 404)
        return await self.kept.named(name)

    async def _at(self, host: str) -> Shopfront:
        found = HOST.fullmatch(host)
        if found is None:
            raise refused("SHOP_NOT_FOUND", "There is no such shop.", 404)
        return await self.kept.named((await self.kept.directory.find_by_host(found[1])).name)

    async def _bound(self, authorization: str) -> Shopfront:
        assert self.credentials is not None  # the settings were checked
        return await self.kept.named(await self.credentials.shop_of(authorization))
