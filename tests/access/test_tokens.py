"""Tokens: who is let in by one, and every kind of one by which nobody is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from time import time
from typing import Any

import jwt
import pytest

from graph.access.claims import LONGEST_NAME, BadCredentials
from graph.access.credentials import EXPIRED, INVALID, MISSING
from graph.access.tokens import Tokens
from graph.scope import Viewer
from graph.settings import Settings
from tests.conftest import Ask, Statements
from tests.tokens import AUTH, LEFT_OUT, SECRET, bearer, raw, speaking_as, token

SHOP = "varied"
AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

COUNT = "{ items { totalCount } }"
CREATE = 'mutation { createItem(input: {sku: "NEW", name: "New", price: "1"}) { item { id } } }'


HEAD = '{"alg":"HS256","typ":"JWT"}'
#: What is said of times is so for as long as tests may take.
LATER = int(time()) + 86_400
GOOD = f'"sub":"ada","exp":{LATER},"scope":"read"'

#: Every kind of token that is no good, by what is wrong with it.
BAD = {
    # the signature
    "of another secret": token(key=SECRET[::-1]),
    "without a signature": token().rpartition(".")[0] + ".",
    "with two parts": token().rpartition(".")[0],
    "with four parts": f"{token()}.x",
    "with another's claims": ".".join([*token().split(".")[:1], token("admin").split(".")[1], token().split(".")[2]]),
    "by none": jwt.encode({"sub": "ada", "exp": LATER}, "", "none"),
    "by None, signed": raw('{"alg":"None"}', f"{{{GOOD}}}"),
    "by an algorithm of another strength": token(key=SECRET * 3, algorithm="HS512"),
    "by an algorithm in small letters": raw('{"alg":"hs256"}', f"{{{GOOD}}}"),
    "by an algorithm that is no text": raw('{"alg":["HS256"]}', f"{{{GOOD}}}"),
    "without an algorithm": raw('{"typ":"JWT"}', f"{{{GOOD}}}"),
    # the head
    "with an extension that must be understood": token(head={"crit": ["b64"], "b64": True}),
    "with an extension of ours": token(head={"crit": ["x"], "x": 1}),
    "with an empty crit": token(head={"crit": []}),
    "with a name of a key that is none": raw('{"alg":"HS256","kid":7}', f"{{{GOOD}}}"),
    "with a null name of a key, twice": raw('{"alg":"HS256","kid":null,"kid":null}', f"{{{GOOD}}}"),
    "with a head that is a list": raw("[]", f"{{{GOOD}}}"),
    "with a head that is no JSON": raw("{", f"{{{GOOD}}}"),
    "with a head that is no text": raw(b"\xff\xfe\xfd", f"{{{GOOD}}}"),
    # the JSON of the claims
    "with a list of claims": raw(HEAD, "[]"),
    "with null for claims": raw(HEAD, "null"),
    "with claims that are nested": raw(HEAD, "[" * 5_000),
    "with a claim twice": raw(HEAD, f'{{{GOOD},"scope":"admin"}}'),
    "with a claim twice, further down": raw(HEAD, f'{{{GOOD},"x":{{"a":1,"a":2}}}}'),
    "with no number": raw(HEAD, f'{{{GOOD},"x":NaN}}'),
    "with a number of many digits": raw(HEAD, f'{{{GOOD},"x":{"9" * 5_000}}}'),
    "with claims in no text": raw(HEAD, b'{"sub":"\xff"}'),
    "that is huge": token(x="x" * 9_000),
    # sub
    "without a subject": token(sub=LEFT_OUT),
    "with a subject that is null": token(sub=None),
    "with a number for a subject": token(sub=7),
    "with a list for a subject": token(sub=["ada"]),
    "with an empty subject": token(sub=""),
    "with blanks around the subject": token(sub=" ada"),
    "with a long subject": token(sub="a" * (LONGEST_NAME + 1)),
    "with a line's end in the subject": token(sub="ada\nroot"),
    "with NUL in the subject": token(sub="ada\0"),
    "with half a character in the subject": raw(HEAD, f'{{"sub":"\\ud800","exp":{LATER}}}'),
    "with the subject of an API key": token(sub="key:ci"),
    # times
    "without an end": token(exp=LEFT_OUT),
    "with an end that is null": raw(HEAD, '{"sub":"ada","exp":null}'),
    "with an end that is a text": raw(HEAD, f'{{"sub":"ada","exp":"{LATER}"}}'),
    "with an end that is true": raw(HEAD, '{"sub":"ada","exp":true}'),
    "with an end beyond numbers": raw(HEAD, '{"sub":"ada","exp":1e999}'),
    "with an end after all times": raw(HEAD, '{"sub":"ada","exp":1e30}'),
    "not good yet": token(nbf=LATER - 1),
    "made in the future": token(iat=LATER - 1),
    "with a beginning that is a list": token(nbf=[]),
    # scopes
    "with a word that nobody knows": token("read root"),
    "with a word in capitals": token("READ"),
    "with two blanks": token("read  write"),
    "with a list of words": token(["read"]),
    "with null for words": token(None),
    # customers
    "with null for a customer": token(customer=None),
    "with an empty customer": token(customer=""),
    "with a number for a customer": token(customer=1),
    "with an id of something else": token(customer="Order:1"),
    "with an id of no customer": token(customer="Customer:01"),
    "with a key beyond all": token(customer=f"Customer:{2**63}"),
    # audience
    "for somebody else": token(aud="another"),
    "for nobody": token(aud=[]),
    "for a text that is empty": token(aud=""),
    "for null": raw(HEAD, f'{{{GOOD},"aud":null}}'),
    "for a number": raw(HEAD, f'{{{GOOD},"aud":0}}'),
    # issuer
    "of an issuer that is a number": raw(HEAD, f'{{{GOOD},"iss":7}}'),
    "of an issuer that is null": raw(HEAD, f'{{{GOOD},"iss":null}}'),
    "of several issuers": raw(HEAD, f'{{{GOOD},"iss":["us"]}}'),
}
#: Good ones, and whom they name.
ADA = Viewer("ada", "ada", frozenset({"read"}))
FOUND = {
    "read": (token(), ADA),
    "write": (token("write"), Viewer("ada", "ada", frozenset({"read", "write"}))),
    "admin": (token("admin"), Viewer("ada", "ada", frozenset({"read", "write", "admin"}))),
    "several words": (token("write read"), Viewer("ada", "ada", frozenset({"read", "write"}))),
    "no words": (token(""), Viewer("ada", "ada")),
    "words left out": (token(LEFT_OUT), Viewer("ada", "ada")),
    "a customer": (token(customer="Customer:7"), Viewer("ada", "ada", frozenset({"read"}), 7)),
    "the longest name": (token(sub="é" * LONGEST_NAME), Viewer("é" * LONGEST_NAME, "é" * LONGEST_NAME, frozenset({"read"}))),
    "a name of a key that does not matter": (token(head={"kid": "x"}), ADA),
    "no typ": (token(head={"typ": ""}), ADA),
    "claims of others": (token(email="ada@example.org", roles=["x"], jti="1"), ADA),
    "a moment ago, by another's clock": (token(exp=time() - 2), ADA),
    "in a moment, by another's clock": (token(nbf=time() + 2, iat=time() + 2), ADA),
}


def settings(**more: Any) -> Settings:
    return Settings(**{**AUTH, **more})


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_every_kind_of_bad_token_is_refused(text: str) -> None:
    with pytest.raises(BadCredentials) as refusal:
        Tokens(settings()).read(text)
    assert not refusal.value.expired


@pytest.mark.parametrize(("text", "viewer"), FOUND.values(), ids=FOUND)
def test_a_good_token_names_its_viewer(text: str, viewer: Viewer) -> None:
    read = Tokens(settings(jwt_leeway_seconds=9_000.0)).read(text)
    found, until = read.viewer, read.until
    assert (found.identity, found.name, found.scopes, found.customer) == (
        viewer.identity,
        viewer.name,
        viewer.scopes,
        viewer.customer,
    )
    assert found.expires is not None
    assert until == found.expires + 9_000.0


def test_a_token_that_was_good_is_told_apart_and_only_where_it_is_signed() -> None:
    made_for: list[dict[str, Any]] = [{}, {"aud": "another"}]
    for claims in made_for:
        with pytest.raises(BadCredentials) as refusal:
            Tokens(settings()).read(token(exp=int(time()) - 10, **claims))
        assert refusal.value.expired
    with pytest.raises(BadCredentials) as refusal:
        Tokens(settings()).read(token(exp=int(time()) - 10, key="x" * 32))
    assert not refusal.value.expired


@pytest.mark.parametrize(
    ("set_", "good", "bad"),
    [
        (
            {"jwt_audience": "shop"},
            [{"aud": "shop"}, {"aud": ["x", "shop"]}],
            [
                {},
                {"aud": "x"},
                {"aud": []},
                {"aud": ["shops"]},
                {"aud": 7},
                {"aud": None},
                {"aud": ["shop", 7]},
                {"aud": {"shop": 1}},
            ],
        ),
        ({"jwt_issuer": "us"}, [{"iss": "us"}], [{}, {"iss": "them"}, {"iss": "u"}, {"iss": ""}]),
        ({}, [{"iss": "anybody"}], [{"aud": "shop"}, {"aud": ["shop"]}]),
    ],
)
def test_audience_and_issuer_are_held_against_the_settings(
    set_: dict[str, Any], good: list[dict[str, Any]], bad: list[dict[str, Any]]
) -> None:
    tokens = Tokens(settings(**set_))
    for claims in good:
        assert tokens.read(token(**claims)).viewer.identity == "ada"
    for claims in bad:
        with pytest.raises(BadCredentials):
            tokens.read(token(**claims))


def test_an_issuer_that_is_no_text_is_refused() -> None:
    with pytest.raises(BadCredentials):
        Tokens(settings(jwt_issuer="us")).read(raw(HEAD, f'{{{GOOD},"iss":["us"]}}'))


# ---- over HTTP


@pytest.fixture
def ask_with_tokens(shop_with: AskWith) -> AbstractAsyncContextManager[Ask]:
    return shop_with(**AUTH)


async def test_who_does_not_show_who_he_is_is_told_nothing_and_changes_nothing(
    ask_with_tokens: AbstractAsyncContextManager[Ask], statements: Statements
) -> None:
    """Whatever is wrong, the answer is the same, and nothing was asked of the database."""
    expired = bearer(exp=int(time()) - 10)["authorization"]
    told = {**dict.fromkeys((f"Bearer {text}" for text in BAD.values() if text.isascii()), INVALID), expired: EXPIRED}
    told |= dict.fromkeys(("", "Bearer", "Bearer ", "bearer", token()), MISSING)
    told |= dict.fromkeys(
        ("Basic YWRhOnB3", f"Token {token()}", f"Bearer {token()} x", "Bearer \xff", f"Bearer {token()}, Bearer x"), INVALID
    )
    async with ask_with_tokens as ask:
        statements.clear()
        answers = set[str]()
        for header, challenge in told.items():
            answer = await ask.client.post(
                "/graphql", json={"query": CREATE}, headers=[(b"authorization", header.encode("latin-1"))] if header else []
            )
            assert (answer.status_code, answer.headers["www-authenticate"].encode()) == (401, challenge), header
            [error] = answer.json().pop("errors")
            assert answer.json().keys() == {"errors"}
            assert error["extensions"].pop("requestId") == answer.headers["x-request-id"]
            if challenge is not EXPIRED:
                answers.add(json.dumps(error))
        assert len(answers) == 1
        assert json.loads(answers.pop())["extensions"] == {"code": "UNAUTHENTICATED"}
        assert len(statements) == 0
        before = await ask.client.post(
            "/graphql", json={"query": CREATE}, headers=[("authorization", bearer()["authorization"])] * 2
        )
        assert before.status_code == 401
        with speaking_as(ask):
            assert "NEW" not in str(await ask.data("{ items { nodes { sku } } }"))


async def test_who_shows_who_he_is_is_answered_by_every_method(ask_with_tokens: AbstractAsyncContextManager[Ask]) -> None:
    async with ask_with_tokens as ask:
        ways: list[tuple[str, dict[str, Any]]] = [
            ("POST", {"json": {"query": COUNT}}),
            ("QUERY", {"json": {"query": COUNT}}),
            ("GET", {"params": {"query": COUNT}}),
        ]
        for method, more in ways:
            for headers, status in ((bearer(), 200), ({"authorization": f"bEaReR  {token()}"}, 200), ({}, 401)):
                answer = await ask.client.request(method, "/graphql", headers=headers, **more)
                assert answer.status_code == status, (method, headers)
                assert "Authorization" in answer.headers["vary"]
        for path in ("/livez", "/readyz", "/schema.graphql"):
            assert (await ask.client.get(path)).status_code == 200
        assert (await ask.client.options("/graphql")).status_code == 204
        for path in ("/", "/docs", "/graphql"):
            page = await ask.client.get(path, headers={"accept": "text/html"})
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")


async def test_a_request_of_nobody_is_refused_before_its_body_is_looked_at(
    ask_with_tokens: AbstractAsyncContextManager[Ask],
) -> None:
    async with ask_with_tokens as ask:
        for body, media in ((b"{", "application/json"), (b"x", "text/plain"), (b"x" * 5_000_000, "application/json")):
            answer = await ask.client.post("/graphql", content=body, headers={"content-type": media})
            assert answer.status_code == 401


async def test_known_credentials_are_not_verified_again(
    ask_with_tokens: AbstractAsyncContextManager[Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ask_with_tokens as ask:
        with speaking_as(ask):
            await ask.data(COUNT)
            monkeypatch.setattr(jwt, "decode", None)
            await ask.data(COUNT)


async def test_no_log_holds_credentials(
    ask_with_tokens: AbstractAsyncContextManager[Ask], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    good, bad = token("write"), token(key="x" * 32)
    async with ask_with_tokens as ask:
        for text in (good, bad):
            for query in (CREATE, "{", "{ nothing }"):
                await ask.client.post("/graphql", json={"query": query}, headers={"authorization": f"Bearer {text}"})
    assert caplog.records
    assert not [part for text in (good, bad) for part in text.split(".")[1:] if part in caplog.text]


async def test_without_auth_nobody_is_asked_who_he_is(ask: Ask) -> None:
    answer = await ask.client.post("/graphql", json={"query": COUNT}, headers={"authorization": "Bearer x"})
    assert answer.status_code == 200


async def test_metrics_are_for_who_administers_all(shop_with: AskWith) -> None:
    lacking = 'Bearer error="insufficient_scope", scope="admin"'
    told: list[tuple[int, dict[str, str], str]] = [
        (401, {}, MISSING.decode()),
        (401, {"authorization": "Bearer x"}, INVALID.decode()),
        (403, bearer(), lacking),
        (403, bearer("write"), lacking),
        (403, bearer("admin", customer="Customer:1"), ""),
        (200, bearer("admin"), ""),
    ]
    async with shop_with(**AUTH, metrics=True) as ask:
        for status, head, challenge in told:
            answer = await ask.client.get("/metrics", headers=head)
            assert (answer.status_code, answer.headers.get("www-authenticate", "")) == (status, challenge)
            assert ("ordergraph_operation" in answer.text) == (status == 200)


def test_a_server_that_knows_no_tokens_does_not_load_what_verifies_them() -> None:
    """`cryptography` is a tenth of what a process holds."""
    made = """
import sys
from graph.serve.app import create_app
from graph.settings import Settings
for auth in ({}, {"auth": True, "jwt_secret": "a secret of more than 32 characters", "jwt_audience": "shop"}):
    create_app(Settings(database_url="postgresql://nobody@127.0.0.1:9/none", **auth))
    print(*sorted({"jwt", "cryptography"} & {*sys.modules}))
"""
    environment = {"PATH": os.environ["PATH"]}
    found = subprocess.run([sys.executable, "-c", made], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["", "cryptography jwt"]
