"""Moments and days: RFC 3339 texts.

What goes in: JSON values and literals of a document. What comes out: aware `datetime`s in UTC, `date`s, and their texts. What is
refused here: a text that is none, or one of a day that does not exist, as a `GraphQLError`.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from graphql import GraphQLError

TIME = re.compile(r"(\d{4})(-\d\d-\d\d[Tt]\d\d:\d\d:)(\d\d)(?:\.(\d{1,6})\d*)?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))", re.ASCII)
EXAMPLE = '"2026-01-31T10:00:00Z"'
#: After so many years the calendar repeats.
CYCLE = 400


def utc_time(value: object) -> datetime:
    """An aware time in UTC from RFC 3339 text; digits beyond microseconds are cut. Raises `GraphQLError`."""
    found = TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise GraphQLError(f"DateTime must be RFC 3339 text with seconds and an offset, such as {EXAMPLE}.")
    year, rest, seconds, fraction, offset = found.groups("")
    if seconds == "60":
        raise GraphQLError("DateTime cannot hold a leap second; send second 59 or the next minute.")
    # The year before the first may be one in UTC, but no `datetime`.
    shift = CYCLE if year == "0000" else 0
    try:
        time = datetime.fromisoformat(f"{int(year) + shift:04}{rest}{seconds}.{fraction or 0}{offset or '+00:00'}")
    except ValueError:
        raise GraphQLError(f"DateTime must be a day and a time that exist, such as {EXAMPLE}.") from None
    try:
        time = time.astimezone(UTC)
        return time.replace(year=time.year - shift) if shift else time
    except (ValueError, OverflowError):
        raise GraphQLError("DateTime must lie in the years 0001 to 9999 in UTC.") from None


def time_text(value: datetime) -> str:
    """A time as the API shows it: UTC, `Z`, no more fraction than there is."""
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0') if '.' in text else text}Z"


DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def day(value: object) -> date:
    """A day from RFC 3339 text. Raises `GraphQLError`."""
    if not isinstance(value, str) or not DAY.fullmatch(value):
        raise GraphQLError('Date must be text of year, month and day, such as "2026-01-31".')
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise GraphQLError('Date must be a day that exists, from "0001-01-01" to "9999-12-31".') from None
