"""What shops are called, and what is called after them: the one place that says so.

What goes in: the name of a shop. What comes out: its schema and its role on PostgreSQL, its file on SQLite. What is refused here:
a text that is no name, `BadShopName`.
"""

from __future__ import annotations

import re
from pathlib import Path

#: A name is a part of those of a schema, a role and a file, of none of which it makes another one.
SHOP_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
#: Names that are those of other files in the folder of shops, or would be taken for a word.
RESERVED = frozenset({"all", "default", "none", "ordergraph", "public", "shops"})

#: What stands before the name of a shop in those of its schema and its role.
PREFIX = "shop_"
#: On PostgreSQL, the schema of the table of shops; on SQLite, the file that has it.
REGISTRY_SCHEMA, REGISTRY_FILE = "ordergraph", "shops.db"


class BadShopName(ValueError):
    """A text that no shop may be called; the message says why."""


def see_shop_name(text: str) -> str:
    """A text, which may be the name of a shop. Raises `BadShopName`."""
    if not SHOP_NAME.fullmatch(text):
        raise BadShopName(
            f"{text[:50]!a} is no name of a shop: a small letter, then up to 39 small letters, digits, hyphens or underscores"
        )
    if text in RESERVED:
        raise BadShopName(f"{text!a} is reserved: name the shop otherwise")
    return text


def schema_of_shop(name: str) -> str:
    """The schema that holds a shop on PostgreSQL, unquoted."""
    return f"{PREFIX}{name}"


def role_of_shop(name: str) -> str:
    """The role that may use a shop's schema and no other, where shops have roles; unquoted."""
    return f"{PREFIX}{name}"


def file_of_shop(folder: str | Path, name: str) -> Path:
    """The file that holds a shop on SQLite."""
    return Path(folder) / f"{name}.db"
