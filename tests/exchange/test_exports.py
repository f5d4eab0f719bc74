"""Exports: what is written, and that it comes back."""

from __future__ import annotations

import filecmp
import io
import json
from pathlib import Path
from typing import Any

import pytest

from graph.context import Context
from graph.database import Database
from graph.exchange.exports import Export, for_pages
from graph.exchange.outgoing import write_folder, write_lines, write_objects
from graph.operations.request_errors import RequestRefused
from graph.schema import schema
from tests.conftest import Ask, opened
from tests.engines import Engines
from tests.exchange.files import bring, line, lines_file
from tests.unhurried import unhurried

SHOP = "varied"


async def written(url: str, path: Path | None = None, *, kind: str = "objects", where: str | None = None) -> str:
    """What an export writes."""
    database = Database(for_pages(unhurried(url)))
    out = io.StringIO()
    try:
        export = Export(schema.engine(database), Context(database), where)
        if path is not None:
            await write_folder(export, path, lambda _: None)
        elif kind == "objects":
            await write_objects(export, out, lambda _: None)
        else:
            await write_lines(export, out, kind, lambda _: None)
    finally:
        await database.close()
    return out.getvalue()


@pytest.mark.parametrize("form", ["objects", "folder", "csv", "ndjson"])
async def test_what_is_exported_comes_back_and_is_exported_alike(
    shop_url: str, engines: Engines, tmp_path: Path, form: str
) -> None:
    """Texts of all kinds, archived rows, orders without lines, open orders that hold stock."""
    folder = tmp_path / "shop" if form == "folder" else None
    text = await written(shop_url, folder, kind=form)
    path = folder or tmp_path / f"shop.{'csv' if form == 'csv' else 'ndjson'}"
    if folder is None:
        path.write_text(text, encoding="utf-8", newline="")
        assert text.count("\n") > 800
    url = engines.new("empty")
    try:
        async with opened(url) as database:
            brought = await bring(database, path)
            assert brought.refused == []
            again = await bring(database, path)
            assert again.tally.made.total() == 0
        back = tmp_path / "back"
        assert await written(url, folder and back, kind=form) == text
        if folder is not None:
            names = [each.name for each in folder.iterdir()]
            assert len(names) == 4
            assert filecmp.cmpfiles(folder, back, names, shallow=False) == (names, [], [])
    finally:
        engines.drop(url)


async def test_what_a_shop_exported_is_there_already_in_that_shop(shop_url: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.ndjson"
    path.write_text(await written(shop_url), encoding="utf-8")
    async with opened(shop_url) as database:
        brought = await bring(database, path)
    assert brought.tally.made.total() == 0
    assert brought.refused == []


async def test_an_export_holds_natural_keys_and_what_lies_in_stock(
    ask: Ask, database: Database, empty_url: str, tmp_path: Path
) -> None:
    path = lines_file(tmp_path, line("A/1", sku="PEN"), line("A/1", sku="INK", quantity=3), line("A/2", customer_name="Ada"))
    await bring(database, path)
    done = await ask.data(
        'mutation { createItem(input: {sku: "NIB", name: "Nib", price: "1", stock: 5}) { errors { code } }'
        ' createCustomer(input: {name: "Bob", email: "bob@example.org", orders: [{items: [{item: {sku: "NIB"}, quantity: 2}]}]}) '
        "{ errors { code } } }"
    )
    assert [each["errors"] for each in done.values()] == [[], []]
    objects = [json.loads(each) for each in (await written(empty_url)).splitlines()]
    orders = [each for each in objects if each["type"] == "order"]
    assert orders[0] == {
        "type": "order",
        "source": "import",
        "number": "A/1",
        "order_date": "2026-01-31T10:00:00Z",
        "status": "PENDING",
        "discount": "0.00",
        "email": "ada@example.org",
        "items": [{"sku": "PEN", "quantity": 2, "price_paid": "4.50"}, {"sku": "INK", "quantity": 3, "price_paid": "4.50"}],
    }
    assert (orders[2]["source"], orders[2]["number"]) == ("ordergraph", "SO-3")
    items = {each["sku"]: each for each in objects if each["type"] == "item"}
    assert items["NIB"] == {"type": "item", "sku": "NIB", "name": "Nib", "price": "1.00", "stock": 5}
    assert not {"id", "version", "createdAt", "updatedAt"} & {name for each in objects for name in each}


async def test_a_filter_picks_orders_with_their_customers_and_items(
    ask: Ask, database: Database, empty_url: str, tmp_path: Path
) -> None:
    rows = [line("1"), line("2", email="bob@example.org", sku="PEN", quantity=9)]
    await bring(database, lines_file(tmp_path, *rows))
    text = await written(empty_url, where='{customer: {email: {eq: "bob@example.org"}}}')
    told: list[Any] = [json.loads(each) for each in text.splitlines()]
    assert [(each["type"], each.get("email") or each.get("sku")) for each in told] == [
        *(("customer", "bob@example.org"), ("item", "PEN"), ("order", "bob@example.org"))
    ]
    assert (await written(empty_url, kind="csv", where="{status: {eq: PAID}}")).count("\n") == 1
    for wrong in ("{colour: {eq: 1}}", "{", "{status: {eq: 1}}"):
        with pytest.raises(RequestRefused):
            await written(empty_url, where=wrong)
