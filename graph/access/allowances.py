"""What each may spend: cost by identity, or by address where nobody is asked who he is, as it comes back with time.

What goes in: who spends, and the cost of an operation as it is planned. What comes out: nothing while he has something left. What
is refused here: an operation of who has spent all (429 `THROTTLED`), until there is something again.

An operation may cost more than is left: it runs, and what was too much is waited for before the next one. So none that fits the
limits is refused for ever, and over time nobody spends more than comes back. Each process counts for itself.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from time import monotonic
from typing import Any

from graphql import GraphQLError

from graph.operations.request_errors import RequestRefused

#: For how many seconds it is kept what was not spent.
KEPT_SECONDS = 10
#: How many are counted at once. Whoever has been away longest is taken for somebody who has spent nothing.
MOST = 10_000
#: Bits of an IPv6 address that tell networks apart: within one anybody may have as many addresses as he likes.
NETWORK_BITS = 64


class Allowances:
    """What is left of everybody's allowance, each gaining as much a second."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._most = float(per_second * KEPT_SECONDS)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # and since when

    def spend(self, who: str, cost: int) -> None:
        """Take this much from somebody's allowance; what costs nothing costs one. Raises `RequestRefused`."""
        now = monotonic()
        left, since = self._left.pop(who, (self._most, now))
        left = min(self._most, left + (now - since) * self.per_second)
        is_refused = left <= 0
        self._left[who] = (left if is_refused else left - max(1, cost), now)
        if len(self._left) > MOST:
            self._left.popitem(last=False)
        if is_refused:
            raise throttled(self.per_second, int(-left / self.per_second) + 1)


def throttled(per_second: int, seconds: int) -> RequestRefused:
    """The refusal of who has spent too much, with the seconds until he has something again."""
    message = f"You have spent more than a cost of {per_second} a second; come back in {seconds} seconds."
    error = GraphQLError(message, extensions={"code": "THROTTLED", "limit": per_second, "retryAfter": seconds})
    return RequestRefused([error], 429, ((b"retry-after", b"%d" % seconds),))


def who_is_at(client: Any) -> str:
    """Who is taken for one where only addresses are known; nobody's address is that of all who have none."""
    return network_of(str(client[0])) if client else ""


@lru_cache(MOST)
def network_of(host: str) -> str:
    """The network of an address; what is none stands for itself."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Address(int(address) >> NETWORK_BITS << NETWORK_BITS))
    return str(address)
