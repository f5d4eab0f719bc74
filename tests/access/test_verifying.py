"""Keys by which tokens are verified: a file of them, read again as it changes, and every kind of file that is refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from graph.access.claims import BadCredentials
from graph.access.credentials import INVALID, NEEDED
from graph.access.tokens import Tokens
from graph.operations.request_errors import RequestRefused
from graph.serve.app import create_app
from graph.settings import Settings, SettingsError
from tests.conftest import Ask
from tests.sockets import listening, until
from tests.subscribers import socket
from tests.tokens import SECRET, credentials_of, raw, speaking_as, token

SHOP = "varied"
AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

ALGORITHMS = ("RS256", "ES256", "EdDSA")


def private(algorithm: str, which: int = 0) -> Any:
    """A key that signs; `which` tells several of an algorithm apart."""
    return made(algorithm, which)


@cache
def made(algorithm: str, _: int) -> Any:
    if algorithm == "RS256":
        return rsa.generate_private_key(65_537, 2_048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm: str, which: int = 0, **more: Any) -> dict[str, Any]:
    """What a file holds of it, as a provider would publish it."""
    public: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(private(algorithm, which).public_key(), as_dict=True)
    public.pop("key_ops", None)
    return {**public, "kid": f"{algorithm}-{which}", "alg": algorithm, "use": "sig", **more}


def signed(algorithm: str, which: int = 0, **claims: Any) -> str:
    return token(key=private(algorithm, which), algorithm=algorithm, head={"kid": f"{algorithm}-{which}"}, **claims)


def write(path: Path, *keys: dict[str, Any]) -> None:
    """A file as deployments write it: a new one in place of the old."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"keys": keys}))
    new.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    write(path, *map(jwk, ALGORITHMS))
    return path


def of_file(path: Path, **more: Any) -> Settings:
    return Settings(auth=True, jwks_file=str(path), **more)


def pem(algorithm: str) -> str:
    text: bytes = private(algorithm).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_is_held_against_the_key_that_it_names(path: Path, algorithm: str) -> None:
    tokens = Tokens(of_file(path))
    read = tokens.read(signed(algorithm))
    viewer, key = read.viewer, read.key
    assert (viewer.identity, key.name, key.algorithm) == ("ada", f"{algorithm}-0", algorithm)
    other = ALGORITHMS[ALGORITHMS.index(algorithm) - 1]
    head, claims = json.dumps({"alg": "HS256", "kid": f"{algorithm}-0"}), '{"sub":"ada","exp":9999999999}'
    bad = [
        token(key=private(algorithm, 1), algorithm=algorithm, head={"kid": f"{algorithm}-0"}),  # another's key
        token(key=private(algorithm), algorithm=algorithm, head={"kid": f"{other}-0"}),  # the name of another key
        token(key=private(algorithm), algorithm=algorithm, head={"kid": "gone"}),
        token(key=private(algorithm), algorithm=algorithm, head={"kid": ""}),
        token(key=private(algorithm), algorithm=algorithm),  # which of them?
        jwt.encode({"sub": "ada", "exp": 9_999_999_999}, "", "none", headers={"kid": f"{algorithm}-0"}),
        # What everybody knows of a key, taken for a secret.
        *(
            raw(head, claims, key=text)
            for text in (json.dumps(jwk(algorithm)), pem(algorithm), jwk(algorithm).get("x", "AQAB"), "")
        ),
        # A key that the token brings along.
        token(key=private(algorithm, 1), algorithm=algorithm, head={"kid": f"{algorithm}-0", "jwk": jwk(algorithm, 1)}),
        token(key=private(algorithm, 1), algorithm=algorithm, head={"kid": f"{algorithm}-0", "jku": path.as_uri()}),
    ]
    for text in bad:
        with pytest.raises(BadCredentials):
            tokens.read(text)


@pytest.mark.parametrize("algorithm", ["RS384", "PS256"])
def test_a_key_is_for_one_algorithm(path: Path, algorithm: str) -> None:
    with pytest.raises(BadCredentials):
        Tokens(of_file(path)).read(token(key=private("RS256"), algorithm=algorithm, head={"kid": "RS256-0"}))


def test_the_only_key_need_not_be_named(path: Path) -> None:
    nameless = {name: value for name, value in jwk("ES256").items() if name != "kid"}
    for only in (jwk("ES256"), nameless):
        write(path, only)
        assert Tokens(of_file(path)).read(token(key=private("ES256"), algorithm="ES256")).viewer.identity == "ada"
    assert Tokens(of_file(path)).read(signed("ES256")).viewer.identity == "ada"  # it has no name to differ from
    write(path, jwk("ES256"))
    with pytest.raises(BadCredentials):
        Tokens(of_file(path)).read(token(key=private("ES256"), algorithm="ES256", head={"kid": "another"}))


def test_keys_for_something_else_are_passed_over(path: Path) -> None:
    others = [
        jwk("RS256", 1, use="enc"),
        jwk("RS256", 2, alg="RS512"),
        jwk("ES256", 1, key_ops=["sign"]),
        jwk("ES256", 2, crv="P-384"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": "new", "kid": "new"},
        {"kid": "nothing"},
        {"kty": ["RSA"]},
        {"kty": "EC", "crv": ["P-256"]},
        {"kty": {"RSA": 1}, "crv": {}},
    ]
    write(path, *others, jwk("EdDSA"))
    tokens = Tokens(of_file(path))
    assert list(tokens.keys.keys) == ["EdDSA-0"]
    assert tokens.read(signed("EdDSA")).viewer.identity == "ada"
    with pytest.raises(BadCredentials):
        tokens.read(token(key="secret" * 6, head={"kid": "secret"}))


#: Files that are refused at the start, and what of the sentence says why.
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("{", "no JWK Set"),
    "no text": (b"\xff", "no JWK Set"),
    "nested": ("[" * 50_000, "no JWK Set"),
    "a list": ("[]", "no JWK Set"),
    "null": ("null", "no JWK Set"),
    "keys that are no list": ('{"keys": {}}', "no JWK Set"),
    "a key that is none": ('{"keys": [7]}', "no JWK Set"),
    "too large": (" " * 2**20 + '{"keys": []}', "no JWK Set"),
    "no keys": ('{"keys": []}', "no key for RS256, ES256 or EdDSA"),
    "a curve that is none": ('{"keys": [{"kty": "EC", "crv": []}]}', "no key for RS256, ES256 or EdDSA"),
    "a secret": (json.dumps({"keys": [{"kty": "oct", "k": "x" * 43}]}), "no key for"),
    "PEM": ("-----BEGIN PUBLIC KEY-----", "no JWK Set"),
    "two of a name": (json.dumps({"keys": [jwk("ES256"), jwk("ES256", 1, kid="ES256-0")]}), "the same `kid`"),
    "a name that is none": (json.dumps({"keys": [jwk("ES256", kid=7)]}), "no text"),
    "half a key": (json.dumps({"keys": [{"kty": "RSA", "n": "AQAB"}]}), "damaged"),
    "a point that is on no curve": (json.dumps({"keys": [jwk("ES256", x="AAAA")]}), "damaged"),
    "a private key": (json.dumps({"keys": [jwk("RS256", d="secret-part")]}), "private key"),
    "a short key": (
        json.dumps({"keys": [{"kty": "RSA", "e": "AQAB", "n": jwt.utils.to_base64url_uint(2**1023 + 1).decode()}]}),
        "less than 2048 bits",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_cannot_be_used_stops_the_start_and_later_changes_nothing(
    path: Path, text: str | bytes, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = credentials_of(of_file(path))
    assert credentials.tokens is not None
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError, match="ORDERGRAPH_JWKS_FILE: ") as refusal:
        Tokens(of_file(path))
    assert message in str(refusal.value)
    assert "secret-part" not in str(refusal.value)
    for _ in range(3):
        credentials.tokens.keys.refresh()
        path.touch()
    assert credentials.tokens.read(signed("RS256"))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_file_whose_reading_fails_is_read_once_and_leaves_api_keys_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = credentials_of(of_file(path))
    looked: list[str] = []

    async def look_up() -> None:
        looked.append("keys")

    def broken(_: str) -> Any:
        looked.append("file")
        raise MemoryError

    monkeypatch.setattr(credentials, "_look_up", look_up)
    monkeypatch.setattr("graph.access.verifying.read_keys", broken)
    write(path, jwk("EdDSA"))
    with pytest.raises(MemoryError):
        await credentials.look()
    await credentials.look()
    assert looked == ["file", "keys"]


def test_a_file_that_is_not_there_stops_the_start_and_later_is_waited_for(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ordergraph.access")
    keys = Tokens(of_file(path)).keys
    path.unlink()
    for missing in (path, path.parent):
        with pytest.raises(SettingsError, match="cannot be read"):
            create_app(of_file(missing))
    keys.refresh()
    assert len(keys.keys) == 3
    write(path, jwk("EdDSA", 1))
    keys.refresh()
    assert list(keys.keys) == ["EdDSA-1"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_secret_that_is_a_public_key_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="ORDERGRAPH_JWT_SECRET is the text of a key"):
        create_app(Settings(auth=True, jwt_secret=pem("RS256")))


async def test_a_key_that_is_taken_out_takes_its_tokens_with_it(path: Path) -> None:
    """Those of others go on, and a new key under an old name is another one."""
    credentials = credentials_of(of_file(path))
    before = {name: await credentials.grant(f"Bearer {signed(name)}", None) for name in ALGORITHMS}
    ended: list[str] = []
    with before["ES256"].watched(lambda: ended.append("ES256")), before["EdDSA"].watched(lambda: ended.append("EdDSA")):
        write(path, jwk("RS256"), jwk("ES256", 1, kid="ES256-0"))
        await credentials.look()
        assert sorted(ended) == ["ES256", "EdDSA"]
    assert await credentials.grant(f"Bearer {signed('RS256')}", None) is before["RS256"]
    for name in ("ES256", "EdDSA"):
        with pytest.raises(RequestRefused) as refusal:
            await credentials.grant(f"Bearer {signed(name)}", None)
        assert refusal.value.headers == ((b"www-authenticate", INVALID),)
    again = token(key=private("ES256", 1), algorithm="ES256", head={"kid": "ES256-0"})
    assert (await credentials.grant(f"Bearer {again}", None)).holds()


async def test_a_server_takes_new_keys_and_closes_what_old_ones_opened(
    shop_with: AskWith, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.access.credentials.LOOK_SECONDS", 0.05)
    async with shop_with(auth=True, jwks_file=str(path)) as ask, listening(ask.app) as server:
        head = {"authorization": f"Bearer {signed('EdDSA')}"}
        async with socket(server.port, additional_headers=head) as client:
            await client.init()
            write(path, jwk("EdDSA", 1))
            assert await client.closed() == (4403, NEEDED)
        answer = await ask.client.post("/graphql", json={"query": "{ __typename }"}, headers=head)
        assert answer.status_code == 401
        with speaking_as(ask, key=private("EdDSA", 1), algorithm="EdDSA", head={"kid": "EdDSA-1"}):
            assert await ask.data("{ __typename }") == {"__typename": "Query"}
        with speaking_as(ask, key=SECRET):
            assert "errors" in await ask("{ __typename }")
        await until(lambda: ask.app.state.streams.open == 0)
