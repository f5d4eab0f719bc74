"""The tables of `docs/capacity.md`, made of what was kept.

What goes in: what `tests.benchmarks.capacity` found. What comes out: Markdown, by the name of its part of the page. Nothing is
refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: How far the simulation may be from the real run.
RATE_FACTOR, P99_FACTOR = 1.35, 2.5


def table(heads: str, rows: Sequence[Sequence[str]]) -> str:
    """A table; heads have a line between them."""
    lines = [heads, "|".join("---" for _ in heads.split("|")), *(" | ".join(row) for row in rows)]
    return "".join(f"|{line}|\n" if line.startswith("---") else f"| {line} |\n" for line in lines)


def machine(found: dict[str, Any]) -> str:
    return f"Measured on {found['machine']['cores']} cores of {found['machine']['processor']}.\n"


def costs(found: dict[str, Any]) -> str:
    rows = []
    for name, each in found["costs"].items():
        numbers = [each[which] for which in ("server_us", "database_us", "statements", "answer_bytes")]
        written = [f"{each['log_bytes']:,.0f}", f"{each['changes']:g}"] if each["log_bytes"] else ["", ""]
        rows.append([name, *(f"{number:,.0f}" for number in numbers), *written])
    many = [each for each in found["costs"].values() if each["rows"] > 1]
    a_row = " and ".join(f"{(each['server_us'] + each['database_us']) / each['rows']:,.0f}" for each in many)
    heads = "operation | worker us | database us | statements | bytes of the answer | bytes of the log | changes"
    return (
        f"{table(heads, rows)}\nA row of the bulk change and one of the import take {a_row} us of both together. An event takes\n"
        f"{found['event_us']:,.0f} us of the worker for each further subscriber, and its place in the feed "
        f"{found['sequencing_us']:,.0f} us once.\n"
    )


def memory(found: dict[str, Any]) -> str:
    held = found["memory"]
    rows = [
        ["a worker that has served all of these", f"{held['worker_mb']:,.0f} MB"],
        ["a connection of a client, silent", f"{held['connection_kb']:,.0f} KB"],
        ["a subscriber with a WebSocket of its own", f"{held['subscriber_kb']:,.0f} KB"],
        ["a connection to the database, there", f"{held['backend_mb']:,.1f} MB"],
    ]
    return table("what | holds", rows)


def validation(found: dict[str, Any]) -> str:
    both = found["validation"]
    rows = [
        [name, f"{both[name]['rate']:,.0f}", f"{both[name]['p50']:.1f}", f"{both[name]['p99']:.1f}"]
        for name in ("real", "simulated")
    ]
    ratios = both["ratios"]
    return (
        f"{table('run | requests/s | p50 ms | p99 ms', rows)}\n"
        f"Simulated of real, the median of the rounds: {ratios['rate']:.2f} of the rate, {ratios['p99']:.2f} of the 99th\n"
        f"percentile. The command fails beyond {RATE_FACTOR} and {P99_FACTOR} times. The real run had {both['had']:.0%} of the\n"
        "cores.\n"
    )


def followed(found: dict[str, Any]) -> str:
    heads = (
        "profile | workers + database | requests/s | orders/s | shops | p99 ms | fullest | database busy | log MB/s | changes/s"
    )
    rows = [
        [
            each["profile"],
            f"{each['workers']} + {each['database_cores']}",
            *(f"{each[name]:,.0f}" for name in ("rate", "orders", "shops", "p99")),
            each["fullest"],
            f"{each['database_busy']:.0%}",
            f"{each['log_mb']:,.1f}",
            f"{each['changes']:,.0f}",
        ]
        for each in found["followed"]
    ]
    return table(heads, rows)


def limits(found: dict[str, Any]) -> str:
    """Where each limit is, and what moves it."""
    held, create, read = found["memory"], found["costs"]["nested create"], found["costs"]["point read"]
    places = 1e6 / found["sequencing_us"]

    def a_core(part: str) -> str:
        return f"{1e6 / create[part]:,.0f} orders/s, or {1e6 / read[part]:,.0f} point reads/s, a core"

    rows = [
        ["processor of the workers", a_core("server_us"), "more workers, one a core, on as many machines as wanted"],
        ["processor of the primary", a_core("database_us"), "queries to standbys; then shops on several primaries"],
        [
            "one hot item",
            f"{found['hot']['nested create']:,.0f} orders/s of it, {found['hot']['stock move']:,.0f} stock moves/s",
            "no machine: its row is one. Do not track its stock, or sell it as several items",
        ],
        [
            "places in the feed",
            f"{places:,.0f} changes/s, {places / create['changes']:,.0f} orders/s of one database",
            "several databases",
        ],
        [
            "the log",
            f"{create['log_bytes'] / 1e3:,.1f} KB an order: {100e6 / create['log_bytes']:,.0f} orders/s for 100 MB/s",
            "a faster disk; shops on several primaries",
        ],
        [
            "connections",
            f"15 a worker: {100 // 15} workers at PostgreSQL's usual 100; {held['backend_mb'] * 15:,.0f} MB there for each",
            "a smaller `ORDERGRAPH_POOL_SIZE`, `max_connections`, PgBouncer",
        ],
        [
            "subscribers",
            f"{held['subscriber_kb'] * 1000 / 1024:,.0f} MB for a thousand; {1e6 / found['event_us']:,.0f} events/s a core",
            "more workers",
        ],
    ]
    return table("limit | where it is | what moves it", rows)


TABLES = {"machine": machine, "costs": costs, "memory": memory, "validation": validation, "followed": followed, "limits": limits}
