"""The rules for items: what is drawn, what the model makes of it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.write.machine.model import (
    EXPECTED,
    HOW,
    PICK,
    PRICES,
    SKUS,
    STOCKS,
    Codes,
    Item,
    Shop,
    id_of,
    money_text,
    picked,
    root,
    version_input,
)
from tests.write.machine.play import Rules


class ItemRules(Rules):
    """Mutations of items."""

    @rule(sku=SKUS, price=PRICES, stock=STOCKS, how=HOW)
    def create_item(self, sku: str, price: int, stock: int | None, how: str) -> None:
        def change(shop: Shop) -> Codes:
            codes = {"UNIQUE"} if any(item.sku == sku for item in shop.items) else set()
            shop.items.append(Item(sku, "new", price, stock))
            return codes | ({"CHECK"} if price < 0 else set())

        given = {"sku": sku, "name": "new", "price": money_text(price), "stock": stock}
        self.play.do("createItem", given, change, ["item"], how)

    @rule(
        n=PICK,
        sku=st.none() | SKUS,
        price=st.none() | PRICES,
        stock=st.sampled_from(["same", None, 0, 9, -1]),
        expected=EXPECTED,
        how=HOW,
    )
    def update_item(self, n: int, sku: str | None, price: int | None, stock: Any, expected: str, how: str) -> None:
        item = picked(self.shop.items, n)
        given = {"id": id_of(item, "Item"), **version_input(item, expected)}
        given |= {} if sku is None else {"sku": sku}
        given |= {} if price is None else {"price": money_text(price)}
        given |= {} if stock == "same" else {"stock": stock}

        def change(shop: Shop) -> Codes:
            item = picked(shop.items, n)
            codes = root(item, expected)
            if item is None or codes:
                return codes
            if sku is not None and any(other.sku == sku for other in shop.items if other is not item):
                codes.add("UNIQUE")
            if (price or 0) < 0 or stock == -1:
                codes.add("CHECK")
            before = (item.sku, item.price)
            item.sku, item.price = sku or item.sku, item.price if price is None else price
            item.version += before != (item.sku, item.price)
            item.stock = item.stock if stock == "same" else stock
            return codes

        self.play.do("updateItem", given, change, ["item"], how)

    @rule(n=PICK, delta=st.sampled_from([-30, -3, -1, 0, 1, 10]), by=st.sampled_from(["id", "sku"]), how=HOW)
    def adjust_stock(self, n: int, delta: int, by: str, how: str) -> None:
        item = picked(self.shop.items, n)
        key = id_of(item, "Item") if by == "id" else item.sku if item else "missing"

        def change(shop: Shop) -> Codes:
            item = picked(shop.items, n)
            if item is None:
                return {"NOT_FOUND"}
            if item.stock is None:
                return {"INVALID_INPUT"}
            item.stock += delta
            return {"OUT_OF_STOCK"} if item.stock < 0 else set()

        self.play.do("adjustStock", {"item": {by: key}, "delta": delta}, change, ["item"], how)

    @rule(sku=SKUS, price=PRICES, delta=st.sampled_from([None, -30, -1, 0, 4]), how=HOW)
    def upsert_item(self, sku: str, price: int, delta: int | None, how: str) -> None:
        created = all(item.sku != sku for item in self.shop.items)

        def change(shop: Shop) -> Codes:
            item = next((item for item in shop.items if item.sku == sku), None)
            short = delta is not None and delta < 0 and (0 if item is None else item.stock or 0) < -delta
            codes = ({"OUT_OF_STOCK"} if short else set()) | ({"CHECK"} if price < 0 else set())
            if item is None:
                shop.items.append(Item(sku, "upserted", price, delta))
                return codes
            item.version += (item.name, item.price) != ("upserted", price)
            item.name, item.price = "upserted", price
            item.stock = item.stock if delta is None else (item.stock or 0) + delta
            return codes

        given = {"sku": sku, "name": "upserted", "price": money_text(price)} | ({} if delta is None else {"stockDelta": delta})
        self.play.do("upsertItem", given, change, ["item"], how, {"created": created} if price >= 0 else None)

    @rule(
        rows=st.lists(st.tuples(SKUS, PRICES, STOCKS), min_size=1, max_size=4),
        on_conflict=st.sampled_from(["ERROR", "SKIP", "UPDATE"]),
        how=HOW,
    )
    def insert_items(self, rows: list[tuple[str, int, int | None]], on_conflict: str, how: str) -> None:
        def change(shop: Shop) -> Codes:
            by_sku = {item.sku: item for item in shop.items}
            # Of two rows with one key the last one wins, and nobody asks what the other said.
            counted = (
                {sku: price for sku, price, _ in rows}.values() if on_conflict == "UPDATE" else [price for _, price, _ in rows]
            )
            codes = {"CHECK"} if min(counted) < 0 else set[str]()
            twice = len({sku for sku, _, _ in rows}) < len(rows) or any(sku in by_sku for sku, _, _ in rows)
            if on_conflict == "ERROR" and twice:
                codes.add("UNIQUE")
            wanted = {}
            for sku, price, stock in rows if on_conflict == "UPDATE" else reversed(rows):
                wanted[sku] = (price, stock)
            for sku, (price, stock) in wanted.items():
                item = by_sku.get(sku)
                if item is None:
                    shop.items.append(Item(sku, "plain", price, stock))
                elif on_conflict == "UPDATE":
                    item.version += (item.name, item.price) != ("plain", price)
                    item.name, item.price = "plain", price
                    item.stock = item.stock if stock is None else stock
            return codes

        given = [{"sku": sku, "name": "plain", "price": money_text(price), "stock": stock} for sku, price, stock in rows]
        self.play.do("insertItems", {"rows": given, "onConflict": on_conflict}, change, how=how)

    @rule(n=PICK, expected=EXPECTED, how=HOW)
    def delete_item(self, n: int, expected: str, how: str) -> None:
        item = picked(self.shop.items, n)

        def change(shop: Shop) -> Codes:
            item = picked(shop.items, n)
            codes = root(item, expected)
            if item is None or codes:
                return codes
            if any(line.item is item for _, line in shop.lines()):
                return {"STILL_REFERENCED"}
            shop.items.remove(item)
            return set()

        given = {"id": id_of(item, "Item"), **version_input(item, expected)}
        self.play.do("deleteItem", given, change, how="dry" if how == "repeat" else how)
