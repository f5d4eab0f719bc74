"""The rules for orders and their lines: what is drawn, what the model makes of it."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.write.machine.model import (
    DISCOUNTS,
    EXPECTED,
    HOW,
    LINES,
    NOTES,
    ORDERS,
    PICK,
    PRICES,
    QUANTITIES,
    TRANSITIONS,
    Codes,
    Customer,
    Item,
    Line,
    Order,
    Ordered,
    Payload,
    Placed,
    Shop,
    held,
    id_of,
    money_text,
    new_lines,
    picked,
    place,
    root,
    version_input,
)
from tests.write.machine.play import Rules


class OrderRules(Rules):
    """Mutations of orders and their lines."""

    @rule(n=PICK, by=st.sampled_from(["id", "email"]), placed=ORDERS, how=HOW)
    def create_order(self, n: int, by: str, placed: Placed, how: str) -> None:
        customer = picked(self.shop.customers, n)
        key = id_of(customer, "Customer") if by == "id" else customer.email.upper() if customer else "no@x.io"

        def change(shop: Shop) -> Codes:
            customer = picked(shop.customers, n)
            codes = {"REFERENCE_NOT_FOUND"} if customer is None else {"ARCHIVED"} if customer.archived else set()
            pieces = Counter[Item]()
            codes |= place(shop, customer or Customer("", ""), placed, pieces)
            return codes | shop.take(pieces)

        self.play.do("createOrder", {"customer": {by: key}, **self.play.order(placed)}, change, ["order"], how)

    @rule(
        n=PICK,
        discount=st.none() | DISCOUNTS,
        note=NOTES,
        create=LINES,
        update=st.lists(st.tuples(PICK, st.none() | QUANTITIES, st.none() | PRICES, st.none() | PICK), max_size=2),
        remove=st.lists(PICK, max_size=2),
        expected=EXPECTED,
        how=HOW,
    )
    def update_order(
        self,
        n: int,
        discount: int | None,
        note: str | None,
        create: list[Ordered],
        update: list[tuple[int, int | None, int | None, int | None]],
        remove: list[int],
        expected: str,
        how: str,
    ) -> None:
        order = picked(self.shop.orders, n)
        lines = order.lines if order else []
        named = [picked(lines, m) for m, *_ in update] + [picked(lines, m) for m in remove]
        if len({id(line) for line in named}) < len(named):
            return
        items = {
            "create": [self.play.line(ordered) for ordered in create],
            "update": [self.play.changed(lines, *entry) for entry in update],
            "remove": [id_of(picked(lines, m), "OrderItem") for m in remove],
        }
        given = {"id": id_of(order, "Order"), "note": note, "items": items, **version_input(order, expected)}
        given |= {} if discount is None else {"discount": money_text(discount)}

        def change(shop: Shop) -> Codes:
            order = picked(shop.orders, n)
            codes = root(order, expected)
            if order is None or codes:
                return codes
            before = (order.note, order.discount)
            order.note, order.discount = note, order.discount if discount is None else discount
            pieces, touched = held(order.lines, -1), False
            highest = max([0, *(line.position for line in order.lines)])
            removed = [picked(order.lines, m) for m in remove]
            for m, quantity, price, i in update:
                line = picked(order.lines, m)
                if line is None:
                    codes.add("NOT_FOUND")
                    continue
                was = (line.quantity, line.price, line.item)
                if i is not None:
                    item = picked(shop.items, i)
                    codes |= {"REFERENCE_NOT_FOUND"} if item is None else set()
                    # A line that changes is held against its item; one that stays as it is is not.
                    line.item = item or line.item
                line.quantity = line.quantity if quantity is None else quantity
                line.price = line.price if price is None else price
                codes |= {"CHECK"} if not 1 <= line.quantity <= 100_000 or line.price < 0 else set()
                if was != (line.quantity, line.price, line.item):
                    touched = True
                    codes |= {"ARCHIVED"} if i is not None and line.item.archived else set()
            codes |= {"NOT_FOUND"} if None in removed else set()
            touched = touched or any(removed)
            made, wrong, known = new_lines(shop, create)
            codes |= wrong
            order.lines = [line for line in order.lines if line not in removed] + made
            order.number(after=highest)
            touched = touched or bool(made)
            pieces.update(held(order.lines))
            if (touched or before[1] != order.discount) and order.status != "PENDING":
                codes.add("NOT_EDITABLE")
            if known and order.total < 0:
                codes.add("CHECK")
            order.version += touched or before != (order.note, order.discount)
            return codes | (shop.take(pieces) if touched else set())

        self.play.do("updateOrder", given, change, ["order"], how)

    @rule(n=PICK, kept=st.lists(PICK, max_size=3, unique=True), made=LINES, first=st.booleans(), how=HOW)
    def replace_lines(self, n: int, kept: list[int], made: list[Ordered], first: bool, how: str) -> None:
        order = picked(self.shop.orders, n)
        lines = order.lines if order else []
        stay = [picked(lines, m) for m in kept]
        if len({id(line) for line in stay}) < len(stay):
            return
        old = [{"id": id_of(line, "OrderItem")} for line in stay]
        new = [self.play.line(ordered) for ordered in made]

        def change(shop: Shop) -> Codes:
            order = picked(shop.orders, n)
            if order is None:
                return {"NOT_FOUND"}
            stay = [picked(order.lines, m) for m in kept]
            lines, codes, known = new_lines(shop, made)
            codes |= {"NOT_FOUND"} if None in stay else set()
            pieces, touched = held(order.lines, -1), bool(order.lines or lines)
            highest = max([0, *(line.position for line in order.lines)])
            there = [line for line in stay if line is not None]
            order.lines = [*there, *lines] if first else [*lines, *there]
            for line in order.lines:
                line.position = 0
            order.number(after=highest)
            pieces.update(held(order.lines))
            codes |= {"NOT_EDITABLE"} if touched and order.status != "PENDING" else set()
            codes |= {"CHECK"} if known and order.total < 0 else set()
            order.version += touched
            return codes | shop.take(pieces)

        given = {"id": id_of(order, "Order"), "items": {"replace": old + new if first else new + old}}
        self.play.do("updateOrder", given, change, ["order"], how)

    @rule(n=PICK, to=st.sampled_from(list(TRANSITIONS)), expected=EXPECTED, how=HOW)
    def transition_order(self, n: int, to: str, expected: str, how: str) -> None:
        order = picked(self.shop.orders, n)

        def change(shop: Shop) -> Codes:
            order = picked(shop.orders, n)
            codes = root(order, expected)
            if order is None or codes:
                return codes
            if to not in TRANSITIONS[order.status]:
                return {"TRANSITION"}
            if to == "CANCELLED":
                shop.take(held(order.lines, -1))
            order.status = to
            order.version += 1
            return set()

        given = {"id": id_of(order, "Order"), "to": to, **version_input(order, expected)}
        self.play.do("transitionOrder", given, change, ["order"], how)

    @rule(n=st.integers(0, 30), to=PICK, quantity=st.sampled_from([None, 1, 2, 0, 50]), expected=EXPECTED, how=HOW)
    def move_order_item(self, n: int, to: int, quantity: int | None, expected: str, how: str) -> None:
        found = self.shop.lines()[n % len(self.shop.lines())] if self.shop.lines() and n != 30 else None
        target = picked(self.shop.orders, to)
        source = found[0] if found else None
        given = {"id": id_of(found[1] if found else None, "OrderItem"), "toOrder": id_of(target, "Order"), "quantity": quantity}

        def change(shop: Shop) -> Codes:
            target = picked(shop.orders, to)
            if found is None or target is None:
                return {"NOT_FOUND"}
            source, line = shop.lines()[n % len(shop.lines())]
            if expected == "wrong":
                return {"STALE_VERSION"}
            moving = line.quantity if quantity is None else quantity
            codes = {"NOT_EDITABLE"} if {source.status, target.status} != {"PENDING"} else set()
            if source is target or source.customer is not target.customer or not 1 <= moving <= line.quantity:
                codes.add("INVALID_INPUT")
            if codes:
                return codes
            highest = max([0, *(line.position for line in target.lines)])
            if moving == line.quantity:
                source.lines.remove(line)
            else:
                line.quantity -= moving
                line = Line(line.item, moving, line.price)
            line.position = highest + 1
            target.lines.append(line)
            source.version += 1
            target.version += 1
            return {"CHECK"} if source.total < 0 else set()

        self.play.do("moveOrderItem", given | version_input(source, expected), change, ["fromOrder", "toOrder"], how)

    @rule(status=st.sampled_from(list(TRANSITIONS)), discount=st.none() | DISCOUNTS, how=HOW)
    def update_orders(self, status: str, discount: int | None, how: str) -> None:
        found = [order for order in self.shop.orders if order.status == status]
        set_: Payload = {"note": "bulk"} | ({} if discount is None else {"discount": money_text(discount)})

        def change(shop: Shop) -> Codes:
            codes = set[str]()
            for order in shop.orders:
                before = (order.note, order.discount)
                if order.status == status:
                    order.note, order.discount = "bulk", order.discount if discount is None else discount
                    order.version += before != (order.note, order.discount)
                    codes |= {"CHECK"} if order.total < 0 else set()
                    codes |= {"NOT_EDITABLE"} if before[1] != order.discount and status != "PENDING" else set()
            return codes

        more = {"count": len([order for order in found if order.note != "bulk"])} if discount is None else None
        self.play.do("updateOrders", {"where": {"status": {"eq": status}}, "set": set_}, change, how=how, more=more)

    @rule(n=PICK, percent=st.sampled_from(["1", "12.5", "33.33", "100", "0", "100.01"]), how=HOW)
    def discount_orders(self, n: int, percent: str, how: str) -> None:
        customer = picked(self.shop.customers, n)
        hundredths = round(float(percent) * 100)
        given = {"where": {"customer": {"id": {"eq": id_of(customer, "Customer")}}}, "percent": percent}

        def change(shop: Shop) -> Codes:
            if not 0 < hundredths <= 10_000:
                return {"INVALID_INPUT"}
            customer = picked(shop.customers, n)
            for order in shop.orders:
                if order.customer is customer and order.status == "PENDING":
                    off = (order.total * hundredths + 5_000) // 10_000
                    order.discount += off
                    order.version += off > 0
            return set()

        self.play.do("discountOrders", given, change, how=how)

    @rule(n=PICK, over=st.sampled_from([500, 5_000]), how=HOW)
    def delete_orders(self, n: int, over: int, how: str) -> None:
        customer = picked(self.shop.customers, n)
        where = {"customer": {"id": {"eq": id_of(customer, "Customer")}}, "totalAmount": {"gt": money_text(over)}}

        def matching(shop: Shop) -> list[Order]:
            return [order for order in shop.orders if order.customer is picked(shop.customers, n) and order.total > over]

        def change(shop: Shop) -> Codes:
            for order in matching(shop):
                shop.drop(order)
            return set()

        self.play.do("deleteOrders", {"where": where}, change, how=how, more={"count": len(matching(self.shop))})

    @rule(n=PICK, expected=EXPECTED, how=HOW)
    def delete_order(self, n: int, expected: str, how: str) -> None:
        order = picked(self.shop.orders, n)

        def change(shop: Shop) -> Codes:
            order = picked(shop.orders, n)
            codes = root(order, expected)
            if order is not None and not codes:
                shop.drop(order)
            return codes

        given = {"id": id_of(order, "Order"), **version_input(order, expected)}
        self.play.do("deleteOrder", given, change, how="dry" if how == "repeat" else how)
