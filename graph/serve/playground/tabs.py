"""The ready tabs of the playground: what is worth trying first on the sample.

What goes in: the files in `tabs/`, in the order of their names. What comes out: each with its name, its title (its first line)
and what it shows (its second).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True, slots=True)
class Tab:
    """A document to try."""

    name: str
    title: str
    about: str
    query: str


def read_tab(file: Path) -> Tab:
    title, about, query = file.read_text(encoding="utf-8").split("\n", 2)
    return Tab(file.stem.partition("-")[2], title.removeprefix("# "), about.removeprefix("# "), f"{about}\n{query}")


TABS = [read_tab(file) for file in sorted((Path(__file__).parent / "tabs").glob("*.graphql"))]


def tabs_as_json() -> str:
    """The tabs as they stand in a page, where `</script>` would end them."""
    return orjson.dumps([asdict(tab) for tab in TABS]).decode().replace("<", "\\u003c")
