"""Texts as they are stored: trimmed and composed, e-mail addresses in one spelling, and never blank to the eye.

What goes in: texts as clients send them. What comes out: column types that bring every value, filter and look-up into the form
that is stored. What may be refused here: a text without anything to see, a code with something that cannot be seen, what is
no e-mail address. What people take for the same is the same: `docs/texts.md` says why each rule is as it is.
"""

from __future__ import annotations

import re
from typing import Any
from unicodedata import category, normalize

import idna
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
#: Letters, symbols and marks of Unicode's that show nothing, besides control and format characters.
FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180f\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
#: What composing would replace by another ideograph: the old forms in people's names are not those of today.
OLD_IDEOGRAPHS = re.compile("([\uf900-\ufaff\U0002f800-\U0002fa1f]+)")

#: What is typed for a dot where ideographs are, and means one in a domain.
FULL_STOP = "\u3002"
#: The part of an address before its `@`, without what would have to be quoted: two spellings of one address.
LOCAL = re.compile(rf'[^@\s,;:<>()\[\]\\"{FULL_STOP}]+')
#: A part of a domain in ASCII, no A-label.
LABEL = re.compile(r"(?!xn--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
#: In octets, as RFC 5321 counts them, the domain being in ASCII.
MAX_LOCAL, MAX_DOMAIN, MAX_ADDRESS = 64, 253, 254


def composed(text: str) -> str:
    """A text in Unicode's form C, in which a letter and its accent are one character where there is such a one."""
    if text.isascii():
        return text
    pieces = OLD_IDEOGRAPHS.split(text)
    return "".join(piece if index % 2 else normalize("NFC", piece) for index, piece in enumerate(pieces))


class Trimmed(TypeDecorator[str]):
    """A text without blanks at its ends, composed, on every way into SQL: values, filters and look-ups alike."""

    impl = CodePointText
    cache_ok = True

    def normal(self, text: str) -> str:
        """The form that is stored. A text of blanks alone stays: it equals nothing, and must not come to mean any text."""
        return composed(text.strip(EDGES) or text)

    def part(self, text: str, operator: str) -> str:
        """What to look for within stored texts: they begin and end without blanks, but hold some."""
        cut = {"starts_with": text.lstrip(EDGES), "ends_with": text.rstrip(EDGES)}.get(operator, text)
        return composed(cut or text)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.normal(value)


class Email(Trimmed):
    """An e-mail address: trimmed, in lower case, the part before the `@` composed, the domain as UTS 46 maps it, in Unicode."""

    cache_ok = True

    def normal(self, text: str) -> str:
        lowered = lower_case(super().normal(text))
        if is_plain(lowered):
            return lowered
        local, at, domain = lowered.rpartition("@")
        return (local + at + mapped_domain(domain) if at else lowered).strip(EDGES) or text

    def part(self, text: str, operator: str) -> str:
        """What to look for within stored addresses: they hold no blank, and nothing that UTS 46 would replace."""
        found = self.normal(text)
        return found if "@" in found or is_settled(found) else mapped_domain(found).strip(EDGES) or found


def lower_case(text: str) -> str:
    """A text in small letters, composed."""
    # Python gives a capital sigma at the end of a word another small letter: a part must look like its whole.
    return composed(text.replace("\u03a3", "\u03c3").lower())


def is_plain(text: str) -> bool:
    """Whether an address in small letters has one spelling only."""
    return text.isascii() and "xn--" not in text


def is_settled(text: str) -> bool:
    """Whether a part of an address may stand in a stored one as it is, before the `@` or behind it."""
    if is_plain(text):
        return True
    mapped = "xn--" in text or FULL_STOP in text or normalize("NFKC", text) != text or any(map(is_hidden, text))
    return not mapped


def mapped_domain(text: str) -> str:
    """A domain, or a part of one, as UTS 46 maps it, in Unicode. What is none stays as it is."""
    try:
        mapped = idna.uts46_remap(text, std3_rules=False)
    except idna.IDNAError:
        return text
    return ".".join(map(unicode_label, mapped.split(".")))


def unicode_label(label: str) -> str:
    """A part of a domain in Unicode, where it is the ASCII form of such a one."""
    if not label.startswith("xn--"):
        return label
    try:
        return idna.ulabel(label)
    except idna.IDNAError:
        return label


def ascii_label(label: str) -> str | None:
    """A part of a domain as the domain name system has it, or None where it is none (RFC 5891, RFC 1123)."""
    if LABEL.fullmatch(label):
        return label
    try:
        return None if is_plain(label) else idna.alabel(label).decode()
    except idna.IDNAError:
        return None


def not_blank(value: str) -> str | None:
    """Why a text that people read cannot be this one, or None."""
    if is_printed(value):
        return None if value.strip() else "must not be blank"
    return None if any(map(is_seen, value)) else "must not be blank"


def code(value: str) -> str | None:
    """Why a text that people type and compare cannot be this one, or None."""
    if is_printed(value):
        return not_blank(value)
    return not_blank(value) or ("must not hold characters that cannot be seen" if any(map(is_hidden, value)) else None)


def is_printed(text: str) -> bool:
    """Whether a text holds nothing but letters, digits, signs and spaces of ASCII: none is hidden, and only spaces are blank."""
    return text.isascii() and text.isprintable()


def is_seen(char: str) -> bool:
    """Whether a character shows: no space, control or format character, no mark without a letter to stand on."""
    return category(char) not in ("Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me") and char not in FILLERS


def is_hidden(char: str) -> bool:
    """Whether a text looks the same without this character."""
    return category(char) in ("Cc", "Cf") or char in FILLERS


def email_address(value: str) -> str | None:
    """Why a text in its stored form is no e-mail address, or None.

    Only mail shows whether an address is somebody's, so the form is enough.
    """
    local, _, domain = value.rpartition("@")
    name = ascii_domain(domain)
    fits = name is not None and is_local(local) and len(local.encode()) + 1 + len(name) <= MAX_ADDRESS
    return None if fits else "must be an e-mail address, such as ada@example.com"


def is_local(text: str) -> bool:
    """Whether a text may stand before the `@`: nothing that cannot be seen, or that looks like another (NFKC) character."""
    if not LOCAL.fullmatch(text) or not text.isprintable() or len(text.encode()) > MAX_LOCAL:
        return False
    if text.isascii():
        return True
    parts = [part for part in text.split(".") if part]
    return normalize("NFKC", text) == text and not any(map(is_hidden, text)) and not any(map(not_blank, parts))


def ascii_domain(text: str) -> str | None:
    """A domain in its stored form as the domain name system has it, or None where it is none that mail goes to."""
    labels = [ascii_label(label) for label in text.split(".")]
    if None in labels or len(labels) < 2 or str(labels[-1]).isdigit():
        return None
    name = ".".join(map(str, labels))
    return name if len(name) <= MAX_DOMAIN else None
