"""Settings under which no busy machine makes a test fail: nobody meets a limit, and nothing happens by itself.

What goes in: the URL of a database, and the settings that a test is about. What comes out: `Settings`.
"""

from __future__ import annotations

from typing import Any

from graph.settings import Settings

#: How often happens what happens by itself: it is nobody's statement, nor a place where a test's transaction breaks.
SELDOM_SECONDS = 3_600.0
#: Limits that nobody meets for want of a faster machine.
UNHURRIED: dict[str, Any] = {
    "request_timeout_seconds": 60.0,
    "statement_timeout_seconds": 60.0,
    "lock_timeout_seconds": 60.0,
    "pool_timeout_seconds": 60.0,
    "idempotency_purge_seconds": SELDOM_SECONDS,
}


def unhurried(url: str, **settings: Any) -> Settings:
    """Settings for a database; others than these and the defaults are given."""
    return Settings(database_url=url, **{**UNHURRIED, **settings})
