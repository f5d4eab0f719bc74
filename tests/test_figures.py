"""The figures of `docs/performance.md` and `docs/capacity.md` are those of the results that are kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.benchmarks import capacity, page, workers
from tests.benchmarks.chart import CHART, LIMIT, OPERATIONS, ORM, PEER, PROJECT, SERVERS, chart, results, table
from tests.benchmarks.kinds import KINDS
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


def kept_capacity() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capacity.RESULTS.read_text(encoding="utf-8"))
    return found


def kept_workers() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(workers.RESULTS.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("part", page.TABLES)
def test_the_tables_of_capacity_are_those_of_the_results(part: str, request: pytest.FixtureRequest) -> None:
    held(request, DOCS / "capacity.md", f"capacity {part}", page.TABLES[part](kept_capacity()))


def test_the_table_of_workers_is_that_of_the_results(request: pytest.FixtureRequest) -> None:
    held(request, DOCS / "capacity.md", "capacity workers", workers.table(kept_workers()))


def test_capacity_was_measured_of_every_kind_and_what_follows_is_computed_of_it() -> None:
    found = kept_capacity()
    assert found["costs"].keys() == KINDS.keys()
    assert all(min(each["server_us"], each["database_us"], each["statements"]) > 0 for each in found["costs"].values())
    assert capacity.holds(found), "the simulation is too far from the real run: measure again on a quiet machine"
    costs = capacity.costs_of(found["costs"])
    validated = capacity.validated(costs, found["ran"], capacity.REAL, found["machine"]["cores"])
    assert validated == found["validation"], "`python -m tests.benchmarks.capacity --again FILE --out FILE` computes it anew"
    for profile, mix in capacity.PROFILES.items():
        assert mix.keys() <= found["costs"].keys()
        rates = [each["rate"] for each in found["followed"] if each["profile"] == profile]
        assert rates == sorted(rates)
        assert len(rates) == len(capacity.SHAPES)


def test_workers_were_measured_in_every_place() -> None:
    found = kept_workers()["results"]
    assert found.keys() == set(workers.CHOSEN.values())
    for places in found.values():
        assert places.keys() == workers.PLACES.keys()
        assert len({len(rounds) for rounds in places.values()}) == 1
