"""What credentials of every kind claim: a name, scopes, a customer, a shop.

What goes in: values as they were given. What comes out: the same as a `graph.scope.Viewer` has them. What is refused here:
`BadCredentials` for what is not what it should be.
"""

from __future__ import annotations

from typing import Any

from graph.database.shop_names import SHOP_NAME
from graph.read.types.scalars import parse_id
from graph.scope import IMPLIED

#: Characters of a name.
LONGEST_NAME = 255
#: Identities that begin so are those of API keys.
OF_KEYS = "key:"


class BadCredentials(Exception):
    """Credentials that are not good; `expired` says that they were."""

    def __init__(self, *, expired: bool = False) -> None:
        super().__init__("expired" if expired else "no good")
        self.expired = expired


def is_name(value: Any) -> bool:
    """Whether a value can name somebody, in logs and in rows too."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable() and value == value.strip()


def scopes_in(value: Any) -> frozenset[str]:
    """The words that hold where these are given. Raises `BadCredentials` for one that nobody knows."""
    if not isinstance(value, str):
        raise BadCredentials
    words = value.split(" ") if value else []
    if any(word not in IMPLIED for word in words):
        raise BadCredentials
    return frozenset().union(*(IMPLIED[word] for word in words))


def shop_in(value: Any) -> str:
    """The shop that credentials are bound to. Raises `BadCredentials`: null is no shop, and not any."""
    if not isinstance(value, str) or not SHOP_NAME.fullmatch(value):
        raise BadCredentials
    return value


def customer_in(value: Any) -> int:
    """The key of the customer that a global id names. Raises `BadCredentials`: null is no customer, and not everybody's."""
    found = parse_id(value) if isinstance(value, str) else None
    if found is None or found[0] != "Customer":
        raise BadCredentials
    return found[1]
