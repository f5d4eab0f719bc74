"""Every root field played as everybody: who is refused before anything runs, who is answered, and with what.

The fields are found by introspection and their arguments made of their types: they name rows of the customer Ada. What must be
refused follows from the declarations; what became of each is a table, `root_fields.md`, that shows in a diff what a changed
declaration does. `pytest tests/access/test_root_fields.py --update-golden` writes it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import orjson
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    OperationType,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from graph.access import api_keys
from graph.access.credentials import EXPIRED, INVALID, MISSING
from graph.access.key_lookup import keys_of_prefixes
from graph.feed.positions import cursor_at
from graph.feed.sequence import number_some
from graph.read.types.permissions import is_unbound, root_types, scope_of, sendable
from graph.schema import schema
from graph.scope import IMPLIED
from tests import stock
from tests.conftest import Ask, Statements, asking
from tests.drawn import selection
from tests.sockets import listening, until
from tests.subscribers import event_stream
from tests.tokens import AUTH, token
from tests.unhurried import unhurried

SDL: Any = schema._schema
TABLE = Path(__file__).with_name("root_fields.md")
SHOP = [
    stock.item("A", 1, 99),
    stock.customer("Ada", [stock.line("A", 2), stock.line("A")], [stock.line("A", 3)], email="hers@ada.example"),
    stock.customer("Bob", [stock.line("A")], email="his@bob.example"),
]
#: What nobody but they and the house reads.
HERS, HIS = ("Ada", "hers@ada.example", "SO-1", "SO-2"), ("Bob", "his@bob.example", "SO-3")
#: The codes of requests that are refused as a whole, and their statuses.
CODES = {"UNAUTHENTICATED": "401", "FORBIDDEN": "403"}
#: Rows of Ada's, and of everybody's. A line is moved to another order than its own.
ROWS = {"Customer": "Customer:1", "OrderItem": "OrderItem:1", "Order": "Order:1", "Item": "Item:1", "toOrder": "Order:2"}
VALUES: dict[str, Any] = {
    "String": "Text",
    "Int": 1,
    "Decimal": "1.00",
    "Percent": "5",
    "Boolean": True,
    "DateTime": "2001-01-01T00:00:00Z",
}


@dataclass(frozen=True)
class Player:
    """Somebody who plays every field: his words, whether he belongs to a customer, and what is said of bad credentials."""

    scopes: frozenset[str] = frozenset()
    bound: bool = False
    said: str = ""

    def is_refused(self, field: Any) -> str:
        """The code by which he is refused as a whole, if he is; by what is declared."""
        if self.said:
            return "UNAUTHENTICATED"
        return "FORBIDDEN" if scope_of(field) not in self.scopes or (self.bound and is_unbound(field)) else ""

    def challenge(self, field: Any) -> str:
        """What `WWW-Authenticate` says to him who is refused."""
        lacks = scope_of(field) not in self.scopes
        return self.said or (f'Bearer error="insufficient_scope", scope="{scope_of(field)}"' if lacks else "")


PLAYERS = {
    "nobody": Player(said=MISSING.decode()),
    "expired": Player(said=EXPIRED.decode()),
    "revoked": Player(said=INVALID.decode()),
    "another audience": Player(said=INVALID.decode()),
    "read": Player(frozenset(IMPLIED["read"])),
    "write": Player(frozenset(IMPLIED["write"])),
    "admin": Player(frozenset(IMPLIED["admin"])),
    "Ada's": Player(frozenset(IMPLIED["admin"]), bound=True),
    "Bob's": Player(frozenset(IMPLIED["admin"]), bound=True),
}


async def headers(ask: Ask) -> dict[str, dict[str, str]]:
    """What each of them sends."""
    revoked = await api_keys.create(ask.database, "revoked", ["admin"])
    await api_keys.revoke(ask.database, "revoked")
    texts = {
        "expired": token("admin", aud="shop", exp=int(time()) - 1_000),
        "revoked": revoked,
        "another audience": token("admin", aud="bank"),
        **{word: token(word, aud="shop") for word in IMPLIED},
        "Ada's": token("admin", aud="shop", customer="Customer:1"),
        "Bob's": token("admin", aud="shop", customer="Customer:2"),
    }
    return {"nobody": {}, **{name: {"authorization": f"Bearer {text}"} for name, text in texts.items()}}


# ---- what is asked


def value(type_: Any, owner: str, name: str) -> Any:
    """A value of an input type: the least that says something, and names what is Ada's."""
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        return [value(type_.of_type, owner, name)]
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    if isinstance(type_, GraphQLInputObjectType):
        return made(type_)
    if type_.name == "ID":
        return ROWS[name] if name in ROWS else next((id_ for each, id_ in ROWS.items() if each in owner), ROWS["Order"])
    return {"email": "new@example.org", "sku": "NEW"}.get(name, VALUES[type_.name])


def made(type_: Any) -> Any:
    if type_.name.endswith("Where"):
        return {"id": {"eq": ROWS[type_.name.removesuffix("Where")]}}
    if type_.is_one_of:
        name = "id" if "id" in type_.fields else next(iter(type_.fields))
        return {name: value(type_.fields[name].type, type_.name, name)}
    found = {}
    for name, field in type_.fields.items():
        some = sendable(field)
        if is_required_input_field(field) or (some is None and (name == "where" or named(field) == "String")):
            found[name] = min(some) if some else value(field.type, type_.name, name)
    return found


def named(part: Any) -> str:
    return str(get_named_type(part.type).name)


def operation(root: GraphQLObjectType, name: str) -> tuple[str, dict[str, Any]]:
    """An operation of one field and its variables. What would be written is undone."""
    field = root.fields[name]
    given = {each: value(a.type, name.capitalize(), each) for each, a in field.args.items() if is_required_argument(a)}
    if root is SDL.subscription_type:
        given["after"] = cursor_at(0)
    declared = ", ".join(f"${each}: {field.args[each].type}" for each in given)
    passed = ", ".join(f"{each}: ${each}" for each in given)
    how, depth = ("@dryRun", 1) if root is SDL.mutation_type else ("", 2)
    kind = next(each.value for each in OperationType if SDL.get_root_type(each) is root)
    head = f"{kind} Play{f'({declared})' if declared else ''} {how}"
    return f"{head} {{ {name}{f'({passed})' if passed else ''} {{ {selection(get_named_type(field.type), depth)} }} }}", given


# ---- what becomes of it


@dataclass
class Stage:
    """A server that asks everybody who he is."""

    ask: Ask
    port: int
    heads: dict[str, dict[str, str]]

    async def play(self, who: str, root: GraphQLObjectType, name: str) -> tuple[int, str, bytes]:
        """Status, challenge and body of what somebody is answered; of a stream its first response."""
        query, variables = operation(root, name)
        head = self.heads[who]
        if root is not SDL.subscription_type or PLAYERS[who].said:
            accept = {"accept": "text/event-stream"} if root is SDL.subscription_type else {}
            answer = await self.ask.client.post("/graphql", json={"query": query, "variables": variables}, headers=head | accept)
            return answer.status_code, answer.headers.get("www-authenticate", ""), answer.content
        async with event_stream(self.port, query, head=head, variables=variables) as stream:
            heard = await stream.hears()
        await until(lambda: self.ask.app.state.hub.members == 0)
        return 200, "", orjson.dumps(heard)


@pytest.fixture
async def stage(shop_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr("graph.access.credentials.LOOK_SECONDS", 3_600)
    async with AsyncExitStack() as stack:
        ask = await stack.enter_async_context(
            asking(unhurried(shop_url, jwt_audience="shop", max_cost=10**9, max_aliases=1_000, **AUTH))
        )
        server = await stack.enter_async_context(listening(ask.app))
        while await number_some(ask.database):
            pass
        yield Stage(ask, server.port, await headers(ask))


def told(status: int, body: bytes) -> str:
    """What somebody was told, in short: the status where the request was refused as a whole."""
    answer = json.loads(body)
    if "data" not in answer:
        return CODES[answer["errors"][0]["extensions"]["code"]]
    assert (status, "errors" in answer) == (200, False), answer
    [found] = answer["data"].values()
    if isinstance(found, dict) and found.get("errors"):
        return ", ".join(sorted({str(error[f"{error['__typename']}_code"]) for error in found["errors"]}))
    if isinstance(found, dict) and "Payload" in found["__typename"] and "count" in found:
        return f"count {found['count']}"
    return "null" if found in (None, [None]) else "answer"


def table(outcomes: dict[tuple[str, str], str]) -> str:
    lines = ["| | " + " | ".join(PLAYERS) + " |", "|---" * (len(PLAYERS) + 1) + "|"]
    places = dict.fromkeys(place for place, _ in outcomes)
    lines += [f"| `{place}` | " + " | ".join(outcomes[place, who] for who in PLAYERS) + " |" for place in places]
    return "\n".join(lines) + "\n"


def fields() -> Iterator[tuple[GraphQLObjectType, str, Any]]:
    for root in root_types(SDL):
        for name, field in sorted(root.fields.items()):
            yield root, name, field


async def test_every_root_field_as_everybody(stage: Stage, statements: Statements, request: pytest.FixtureRequest) -> None:
    outcomes: dict[tuple[str, str], str] = {}
    before = await stage.ask.snapshots.take()
    looked_up = keys_of_prefixes(stage.ask.database.dialect)
    refusals = {(root, name, who): each.is_refused(field) for root, name, field in fields() for who, each in PLAYERS.items()}
    for (root, name, who), refusal in refusals.items():  # while nobody is answered, every statement would be for one of these
        if refusal:
            statements.clear()
            status, challenge, body = await stage.play(who, root, name)
            outcomes[f"{root.name}.{name}", who] = told(status, body)
            assert outcomes[f"{root.name}.{name}", who] == CODES[refusal], (name, who, body)
            assert challenge == PLAYERS[who].challenge(root.fields[name]), (name, who)
            assert set(statements.sql) <= {looked_up.sql}, (name, who)
    for (root, name, who), refusal in refusals.items():
        if not refusal:
            status, _, body = await stage.play(who, root, name)
            outcomes[f"{root.name}.{name}", who] = told(status, body)
            assert outcomes[f"{root.name}.{name}", who] not in CODES.values(), (name, who, body)
            hidden = {"Ada's": HIS, "Bob's": HERS}.get(who, ())
            assert not [text for text in hidden if text in body.decode()], (name, who, body)
    assert await stage.ask.snapshots.take() == before
    shown = table({(f"{root.name}.{name}", who): outcomes[f"{root.name}.{name}", who] for root, name, who in refusals})
    if request.config.getoption("--update-golden"):
        TABLE.write_text(shown, encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == shown
