"""Documents that are named instead of sent: by their hash, as Apollo's clients ask, and from a file, where nothing else runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from graph.operations.persisted import KEPT_TEXTS, Persisted, hash_of, read_manifest
from graph.schema import schema
from graph.settings import Settings, SettingsError
from tests.conftest import Ask
from tests.sockets import listening, until
from tests.subscribers import event_stream, socket

AskWith = Callable[..., AbstractAsyncContextManager[Ask]]

COUNT = "query Count { items { totalCount } }"
CREATE = 'mutation Create { createItem(input: {sku: "A", name: "A", price: "1"}) { item { sku } } }'
NONE = {"data": {"items": {"totalCount": 0}}}
NAME = sha256(COUNT.encode()).hexdigest()


def apq(name: Any, version: Any = 1) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": version, "sha256Hash": name}}}


async def sent(ask: Ask, body: Any, method: str = "POST") -> tuple[int, Any]:
    """Status and answer; of an answer with one error its code and its message."""
    if method == "GET":
        given = {key: value if isinstance(value, str) else json.dumps(value) for key, value in body.items()}
        answer = await ask.client.get("/graphql", params=given)
    else:
        answer = await ask.client.request(method, "/graphql", json=body)
    found = answer.json()
    if "errors" in found:
        [error] = found["errors"]
        return answer.status_code, (error["extensions"]["code"], error["message"])
    return answer.status_code, found


UNKNOWN = (404, ("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound"))


#: The ways to name a document: Apollo's, and those of the specification.
WAYS: dict[str, Callable[[str], dict[str, Any]]] = {
    "id": lambda name: {"documentId": name},
    "prefixed": lambda name: {"documentId": f"sha256:{name}"},
    "capitals": lambda name: {"documentId": name.upper()},
    "apollo": apq,
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_document_is_kept_with_its_first_request_and_known_by_every_way(ask: Ask, way: str) -> None:
    text = f"{COUNT} # {way} {ask.app.state.engine.dialect.name}"
    name = hash_of(text)
    named = WAYS[way](name)
    assert await sent(ask, named) == UNKNOWN
    assert await sent(ask, named, "GET") == UNKNOWN
    assert await sent(ask, {"query": text, **named}) == (200, NONE)
    for method in ("POST", "GET", "QUERY"):
        for again in (named, {"documentId": name}, apq(name), {"documentId": name, **apq(name)}):
            assert await sent(ask, again, method) == (200, NONE)


async def test_a_named_mutation_needs_a_post(ask: Ask) -> None:
    name = hash_of(CREATE)
    assert (await sent(ask, {"query": CREATE, "documentId": name}, "GET"))[0] == 405
    assert (await sent(ask, {"documentId": name}, "GET"))[0] == 405
    assert await sent(ask, {"documentId": name}) == (200, {"data": {"createItem": {"item": {"sku": "A"}}}})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"query": COUNT, "documentId": hash_of(CREATE)}, 422, "PERSISTED_QUERY_MISMATCH"),
        ({"query": COUNT, "documentId": "1"}, 422, "PERSISTED_QUERY_MISMATCH"),
        ({"query": COUNT, "documentId": f"sha512:{NAME}"}, 422, "PERSISTED_QUERY_MISMATCH"),
        ({"query": COUNT, **apq(hash_of(CREATE))}, 422, "PERSISTED_QUERY_MISMATCH"),
        ({"query": "\ud800", "documentId": NAME}, 422, "PERSISTED_QUERY_MISMATCH"),
        ({"documentId": "\ud800"}, 404, "PERSISTED_QUERY_NOT_FOUND"),
        ({"documentId": "x" * 100_000}, 404, "PERSISTED_QUERY_NOT_FOUND"),
        ({"documentId": NAME, **apq(hash_of(CREATE))}, 422, "BAD_REQUEST"),
        ({"documentId": 1}, 422, "BAD_REQUEST"),
        ({"documentId": ""}, 422, "BAD_REQUEST"),
        ({"documentId": [NAME]}, 422, "BAD_REQUEST"),
        ({"query": 1, "documentId": NAME}, 422, "BAD_REQUEST"),
        ({"documentId": None}, 422, "BAD_REQUEST"),
        (apq(NAME, version=2), 422, "BAD_REQUEST"),
        (apq(None), 422, "BAD_REQUEST"),
        (apq({"a": 1}), 422, "BAD_REQUEST"),
        ({"query": COUNT, "extensions": {"persistedQuery": NAME}}, 422, "BAD_REQUEST"),
    ],
    ids=lambda given: str(given)[:60].encode("ascii", "replace").decode(),
)
async def test_a_name_that_is_none_is_refused(ask: Ask, body: Any, status: int, code: str) -> None:
    answer = await ask.client.post("/graphql", content=json.dumps(body).encode(), headers={"content-type": "application/json"})
    assert (answer.status_code, [error["extensions"]["code"] for error in answer.json()["errors"]]) == (status, [code])


def test_what_is_kept_is_bounded() -> None:
    persisted = Persisted(Settings(max_plans=10))
    texts = [f"query Q{n} {{ __typename }}" for n in range(1_000)]
    for text in texts:
        assert persisted.text(text, hash_of(text)) == text
    assert len(persisted._kept) == 10
    assert persisted.text("", hash_of(texts[-1])) == texts[-1]
    for n in range(100):
        text = f"# {n} {'x' * 30_000}"
        persisted.text(text, hash_of(text))
    assert persisted._kept.weight <= KEPT_TEXTS


# ---- trusted documents


RELAY = {"0cc175b9c0f1b6a831c399e269772661": COUNT, "sha256:custom": CREATE}
APOLLO = {
    "format": "apollo-persisted-query-manifest",
    "version": 1,
    "operations": [
        {"id": "0cc175b9c0f1b6a831c399e269772661", "name": "Count", "type": "query", "body": COUNT},
        {"id": "custom", "name": "Create", "type": "mutation", "body": CREATE},
    ],
}
REFUSED = (403, ("DOCUMENT_NOT_TRUSTED", "Only the documents that this server was given run here, and this is none of them."))


def written(folder: Path, manifest: Any) -> str:
    path = folder / "documents.json"
    path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("manifest", [RELAY, APOLLO], ids=["relay", "apollo"])
async def test_trusted_documents_run_and_nothing_else_does(ask_with: AskWith, tmp_path: Path, manifest: Any) -> None:
    """Fault 26: neither introspection nor a text of somebody's own, by whatever way it comes."""
    async with ask_with(trusted_documents=written(tmp_path, manifest)) as ask:
        parsed = ask.app.state.engine.counters.parsed
        for known in (
            {"documentId": "0cc175b9c0f1b6a831c399e269772661"},
            {"documentId": f"sha256:{NAME}"},
            {"documentId": NAME, "operationName": "Count"},
            apq(NAME),
            {"query": COUNT},
            {"query": COUNT, "documentId": NAME},
        ):
            assert await sent(ask, known) == (200, NONE)
            assert await sent(ask, known, "GET") == (200, NONE)
        assert ask.app.state.engine.counters.parsed == parsed  # at the start
        own = "{ items { totalCount } }"
        for other in (
            {"query": own},
            {"query": own, "documentId": hash_of(own)},
            {"query": own, "documentId": NAME},
            {"query": own, **apq(hash_of(own))},
            {"documentId": hash_of(own)},
            {"documentId": "x"},
            {"query": COUNT + " "},
            {"query": "{ __schema { types { name } } }"},
            {"query": CREATE, "documentId": NAME},
            {"query": ""},
        ):
            for method in ("POST", "GET"):
                assert await sent(ask, other, method) == REFUSED
        assert await sent(ask, {"documentId": NAME}) == (200, NONE)
        assert await sent(ask, {"documentId": "custom"}) == (200, {"data": {"createItem": {"item": {"sku": "A"}}}})


async def test_trusted_subscriptions_are_told_over_both_transports_and_no_others(ask_with: AskWith, tmp_path: Path) -> None:
    """Fault 26: a socket is no way around."""
    text = "subscription Told { changes { type kind } }"
    told = {"data": {"changes": {"type": "Item", "kind": "CREATED"}}}
    own = "subscription { changes { cursor } }"
    async with (
        ask_with(trusted_documents=written(tmp_path, {"told": text, "create": CREATE})) as ask,
        listening(ask.app) as server,
    ):
        async with (
            socket(server.port) as client,
            event_stream(server.port, "", method="GET", documentId="told") as stream,
        ):
            await client.init()
            await client.say("subscribe", id="own", payload={"query": own})
            message = await client.hear()
            assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "DOCUMENT_NOT_TRUSTED")
            await client.say("subscribe", id="1", payload={"documentId": hash_of(text)})
            await until(lambda: ask.app.state.hub.members == 2)
            assert (await sent(ask, {"documentId": "create"}))[0] == 200
            assert await client.hears("1") == told
            assert await stream.hears() == told
        answer = await ask.client.get("/graphql", params={"query": own}, headers={"accept": "text/event-stream"})
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "DOCUMENT_NOT_TRUSTED")
        await until(lambda: ask.app.state.streams.open == 0)


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("{}", "holds no documents"),
        ("[]", "holds no documents"),
        ({"a": 1}, "holds no documents"),
        ({"a": ""}, "holds no documents"),
        ({"operations": [{"id": "a"}]}, "holds no documents"),
        ({"operations": ["a"]}, "holds no documents"),
        ({"a": COUNT, "b": "{ items { totalCont } }"}, "the document b does not run here: Cannot query field 'totalCont'"),
        ({"a": "{\n"}, "the document a does not run here: Syntax Error"),
        ({"a": "fragment F on Query { __typename }"}, "the document a does not run here"),
        ({"a": "query A { __typename } query B { nothing }"}, "the document a does not run here: Cannot query field"),
        ({"a": "{ __typename }" + "#\n" * 3_000}, "the document a does not run here"),
    ],
    ids=lambda given: str(given)[:50],
)
def test_a_file_that_does_not_run_is_told_in_one_line(tmp_path: Path, manifest: Any, reason: str) -> None:
    settings = Settings(trusted_documents=written(tmp_path, manifest))
    with pytest.raises(SettingsError) as refusal:
        engine_of(settings)
    told = str(refusal.value)
    assert told.startswith("ORDERGRAPH_TRUSTED_DOCUMENTS: ")
    assert reason in told
    assert "\n" not in told


def test_a_file_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_manifest(str(tmp_path / "none.json"))


def engine_of(settings: Settings) -> Any:
    from sqlalchemy.dialects.sqlite import dialect

    from graph.operations.engine import Engine
    from graph.write.atomic import run_mutation

    return Engine(schema._schema, settings, dialect(), run_mutation)


def test_each_operation_of_a_trusted_document_is_known(tmp_path: Path) -> None:
    several = "query A { __typename } query B { items { totalCount } }"
    engine = engine_of(Settings(trusted_documents=written(tmp_path, {"a": several})))
    assert {name for text, name in engine.documents._kept if text == several} == {"A", "B"}
