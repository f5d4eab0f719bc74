"""Shops made, migrated, archived and dropped: each whole or not at all, on both databases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from graph import migrate, sample
from graph.database import Database
from graph.database.backends import configured
from graph.settings import Settings
from graph.shops import registry
from graph.shops.deployment import Deployment
from graph.shops.registry import ShopRefused
from tests.conftest import Statements
from tests.deployments import make_shops
from tests.engines import Postgres
from tests.test_migrations import described


@pytest.fixture
async def two(deployment: Deployment, with_shops: Settings) -> Deployment:
    """A deployment with two shops."""
    await make_shops(with_shops, {"acme": ["acme.example"], "other": []})
    return deployment


async def refusal(work: Any) -> str:
    with pytest.raises(ShopRefused) as refused:
        await work
    return str(refused.value)


async def names(deployment: Deployment) -> list[str]:
    return [shop.name for shop in await deployment.every()]


async def load(settings: Settings, shop: str) -> None:
    assert (await sample.load_into(settings, shop)).orders == 830


async def orders(settings: Settings, shop: str) -> int:
    database = Database(settings, shop)
    try:
        async with database.session() as session:
            return int(await session.scalar(sa.text(f"SELECT count(*) FROM {prefix(settings, shop)}orders")) or 0)
    finally:
        await database.close()


def prefix(settings: Settings, shop: str) -> str:
    schema = configured(settings, shop).schema
    return f'"{schema}".' if schema else ""


async def test_a_shop_has_the_tables_that_migrations_make(two: Deployment, with_shops: Settings, one_url: str) -> None:
    """Those of a database that was migrated step by step, in every detail."""
    assert await described(configured(with_shops, "acme")) == await described(one_url)


async def test_every_migration_runs_in_a_shop_down_and_up(two: Deployment, with_shops: Settings) -> None:
    place = configured(with_shops, "acme")
    whole = await described(place)
    for revision in (*migrate.revisions()[1:], "base"):
        assert await two.waiting(["acme"], revision) == ["acme"]
        assert await two.migrate(["acme"], revision) == {}
        (acme, other) = await two.every()
        assert (acme.revision or "base", other.revision) == (revision, migrate.head())
        if revision != "base":
            assert await two.migrate(["acme"]) == {}
            assert await described(place) == whole
            assert await two.migrate(["acme"], revision) == {}
    assert await two.waiting() == ["acme"]
    assert await two.migrate(["acme"]) == {}
    assert await described(place) == whole
    assert await two.waiting() == []


async def test_a_name_or_a_host_that_is_taken_is_refused_and_leaves_nothing(two: Deployment, with_shops: Settings) -> None:
    assert await refusal(two.create("acme")) == "there is a shop acme already"
    assert await refusal(two.create("third", ["Acme.Example."])) == "the host acme.example leads to the shop acme"
    assert await refusal(two.set_hosts("other", ["acme.example"])) == "the host acme.example leads to the shop acme"
    await two.archive("acme")
    assert await refusal(two.create("acme")) == "there is a shop acme already, which is archived"
    assert await refusal(two.create("third", ["acme.example"])) == "the host acme.example leads to the shop acme"
    assert await names(two) == ["acme", "other"]
    await two.create("third")


@pytest.mark.parametrize("name", ["Acme", "", "shops", "a/b", "../a", 'a"b', "a" * 41])
async def test_what_is_no_name_is_refused(deployment: Deployment, name: str) -> None:
    await refusal(deployment.create(name))


@pytest.mark.parametrize("host", ["", "a b", "acme.example:80", "127.0.0.1", "::1", "*.example", "x" * 300, "https://a.example"])
async def test_what_is_no_host_is_refused(deployment: Deployment, host: str) -> None:
    assert "is no host name" in await refusal(deployment.create("acme", [host]))


async def test_a_host_twice_is_one(deployment: Deployment) -> None:
    assert (await deployment.create("acme", ["a.example", "A.EXAMPLE", "a.example."])).hosts == ("a.example",)


async def test_what_nobody_is_called_is_refused(two: Deployment) -> None:
    for work in (
        two.archive("third"),
        two.restore("third"),
        two.drop("third"),
        two.set_hosts("third", []),
        two.waiting(["third"]),
    ):
        assert await refusal(work) == "there is no shop third"


async def test_only_what_was_archived_is_dropped_and_all_of_it(two: Deployment, with_shops: Settings) -> None:
    await load(with_shops, "acme")
    await load(with_shops, "other")
    assert "archive it first" in await refusal(two.drop("acme"))
    assert await refusal(two.restore("acme")) == "the shop acme is not archived"
    await two.archive("acme")
    assert await refusal(two.archive("acme")) == "the shop acme is archived already"
    await two.drop("acme")
    assert await names(two) == ["other"]
    assert await orders(with_shops, "other") == 830
    await two.create("acme", ["acme.example"])
    assert await orders(with_shops, "acme") == 0


class Gone(Exception):
    """The process ended here."""


async def test_a_creation_that_ends_in_the_middle_leaves_nothing(
    two: Deployment, with_shops: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = registry.change

    async def ends(*_: Any) -> None:
        raise Gone

    monkeypatch.setattr(registry, "change", ends)
    with pytest.raises(Gone):
        await two.create("third", ["third.example"])
    monkeypatch.setattr(registry, "change", change)
    assert await names(two) == ["acme", "other"]
    await two.create("third", ["third.example"])
    assert await names(two) == ["acme", "other", "third"]
    assert await two.waiting() == []


async def test_a_creation_that_ends_after_its_commit_is_there(
    two: Deployment, with_shops: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ends(_: str) -> None:
        raise Gone

    with monkeypatch.context() as patch:
        patch.setattr(two._homes, "made", ends)  # the moment before a file gets its name
        with pytest.raises(Gone):
            await two.create("third")
    assert await refusal(two.create("third")) == "there is a shop third already"
    assert await orders(with_shops, "third") == 0


@pytest.mark.parametrize("moment", ["remove", "dropped"])
async def test_a_drop_that_ends_in_the_middle_is_whole(
    two: Deployment, with_shops: Settings, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    async def ends(*_: Any) -> None:
        raise Gone

    await load(with_shops, "acme")
    await two.archive("acme")
    with monkeypatch.context() as patch:
        patch.setattr(registry if moment == "remove" else two._homes, moment, ends)  # as above
        with pytest.raises(Gone):
            await two.drop("acme")
    if moment == "remove":
        assert await names(two) == ["acme", "other"]
        assert await orders(with_shops, "acme") == 830
    else:
        assert await names(two) == ["other"]
        await two.create("acme")
        assert await orders(with_shops, "acme") == 0


async def test_of_two_who_make_one_shop_one_does(deployment: Deployment) -> None:
    found = await asyncio.gather(*(deployment.create("acme", ["acme.example"]) for _ in range(3)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["Shop", "ShopRefused", "ShopRefused"]
    assert await names(deployment) == ["acme"]


async def test_of_two_who_want_one_host_one_has_it(deployment: Deployment) -> None:
    made = (deployment.create(name, ["acme.example"]) for name in ("acme", "other"))
    found = await asyncio.gather(*made, return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["Shop", "ShopRefused"]
    assert len(await names(deployment)) == 1


async def add_customers(settings: Settings, shop: str, *emails: str) -> None:
    """Rows as earlier versions took them."""
    async with migrate.connected(configured(settings, shop)) as connection, connection.begin():
        for email in emails:
            await connection.execute(
                sa.text(
                    f"INSERT INTO {prefix(settings, shop)}customer (version, name, email, created_at, updated_at)"
                    f" VALUES (1, 'a', '{email}', '2026-01-01 00:00:00+00', '2026-01-01 00:00:00+00')"
                )
            )


async def test_what_a_migration_lists_is_told_with_the_shop(two: Deployment, with_shops: Settings) -> None:
    assert await two.migrate(["acme", "other"], "0004") == {}
    await add_customers(with_shops, "other", "nobody")
    listed: list[str] = []
    assert await two.migrate(await two.waiting(), listed=listed.append) == {}
    assert listed == ["other: customer.email of id 1 stays as it is: 'nobody' must be an e-mail address, such as ada@example.com"]


async def test_one_that_cannot_be_migrated_holds_up_no_other(two: Deployment, with_shops: Settings) -> None:
    """Two customers whose e-mail addresses differ in blanks alone: nobody but people knows which of them is right."""
    await two.create("third")
    shops = ["acme", "other", "third"]
    assert await two.migrate(shops, "0003") == {}
    await add_customers(with_shops, "other", "a@example.org", "a@example.org ")
    told: list[int] = []
    failed = await two.migrate(await two.waiting(), progress=told.append)
    assert list(failed) == ["other"]
    assert "differs in blanks" in failed["other"]
    assert told == [0, 1, 2, 3]
    assert await two.waiting() == ["other"]
    assert [shop.revision for shop in await two.every()] == [migrate.head(), "0003", migrate.head()]


async def test_who_is_stopped_goes_on_with_those_that_are_left(two: Deployment) -> None:
    await two.create("third")
    assert await two.migrate(["acme", "other", "third"], "0008") == {}

    def stops(done: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await two.migrate(await two.waiting(), progress=stops)
    assert await two.waiting() == ["other", "third"]
    assert await two.migrate(await two.waiting()) == {}
    assert await two.waiting() == []


async def test_the_registry_follows_what_a_shop_has(two: Deployment, with_shops: Settings) -> None:
    """A backup of an older revision that was brought back, of which the registry knows nothing."""
    assert await two.migrate(["acme"], "0008") == {}
    async with two._homes.opened() as connection:  # as it was before
        await registry.change(connection, "acme", {"revision": migrate.head()})
    assert await two.waiting() == ["acme"]
    assert await two.migrate(["acme"]) == {}
    async with two._homes.opened() as connection:  # a newer one
        await registry.change(connection, "acme", {"revision": "0001"})
    assert await two.waiting() == ["acme"]
    assert await two.migrate(["acme"]) == {}
    assert await two.waiting() == []


async def test_a_shop_of_a_later_version_stays_as_it_is(two: Deployment, with_shops: Settings) -> None:
    async with migrate.connected(configured(with_shops, "other")) as connection, connection.begin():
        await connection.execute(sa.text(f"UPDATE {prefix(with_shops, 'other')}alembic_version SET version_num = '9999'"))
    assert await two.waiting() == ["other"]
    failed = await two.migrate(await two.waiting())
    assert list(failed) == ["other"]
    assert "9999" in failed["other"]
    assert await two.waiting() == ["other"]


@pytest.mark.parametrize("revision", ["nowhere", "", "-1", "+1"])
async def test_an_unknown_revision_is_refused_before_anything(two: Deployment, revision: str) -> None:
    assert await refusal(two.waiting((), revision)) == f"there is no revision {revision}"


async def test_a_thousand_revisions_are_asked_for_by_two_statements(
    postgres_engines: Postgres, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_engines.new("nothing")
    try:
        deployment = Deployment(Settings(database_url=url, shops=True))
        for number in range(5):
            await deployment.create(f"shop-{number}")
        statements.clear()
        assert await deployment.waiting() == []
        asked = [text for text in statements.sql if "alembic_version" in text]
        assert len(asked) == 2
        assert asked[1].count("UNION ALL") == 4
        monkeypatch.setattr("graph.shops.schema_homes.AT_ONCE", 2)
        statements.clear()
        assert await deployment.waiting() == []
        assert len([text for text in statements.sql if "alembic_version" in text]) == 4
    finally:
        postgres_engines.drop(url)


async def test_a_migration_finds_no_table_of_another_schema(two: Deployment, with_shops: Settings) -> None:
    """On PostgreSQL one in `public` would answer for one that a shop has lost."""
    place = configured(with_shops, "acme")
    if place.schema is None:
        return
    assert await two.migrate(["acme"], "0008") == {}
    async with migrate.connected(with_shops.database_url) as connection, connection.begin():
        await connection.execute(sa.text(f'ALTER TABLE "{place.schema}".api_key SET SCHEMA public'))
    failed = await two.migrate(["acme"], "0006")
    assert "api_key" in failed["acme"]
    async with migrate.connected(with_shops.database_url) as connection:
        assert await connection.scalar(sa.text("SELECT to_regclass('public.api_key') IS NOT NULL"))


async def test_a_shop_whose_schema_or_file_is_gone_is_not_made_anew(two: Deployment, with_shops: Settings) -> None:
    """An empty one, or temporary tables, would pass for the shop."""
    place = configured(with_shops, "acme")
    if place.schema is None:
        what = f"file {place.url.database}"
        for path in await asyncio.to_thread(lambda: [*Path(place.url.database or "").parent.glob("acme.db*")]):
            await asyncio.to_thread(path.unlink)
    else:
        what = f"schema {place.schema}"
        async with migrate.connected(with_shops.database_url) as connection, connection.begin():
            await connection.execute(sa.text(f'DROP SCHEMA "{place.schema}" CASCADE'))
    for _ in range(2):
        assert await two.waiting() == ["acme"]
        failed = await two.migrate(["acme", "other"])
        assert failed == {"acme": f"there is no {what}: restore a copy of it, or archive the shop and drop it"}
    await two.archive("acme")
    await two.drop("acme")
    assert await names(two) == ["other"]


async def test_a_file_that_is_no_shop_s_stays(deployment: Deployment, with_shops: Settings) -> None:
    place = configured(with_shops, "acme")
    if place.schema is not None:
        return
    await deployment.prepare()
    path = Path(place.url.database or "")
    await asyncio.to_thread(path.write_text, "A diary", encoding="utf-8")
    assert "is no shop: move it away" in await refusal(deployment.create("acme"))
    assert await asyncio.to_thread(path.read_text, encoding="utf-8") == "A diary"
    assert await names(deployment) == []
