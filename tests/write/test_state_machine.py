"""Random mutations, valid and invalid, against a plain Python model of the shop.

The model says what a mutation answers and what the shop is afterwards: every row, total, position, version and piece of stock.
After each step a fresh read of everything must equal it. `HYPOTHESIS_PROFILE=thorough` plays longer.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import hypothesis
from hypothesis.stateful import initialize, run_state_machine_as_test

from tests.audit import audit_url, checked_out
from tests.conftest import asking
from tests.examples import THOROUGH, examples
from tests.unhurried import unhurried
from tests.write.machine.customers import CustomerRules
from tests.write.machine.items import ItemRules
from tests.write.machine.model import Ordered, Placed
from tests.write.machine.orders import OrderRules
from tests.write.machine.play import Play

# A failure of the short play is told as it was found; the long one looks for the shortest way to it.
SHORT = hypothesis.settings(max_examples=examples(6), stateful_step_count=30, phases=[hypothesis.Phase.generate])
LONG = hypothesis.settings(max_examples=examples(15), stateful_step_count=60)


class ShopMachine(CustomerRules, ItemRules, OrderRules):
    """All rules, from a small shop on."""

    @initialize()
    def open(self) -> None:
        """A customer with two orders, an item that is counted and one that is not."""
        self.play.clear()
        self.create_item("P", 150, 20, "")
        self.create_item("Q", 999, None, "")
        some = Placed([Ordered(0, 2, None), Ordered(1, 1, None), Ordered(0, 3, 100)], 100, "n1")
        self.create_customer("Ada", "a@x.io", [some, Placed([Ordered(0, 1, None)], 0, None)], "")

    def teardown(self) -> None:
        self.play.runner.run(audit_url(self.play.url))


def test_random_mutations_do_to_the_shop_what_they_do_to_its_model(empty_url: str) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        settings = unhurried(empty_url, max_cost=50_000)
        ask = runner.run(stack.enter_async_context(asking(settings)))

        class Machine(ShopMachine):
            def __init__(self) -> None:
                super().__init__()
                self.play = Play(runner, ask, empty_url)

        try:
            run_state_machine_as_test(Machine, settings=LONG if THOROUGH else SHORT)
            assert checked_out(ask.app.state.database) == 0
        finally:
            runner.run(stack.aclose())
