"""Commands as a page prints them.

What goes in: the text of a page, a heading of it. What comes out: blocks of commands, fenced as `sh` or indented by four spaces.
A heading that is not there is refused.
"""

from __future__ import annotations

import re
import textwrap

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$|((?:^    [^\n]*\n(?:^\n(?=    ))?)+)", re.DOTALL | re.MULTILINE)


def part(text: str, heading: str) -> str:
    """What stands below a heading, to the next one of its level."""
    level, _, _ = heading.partition(" ")
    found = text.partition(f"\n{heading}\n")[2]
    assert found, f"there is no heading {heading!r}"
    return re.split(rf"^{level} ", found, maxsplit=1, flags=re.MULTILINE)[0]


def fenced(text: str) -> list[tuple[str, str]]:
    """All blocks of a text in their order, each with its kind: what is indented is commands."""
    found = [(kind or "sh", inside or textwrap.dedent(indented)) for kind, inside, indented in FENCED.findall(text)]
    return [(kind, block) for kind, block in found if block.strip()]


def blocks(text: str) -> list[str]:
    """The blocks of commands in a text, in their order."""
    return [block for kind, block in fenced(text) if kind == "sh"]
