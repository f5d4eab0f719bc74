"""The page of commands: what each says of itself."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from graph.__main__ import main
from tests.written import DOCS, held


def commands_of(group: click.Group, before: str) -> Iterator[tuple[str, click.Command]]:
    """All commands, each with its whole name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


def help_of(name: str, command: click.Command) -> str:
    """What `--help` says, as wide as a page."""
    context = click.Context(command, info_name=name, terminal_width=110)
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def test_the_page_of_commands_is_their_help(request: pytest.FixtureRequest) -> None:
    found = list(commands_of(main, "ordergraph"))
    assert len(found) >= 13
    parts = [f"## {name}\n\n```text\n{help_of(name, command)}\n```\n" for name, command in found]
    held(request, DOCS / "commands.md", "help", "\n".join(parts))


def test_the_list_of_commands_fits_a_terminal() -> None:
    shown = main.get_help(click.Context(main, info_name="ordergraph", terminal_width=80))
    assert "..." not in shown.partition("Commands:")[2]


def test_every_command_shows_examples() -> None:
    for name, command in commands_of(main, "ordergraph"):
        lines = (command.epilog or "").partition("Examples:\n")[2].splitlines()
        assert any(name in line for line in lines), name
