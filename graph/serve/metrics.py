"""Metrics for Prometheus: what is observed, counted.

What goes in: observations, and at each scrape the state of connections. What comes out: `/metrics`, in the format that the client
prefers, or nothing where the extra `metrics` is not installed. What may be refused here: nothing.

Labels are bounded, whatever clients send: the names of operations are those of valid documents, `MOST_NAMES` of them,
and `other`.
Processes that serve together share a folder (`PROMETHEUS_MULTIPROC_DIR`), and each answers for all of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from bisect import bisect_left
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from graph.observations import (
    RUNNING,
    OperationFinished,
    ReplicaAsked,
    RequestShed,
    SubscribersCame,
    TransactionRetried,
    TurnWaited,
    listening_to,
)
from graph.serve import logs
from graph.serve.health import PROBE_SECONDS
from graph.serve.premises import Premises

logger = logging.getLogger("ordergraph.serve")

#: Names of operations that are told apart, and codes.
MOST_NAMES, MOST_CODES = 100, 200
OTHER = "other"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: The variable by which Prometheus' client learns the folder that processes share, and how often each writes its state there.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SAMPLE_SECONDS = 1.0

MISSING = (
    "ORDERGRAPH_METRICS is set, but the extra is not there, so /metrics is not served: pip install '.[metrics]' in its checkout"
)

#: name: (kind, labels, what it tells). Gauges of processes are added up (`livesum`), or the newest counts.
FAMILIES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "ordergraph_operation_seconds": ("histogram", ("operation", "kind", "outcome"), "Time until the answer is made"),
    "ordergraph_operations_running": ("livesum", (), "Operations that are not answered yet"),
    "ordergraph_refusals": ("counter", ("code",), "Errors told to clients, those of payloads included"),
    "ordergraph_plans": ("counter", ("result",), "Operations by whether their plan was `kept` or had to be `made`"),
    "ordergraph_connections": ("livesum", ("state",), "Connections for transactions and reads that are `busy`, and all (`most`)"),
    "ordergraph_waiting": ("livesum", ("place",), "Who waits for a turn, by what for"),
    "ordergraph_wait_seconds": (
        "histogram",
        ("place", "came"),
        "Time that those who had to wait did; `came` says whether in vain",
    ),
    "ordergraph_retries": ("counter", (), "Transactions that were run again"),
    "ordergraph_replica_reads": (
        "counter",
        ("outcome",),
        "Queries at replicas: `answered`, `behind`, `failed`, or there was `none`; then the primary answered",
    ),
    "ordergraph_shed": ("counter", ("code",), "Requests refused before they were looked at: load, room, heads, protocol"),
    "ordergraph_subscribers": ("livesum", (), "Subscribers"),
    "ordergraph_feed_lag_seconds": ("livemostrecent", (), "Age of the oldest change that has no place in the feed yet"),
}


class Labels:
    """Values of a label: the first `most` that come, and `other`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.known: set[str] = set()

    def of(self, value: str) -> str:
        if value in self.known:
            return value
        if len(self.known) >= self.most:
            return OTHER
        self.known.add(value)
        return value


class Metrics:
    """The metrics of one application. Raises `ImportError` where the extra is not installed."""

    def __init__(self, premises: Premises) -> None:
        import prometheus_client as prometheus

        self.premises = premises
        self.registry = prometheus.CollectorRegistry()
        self.shared = os.environ.get(SHARED_FOLDER, "")
        self.families: dict[str, Any] = {}
        for name, (kind, labels, help_) in FAMILIES.items():
            if kind == "histogram":
                made: Any = prometheus.Histogram(name, help_, labels, registry=self.registry, buckets=BUCKETS)
            elif kind == "counter":
                made = prometheus.Counter(name, help_, labels, registry=self.registry)
            else:
                mode: Any = kind
                made = prometheus.Gauge(name, help_, labels, registry=self.registry, multiprocess_mode=mode)
            self.families[name] = made
        self.process = prometheus.ProcessCollector(registry=None if self.shared else self.registry)
        self.of_process: dict[str, Any] = {}
        for family in self.process.collect() if self.shared else ():  # where another process may be asked for this one's
            for each in family.samples:
                self.of_process[each.name] = prometheus.Gauge(
                    each.name, family.documentation, registry=self.registry, multiprocess_mode="liveall"
                )
        # Since they were last written down: plans, and operations by their labels, how many in each bucket and their seconds.
        self.plans = {"kept": 0, "made": 0}
        self.tallies: defaultdict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0] * (len(BUCKETS) + 2))
        self.names, self.codes = Labels(MOST_NAMES), Labels(MOST_CODES)
        self._children: dict[tuple[str, ...], Any] = {}

    def child(self, family: str, *labels: str) -> Any:
        """One series; the library's own look-up takes as long as to count."""
        found = self._children.get((family, *labels))
        if found is None:
            found = self._children[family, *labels] = self.families[f"ordergraph_{family}"].labels(*labels)
        return found

    def observing(self) -> ExitStack:
        """Count until what is returned is closed."""
        return listening_to(
            (OperationFinished, self._finished),
            (TurnWaited, lambda seen: self.child("wait_seconds", seen.place, str(seen.came).lower()).observe(seen.seconds)),
            (TransactionRetried, lambda _: self.families["ordergraph_retries"].inc()),
            (ReplicaAsked, lambda seen: self.child("replica_reads", seen.outcome).inc()),
            (RequestShed, lambda seen: self.child("shed", seen.code).inc()),
            (SubscribersCame, lambda seen: self.families["ordergraph_subscribers"].inc(seen.change)),
        )

    def _finished(self, seen: OperationFinished) -> None:
        operation, seconds = seen.operation, seen.seconds
        labels = self.names.of(operation.name), operation.kind, operation.outcome
        if self.shared:  # and another process may be asked for this one's
            self.child("operation_seconds", *labels).observe(seconds)
        else:
            tally = self.tallies[labels]
            tally[bisect_left(BUCKETS, seconds)] += 1
            tally[-1] += seconds
        for code in operation.codes:
            self.child("refusals", self.codes.of(code)).inc()
        if operation.kind:
            self.plans["made" if operation.learned else "kept"] += 1

    def sample(self) -> None:
        """Write down the state that nobody tells the change of, and what was only counted: to count costs less than to tell."""
        connected = self.premises.connected()
        turns = [database.primary.turns for database in connected]
        self.families["ordergraph_operations_running"].set(RUNNING.count)
        self.child("connections", "busy").set(sum(each.taken for each in turns))
        self.child("connections", "most").set(sum(each.connections for each in turns))
        for result, number in self.plans.items():
            self.child("plans", result).inc(number)
            self.plans[result] = 0
        for labels, tally in self.tallies.items():
            self._add(self.child("operation_seconds", *labels), tally)
        self.tallies.clear()
        waiting = Counter[str]()
        for each in (*turns, *(database.line for database in connected)):
            waiting[each.place] += each.waiting
        for place, number in waiting.items():
            self.child("waiting", place).set(number)
        for family in self.process.collect() if self.shared else ():
            for sample in family.samples:
                self.of_process[sample.name].set(sample.value)

    @staticmethod
    def _add(histogram: Any, tally: list[float]) -> None:
        """Add what was tallied. The library's `observe`, which looks through the buckets from below and locks twice, takes three
        times as long as all else that is counted of an operation."""
        *numbers, seconds = tally
        for bucket, number in zip(histogram._buckets, numbers, strict=True):  # noqa: SLF001  # it has no other way to add many
            bucket.inc(number)
        histogram._sum.inc(seconds)  # noqa: SLF001  # the same

    async def _sample_feed(self) -> None:
        """Ask the database, for a while: metrics are told whatever it does."""
        with suppress(Exception):
            async with asyncio.timeout(PROBE_SECONDS):
                self.families["ordergraph_feed_lag_seconds"].set(await self.premises.lag())

    async def keep_sampling(self) -> None:
        """For the other processes, each of which may be asked."""
        while self.shared:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def serve(self, request: Request) -> Response:
        """All series, in the format that is asked for."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.multiprocess import MultiProcessCollector

        self.sample()
        await self._sample_feed()
        registry = self.registry
        if self.shared:
            registry = CollectorRegistry()
            collector: Any = MultiProcessCollector
            collector(registry, self.shared)
        encode, media = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=media, headers={"cache-control": "no-store"})


def forget(pid: int) -> None:
    """A process that shared the folder is gone, and what it had open with it."""
    with suppress(ImportError):
        from prometheus_client.multiprocess import mark_process_dead

        mark: Any = mark_process_dead
        mark(pid, os.environ[SHARED_FOLDER])


def metrics_of(premises: Premises) -> Metrics | None:
    """The metrics of an application, where they can be had; else the log says how."""
    with suppress(ImportError):
        return Metrics(premises)
    if logs.is_first():
        logger.warning(MISSING)
    return None
