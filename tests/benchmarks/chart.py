"""The chart of the project beside its peers: `python -m tests.benchmarks.chart` draws it anew.

What goes in: `peers.json`, which is what `run.py --out` of the benchmark writes. What comes out: `docs/performance.svg`, and the
table of `docs/performance.md`. Bars are ratios to LIMIT, of the median of each one's rounds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
RESULTS = HERE / "peers.json"
CHART = HERE.parents[1] / "docs" / "performance.svg"

LIMIT, PROJECT, PEER, ORM = "limit_asyncpg_cat", "project", "postgraphile", "orm_selectin"
#: What the servers of the benchmark are called, and their colours.
SERVERS = {
    LIMIT: ("LIMIT", "#17212b"),
    PROJECT: ("ordergraph", "#0f766e"),
    PEER: ("PostGraphile 5.1", "#5b8dd9"),
    "mercurius_jit": ("Mercurius, graphql-jit, hand-written SQL", "#c98a2b"),
    "strawchemy": ("strawchemy", "#8a63c9"),
    ORM: ("Strawberry, ORM selectinload", "#a3adb5"),
}
OPERATIONS = {
    "q1": "order by id",
    "q2": "50 orders",
    "q3": "20 nested",
    "q4": "deep customer",
    "q5": "1,000 orders",
    "m1": "nested create",
}
READS = [name for name in OPERATIONS if name.startswith("q")]


@dataclass(frozen=True)
class Peers:
    """Requests a second, by server and operation, and the memory of each in MB."""

    rates: dict[str, dict[str, float]]
    memory: dict[str, float]

    def ratio(self, server: str, operation: str, base: str = LIMIT) -> float:
        return self.rates[server][operation] / self.rates[base][operation]

    def measured(self) -> list[str]:
        """The servers that were measured, in the order in which they are shown."""
        return [server for server in SERVERS if server in self.rates]


def results() -> Peers:
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    rates = {
        server: {operation: median(one["rps"] for one in rounds) for operation, rounds in by_operation.items()}
        for server, by_operation in found["results"].items()
    }
    return Peers(rates, found["rss"])


def table(peers: Peers) -> str:
    """The table of the page: requests a second, in brackets the ratio to LIMIT."""
    rows = ["| server | " + " | ".join(OPERATIONS.values()) + " | memory |\n", "|---" * (len(OPERATIONS) + 2) + "|\n"]
    for server in peers.measured():
        cells = [
            f"{peers.rates[server][operation]:,.0f}" + ("" if server == LIMIT else f" ({peers.ratio(server, operation):.2f})")
            for operation in OPERATIONS
        ]
        name = SERVERS[server][0]
        shown = f"**{name}**" if server == PROJECT else name
        rows.append(f"| {shown} | {' | '.join(cells)} | {peers.memory[server]:.0f} MB |\n")
    ratios = [f"{peers.ratio(PROJECT, operation, PEER):.2f}" for operation in READS]
    reads = f"Reads are at {', '.join(ratios[:-1])} and {ratios[-1]} times {SERVERS[PEER][0]}"
    create = f"the nested create at {peers.ratio(PROJECT, 'm1', ORM):.2f} times {SERVERS[ORM][0]}"
    return f"{''.join(rows)}\n{reads}, {create}.\n"


LETTERS = 'font-family="system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif" font-size="12" fill="#17212b" role="img"'
WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 880, 130, 60, 13, 16, 64


def chart(peers: Peers) -> str:
    """Bars from nothing to the greatest ratio, a group for each operation, with a line where LIMIT is."""
    servers = [server for server in peers.measured() if server != LIMIT]
    group = len(servers) * BAR + GAP
    height = TOP + group * len(OPERATIONS) + 16
    most = max(1.0, *(peers.ratio(server, operation) for server in servers for operation in OPERATIONS))
    scale = (WIDTH - LEFT - RIGHT) / most
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" {LETTERS}>',
        "<title>Requests a second as a part of what hand-written SQL behind a bare server answers</title>",
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="12" fill="#fbfcfc" stroke="#dfe5e8"/>',
    ]
    line = LEFT + scale
    drawn.append(f'<path d="M{line:.1f} {TOP - 10}V{height - 12}" stroke="#17212b" stroke-dasharray="3 3"/>')
    drawn.append(f'<text x="{line:.1f}" y="{TOP - 15}" text-anchor="middle" font-size="11">1 = LIMIT</text>')
    x = 20.0
    for server in servers:
        name, colour = SERVERS[server]
        drawn.append(f'<rect x="{x:.0f}" y="17" width="11" height="11" rx="2" fill="{colour}"/>')
        drawn.append(f'<text x="{x + 17:.0f}" y="27">{escape(name)}</text>')
        x += 40 + 6.7 * len(name)
    for index, (operation, called) in enumerate(OPERATIONS.items()):
        top = TOP + index * group
        drawn.append(f'<text x="{LEFT - 12}" y="{top + (group - GAP) / 2 + 4:.1f}" text-anchor="end">{escape(called)}</text>')
        for place, server in enumerate(servers):
            ratio, y = peers.ratio(server, operation), top + place * BAR
            drawn.append(
                f'<rect x="{LEFT}" y="{y}" width="{max(ratio * scale, 1):.1f}" height="{BAR - 2}" rx="2" '
                f'fill="{SERVERS[server][1]}"/>'
            )
            drawn.append(
                f'<text x="{LEFT + ratio * scale + 5:.1f}" y="{y + 10}" font-size="10" fill="#5b6875">{ratio:.2f}</text>'
            )
    return "\n".join([*drawn, "</svg>\n"])


if __name__ == "__main__":
    CHART.write_text(chart(results()), encoding="utf-8")
