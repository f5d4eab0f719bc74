"""The page for front ends shows what the programs do."""

from __future__ import annotations

import json
import re

from tests.clients.programs import HERE

PAGE = (HERE.parents[1] / "docs" / "clients.md").read_text(encoding="utf-8")
#: The languages of programs; other code on the page says what goes over the wire.
LANGUAGES = {"ts", "js", "python"}


def flat(text: str) -> str:
    """A text without its indentation."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


def test_code_on_the_page_is_part_of_a_program() -> None:
    programs = [
        flat(path.read_text(encoding="utf-8")) for path in HERE.rglob("*.*") if path.suffix in (".ts", ".js", ".py", ".mjs")
    ]
    blocks = [
        flat(code)
        for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        if language in LANGUAGES
    ]
    assert len(blocks) > 2
    assert [block for block in blocks if not any(block in program for program in programs)] == []


def test_json_on_the_page_is_json() -> None:
    blocks = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert [json.loads(block) for block in blocks]
