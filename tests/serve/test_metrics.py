"""`/metrics`: what happened, counted; labels that nobody can multiply; the documents name what there is."""

from __future__ import annotations

import asyncio
import builtins
import random
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from graph.base import utc_now
from graph.database.failures import Unavailable
from graph.database.turns import Turns
from graph.observations import Operation, OperationFinished, RequestShed, SubscribersCame
from graph.serve import metrics
from graph.serve.turned_away import NO_ROOM, head_too_large, turned_away, whole_response
from tests.conftest import Ask, asking
from tests.faults import passing, places
from tests.serve.test_logs import Caught, caught
from tests.unhurried import unhurried

__all__ = ["caught"]

CREATE = (
    'mutation Make($email: String!) { createCustomer(input: {name: "Eve", email: $email}) { customer { id } errors { code } } }'
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
async def measured(empty_url: str) -> AsyncIterator[Ask]:
    async with asking(unhurried(empty_url, metrics=True)) as ask:
        yield ask


async def scraped(ask: Ask) -> dict[tuple[str, ...], float]:
    """Values by name and labels, these in the order of their names."""
    answer = await ask.client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


async def test_operations_are_counted_by_name_and_outcome(measured: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.database.transactions.JITTER_SECONDS", (0, 0))
    database = measured.app.state.database
    for _ in range(3):
        await measured.data("query Find { customers(first: 1) { nodes { id } } }")
    await measured.data(CREATE, {"email": "eve@example.org"})

    def fail(place: Any) -> None:
        if place.last == 3:
            raise passing(database, place)

    with places(database, fail):
        await measured.data(CREATE, {"email": "eve@example.org"})
    await measured("{ nothing }")
    RequestShed("HEAD_TOO_LARGE", 431).tell()
    SubscribersCame(7).tell()
    turns = Turns(1, 1)
    async with turns:
        waiting = asyncio.create_task(turns.__aenter__())
        await asyncio.sleep(0)
    await waiting

    found = await scraped(measured)
    operations = {key[1:]: value for key, value in found.items() if key[0] == "ordergraph_operation_seconds_count"}
    assert operations == {
        ("query", "Find", "ok"): 3,
        ("mutation", "Make", "ok"): 1,
        ("mutation", "Make", "refused"): 1,
        ("", "", "refused"): 1,
    }
    assert found["ordergraph_refusals_total", "UNIQUE"] == 1
    assert found["ordergraph_refusals_total", "GRAPHQL_VALIDATION_FAILED"] == 1
    assert (found["ordergraph_plans_total", "made"], found["ordergraph_plans_total", "kept"]) == (2, 3)
    assert found["ordergraph_retries_total",] == 1
    assert found["ordergraph_shed_total", "HEAD_TOO_LARGE"] == 1
    assert found["ordergraph_wait_seconds_count", "true", "connection"] == 1
    assert found["ordergraph_connections", "busy"] == found["ordergraph_operations_running",] == 0
    assert found["ordergraph_connections", "most"] == database.engine.pool.size()
    assert found["ordergraph_waiting", "connection"] == found["ordergraph_waiting", "line of writers"] == 0
    assert found["ordergraph_subscribers",] == 7
    assert found["process_resident_memory_bytes",] > 0
    for kind in ("text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"):
        answer = await measured.client.get("/metrics", headers={"accept": kind})
        assert answer.headers["content-type"].startswith(kind.partition(";")[0])


@pytest.mark.parametrize("engines", ["sqlite"], indirect=True)
async def test_times_are_tallied_as_the_library_observes_them(measured: Ask) -> None:
    chance = random.Random(7)
    times = [0.0, *metrics.BUCKETS, *(chance.expovariate(10) for _ in range(200)), 99.0]
    registry = CollectorRegistry()
    library = Histogram(
        "ordergraph_operation_seconds", "", ("operation", "kind", "outcome"), registry=registry, buckets=metrics.BUCKETS
    )
    for half in (times[:100], times[100:]):  # what was told is not told again
        for seconds in half:
            operation = Operation("1")
            operation.name, operation.kind, operation.status = "Find", "query", 200
            OperationFinished(operation, seconds).tell()
            library.labels("Find", "query", "ok").observe(seconds)
        found = await scraped(measured)
    wanted = {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    assert len(wanted) == len(metrics.BUCKETS) + 3
    told = {key: value for key, value in found.items() if "operation_seconds" in key[0] and not key[0].endswith("_created")}
    assert told == pytest.approx(wanted)


async def test_the_feeds_lag_is_that_of_the_oldest_change_without_a_place(measured: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    async def since(_: Any) -> Any:
        return utc_now() - timedelta(seconds=90)

    assert (await scraped(measured))["ordergraph_feed_lag_seconds",] == 0
    monkeypatch.setattr("graph.serve.premises.waiting_since", since)
    assert 90 <= (await scraped(measured))["ordergraph_feed_lag_seconds",] < 150

    async def lost(_: Any) -> Any:
        raise Unavailable("gone")

    monkeypatch.setattr("graph.serve.premises.waiting_since", lost)
    assert (await scraped(measured))["ordergraph_feed_lag_seconds",] >= 90  # what was known


async def test_whoever_is_turned_away_is_counted_however_he_is_told(measured: Ask) -> None:
    status = 503
    assert turned_away().startswith(b"HTTP/1.1 %d " % status)
    assert whole_response(NO_ROOM).startswith(b"HTTP/1.1 %d " % status)
    assert whole_response(head_too_large(9)).startswith(b"HTTP/1.1 431 ")
    found = await scraped(measured)
    assert (found["ordergraph_shed_total", "SERVICE_UNAVAILABLE"], found["ordergraph_shed_total", "HEAD_TOO_LARGE"]) == (2, 1)


async def test_nobody_makes_series_by_names(measured: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_NAMES", 5)
    long = "L" * 5_000
    async with asking(unhurried(measured.app.state.database.settings.database_url, metrics=True)) as ask:
        for name in (long, *(f"N{n}" for n in range(20))):
            await ask.data(f"query {name} {{ __typename }}")
            await ask(f"query Bad{name} {{ nothing }}")
        names = {key[2] for key in await scraped(ask) if key[0] == "ordergraph_operation_seconds_count"}
    assert names == {"", "L" * 64, "N0", "N1", "N2", "other"}


@pytest.mark.parametrize("engines", ["sqlite"], indirect=True)
async def test_without_the_setting_or_the_extra_there_is_none(
    empty_url: str, caught: Caught, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking(unhurried(empty_url)) as ask:
        assert (await ask.client.get("/metrics")).status_code == 404
    assert caught.lines == [] or "ORDERGRAPH_METRICS" not in caught.text
    import_ = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ModuleNotFoundError(name)
        return import_(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    async with asking(unhurried(empty_url, metrics=True)) as ask:
        assert (await ask.client.get("/metrics")).status_code == 404
        await ask.data("{ __typename }")
    (line,) = [line for line in caught.lines if "ORDERGRAPH_METRICS" in line]
    assert "pip install '.[metrics]'" in line


def test_the_document_lists_every_metric() -> None:
    rows = re.findall(r"^\| `(ordergraph_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = {"livesum": "gauge", "livemostrecent": "gauge"}
    assert rows == [
        (name + "_total" * (kind == "counter"), kinds.get(kind, kind), " ".join(f"`{label}`" for label in labels), help_)
        for name, (kind, labels, help_) in metrics.FAMILIES.items()
    ]
