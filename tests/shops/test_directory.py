"""What a process that serves knows of the shops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from graph import migrate
from graph.database.failures import Unavailable
from graph.database.shops import Databases
from graph.operations.request_errors import RequestRefused
from graph.shops import registry
from graph.shops.deployment import Deployment
from graph.shops.directory import Directory
from tests.conftest import Statements
from tests.sockets import until


@pytest.fixture
async def directory(deployment: Deployment, databases: Databases) -> AsyncIterator[Directory]:
    """A directory that has read a registry without shops."""
    await deployment.prepare()
    directory = Directory(databases.main)
    await directory.start()
    yield directory
    await directory.close()


async def refusal(directory: Directory, name: str) -> str:
    with pytest.raises(RequestRefused) as refused:
        await directory.find(name)
    code: str = (refused.value.errors[0].extensions or {})["code"]
    assert refused.value.status == {"SHOP_NOT_FOUND": 404, "SHOP_NOT_MIGRATED": 503}[code]
    return code


async def test_a_shop_is_found_as_soon_as_it_is_made(directory: Directory, deployment: Deployment) -> None:
    assert await refusal(directory, "acme") == "SHOP_NOT_FOUND"
    made = await deployment.create("acme", ["Acme.Example", "bücher.example"])
    found = await directory.find("acme")
    assert found == made
    assert found.hosts == ("acme.example", "xn--bcher-kva.example")
    for host in ("acme.example", "ACME.example", "acme.example.", "Bücher.example", "xn--bcher-kva.example"):
        assert await directory.find_by_host(host) == found
    assert directory.served() == [found]


async def test_what_is_no_name_is_nobody_s_and_asks_nothing(directory: Directory, statements: Statements) -> None:
    for name in ("", "Acme", "a" * 41, "a\0", "../acme", "x" * 100_000, "acme;"):
        assert await refusal(directory, name) == "SHOP_NOT_FOUND", name
        assert len(statements) == 0, name


async def test_a_host_that_leads_nowhere(directory: Directory, deployment: Deployment) -> None:
    await deployment.create("acme", ["acme.example"])
    for host in ("", ".", "a b", "acme.example:80", "127.0.0.1", "[::1]", "x" * 100_000, "nobody.example"):
        with pytest.raises(RequestRefused):
            await directory.find_by_host(host)


async def test_archived_restored_dropped(directory: Directory, deployment: Deployment) -> None:
    gone: list[str] = []
    directory.listeners.append(gone.append)
    first = await deployment.create("acme", ["acme.example"])
    await deployment.create("other")
    await directory.find("acme")
    await deployment.archive("acme")
    assert await directory.find("acme") == first  # from memory, until it asks
    assert gone == []
    await directory.start()
    assert gone == ["acme"]
    assert await refusal(directory, "acme") == "SHOP_NOT_FOUND"
    with pytest.raises(RequestRefused):
        await directory.find_by_host("acme.example")
    await deployment.restore("acme")
    assert (await directory.find("acme")).id == first.id
    await deployment.archive("acme")
    await deployment.drop("acme")
    await directory.start()
    assert gone == ["acme", "acme"]
    assert [shop.name for shop in directory.served()] == ["other"]


async def test_another_shop_of_the_same_name_is_another(directory: Directory, deployment: Deployment) -> None:
    gone: list[str] = []
    directory.listeners.append(gone.append)
    first = await deployment.create("acme")
    await directory.find("acme")
    await deployment.archive("acme")
    await deployment.drop("acme")
    second = await deployment.create("acme")
    await directory.start()
    assert gone == ["acme"]
    assert (await directory.find("acme")).id == second.id != first.id


async def test_hosts_move(directory: Directory, deployment: Deployment) -> None:
    await deployment.create("acme", ["old.example"])
    await directory.find_by_host("old.example")
    await deployment.set_hosts("acme", ["new.example"])
    assert (await directory.find_by_host("new.example")).name == "acme"
    with pytest.raises(RequestRefused):
        await directory.find_by_host("old.example")


async def test_a_shop_that_waits_for_its_migration(directory: Directory, deployment: Deployment) -> None:
    await deployment.create("acme")
    before = migrate.revisions()[1]
    assert await deployment.migrate(["acme"], before) == {}
    assert await refusal(directory, "acme") == "SHOP_NOT_MIGRATED"
    assert await deployment.migrate(["acme"]) == {}
    assert (await directory.find("acme")).revision == migrate.head()


async def test_a_shop_that_a_later_version_migrates_is_served_on_and_no_other(
    directory: Directory, deployment: Deployment, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deployment.create("acme")
    await deployment.create("other")
    known = migrate.revisions()
    await deployment.migrate(["acme"], known[1])
    monkeypatch.setattr("graph.migrate.head", lambda: known[1])
    monkeypatch.setattr("graph.migrate.revisions", lambda: known[1:])
    await directory.find("acme")
    assert await refusal(directory, "other") == "SHOP_NOT_MIGRATED"
    monkeypatch.undo()
    await deployment.migrate(["acme"])
    monkeypatch.setattr("graph.migrate.head", lambda: known[1])
    monkeypatch.setattr("graph.migrate.revisions", lambda: known[1:])
    await directory.start()
    assert (await directory.find("acme")).revision == known[0]
    fresh = Directory(databases.main)
    assert await refusal(fresh, "acme") == "SHOP_NOT_MIGRATED"
    await fresh.close()


async def test_who_looks_for_what_nobody_has_shares_a_question(directory: Directory, statements: Statements) -> None:
    found = await asyncio.gather(*(refusal(directory, f"nobody{number}") for number in range(500)))
    assert found == ["SHOP_NOT_FOUND"] * 500
    assert len(statements) == 1


async def test_questions_have_time_between_them(
    directory: Directory, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.shops.directory.BETWEEN_SECONDS", 3_600.0)
    waiting = [asyncio.ensure_future(directory.find(f"nobody{number}")) for number in range(500)]
    assert not (await asyncio.wait(waiting, timeout=0.05))[0]
    assert len(statements) == 0
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def test_what_does_not_change_costs_one_statement(
    directory: Directory, deployment: Deployment, statements: Statements
) -> None:
    for number in range(3):
        await deployment.create(f"shop-{number}")
    await directory.start()
    statements.clear()
    await directory.start()
    await directory.find("shop-1")
    assert len(statements) == 1


async def test_the_registry_is_read_while_the_server_serves(
    directory: Directory, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.shops.directory.REFRESH_SECONDS", 0.01)
    running = asyncio.create_task(directory.run())
    await deployment.create("acme")
    await until(lambda: bool(directory.served()))
    assert [shop.name for shop in directory.served()] == ["acme"]
    running.cancel()
    await asyncio.wait([running])


async def test_without_a_registry_nobody_is_found_and_it_says_why(databases: Databases) -> None:
    directory, threads = Directory(databases.main), threading.active_count()
    with pytest.raises(Unavailable):
        await directory.start()
    with pytest.raises(Unavailable):
        await directory.find("acme")
    await directory.close()
    # The driver's threads, whose file was not there, tell this loop that they end.
    await until(lambda: threading.active_count() <= threads)


async def test_an_older_registry_that_was_brought_back_is_read_whole(
    directory: Directory, deployment: Deployment, databases: Databases
) -> None:
    await deployment.create("acme")
    await deployment.create("other")
    await directory.start()
    async with deployment._homes.opened() as connection:  # what a restored backup does
        await connection.execute(registry.NUMBERS.update().values(number=1))
        await connection.execute(registry.SHOPS.update().values(changed=1))
        await connection.execute(registry.SHOPS.update().where(registry.SHOPS.c.name == "other").values(name="third"))
    await directory.start()
    assert {shop.name for shop in directory.served()} == {"acme", "third"}
