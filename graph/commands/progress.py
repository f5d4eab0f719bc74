"""How far a long command is: one line on a terminal that is written over, and nothing anywhere else.

What goes in: rows done, bytes read and bytes there are; or shops, of so many. What comes out: a bar with rate and time left.
Nothing is refused here.
"""

from __future__ import annotations

import sys
from time import monotonic

import click

WIDTH = 24
#: Between two pictures.
SECONDS = 0.1


class Progress:
    """A line that is written anew. `whole` are the bytes there are, None where nobody knows; `what` is counted."""

    def __init__(self, whole: int | None, what: str = "rows") -> None:
        self.whole = whole
        self.what = what
        self._seen = sys.stderr.isatty()
        self._began = monotonic()
        self._last = 0.0

    def show(self, rows: int, read: int) -> None:
        """Show how far it is."""
        now = monotonic()
        if self._seen and now - self._last >= SECONDS:
            self._last = now
            click.echo(f"\r\x1b[2K{self.line(rows, read, now - self._began)}", nl=False, err=True)

    def line(self, rows: int, read: int, seconds: float) -> str:
        """The line."""
        rate = f"{rows:,} {self.what}, {rows / max(seconds, 0.001):,.0f} a second"
        if not self.whole or not read:
            return rate
        part = min(1.0, read / self.whole)
        left = int(seconds / part - seconds)
        bar = "#" * int(part * WIDTH)
        return f"[{bar:<{WIDTH}}] {part:4.0%}  {rate}, {left // 60}:{left % 60:02} left"

    def clear(self) -> None:
        """Take the line away."""
        if self._seen and self._last:
            click.echo("\r\x1b[2K", nl=False, err=True)
