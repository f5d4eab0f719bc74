"""What ties a request to what others know of it: an id that a proxy gave, and the trace that it belongs to.

What goes in: headers. What comes out: text that is safe in logs and headers, or nothing: what is malformed is passed over, as W3C
Trace Context asks. What may be refused here: nothing.
"""

from __future__ import annotations

import re

#: What an id of a request may be; whatever else comes is replaced.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Version, trace, span, flags. Later versions may have more behind them.
TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")


def traceparent(given: str) -> str:
    """A valid `traceparent` in its first version, or nothing."""
    if not given:
        return ""
    found = TRACEPARENT.fullmatch(given)
    if found is None:
        return ""
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return ""
    return f"00-{trace}-{span}-{flags}"


def trace_id(trace: str) -> str:
    """The trace of a valid `traceparent`."""
    return trace[3:35]
