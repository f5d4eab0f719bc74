"""A shop's servers as queues: what a machine answers, computed from what each kind of operation costs.

What goes in: costs of operations, their mix, the machines, a load, a seed. What comes out: an `Outcome`, which is the throughput,
the time of an answer, and how busy each place was; the same for the same seed. What is refused here: a place without servers.

A request takes its turn at a worker, which runs one at a time; a mutation goes to and fro between its worker and the database, as
often as it has statements, and keeps a connection all the while, and the row of a hot item from one statement to its COMMIT.
Whoever computes needs a core of his machine. Whoever waits is served in the order in which he came. Memory, caches and disks are
not here; that a COMMIT waits for a disk is a time.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

#: What a request does next: wait for so many seconds, or for a server of a place.
Step = Generator["float | Station", None, None]


class Station:
    """A place with so many servers, and whoever waits for one; how busy it was, and how many were there."""

    def __init__(self, simulation: Simulation, name: str, servers: int) -> None:
        if servers < 1:
            raise ValueError(f"{name} has no servers")
        self.simulation, self.name, self.servers = simulation, name, servers
        self.busy = 0
        self.most_busy = 0
        self.waiting: deque[Step] = deque()
        self.arrived = self.left = 0
        self.busy_seconds = self.present_seconds = 0.0
        self._since = 0.0

    def settle(self) -> None:
        """Count the time that has passed since something changed here."""
        passed = self.simulation.now - self._since
        self.busy_seconds += passed * self.busy
        self.present_seconds += passed * (self.busy + len(self.waiting))
        self._since = self.simulation.now

    def enter(self, who: Step) -> None:
        self.settle()
        self.arrived += 1
        if self.busy < self.servers:
            self._begin(who)
        else:
            self.waiting.append(who)

    def leave(self) -> None:
        """A server is free again, and serves whoever has waited longest."""
        self.settle()
        self.busy -= 1
        self.left += 1
        if self.waiting:
            self._begin(self.waiting.popleft())

    def _begin(self, who: Step) -> None:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        self.simulation.at(0.0, who)

    def utilization(self) -> float:
        """The part of its servers' time in which they were busy."""
        self.settle()
        return self.busy_seconds / (self.servers * self.simulation.now) if self.simulation.now else 0.0


class Simulation:
    """Events in the order of their times; those of one time in the order in which they were foreseen."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Step]] = []
        self._order = count()

    def at(self, delay: float, who: Step) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), who))

    def run(self, is_over: Callable[[], bool]) -> None:
        while self._events and not is_over():
            self.now, _, who = heapq.heappop(self._events)
            wanted = next(who, None)
            if isinstance(wanted, Station):
                wanted.enter(who)
            elif wanted is not None:
                self.at(wanted, who)


@dataclass(frozen=True)
class Cost:
    """What one operation of a kind takes: seconds of processor, and how often it asks the database.

    From the statement `locks_at` to the end it keeps the row of an item, where it has one. `commits` says whether it waits for a
    disk.
    """

    server: float
    database: float
    statements: int = 1
    locks_at: int | None = None
    commits: bool = False


@dataclass(frozen=True)
class Machines:
    """What there is. Without `database_cores` the database computes on the cores of the workers."""

    cores: int
    workers: int
    connections: int = 15
    database_cores: int | None = None
    commit_seconds: float = 0.0
    #: Seconds of processor that a client takes for a request on the workers' cores: a load that is not apart.
    client: float = 0.0


@dataclass(frozen=True)
class Load:
    """Who asks: so many requests a second, whoever waits, or so many clients who ask anew when they are answered.

    `hot` is the part of those that lock an item which lock the same one.
    """

    mix: Mapping[str, float]
    rate: float | None = None
    clients: int | None = None
    hot: float = 0.0


@dataclass
class Outcome:
    """What became of it. Times are in seconds."""

    answers: int = 0
    arrived: int = 0
    seconds: float = 0.0
    times: list[float] = field(default_factory=list)
    busy: dict[str, float] = field(default_factory=dict)
    stations: dict[str, Station] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.answers / self.seconds if self.seconds else 0.0

    def percentile(self, part: float) -> float:
        return self.times[min(len(self.times) - 1, int(len(self.times) * part))] if self.times else 0.0

    @property
    def fullest(self) -> str:
        """The place that was busiest."""
        return max(self.busy, key=self.busy.__getitem__)


def drawn(chance: random.Random, mean: float, variation: float) -> float:
    """A time about a mean: 0 of variation is always the same, 1 is exponential."""
    if mean == 0 or variation == 0:
        return mean
    shape = 1 / variation**2
    return chance.gammavariate(shape, mean / shape)


class Shop:
    """The places of the machines, and what goes through them."""

    def __init__(
        self, costs: Mapping[str, Cost], machines: Machines, load: Load, chance: random.Random, variation: float, warm: int
    ) -> None:
        self.costs, self.machines, self.load = costs, machines, load
        self.chance, self.variation, self.warm = chance, variation, warm
        self.simulation, self.outcome = Simulation(), Outcome()
        self.kinds, self.weights = list(load.mix), list(load.mix.values())
        self.cores = self._station("cores of the workers", machines.cores)
        apart = machines.database_cores
        self.processors = self.cores if apart is None else self._station("cores of the database", apart)
        self.workers = [self._station(f"worker {number}", 1) for number in range(machines.workers)]
        names = [f"connections of worker {number}" for number in range(machines.workers)]
        self.pools = [self._station(name, machines.connections) for name in names]
        self.client, self.hot = self._station("load", 1), self._station("hot item", 1)

    def _station(self, name: str, servers: int) -> Station:
        return self.outcome.stations.setdefault(name, Station(self.simulation, name, servers))

    def _computed(self, mean: float, *places: Station) -> Step:
        for place in places:
            yield place
        yield drawn(self.chance, mean, self.variation)
        for place in reversed(places):
            place.leave()

    def _answered(self, number: int) -> Step:
        """A request at a worker."""
        self.outcome.arrived += 1
        cost = self.costs[self.chance.choices(self.kinds, self.weights)[0]]
        worker, pool = self.workers[number], self.pools[number]
        share, asked = cost.server / (cost.statements + 1), cost.database / max(1, cost.statements)
        is_hot = cost.locks_at is not None and self.chance.random() < self.load.hot
        if self.machines.client:
            yield from self._computed(self.machines.client, self.client, self.cores)
        began = self.simulation.now
        yield from self._computed(share, worker, self.cores)
        if cost.statements:
            yield pool
        for statement in range(cost.statements):
            if is_hot and statement == cost.locks_at:
                yield self.hot
            yield from self._computed(asked, self.processors)
            if cost.commits and statement == cost.statements - 1:
                yield self.machines.commit_seconds
                if is_hot:
                    self.hot.leave()
            yield from self._computed(share, worker, self.cores)
        if cost.statements:
            pool.leave()
        self.outcome.answers += 1
        if self.outcome.answers > self.warm:
            self.outcome.times.append(self.simulation.now - began)

    def arriving(self) -> Step:
        """Requests that come whoever waits."""
        assert self.load.rate is not None
        while True:
            yield self.chance.expovariate(self.load.rate)
            self.simulation.at(0.0, self._answered(self.chance.randrange(self.machines.workers)))

    def asking(self, number: int) -> Step:
        """A client on a connection of its own to one worker."""
        while True:
            yield from self._answered(number % self.machines.workers)


def simulate(
    costs: Mapping[str, Cost], machines: Machines, load: Load, *, answers: int, seed: int = 1, variation: float = 0.5
) -> Outcome:
    """Play a load until so many are answered; the first tenth, in which queues fill, is left out of the times."""
    shop = Shop(costs, machines, load, random.Random(seed), variation, answers // 10)
    if load.rate is not None:
        shop.simulation.at(0.0, shop.arriving())
    for number in range(load.clients or 0):
        shop.simulation.at(0.0, shop.asking(number))
    outcome = shop.outcome
    shop.simulation.run(lambda: outcome.answers >= answers)
    outcome.seconds = shop.simulation.now
    outcome.times.sort()
    outcome.busy = {name: place.utilization() for name, place in outcome.stations.items() if place.arrived}
    return outcome


def bound(costs: Mapping[str, Cost], machines: Machines, mix: Mapping[str, float]) -> float:
    """The requests a second that no machine passes: where its cores, or those of the database, have no time left."""
    total = sum(mix.values())
    server = sum(part / total * (costs[kind].server + machines.client) for kind, part in mix.items())
    database = sum(part / total * costs[kind].database for kind, part in mix.items())
    if machines.database_cores is None:
        return min(machines.cores / (server + database), machines.workers / server)
    return min(min(machines.cores, machines.workers) / server, machines.database_cores / database)


def most(
    costs: Mapping[str, Cost],
    machines: Machines,
    load: Load,
    *,
    within: float,
    answers: int = 8_000,
    parts: Sequence[float] = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.35, 0.2, 0.1),
) -> Outcome:
    """The greatest rate of some parts of the bound at which 99 of 100 are answered within a time, and all that come."""
    limit = bound(costs, machines, load.mix)
    found = Outcome()
    for part in parts:
        found = simulate(costs, machines, Load(load.mix, part * limit, None, load.hot), answers=answers)
        if found.percentile(0.99) <= within and found.answers > 0.97 * found.arrived:
            return found
    return found
