"""Host names, as the list of shops keeps them and as requests bring them.

What goes in: a name as people write it. What comes out: the one spelling in which it is kept and looked for: small letters, in
ASCII. What is refused here: what is no host name, `BadHostName`.
"""

from __future__ import annotations

import re

from graph.texts import ascii_label, lower_case, mapped_domain

#: Of a name in the domain name system, in ASCII.
MAX_HOST = 253
#: The last part of an address, and of no name (RFC 3696).
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class BadHostName(ValueError):
    """A text that is the name of no host; the message says so."""


def host_name(text: str) -> str:
    """A host name in its one spelling. Raises `BadHostName`."""
    labels = mapped_domain(lower_case(text[: 4 * MAX_HOST])).removesuffix(".").split(".")
    found = [ascii_label(label) for label in labels]
    name = ".".join(label or "" for label in found)
    if None in found or len(name) > MAX_HOST or len(text) > 4 * MAX_HOST or NUMBER.fullmatch(labels[-1]):
        raise BadHostName(f"{text[:60]!a} is no host name: one such as acme.shop.example, without a port")
    return name
