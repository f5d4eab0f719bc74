"""Documents that clients name instead of sending them: by their hashes, and from the files that their builds write."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import httpx2
import pytest

from tests.clients.programs import Workshop
from tests.servers import serving

pytestmark = pytest.mark.node

SHOP = "northwind"


def test_clients_send_the_name_of_a_document_and_its_text_once(workshop: Workshop, address: str) -> None:
    # What is known is kept in the server's process, and no other test asks this.
    said = workshop.program("persisted/main.js", address)
    assert said == {
        "apollo": {"firstly": ["GET name", "POST text"], "secondly": ["GET name"], "skus": ["NW-1", "NW-1"]},
        "urql": {"firstly": ["GET name", "GET text"], "secondly": ["GET name"], "skus": ["NW-1", "NW-1"]},
    }


async def test_clients_send_it_once_more_where_another_process_does_not_know_the_name(
    workshop: Workshop, shop_url: str, tmp_path: Path
) -> None:
    """Two processes before one database, asked in turn: each client is answered, whichever of them has heard the text."""
    async with serving(shop_url, tmp_path, 2) as servers:
        said = await asyncio.to_thread(workshop.program, "persisted/main.js", *(served.url for served in servers))
    for client, text in (("apollo", "POST text"), ("urql", "GET text")):
        assert said[client] == {"firstly": ["GET name", text], "secondly": ["GET name", text], "skus": ["NW-1", "NW-1"]}


def by_relay(workshop: Workshop) -> Path:
    """What Relay's compiler writes."""
    folder = workshop.folder / "relay-persisted"
    shutil.copytree(workshop.folder / "relay", folder, ignore=shutil.ignore_patterns("__generated__", "built"))
    settings = json.loads((folder / "relay.config.json").read_text(encoding="utf-8"))
    settings["persistConfig"] = {"file": "persisted.json", "algorithm": "SHA256"}
    (folder / "relay.config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "persisted.json").write_text("{}", encoding="utf-8")
    workshop.tool("relay-compiler", "relay.config.json", within=folder.name)
    return folder / "persisted.json"


def by_codegen(workshop: Workshop) -> Path:
    """What the client preset of graphql-codegen writes."""
    folder = workshop.folder / "codegen-persisted"
    shutil.copytree(workshop.folder / "graphql-request", folder, ignore=shutil.ignore_patterns("generated", "built"))
    text = (folder / "codegen.ts").read_text(encoding="utf-8")
    wanted = 'preset: "client", presetConfig: { persistedDocuments: { hashAlgorithm: "sha256" } }'
    (folder / "codegen.ts").write_text(text.replace('preset: "client"', wanted), encoding="utf-8")
    workshop.tool("graphql-codegen", "--config", "codegen.ts", within=folder.name)
    return folder / "generated" / "persisted-documents.json"


@pytest.fixture(scope="module")
def manifests(workshop: Workshop) -> list[Path]:
    """Files of documents with their names, each with a query for a page of forty customers."""
    return [by_relay(workshop), by_codegen(workshop)]


async def test_files_that_builds_write_are_trusted(manifests: list[Path], shop_url: str, tmp_path: Path) -> None:
    for manifest in manifests:
        documents = json.loads(manifest.read_text(encoding="utf-8"))
        name = next(name for name, text in documents.items() if text.startswith("query"))
        async with (
            serving(shop_url, tmp_path, 1, ORDERGRAPH_TRUSTED_DOCUMENTS=str(manifest)) as [served],
            httpx2.AsyncClient() as client,
        ):
            answer = (await client.post(f"{served.url}/graphql", json={"documentId": name})).json()
            customers = answer["data"]["customers"]
            assert len(customers.get("edges") or customers["nodes"]) == 40
            for body in ({"query": "{ items { totalCount } }"}, {"documentId": name[:-1]}):
                refused = await client.post(f"{served.url}/graphql", json=body)
                assert refused.json()["errors"][0]["extensions"]["code"] == "DOCUMENT_NOT_TRUSTED"
