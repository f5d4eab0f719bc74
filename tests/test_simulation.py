"""The simulation behind the capacity page: nothing is lost in it, it repeats itself, and it knows what queues are known to do."""

from __future__ import annotations

from math import factorial

import pytest

from tests.benchmarks.simulation import Cost, Load, Machines, Simulation, Station, bound, most, simulate

MILLI = 1e-3
ONE = {"read": 1.0}
COSTS = {
    "read": Cost(0.15 * MILLI, 0.10 * MILLI),
    "write": Cost(2.0 * MILLI, 0.8 * MILLI, statements=8, locks_at=3, commits=True),
    "kept": Cost(0.1 * MILLI, 0.0, statements=0),
}
MIX = {"read": 10.0, "write": 1.0, "kept": 3.0}


def test_the_same_seed_is_the_same_run_and_another_is_another() -> None:
    machines, load = Machines(2, 2), Load(MIX, rate=1_000.0, hot=0.5)
    one, two, other = (simulate(COSTS, machines, load, answers=2_000, seed=seed) for seed in (7, 7, 8))
    assert (one.times, one.busy, one.seconds) == (two.times, two.busy, two.seconds)
    assert one.times != other.times


@pytest.mark.parametrize(
    ("machines", "load"),
    [
        (Machines(2, 2), Load(MIX, rate=1_500.0, hot=1.0)),
        (Machines(4, 3, connections=2, database_cores=2, commit_seconds=MILLI), Load(MIX, rate=2_000.0, hot=0.1)),
        (Machines(2, 1, client=0.05 * MILLI), Load(MIX, clients=40)),
        (Machines(1, 4, connections=1), Load(ONE, clients=3)),
    ],
)
def test_nothing_is_lost_or_served_twice(machines: Machines, load: Load) -> None:
    """Who came is served or still there; no place has more busy servers than it has; Little's law holds at each."""
    found = simulate(COSTS, machines, load, answers=5_000)
    assert found.answers == 5_000
    assert found.arrived >= found.answers
    assert found.arrived - found.answers <= (load.clients or found.arrived)
    used = [place for place in found.stations.values() if place.arrived]
    assert len(used) >= 3
    for place in used:
        place.settle()
        assert place.arrived == place.left + place.busy + len(place.waiting)
        assert place.most_busy <= place.servers
        assert not place.waiting or place.busy == place.servers, "nobody waits where a server is free"
        assert 0 < place.utilization() <= 1 + 1e-9
    computing = sum(found.stations[name].busy_seconds for name in found.stations if name.startswith("cores"))
    wanted = sum(MIX[kind] * (COSTS[kind].server + COSTS[kind].database) for kind in MIX) / sum(MIX.values())
    if load.mix is MIX:
        assert computing / found.answers == pytest.approx(wanted + machines.client, rel=0.1), "work is neither made nor lost"


def test_a_queue_of_known_length() -> None:
    """M/M/1: who arrives by chance at one server of exponential times stays 1 / (mu - lambda) on average."""
    service, rate = 1 * MILLI, 500.0
    costs = {"read": Cost(service, 0.0, statements=0)}
    found = simulate(costs, Machines(1, 1), Load(ONE, rate=rate), answers=30_000, variation=1.0)
    assert sum(found.times) / len(found.times) == pytest.approx(1 / (1 / service - rate), rel=0.08)
    assert found.busy["worker 0"] == pytest.approx(rate * service, rel=0.03)
    assert found.rate == pytest.approx(rate, rel=0.02)
    worker = found.stations["worker 0"]
    present = worker.present_seconds / found.seconds
    assert present == pytest.approx(found.rate * sum(found.times) / len(found.times), rel=0.03), "Little's law"


def test_one_server_of_constant_times_is_waited_for_half_as_long() -> None:
    """M/D/1: the wait is half that of M/M/1."""
    service, rate = 1 * MILLI, 500.0
    costs = {"read": Cost(service, 0.0, statements=0)}
    found = simulate(costs, Machines(1, 1), Load(ONE, rate=rate), answers=30_000, variation=0.0)
    waited = sum(found.times) / len(found.times) - service
    assert waited == pytest.approx(rate * service * service / (2 * (1 - rate * service)), rel=0.08)


def erlang_c(servers: int, offered: float) -> float:
    """The part of those who come to several servers that has to wait."""
    last = offered**servers / factorial(servers) * servers / (servers - offered)
    return last / (sum(offered**k / factorial(k) for k in range(servers)) + last)


@pytest.mark.parametrize("cores", [2, 4])
def test_several_servers_with_one_queue(cores: int) -> None:
    """M/M/c: Erlang's formula, at the cores of a database whose workers take no time."""
    service = 1 * MILLI
    rate = 0.6 * cores / service
    costs = {"read": Cost(0.0, service)}
    machines = Machines(1, 1, connections=10_000, database_cores=cores)
    found = simulate(costs, machines, Load(ONE, rate=rate), answers=30_000, variation=1.0)
    waited = sum(found.times) / len(found.times) - service
    assert waited == pytest.approx(erlang_c(cores, rate * service) / (cores / service - rate), rel=0.15)


@pytest.mark.parametrize("clients", [1, 4, 64])
def test_clients_who_ask_anew_get_no_more_than_the_bound_and_no_less_than_their_turns(clients: int) -> None:
    """The asymptotic bounds of a closed network: N / D where nobody waits, the fullest place where all do."""
    machines = Machines(8, 2, database_cores=8)
    found = simulate(COSTS, machines, Load(ONE, clients=clients), answers=6_000, variation=0.0)
    demand = COSTS["read"].server + COSTS["read"].database
    limit = min(bound(COSTS, machines, ONE), clients / demand)
    assert found.rate <= limit * 1.001
    assert found.rate >= limit * (0.99 if clients in (1, 64) else 0.6)


def test_a_hot_item_bounds_what_sells_it_whatever_the_machines() -> None:
    """Its row is kept from the statement that locks it to the end of COMMIT, while its worker works at other things as well."""
    cost = COSTS["write"]
    kept = (cost.statements - 3) / cost.statements * cost.database + (cost.statements - 4) / (cost.statements + 1) * cost.server
    load, costs = {"write": 1.0}, {"write": cost}
    found = simulate(costs, Machines(64, 64, database_cores=64), Load(load, clients=256, hot=1.0), answers=5_000, variation=0.0)
    assert found.rate == pytest.approx(1 / kept, rel=0.02)
    assert found.fullest == "hot item"
    cold = simulate(costs, Machines(64, 64, database_cores=64), Load(load, clients=256, hot=0.0), answers=5_000, variation=0.0)
    assert cold.rate > 20 * found.rate


def test_too_few_connections_are_what_is_waited_for() -> None:
    slow = Machines(8, 1, connections=1, database_cores=8, commit_seconds=10 * MILLI)
    costs = {"write": Cost(0.1 * MILLI, 0.1 * MILLI, commits=True)}
    few = simulate(costs, slow, Load({"write": 1.0}, clients=30), answers=2_000)
    many = simulate(costs, Machines(8, 1, 30, 8, 10 * MILLI), Load({"write": 1.0}, clients=30), answers=2_000)
    assert few.fullest == "connections of worker 0"
    assert few.rate == pytest.approx(1 / (10.2 * MILLI - 0.05 * MILLI), rel=0.05)
    assert many.rate > 20 * few.rate


def test_the_most_that_is_answered_in_time_is_below_the_bound_and_above_half_of_it() -> None:
    machines = Machines(4, 4, database_cores=4)
    found = most(COSTS, machines, Load(MIX), within=0.1)
    limit = bound(COSTS, machines, MIX)
    assert limit / 2 < found.rate < limit
    assert found.percentile(0.99) <= 0.1
    assert most(COSTS, machines, Load(MIX), within=0.004).rate < found.rate


def test_a_place_without_servers_is_refused() -> None:
    with pytest.raises(ValueError, match="none has no servers"):
        Station(Simulation(), "none", 0)
