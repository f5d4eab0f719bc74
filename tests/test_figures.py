"""The chart and the table of peers in `docs/performance.md` are those of the results that are kept."""

from __future__ import annotations

import pytest

from tests.benchmarks.chart import CHART, LIMIT, OPERATIONS, ORM, PEER, PROJECT, SERVERS, chart, results, table
from tests.written import DOCS, held


def test_the_table_is_that_of_the_results(request: pytest.FixtureRequest) -> None:
    held(request, DOCS / "performance.md", "peers", table(results()))


def test_the_chart_is_that_of_the_results(request: pytest.FixtureRequest) -> None:
    drawn = chart(results())
    if request.config.getoption("--update-golden"):
        CHART.write_text(drawn, encoding="utf-8")
    assert CHART.read_text(encoding="utf-8") == drawn
    assert f"]({CHART.name})" in (DOCS / "performance.md").read_text(encoding="utf-8")


def test_the_results_are_whole_and_every_server_has_a_name() -> None:
    found = results()
    assert {LIMIT, PROJECT, PEER, ORM} <= found.rates.keys() <= SERVERS.keys()
    assert found.rates.keys() == found.memory.keys()
    assert all(rates.keys() == OPERATIONS.keys() and min(rates.values()) > 0 for rates in found.rates.values())
    assert found.ratio(LIMIT, "q1") == 1
