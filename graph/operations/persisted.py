"""Documents that clients name instead of sending them: kept by their hash, or trusted, besides which nothing else runs.

What goes in: what a request says, the text of a document, its name, or both; at the start a file of trusted documents. What comes
out: the text to run. What is refused here: a name that is not known, a text that is not what its name says, and with trusted
documents whatever is none of them; at the start a file that cannot be read or holds a document that this schema does not run
(`SettingsError`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode, parse

from graph.operations.documents import Document, read_document
from graph.operations.recent import Recent
from graph.operations.request_errors import RequestRefused, refused
from graph.settings import Settings, SettingsError, variable

#: How much text is kept of documents that clients have named, in characters.
KEPT_TEXTS = 400_000
#: What may stand before the hash of a document where it is its name (GraphQL over HTTP, persisted documents).
PREFIX = "sha256:"
#: What Apollo's clients look for, so as to send the text.
NOT_FOUND = "PersistedQueryNotFound"
MISMATCH = "The document's name is not the SHA-256 of its text in hexadecimal."
NOT_TRUSTED = "Only the documents that this server was given run here, and this is none of them."


class Persisted:
    """The documents of one engine that have names. `trusted` are texts by name where no others may run."""

    def __init__(self, settings: Settings, trusted: Mapping[str, str] | None = None) -> None:
        self.trusted = trusted
        self._kept: Recent[str, str] = Recent(settings.max_plans, KEPT_TEXTS)

    def text(self, query: str, name: str) -> str:
        """The text that is to run, asked for by itself, by its name, or both; what is not given is empty.

        Raises `RequestRefused`.
        """
        name = name.removeprefix(PREFIX)
        if self.trusted is not None:
            found = self.trusted.get(name or hash_of(query))
            if found is None or (query and query != found):
                raise refused("DOCUMENT_NOT_TRUSTED", NOT_TRUSTED, 403)
            return found
        if not name:
            return query
        name = name.lower()
        if not query:
            kept = self._kept.get(name)
            if kept is None:
                raise refused("PERSISTED_QUERY_NOT_FOUND", NOT_FOUND, 404)
            return kept
        if name != hash_of(query):
            raise refused("PERSISTED_QUERY_MISMATCH", MISMATCH)
        self._kept.put(name, query, len(query))
        return query


def hash_of(text: str) -> str:
    """The name of a document that nobody gave another one."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_manifest(path: str) -> dict[str, str]:
    """The texts of a file by name, each by its hash as well.

    What Relay's compiler (`persistConfig`) and graphql-codegen's client preset (`persistedDocuments`) write is an object of
    texts by id; Apollo's manifest is a list of operations. Raises `SettingsError`.
    """
    where = f"{variable('trusted_documents')}: {path}"
    try:
        found: Any = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{where} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise SettingsError(f"{where} is no JSON in UTF-8") from None
    if isinstance(found, dict) and isinstance(found.get("operations"), list):
        entries = [each if isinstance(each, dict) else {} for each in found["operations"]]
        texts: dict[Any, Any] = {each.get("id"): each.get("body") for each in entries}
    else:
        texts = found if isinstance(found, dict) else {}
    if not texts or not all(isinstance(part, str) and part for each in texts.items() for part in each):
        raise SettingsError(f"{where} holds no documents: it must be an object of texts by id")
    named = {name.removeprefix(PREFIX): text for name, text in texts.items()}
    return named | {hash_of(text): text for text in texts.values()}


def validated(texts: Mapping[str, str], schema: GraphQLSchema, settings: Settings) -> dict[tuple[str, str | None], Document]:
    """The operations of trusted documents by text and name, as an engine keeps them. Raises `SettingsError`."""
    found: dict[tuple[str, str | None], Document] = {}
    seen: set[str] = set()
    for name, text in texts.items():
        if text in seen:
            continue
        seen.add(text)
        try:
            parsed = parse(text, max_lexical_tokens=settings.max_tokens)
            operations = [part for part in parsed.definitions if isinstance(part, OperationDefinitionNode)]
            if len(operations) < 2:
                found[text, None] = read_document(schema, settings, text, None)
            for part in operations:
                if part.name is not None:
                    known = found.get((text, None)) or read_document(schema, settings, text, part.name.value)
                    found[text, part.name.value] = known
        except (RequestRefused, GraphQLError) as error:
            reason = (error.errors[0] if isinstance(error, RequestRefused) else error).message
            raise SettingsError(
                f"{variable('trusted_documents')}: the document {name[:80]} does not run here: {' '.join(reason.split())[:300]}"
            ) from None
    return found
