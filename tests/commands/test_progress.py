"""How far a long command is."""

from __future__ import annotations

import pytest

from graph.commands.progress import Progress


def test_a_bar_has_rate_and_time_left_where_the_end_is_known() -> None:
    assert Progress(1_000).line(300, 250, 2.0) == f"[{'#' * 6:<24}]  25%  300 rows, 150 a second, 0:06 left"
    assert Progress(1_000).line(10, 1_000, 0.0).startswith(f"[{'#' * 24}] 100%")
    assert Progress(None).line(300, 250, 2.0) == Progress(1_000).line(300, 0, 2.0) == "300 rows, 150 a second"


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1_000)
    progress.show(300, 250)
    progress.clear()
    assert capsys.readouterr() == ("", "")
