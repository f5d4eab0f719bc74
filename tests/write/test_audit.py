"""Who wrote: what records name, and the audit line that every write leaves, refused, undone and unknown ones included."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import pytest

from graph.environment import from_environment
from graph.feed.sequence import number_some
from graph.observations import WriteEnded, listening
from graph.scope import Viewer
from graph.serve import logs
from graph.settings import Settings
from tests import stock
from tests.conftest import Ask
from tests.viewers import ADMIN, READER, answered, viewer

SHOP = [stock.item("A", 1, 9), stock.item("B", 1), stock.customer("Ada", [stock.line("A", 2)])]

KIM = viewer("admin")
TOO_MANY = '{item: {sku: "A"}, quantity: 90}'
ORDER = 'customer: {id: "Customer:1"}, note: "a secret"'
ORDERS = f"[{{{ORDER}}}, {{{ORDER}, items: [{TOO_MANY}]}}]"
MAKE = f"createOrder(input: {{{ORDER}}})"
BAD = f"createOrder(input: {{{ORDER}, items: [{TOO_MANY}]}})"
ARCHIVE = 'archiveItem(input: {id: "Item:2"})'
ERRORS = "{ errors { code } }"

#: Operations, and what is told of each of their fields: mutation, outcome, codes, rows, ids.
LINES: list[tuple[str, list[tuple[str, str, str, int, str]]]] = [
    (f"mutation {{ {MAKE} {ERRORS} }}", [("createOrder", "ok", "", 1, "Order:2")]),
    (f'mutation {{ {MAKE} @idempotent(key: "k") {ERRORS} }}', [("createOrder", "ok", "", 1, "Order:3")]),
    (f'mutation {{ {MAKE} @idempotent(key: "k") {ERRORS} }}', [("createOrder", "ok", "", 0, "")]),
    (f"mutation {{ {BAD} {ERRORS} }}", [("createOrder", "refused", "OUT_OF_STOCK", 0, "")]),
    (f"mutation @dryRun {{ {MAKE} {ERRORS} }}", [("createOrder", "undone", "", 0, "")]),
    (f"mutation @dryRun @atomic {{ {MAKE} {ERRORS} }}", [("createOrder", "undone", "", 0, "")]),
    (
        f"mutation @atomic {{ {MAKE} {ERRORS} {ARCHIVE} {ERRORS} }}",
        [("createOrder", "ok", "", 1, "Order:*"), ("archiveItem", "ok", "", 1, "Item:2")],
    ),
    (
        f"mutation @atomic {{ one: {MAKE} {ERRORS} two: {BAD} {ERRORS} }}",
        [("createOrder", "refused", "ROLLED_BACK", 0, ""), ("createOrder", "refused", "OUT_OF_STOCK", 0, "")],
    ),
    (
        f"mutation {{ createOrders(input: {{orders: {ORDERS}, onError: CONTINUE}}) {ERRORS} }}",
        [("createOrders", "ok", "OUT_OF_STOCK", 1, "Order:*")],
    ),
    (f"mutation {{ {MAKE} {{ order {{ id(no: 1) }} }} }}", []),
    (
        'mutation { updateOrder(input: {id: "Order:1", items: {create: [], replace: null}, note: 1}) { errors { code } } }',
        [],
    ),
    (
        f"mutation {{ {MAKE} {{ order {{ customer {{ orders(first: 999) {{ totalCount }} }} }} }} }}",
        [("createOrder", "refused", "BAD_USER_INPUT", 0, "")],
    ),
    ("{ items { totalCount } }", []),
]


def line_of(seen: WriteEnded) -> tuple[str, str, str, int, str]:
    """An observation as `LINES` has it; keys are drawn in an order that is no promise once something was undone."""
    ids = " ".join(seen.ids)
    return seen.mutation, seen.outcome, " ".join(seen.codes), seen.rows, ids


def alike(found: tuple[str, str, str, int, str], expected: tuple[str, str, str, int, str]) -> bool:
    ids = expected[4]
    return found[:4] == expected[:4] and (found[4].startswith(ids[:-1]) if ids.endswith("*") else found[4] == ids)


async def test_every_write_is_told_once_with_who_and_what_became_of_it(shop: Ask) -> None:
    for query, lines in LINES:
        heard: list[WriteEnded] = []
        with listening(WriteEnded, heard.append):
            await answered(shop.database, KIM, query)
        found = [line_of(seen) for seen in heard]
        assert len(found) == len(lines), (query, found)
        assert all(map(alike, found, lines)), (query, found)
        assert {seen.who for seen in heard} <= {KIM.identity}


async def test_who_is_refused_by_his_scopes_is_told_of_and_who_need_not_say_who_he_is_has_no_name(shop: Ask) -> None:
    heard: list[WriteEnded] = []
    query = f'mutation {{ {MAKE} {ERRORS} purgeArchived(input: {{before: "2001-01-01T00:00:00Z"}}) {{ count }} }}'
    with listening(WriteEnded, heard.append):
        await answered(shop.database, READER, query)
        await answered(shop.database, None, f"mutation {{ {MAKE} {ERRORS} }}")
    told = [(seen.who, seen.mutation, seen.outcome, *seen.codes) for seen in heard]
    assert told == [
        ("staff read", "createOrder", "refused", "FORBIDDEN"),
        ("staff read", "purgeArchived", "refused", "FORBIDDEN"),
        ("", "createOrder", "ok"),
    ]


async def test_a_bug_is_told_of_as_well(shop: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr("graph.write.perform.payload_of", broken)
    heard: list[WriteEnded] = []
    with listening(WriteEnded, heard.append):
        for how in ("", "@atomic"):
            await answered(shop.database, KIM, f"mutation {how} {{ {MAKE} {ERRORS} }}")
    assert [line_of(seen) for seen in heard] == [("createOrder", "failed", "", 0, "")] * 2


async def test_a_line_of_the_log_holds_no_value(shop: Ask, caplog: pytest.LogCaptureFixture) -> None:
    with logs.observing(Settings(audit_log=True)), caplog.at_level(logging.INFO):
        await answered(shop.database, KIM, f"mutation {{ {MAKE} {ERRORS} }}")
        await answered(shop.database, KIM, f"mutation {{ {BAD} {ERRORS} }}")
    records = [record for record in caplog.records if record.name == "ordergraph.audit"]
    made, refused = (orjson.loads(logs.JsonLine().format(record)) for record in records)
    assert (made["event"], made["who"], made["outcome"], made["rows"]) == ("createOrder", "staff admin", "ok", 1)
    assert made["ids"].startswith("Order:")
    assert (refused["outcome"], refused["codes"], "ids" in refused) == ("refused", "OUT_OF_STOCK", False)
    assert "secret" not in caplog.text + str(made) + str(refused)
    with logs.observing(Settings()):
        assert WriteEnded.listeners == []
    assert "(who staff admin, outcome ok" in logs.LogLine().format(records[0])
    named = {"ORDERGRAPH_AUTH": "on", "ORDERGRAPH_JWT_SECRET": "x" * 40}
    assert from_environment(named).audit_log
    assert not from_environment({**named, "ORDERGRAPH_AUDIT_LOG": "off"}).audit_log


async def test_a_name_cannot_say_how_a_write_ended(shop: Ask, caplog: pytest.LogCaptureFixture) -> None:
    forger = Viewer('kim, outcome refused, rows 9) "', "kim", frozenset({"admin"}))
    with logs.observing(Settings(audit_log=True)), caplog.at_level(logging.INFO):
        await answered(shop.database, forger, f"mutation {{ {MAKE} {ERRORS} }}")
    (record,) = (record for record in caplog.records if record.name == "ordergraph.audit")
    line = logs.LogLine().format(record)
    assert '(who "kim, outcome refused, rows 9) \\"", outcome ok, rows 1, ids Order:2)' in line
    assert orjson.loads(logs.JsonLine().format(record))["who"] == forger.identity


async def test_records_name_who_did_it(shop: Ask) -> None:
    change = f"""mutation {{
      {ARCHIVE} {{ item {{ archivedBy }} }}
      all: archiveCustomers(input: {{all: true}}) {{ count }}
      insertItems(input: {{rows: [{{sku: "N", name: "New", price: 1}}]}}) {{ inserted }}
    }}"""
    _, answer = await answered(shop.database, ADMIN, change)
    assert answer["data"]["archiveItem"] == {"item": {"archivedBy": "staff admin"}}
    _, answer = await answered(shop.database, None, 'mutation { restoreItem(input: {id: "Item:2"}) { item { archivedBy } } }')
    assert answer["data"]["restoreItem"] == {"item": {"archivedBy": None}}
    while await number_some(shop.database):
        pass
    query = """{ changes(last: 4) { nodes { entityId by } } customers(where: {archived: {eq: true}}) { nodes { archivedBy } } }"""
    _, answer = await answered(shop.database, ADMIN, query)
    told = [(node["entityId"], node["by"]) for node in answer["data"]["changes"]["nodes"]]
    by = "staff admin"
    assert told == [("Item:2", by), ("Customer:1", by), ("Item:3", by), ("Item:2", None)]
    assert answer["data"]["customers"]["nodes"] == [{"archivedBy": by}]
