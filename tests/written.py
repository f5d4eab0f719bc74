"""Parts of pages that a test writes, and holds to what they tell.

What goes in: a page, the name of a part, the text that the code makes for it. What comes out: nothing where the page has it
between its two marks; with `--update-golden` the page is written. A page without the marks is refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
END = "<!-- the end of it -->\n"


def held(request: pytest.FixtureRequest, page: Path, part: str, text: str) -> None:
    """See that a page tells this in a part: `<!-- PART: written by a test -->`."""
    begin = f"<!-- {part}: written by a test -->\n"
    whole = page.read_text(encoding="utf-8")
    head, found, rest = whole.partition(begin)
    shown, ended, tail = rest.partition(END)
    assert found, f"{page.name} has no part `{part}`"
    assert ended, f"the part `{part}` of {page.name} has no end"
    if request.config.getoption("--update-golden"):
        page.write_text(head + begin + text + END + tail, encoding="utf-8")
        return
    assert shown == text, f"{page.name} is older than the code: renew it with --update-golden, and look at the difference"
