"""The scopes of root fields: declared beside each, told in its description, and asked of the whole operation before it runs."""

from __future__ import annotations

from typing import Any

import pytest

from graph.context import Context
from graph.feed.sequence import Sequencer
from graph.operations.request_errors import RequestRefused
from graph.operations.subscriptions import Broadcast
from graph.read.types import permissions
from graph.read.types.permissions import PermissionsError, root_types, root_use, scope_of
from graph.schema import schema
from graph.scope import IMPLIED, Viewer
from tests import stock
from tests.conftest import Ask, Statements
from tests.viewers import ADMIN, NOBODY, READER, WRITER, answered, viewer

SHOP = [stock.item("A", 1, 9), stock.customer("Ada", [stock.line("A", 2)])]

MAKE = '(input: {sku: "B", name: "Bolt", price: 1}) { item { sku } errors { code } }'
PURGE = '(input: {before: "2001-01-01T00:00:00Z"}) { count }'

PURGED = f"purgeArchived{PURGE}"
READS = [("node", "read"), ("all", "read")]

#: Operations with what their root fields need.
CASES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("{ items { totalCount } }", {}, [("items", "read")]),
    ("query ($id: ID!) { node(id: $id) { id } all: nodes(ids: [$id]) { id } }", {"id": "Item:1"}, READS),
    ("{ orderSummary { count } changes(first: 1) { nodes { kind } } }", {}, [("orderSummary", "read"), ("changes", "read")]),
    (f"mutation {{ createItem{MAKE} }}", {}, [("createItem", "write")]),
    (f"mutation @dryRun {{ made: createItem{MAKE} }}", {}, [("made", "write")]),
    (f"mutation @atomic {{ made: createItem{MAKE} gone: purgeArchived{PURGE} }}", {}, [("made", "write"), ("gone", "admin")]),
    (
        f"mutation {{ ...F ... {{ createItem{MAKE} }} }} fragment F on Mutation {{ ...G }} fragment G on Mutation {{ {PURGED} }}",
        {},
        [("purgeArchived", "admin"), ("createItem", "write")],
    ),
]


async def test_an_operation_is_refused_as_a_whole_for_each_field_whose_scope_is_not_held(shop: Ask) -> None:
    before = await shop.snapshots.take()
    for query, variables, needs in CASES:
        for who in (NOBODY, READER, WRITER, ADMIN):
            missing = [need for need in needs if need[1] not in who.scopes]
            if not missing:
                continue
            status, answer = await answered(shop.database, who, query, variables)
            told = [(error["path"], error["extensions"]["code"], error["extensions"]["scope"]) for error in answer["errors"]]
            assert (status, told, "data" in answer) == (403, [([key], "FORBIDDEN", scope) for key, scope in missing], False), (
                query
            )
    assert await shop.snapshots.take() == before
    for query, variables, needs in CASES[:-2]:  # these items are made once
        enough = next(who for who in (READER, WRITER, ADMIN) if all(scope in who.scopes for _, scope in needs))
        everybody: list[Viewer | None] = [enough, ADMIN, None]
        for asks in everybody:
            status, answer = await answered(shop.database, asks, query, variables)
            assert (status, "errors" in answer) == (200, False), (query, answer)


async def test_every_scope_that_is_missing_is_named_once(shop: Ask) -> None:
    query = f"mutation {{ a: purgeArchived{PURGE} b: createItem{MAKE} c: createItem{MAKE} }}"
    for who, words in (
        (NOBODY, "write admin"),
        (READER, "write admin"),
        (WRITER, "admin"),
        (viewer("write", customer=1), "admin"),
    ):
        with pytest.raises(RequestRefused) as refused:
            await schema.engine(shop.database).run(query, {}, None, Context(shop.database, viewer=who))
        assert refused.value.headers == ((b"www-authenticate", f'Bearer error="insufficient_scope", scope="{words}"'.encode()),)


async def test_a_field_that_is_left_out_needs_nothing(shop: Ask) -> None:
    query = f"""
        mutation ($all: Boolean = false, $none: Boolean!) {{
          ...F @include(if: $all)
          ... @skip(if: $none) {{ purgeArchived{PURGE} }}
          __typename
        }}
        fragment F on Mutation {{ again: purgeArchived{PURGE} }}
    """
    for variables, paths in (
        ({"none": True}, []),
        ({"none": True, "all": True}, [["again"]]),
        ({"none": False}, [["purgeArchived"]]),
        ({"none": False, "all": True}, [["again"], ["purgeArchived"]]),
    ):
        status, answer = await answered(shop.database, WRITER, query, variables)
        assert [error["path"] for error in answer.get("errors", [])] == paths, answer
        assert status == (403 if paths else 200)


async def test_it_is_refused_before_anything_is_planned_or_run(shop: Ask, statements: Statements) -> None:
    dear = "{ items(first: 100) { nodes { orderItems(first: 100) { nodes { order { items { id } } } } } } }"
    bad = (
        'mutation { adjustStock(input: {item: {id: "Item:1"}, delta: 1}) { item { orderItems(first: 1000) { nodes { id } } } } }'
    )
    counters = schema.engine(shop.database).counters
    planned, executed = counters.planned, counters.executed
    for query in (dear, bad):
        status, answer = await answered(shop.database, NOBODY, query)
        assert (status, [error["extensions"]["code"] for error in answer["errors"]]) == (403, ["FORBIDDEN"])
    assert (len(statements), counters.planned, counters.executed) == (0, planned, executed)


async def test_introspection_is_open_to_everybody(shop: Ask) -> None:
    status, answer = await answered(
        shop.database, NOBODY, '{ __schema { queryType { name } } __type(name: "Item") { name } __typename }'
    )
    assert (status, answer["data"]["__type"]) == (200, {"name": "Item"})


async def test_a_subscription_needs_its_scope_before_it_begins(shop: Ask) -> None:
    begin = Broadcast(schema.engine(shop.database), shop.database, Sequencer(shop.database))
    for query in (
        "subscription { told: changes { kind } }",
        "subscription { ...F } fragment F on Subscription { told: orderChanged { cursor } }",
    ):
        with pytest.raises(RequestRefused) as refused:
            await begin(query, {}, None, Context(shop.database, viewer=NOBODY))
        assert (refused.value.status, [error.path for error in refused.value.errors]) == (403, [["told"]])
        await (await begin(query, {}, None, Context(shop.database, viewer=READER))).aclose()


def test_every_root_use_declares_its_scope_and_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    built = schema._schema
    for type_ in root_types(built):
        for name, field in type_.fields.items():
            assert scope_of(field) in IMPLIED
            assert f"Needs the scope `{scope_of(field)}`." in (field.description or ""), name
            with monkeypatch.context() as patch:
                patch.setattr(field.extensions["strawberry-definition"], "metadata", {})
                with pytest.raises(
                    PermissionsError, match=rf"{type_.name}\.{name} must declare the scope that it needs: read, write, admin"
                ):
                    permissions.check(built)
    permissions.check(built)
    with pytest.raises(PermissionsError, match="'writes' is no scope; there are read, write, admin"):
        root_use("writes")


def test_a_scope_holds_with_what_it_implies_and_other_words_say_nothing() -> None:
    words = {(): "", ("read",): "read", ("write",): "read write", ("admin", "openid"): "admin read write", ("Read", ""): ""}
    for given, held in words.items():
        assert sorted(Viewer("x", "X", frozenset(given)).scopes) == held.split()
