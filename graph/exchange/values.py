"""Texts of a file to the values of columns, by the rules that the API keeps.

What goes in: a text. What comes out: cents, pieces, times, texts in their stored form. What may be refused here: `BadValue`, with
the code and the reason that the rejects are told. What was judged lately is not judged again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from graphql import GraphQLError

from graph.base import MAX_QUANTITY, Base
from graph.models import Customer, Item, OrderItem, OrderStatus
from graph.read.types.amounts import EXPONENT, decimal_of, minor_units, whole_number
from graph.read.types.scalars import is_storable
from graph.read.types.times import utc_time
from graph.stock import MOST_PIECES
from graph.write.columns import normal_of, refusal, rule_of

#: Texts that are remembered of each kind, so that memory stays as it is.
REMEMBERED = 2**15
#: Bytes of a text that an index holds on every database; `docs/indexes.md` says why.
LONGEST = 10_000


class BadValue(Exception):
    """A value that no row can have: the code and the reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@cache
def _form(model: type[Base], name: str) -> tuple[Callable[[str], str], Callable[[str], str | None]]:
    """What brings texts of a column into their stored form, and what judges these."""
    column = model.__mapper__.columns[name]
    return normal_of(column) or str, rule_of(column) or (lambda _: None)


def _text(model: type[Base], name: str, text: str) -> str:
    if not is_storable(text):
        raise BadValue("INVALID_INPUT", f"{name} holds what is no text in this encoding; --encoding says which one the file has")
    if not text.strip():
        raise BadValue("REQUIRED", f"{name} must have a value")
    if len(text) > LONGEST:
        raise BadValue("INVALID_INPUT", f"{name} must have at most {LONGEST:,} characters")
    normal, rule = _form(model, name)
    held = normal(text)
    reason = rule(held)
    if reason is not None:
        raise BadValue("INVALID_INPUT", f"{name} {reason}")
    return held


@lru_cache(REMEMBERED)
def email(text: str) -> str:
    """An e-mail address as it is stored."""
    return _text(Customer, "email", text)


@lru_cache(REMEMBERED)
def sku(text: str) -> str:
    """A code as it is stored."""
    return _text(Item, "sku", text)


@lru_cache(REMEMBERED)
def title(text: str) -> str:
    """The name of a customer or an item as it is stored."""
    return _text(Item, "name", text)


@lru_cache(REMEMBERED)
def item_name(text: str, sku: str) -> str:
    """The name of an item. One that is not described is called by its code."""
    return title(text if text.strip() else sku)


def number(text: str) -> str:
    """What an order is called."""
    if not text.strip():
        raise BadValue("REQUIRED", "number must have a value")
    return label("number", text.strip())


@lru_cache(REMEMBERED)
def label(name: str, text: str) -> str:
    """A text that only names something, or is free: a source, a number, a note."""
    if not is_storable(text):
        raise BadValue("INVALID_INPUT", f"{name} holds what is no text in this encoding; --encoding says which one the file has")
    if len(text) > LONGEST:
        raise BadValue("INVALID_INPUT", f"{name} must have at most {LONGEST:,} characters")
    return text


@lru_cache(REMEMBERED)
def money(text: str, name: str, rounding: bool) -> int:
    """An amount in the currency's smallest unit, not below nothing."""
    try:
        amount = decimal_of(text.strip())
        if rounding and -30 < amount.adjusted() < 30:
            amount = amount.quantize(Decimal(1).scaleb(-EXPONENT), rounding=ROUND_HALF_UP)
        cents = minor_units(f"{amount:f}" if rounding else text.strip())
    except GraphQLError as error:
        raise BadValue("INVALID_INPUT", f"{name}: {error.message}") from None
    if cents < 0:
        raise BadValue("CHECK", f"{name} must be at least 0")
    reason = refusal(OrderItem.__mapper__.columns["price_paid"], cents)
    if reason is not None:
        raise BadValue("CHECK", f"{name} {reason}")
    return cents


@lru_cache(REMEMBERED)
def quantity(text: str) -> int:
    """Pieces of a line."""
    pieces = _whole(text, "quantity")
    if not 1 <= pieces <= MAX_QUANTITY:
        raise BadValue("CHECK", f"quantity must be from 1 to {MAX_QUANTITY:,}")
    return pieces


@lru_cache(REMEMBERED)
def is_negative(text: str) -> bool:
    """Whether a text is a number below nothing."""
    try:
        return text.lstrip().startswith("-") and decimal_of(text.strip()) < 0
    except GraphQLError:
        return False


def stock(text: str) -> int | None:
    """Pieces of an item, None where they are not counted."""
    if not text.strip():
        return None
    pieces = _whole(text, "stock")
    if not 0 <= pieces <= MOST_PIECES:
        raise BadValue("CHECK", f"stock must be from 0 to {MOST_PIECES:,}")
    return pieces


def _whole(text: str, name: str) -> int:
    try:
        return whole_number(text.strip())
    except GraphQLError:
        raise BadValue("INVALID_INPUT", f"{name} must be a whole number") from None


@lru_cache(REMEMBERED)
def rate(text: str) -> Decimal:
    """The part of a line's value that is taken off, from 0 to 1; nothing where nothing is said."""
    if not text.strip():
        return Decimal(0)
    try:
        part = decimal_of(text.strip())
    except GraphQLError:
        raise BadValue("INVALID_INPUT", "discount_rate must be a number from 0 to 1") from None
    if not 0 <= part <= 1:
        raise BadValue("CHECK", "discount_rate must be a number from 0 to 1")
    return part


@lru_cache(REMEMBERED)
def time(text: str, name: str, zone: ZoneInfo | None) -> datetime:
    """A time in UTC. One without an offset is one of the zone, a day without a time its beginning; without a zone neither is."""
    text = text.strip()
    if zone is None or text.endswith(("Z", "z")):
        try:
            return utc_time(text)
        except GraphQLError as error:
            hint = "" if zone is not None else "; --zone says where times without an offset are from"
            raise BadValue("INVALID_INPUT", f"{name}: {error.message.removesuffix('.')}{hint}") from None
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=zone) if found.tzinfo is None else found
        return utc_time(found.astimezone(ZoneInfo("UTC")).isoformat())
    except (ValueError, OverflowError, GraphQLError):
        raise BadValue("INVALID_INPUT", f"{name} must be a time such as 2026-01-31T10:00:00") from None


@lru_cache(REMEMBERED)
def status(text: str, shipped: str) -> OrderStatus:
    """Where an order stands: as it says, else SHIPPED where it has a day of shipping, else PENDING."""
    if not text.strip():
        return OrderStatus.SHIPPED if shipped.strip() else OrderStatus.PENDING
    try:
        return OrderStatus(text.strip().upper())
    except ValueError:
        raise BadValue("INVALID_INPUT", f"status must be one of {', '.join(OrderStatus)}") from None
