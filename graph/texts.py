"""Texts as they are stored: trimmed, e-mail addresses in lower case, and never blank to the eye.

What goes in: texts as clients send them. What comes out: column types that bring every value, filter and look-up into the form
that is stored. What may be refused here: a text without anything to see, a text that is no e-mail address.
"""

from __future__ import annotations

import re
from typing import Any
from unicodedata import category

from sqlalchemy import Dialect, String, Text, TypeDecorator
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

# Text sorts by code point on both databases, so keyset indexes serve it.
CodePointText = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

#: How a dialect spells types that sort another way than their database does.
SPELLED = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


def by_code_point(type_: TypeEngine[Any]) -> bool:
    """Whether a column type holds texts in an order that is the same on every database."""
    bare = type_.impl_instance if isinstance(type_, TypeDecorator) else type_
    return isinstance(bare, String) and 'COLLATE "C"' in type_.compile(dialect=SPELLED)


#: What is cut off at both ends: white space, control characters, and what pasting brings along: zero-width spaces, byte order
#: marks. Other format characters belong to what they follow, such as the flags that are spelled in tags.
EDGES = "\u180e\u200b\u2060\ufeff" + "".join(
    char for char in map(chr, range(0x10000)) if category(char) in ("Cc", "Zs", "Zl", "Zp")
)
#: Letters and symbols of Unicode's that show nothing.
FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
EMAIL = re.compile(r"[^@\s,;<>()]+@[^@\s,;<>().]+(\.[^@\s,;<>().]+)+")


class Trimmed(TypeDecorator[str]):
    """A text without blanks at its ends, on every way into SQL: values, filters and look-ups alike."""

    impl = CodePointText
    cache_ok = True

    def normal(self, text: str) -> str:
        """The form that is stored. A text of blanks alone stays: it equals nothing, and must not come to mean any text."""
        return text.strip(EDGES) or text

    def part(self, text: str, operator: str) -> str:
        """What to look for within stored texts: they begin and end without blanks, but hold some."""
        cut = {"starts_with": text.lstrip(EDGES), "ends_with": text.rstrip(EDGES)}.get(operator, text)
        return cut or text

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.normal(value)


class Email(Trimmed):
    """An e-mail address, trimmed and in lower case."""

    cache_ok = True

    def normal(self, text: str) -> str:
        # Python gives a capital sigma at the end of a word another small letter: a part must look like its whole.
        return super().normal(text).replace("\u03a3", "\u03c3").lower()

    def part(self, text: str, operator: str) -> str:
        return self.normal(text)  # an address holds no blank at all


def not_blank(value: str) -> str | None:
    """Why a text that people read cannot be this one, or None."""
    return None if any(map(is_seen, value)) else "must not be blank"


def is_seen(char: str) -> bool:
    """Whether a character shows: no space, control or format character, no mark without a letter to stand on."""
    return category(char) not in ("Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me") and char not in FILLERS


def email_address(value: str) -> str | None:
    """Why a text is no e-mail address, or None. Only mail shows whether an address is somebody's, so the form is enough."""
    parts = [part for part in re.split(r"[@.]", value) if part]
    seen = value.isprintable() and not any(map(not_blank, parts))
    return None if seen and len(value) <= 254 and EMAIL.fullmatch(value) else "must be an e-mail address, such as ada@example.com"
