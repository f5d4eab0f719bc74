"""Two shops played beside each other are what each of them is alone, whatever happens to either.

Random requests go to both at the same time, over one pool that has fewer connections than there are requests: mutations of each
kind, good ones and refused ones, over the same ids, keys, e-mail addresses and idempotency keys; some are cancelled in the
middle, and some lose their connections. What one shop gave out is brought to the other. After each step all that either shop
shows, tells its subscribers and keeps equals what the same requests make of a database that has this shop alone, and a third
shop, to which nobody writes, is as it was. `HYPOTHESIS_PROFILE=thorough` plays longer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from graphql import get_named_type
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from graph.settings import Settings
from tests.drawn import MUTATION, selection
from tests.engines import Engines
from tests.examples import THOROUGH, examples
from tests.pgbouncer import pooler
from tests.shops.beside import FEED, IDLE, NAMES, WIDE, Asked, Beside, Fault, beside
from tests.write.machine.play import EVERYTHING

pytestmark = pytest.mark.long

SHORT = hypothesis.settings(max_examples=examples(3), stateful_step_count=25, phases=[hypothesis.Phase.generate])
LONG = hypothesis.settings(max_examples=examples(8), stateful_step_count=50)

SHOPS = st.sampled_from(NAMES)
#: Of few rows and keys, which both shops have.
NUMBERS_OF = {
    "Item": [1, 2, 3, 1, 2, 3, 4, 5],
    "Customer": [1, 1, 1, 2, 2, 3],
    "Order": [1, 2, 1, 2, 3, 4],
    "OrderItem": [1, 2, 3, 4, 5],
}
IDS = {type_: st.sampled_from([f"{type_}:{number}" for number in numbers]) for type_, numbers in NUMBERS_OF.items()}
SKUS = st.sampled_from(["P", "Q", "R", "P", "Q", "R", "S"])
NEW_SKUS = st.one_of(SKUS, st.sampled_from([f"N{number}" for number in range(12)]))
EMAILS = st.sampled_from(["a@x.io", "A@x.io ", *(f"{letter}@x.io" for letter in "bcdefghijk")])
TEXTS = st.sampled_from(["Ada", "Bo", "n1"])
PRICES = st.sampled_from(["1.50", "0", "20", "9.99", "1.50", "3", "7", "-1"])
STOCKS = st.sampled_from([None, 0, 30, 200])
NUMBERS = st.sampled_from([1, 1, 1, 2, 1, 2, 5, 1, 0])
VERSIONS = {"expectedVersion": st.sampled_from([1, 2])}
STATUSES = st.sampled_from(["PENDING", "PAID", "SHIPPED", "CANCELLED"])


def few(each: st.SearchStrategy[Any], least: int = 0, most: int = 2) -> st.SearchStrategy[list[Any]]:
    return st.lists(each, min_size=least, max_size=most)


def values(more: dict[str, st.SearchStrategy[Any]] | None = None, /, **always: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Inputs with these fields, and maybe some more."""
    return st.fixed_dictionaries(always, optional=more or {})


LINES = values({"pricePaid": PRICES}, item=st.one_of(values(sku=SKUS), values(id=IDS["Item"])), quantity=NUMBERS)
ORDERS = values({"discount": st.sampled_from(["0", "0.5"]), "note": TEXTS}, items=few(LINES))
NEW_ITEM = values({"stock": STOCKS}, sku=NEW_SKUS, name=TEXTS, price=PRICES)
NEW_CUSTOMER = values({"orders": few(ORDERS)}, name=TEXTS, email=EMAILS)
WHERE = st.one_of(values(where=values(note=values(eq=TEXTS))), values(where=values(status=values(eq=STATUSES))))
ON_ERROR = {"onError": st.sampled_from(["ROLLBACK", "CONTINUE"])}
ON_CONFLICT = {"onConflict": st.sampled_from(["ERROR", "SKIP", "UPDATE"])}
ROW = values(VERSIONS, id=IDS["Item"])
PERSON = values(VERSIONS, id=IDS["Customer"])
LINE_CHANGES = values(
    {
        "create": few(LINES),
        "update": few(values({"quantity": NUMBERS}, id=IDS["OrderItem"]), most=1),
        "remove": few(IDS["OrderItem"], most=1),
    }
)
ORDER_CHANGES = values({"create": few(ORDERS, most=1), "remove": few(IDS["Order"], most=1)})
CUSTOMER_OF = st.one_of(values(id=IDS["Customer"]), values(email=EMAILS))

INPUTS: dict[str, st.SearchStrategy[Any]] = {
    "createItem": NEW_ITEM,
    "createItems": values(ON_ERROR, items=few(NEW_ITEM, 1)),
    "insertItems": values(ON_CONFLICT, rows=few(NEW_ITEM, 1, 3)),
    "updateItem": values({"sku": SKUS, "price": PRICES, "stock": STOCKS, **VERSIONS}, id=IDS["Item"]),
    "upsertItem": values({"stockDelta": st.sampled_from([-2, 3])}, sku=NEW_SKUS, name=TEXTS, price=PRICES),
    "adjustStock": values(item=st.one_of(values(sku=SKUS), values(id=IDS["Item"])), delta=st.sampled_from([-30, -1, 4])),
    "archiveItem": ROW,
    "deleteItem": ROW,
    "createCustomer": NEW_CUSTOMER,
    "createCustomers": values(ON_ERROR, customers=few(NEW_CUSTOMER, 1, 3)),
    "insertCustomers": values(ON_CONFLICT, rows=few(values(name=TEXTS, email=EMAILS), 1, 3)),
    "updateCustomer": values({"name": TEXTS, "email": EMAILS, "orders": ORDER_CHANGES, **VERSIONS}, id=IDS["Customer"]),
    "upsertCustomer": values(name=TEXTS, email=EMAILS),
    "archiveCustomer": PERSON,
    "restoreCustomer": PERSON,
    "deleteCustomer": PERSON,
    "createOrder": values({"note": TEXTS}, customer=CUSTOMER_OF, items=few(LINES, 1)),
    "updateOrder": values({"note": TEXTS, "items": LINE_CHANGES, **VERSIONS}, id=IDS["Order"]),
    "deleteOrder": values(VERSIONS, id=IDS["Order"]),
    "transitionOrder": values(VERSIONS, id=IDS["Order"], to=STATUSES),
    "moveOrderItem": values({"quantity": NUMBERS}, id=IDS["OrderItem"], toOrder=IDS["Order"]),
    "updateOrders": st.builds(lambda where, note: {**where, "set": {"note": note}}, WHERE, TEXTS),
    "deleteOrders": WHERE,
    "purgeArchived": values(before=st.sampled_from(["2000-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])),
}
#: What brings rows comes as often as all the rest.
NAMES_OF_MUTATIONS = st.one_of(
    st.sampled_from(["createCustomer", "createOrder", "createItem", "insertItems"]), st.sampled_from(sorted(INPUTS))
)
MUTATIONS = NAMES_OF_MUTATIONS.flatmap(lambda name: st.tuples(st.just(name), INPUTS[name]))
HOW = st.sampled_from(["", "", "", "@dryRun"])
PLACES = st.integers(1, 9)
#: The methods of the machine, each as often as it stands here.
KINDS = (
    *("both", "both", "both", "several_fields", "one_is_read", "sent_before", "cursors_of_the_other", "writes_of_the_other"),
    *("cancelled", "cancelled", "killed"),
)
Draw = Callable[[st.SearchStrategy[Any]], Any]


def mutation(fields: list[tuple[str, Any]], how: str, key: str) -> Asked:
    """A mutation of some fields, each with an idempotency key, which shows all that it can."""
    heads, parts, variables = list[str](), list[str](), dict[str, Any]()
    for number, (name, given) in enumerate(fields):
        field = MUTATION.fields[name]
        heads.append(f"$i{number}: {field.args['input'].type}, $k{number}: String!")
        shown = selection(get_named_type(field.type), 2)
        parts.append(f"f{number}: {name}(input: $i{number}) @idempotent(key: $k{number}) {{ {shown} }}")
        variables |= {f"i{number}": given, f"k{number}": f"{key}{number or ''}"}
    return Asked(
        f"mutation ({', '.join(heads)}) {how} {{ {' '.join(parts)} }}", variables, key if len(fields) == 1 and not how else ""
    )


ROWS = """query ($ids: [ID!]!) { nodes(ids: $ids) {
    __typename id ... on Item { sku price stock } ... on Customer { email name } ... on Order { note totalAmount } } }"""
PAGE = (
    "query ($after: String) { items(first: 2, after: $after) { totalCount nodes { id sku } pageInfo { endCursor hasNextPage } } }"
)
AFTER = "query ($after: String) { changes(first: 2, after: $after) { nodes { entityId kind cursor } } }"
CURSOR = re.compile(rb'"(?:endCursor|cursor)":"([^"]+)"')


class Machine(RuleBasedStateMachine):
    """Every step is one of both shops, or of one while the other is read."""

    runner: asyncio.Runner
    place: Any

    def __init__(self) -> None:
        super().__init__()
        self.stack = AsyncExitStack()
        self.is_open = False
        self.keys = count()
        self.sent: list[Asked] = []
        self.cursors: dict[tuple[str, str], str] = {}

    @initialize(number=st.integers(0, 2**16))
    def open(self, number: int) -> None:
        hypothesis.assume(number)  # the first example of all is the simplest: one step again and again
        self.shops: Beside = self.runner.run(self.stack.enter_async_context(beside(*self.place())))
        self.is_open = True
        order = {"items": [{"item": {"sku": "P"}, "quantity": 1}, {"item": {"sku": "Q"}, "quantity": 2}]}
        bought = {"name": "Ada", "email": "a@x.io", "orders": [order, order]}
        for prices, names in (("1.50", "9", "20"), [IDLE]), (("2", "0", "30"), NAMES[:1]), (("3", "4", "5"), NAMES[1:]):
            rows = [{"sku": sku, "name": names[0], "price": price, "stock": 30} for sku, price in zip("PQR", prices, strict=True)]
            for each in ("insertItems", {"rows": rows}), ("createCustomer", bought):
                for side in (sides[names[0]] for sides in (self.shops.shared, self.shops.alone) if names[0] in sides):
                    assert b'_code"' not in self.runner.run(side.ask(mutation([each], "", str(each[0]))))
        self.runner.run(self.shops.look())
        self.runner.run(self.shops.see_rows())

    def teardown(self) -> None:
        if not self.is_open:
            return

        async def end() -> None:
            try:
                await self.shops.look()
                await self.shops.see_rows()
            finally:
                await self.stack.aclose()

        self.runner.run(end())

    def of_both(self, given: tuple[list[Any], list[Any]], how: str = "") -> dict[str, Asked]:
        """A mutation for each shop, with the same idempotency keys."""
        key = f"k{next(self.keys)}"
        return {name: mutation(fields, how, key) for name, fields in zip(NAMES, given, strict=True)}

    def play(self, asked: dict[str, Asked], faults: dict[str, Fault] | None = None) -> dict[str, bytes]:
        self.sent += [each for each in asked.values() if each.key]
        return self.runner.run(self.shops.play(asked, faults))

    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def step(self, data: st.DataObject, kind: str) -> None:
        # One rule: of several hypothesis leaves some out in each example, and there are few examples.
        getattr(self, kind)(data.draw)

    def both(self, draw: Draw) -> None:
        self.play(self.of_both(([draw(MUTATIONS)], [draw(MUTATIONS)]), draw(HOW)))

    def several_fields(self, draw: Draw) -> None:
        fields = st.lists(MUTATIONS, min_size=2, max_size=3)
        self.play(self.of_both((draw(fields), draw(fields)), draw(st.sampled_from(["", "@atomic", "@atomic @dryRun"]))))

    def one_is_read(self, draw: Draw) -> None:
        shop = draw(SHOPS)
        ids = draw(st.lists(st.one_of(*IDS.values()), min_size=1, max_size=6))
        self.play({**self.of_both(([draw(MUTATIONS)],) * 2), shop: Asked(ROWS, {"ids": ids})})

    def sent_before(self, draw: Draw) -> None:
        """By either shop, with an idempotency key that stands for something else where the other one sent it."""
        if self.sent:
            self.play({draw(SHOPS): draw(st.sampled_from(self.sent))})

    def cursors_of_the_other(self, draw: Draw) -> None:
        query = draw(st.sampled_from([PAGE, AFTER]))
        answers = self.play({name: Asked(query, {"after": self.cursors.get((query, name))}) for name in NAMES})
        for name, other in zip(NAMES, reversed(NAMES), strict=True):
            if found := CURSOR.findall(answers[name]):
                self.cursors[query, other] = found[-1].decode()

    def writes_of_the_other(self, draw: Draw) -> None:
        """Are to be seen, says who brings the token that it gave for them."""
        token = draw(st.sampled_from(["1.1", "7f.5f5e100", "x"]))
        brought: dict[str, Any] = {"head": {"x-ordergraph-read-after": token}}
        if draw(st.booleans()):
            brought = {"more": {"extensions": {"readAfter": token}}}
        self.play({draw(SHOPS): Asked(EVERYTHING, **brought)})

    def cancelled(self, draw: Draw) -> None:
        """Both in the middle, each before a statement of its own."""
        asked = self.of_both(([draw(MUTATIONS)], [draw(MUTATIONS)]))
        self.play(asked, {name: Fault("cancel", draw(PLACES)) for name in NAMES})

    def killed(self, draw: Draw) -> None:
        """All connections, while the other shop is read. A file has none."""
        shop, other = draw(st.permutations(NAMES))
        kind = "kill" if self.shops.is_postgres else "cancel"
        asked = {**self.of_both(([draw(MUTATIONS)],) * 2), other: Asked(FEED)}
        self.play(asked, {shop: Fault(kind, draw(PLACES))})


@pytest.fixture(
    params=[
        "sqlite",
        "postgresql",
        "roles",
        pytest.param("pooled", marks=pytest.mark.pgbouncer),
        pytest.param("pooled-roles", marks=pytest.mark.pgbouncer),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """What makes a place for shops, again and again: the settings of their server, where they are, a database for each alone."""
    kind: str = request.param
    engines: Engines = request.getfixturevalue("sqlite_engines" if kind == "sqlite" else "postgres_engines")
    made = count()
    more: dict[str, Any] = {"shops": True, "pool_size": 3, "shop_roles": kind.endswith("roles"), **WIDE}
    with ExitStack() as stack:

        def new(template: str) -> str:
            url = engines.new(template)
            stack.callback(engines.drop, url)
            return url

        def place() -> tuple[Settings, str, dict[str, str]]:
            url = f"sqlite:///{tmp_path}/{next(made)}" if kind == "sqlite" else new("nothing")
            through = stack.enter_context(pooler(url)) if kind.startswith("pooled") else url
            settings = Settings(database_url=through, pgbouncer=through != url, **more)
            return settings, url, {name: new("empty") for name in NAMES}

        yield place


def test_shops_beside_each_other_are_what_each_is_alone(place: Any) -> None:
    with asyncio.Runner() as runner:

        class Played(Machine):
            pass

        Played.runner, Played.place = runner, staticmethod(place)
        run_state_machine_as_test(Played, settings=LONG if THOROUGH else SHORT)
