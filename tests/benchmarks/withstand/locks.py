"""Faults of writers who meet."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.benchmarks.withstand.scene import (
    Outcome,
    Scene,
    fault,
)


async def rate(scene: Scene, clients: Sequence[Callable[[int], str]], seconds: float = 5.0) -> tuple[float, Counter[str], int]:
    """Clients that send one request after the other: answers a second, how many of each code, deadlocks."""
    counted = Counter[str]()
    over = time.monotonic() + seconds
    deadlocks = await deadlocks_so_far(scene)

    async def send(query: Callable[[int], str]) -> None:
        number = 0
        while time.monotonic() < over:
            counted[(await scene.send(query(number))).code] += 1
            number += 1

    began = time.monotonic()
    await asyncio.gather(*map(send, clients))
    took = time.monotonic() - began
    await asyncio.sleep(1)  # what sessions count is told once a second
    return counted["OK"] / took, counted, await deadlocks_so_far(scene) - deadlocks


async def deadlocks_so_far(scene: Scene) -> int:
    """How many deadlocks the server has found in the database."""
    ((found,),) = await scene.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(found)


def order(_: int = 0) -> str:
    """An order of the first customer for an item whose stock is counted."""
    line = '{item: {sku: "A"}, quantity: 1}'
    return f'mutation {{ createOrder(input: {{customer: {{id: "Customer:1"}}, items: [{line}]}}) {{ errors {{ code }} }} }}'


@fault("locks: orders and changes of one customer and item meet")
async def one_customer(scene: Scene) -> Outcome:
    await scene.warm()

    def rename(key: int) -> Callable[[int], str]:
        return lambda n: f'mutation {{ updateCustomer(input: {{id: "Customer:{key}", name: "N{n}"}}) {{ errors {{ code }} }} }}'

    apart, _, _ = await rate(scene, [rename(key) for key in range(2, 10)])
    found, codes, deadlocks = await rate(scene, [order] * 4 + [rename(1)] * 4)
    outcome = Outcome(f"4 + 4 clients: {found:.0f} writes a second, {deadlocks} deadlocks; {apart:.0f} by 8 who meet nobody")
    outcome.must(found >= 100 or found >= apart, "fewer than 100 a second, and than those who meet nobody")
    outcome.must(deadlocks == 0, "writes waited for each other in a ring")
    outcome.must(codes.keys() == {"OK"}, f"somebody was refused: {dict(codes)}")
    return outcome


@fault("locks: the fields of @atomic mutations cross")
async def crossing(scene: Scene) -> Outcome:
    await scene.warm()
    await scene.all([order(), order()])
    keys = [key for (key,) in await scene.rows("SELECT id FROM orders ORDER BY id LIMIT 2")]

    def both(keys: Sequence[int]) -> Callable[[int], str]:
        fields = [
            f'{name}: updateOrder(input: {{id: "Order:{key}", note: "%s"}}) {{ errors {{ code }} }}'
            for name, key in zip("ab", keys, strict=True)
        ]
        return lambda number: "mutation @atomic { " + " ".join(field % number for field in fields) + " }"

    alike, _, _ = await rate(scene, [both(keys)] * 4)
    crossed, codes, deadlocks = await rate(scene, [both(keys), both(keys[::-1])] * 2)
    outcome = Outcome(f"4 clients: {alike:.0f} a second in one order, {crossed:.0f} crossing, {deadlocks} deadlocks")
    outcome.must(crossed >= alike / 2, "less than half")
    outcome.must(codes.keys() == {"OK"}, f"somebody was refused: {dict(codes)}")
    return outcome
