"""The keys by which tokens are verified: a secret, or those of a file that may change while the server runs.

What goes in: settings. What comes out: the `VerifyingKey` that a token names, each with the one algorithm it is for. What may be
refused here: `SettingsError` at the start, for a file that cannot be read, holds no key of ours, or holds a private one. Later a
file that is damaged leaves the keys as they are, and is told once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from jwt.exceptions import InvalidKeyError, PyJWTError

from graph.settings import Settings, SettingsError, variable

logger = logging.getLogger("ordergraph.access")

#: The algorithm of each kind of key in a file (`kty`, `crv`); whatever else stands there is for others.
ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
#: Bytes of a file of keys, and bits of an RSA key that is none to guess.
LARGEST_FILE, SMALLEST_RSA = 2**20, 2048
#: Parameters of a JWK that only its owner may know (RFC 7518, section 6).
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


class BadKeys(ValueError):
    """A file does not hold keys that can be used; the message is a part of a sentence and holds none of them."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """What signatures of one algorithm are held against. `text` tells it from others that came under the same name."""

    name: str | None
    algorithm: str
    text: str = field(repr=False)
    material: Any = field(compare=False, repr=False)


class KeyRing:
    """The keys of this process. Raises `SettingsError` where there can be none."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.jwks_file
        self._seen: object = None
        self._failing = False
        if not self.path:
            self.keys: Mapping[str | None, VerifyingKey] = {None: of_secret(settings.jwt_secret)}
            return
        self._seen = self._state()
        try:
            self.keys = read_keys(self.path)
        except BadKeys as error:
            raise SettingsError(f"{variable('jwks_file')}: {error}") from None

    def named(self, name: str | None) -> VerifyingKey | None:
        """The key that a token names, or the only one where either has no name."""
        if len(self.keys) == 1:
            (only,) = self.keys.values()
            if name is None or only.name is None:
                return only
        return None if name is None else self.keys.get(name)

    def has(self, key: VerifyingKey) -> bool:
        """Whether a key is still in force."""
        return self.keys.get(key.name) == key

    def refresh(self) -> None:
        """Read the file again if it has changed. A file that is damaged changes nothing, and is told once."""
        if not self.path or (state := self._state()) == self._seen:
            return
        self._seen = state  # whatever becomes of it, it is read once
        try:
            self.keys = read_keys(self.path)
        except BadKeys as error:
            if not self._failing:
                logger.error("The keys stay as they are: %s: %s", variable("jwks_file"), error)
            self._failing = True
        else:
            logger.info("Read %d keys anew", len(self.keys))
            self._failing = False

    def _state(self) -> object:
        """What changes when the file does."""
        try:
            found = Path(self.path).stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)


def of_secret(secret: str) -> VerifyingKey:
    """The key that a secret is. Raises `SettingsError`."""
    try:
        made = jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except InvalidKeyError:  # a public key, which everybody knows
        raise SettingsError(f"{variable('jwt_secret')} is the text of a key, not a secret") from None
    return VerifyingKey(None, "HS256", "", made)


def read_keys(path: str) -> dict[str | None, VerifyingKey]:
    """The keys of a file (a JWK Set, RFC 7517) by their names. Raises `BadKeys`."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise BadKeys(f"it cannot be read: {os.strerror(error.errno or 0)}") from None
    try:
        listed = json.loads(text)["keys"] if len(text) <= LARGEST_FILE else None
    except (ValueError, RecursionError, LookupError, TypeError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise BadKeys('it is no JWK Set, {"keys": [...]}')
    found: dict[str | None, VerifyingKey] = {}
    for each in listed:
        key = key_of(each)
        if key is None:
            continue
        if key.name in found:
            raise BadKeys("two of its keys have the same `kid`, or none")
        found[key.name] = key
    if not found:
        raise BadKeys("it has no key for RS256, ES256 or EdDSA")
    return found


def key_of(jwk: dict[str, Any]) -> VerifyingKey | None:
    """A key of a JWK Set; None where it is meant for something else. Raises `BadKeys`."""
    name, kind, curve = jwk.get("kid"), jwk.get("kty"), jwk.get("crv")
    named = [each for each in ALGORITHMS if each == (kind, None if kind == "RSA" else curve)]  # they may be anything
    algorithm = ALGORITHMS[named[0]] if named else None
    uses = jwk.get("key_ops")
    if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        return None
    if isinstance(uses, list) and "verify" not in uses:
        return None
    if PRIVATE & jwk.keys():
        raise BadKeys("it holds a private key, which belongs to whoever makes tokens")
    if name is not None and not isinstance(name, str):
        raise BadKeys("one of its keys has a `kid` that is no text")
    try:
        material = jwt.PyJWK(jwk, algorithm).key
    except (PyJWTError, ValueError, TypeError, LookupError, AttributeError):
        raise BadKeys("one of its keys is damaged") from None
    if kind == "RSA" and material.key_size < SMALLEST_RSA:
        raise BadKeys(f"one of its RSA keys has less than {SMALLEST_RSA} bits")
    return VerifyingKey(name, algorithm, json.dumps(jwk, sort_keys=True), material)
