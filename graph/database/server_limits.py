"""What a PostgreSQL server is asked to bound: statements, waits, and what a client leaves behind that is gone.

What goes in: settings. What comes out: parameters of the server and their values, in milliseconds where they are times, and the
statement that sets them for one transaction. What may be refused here: nothing; a pooler refuses them, see
`graph.database.pgbouncer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from graph.database import libpq
from graph.settings import Settings

#: How often a server looks whether the client of a running statement is still there.
CHECK_SECONDS = 1
#: Only on systems that tell when a peer is gone: not on Windows.
CHECKS = "client_connection_check_interval"


def bounds(settings: Settings) -> dict[str, str]:
    """PostgreSQL's own bounds on a statement, on a wait for a lock, and on what a transaction holds whose client is gone."""
    return {
        "statement_timeout": _milliseconds(settings.statement_timeout_seconds),
        "lock_timeout": _milliseconds(settings.lock_timeout_seconds),
        "idle_in_transaction_session_timeout": _milliseconds(idle_seconds(settings)),
        CHECKS: _milliseconds(CHECK_SECONDS),
    }


def idle_seconds(settings: Settings) -> float:
    """How long a transaction may ask nothing before it is taken for one whose client is lost: between two statements there is
    only thinking, which takes no longer than a statement and a wait for a lock may, or half of the request.
    """
    request = settings.request_timeout_seconds
    return min(request, max(request / 2, settings.statement_timeout_seconds + settings.lock_timeout_seconds))


def watch(settings: Settings) -> dict[str, str]:
    """How the server finds out that the host of a client is gone. It ignores this where no network is between them."""
    return {
        "tcp_user_timeout": _milliseconds(settings.request_timeout_seconds),
        "tcp_keepalives_idle": str(libpq.KEEPALIVE["keepalives_idle"]),
        "tcp_keepalives_interval": str(libpq.KEEPALIVE["keepalives_interval"]),
        "tcp_keepalives_count": str(libpq.KEEPALIVE["keepalives_count"]),
    }


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def limiting(limits: Mapping[str, str]) -> sa.Select[Any]:
    """One statement that sets limits for the transaction it stands in."""
    return sa.select(*(sa.func.set_config(name, value, True) for name, value in limits.items()))
