"""E-mail addresses: one customer an address, however it is spelled; and what is none is refused."""

from __future__ import annotations

from typing import Any
from unicodedata import normalize

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from graph import migrate
from graph.texts import Email, email_address
from tests.conftest import Ask, asking
from tests.examples import examples
from tests.unhurried import unhurried
from tests.words import done, refusals

STORED = "jürgen.ada@müller.example"
SPELLINGS = {
    "itself": STORED,
    "capitals": STORED.upper(),
    "decomposed": normalize("NFD", STORED),
    "blanks around it": f"\u00a0\u200b{STORED}\ufeff\n",
    "a domain in ASCII": "jürgen.ada@xn--mller-kva.example",
    "a domain in ASCII and capitals": "JÜRGEN.ADA@XN--MLLER-KVA.EXAMPLE",
    "a domain in full width": "jürgen.ada@ｍüｌｌｅｒ．ｅｘａｍｐｌｅ",
    "an ideographic dot": "jürgen.ada@müller\u3002example",
    "zero-width characters in the domain": "jürgen.ada@mül\u200bler\u2060.exa\u00admple\ufe0f",
}


async def test_an_address_is_one_customer_however_it_is_spelled(ask: Ask) -> None:
    await done(ask, "createCustomer", {"name": "Ada", "email": "ada@example.com"})
    await done(ask, "createCustomer", {"name": "Jürgen", "email": SPELLINGS["decomposed"]})
    query = """query($e: String!, $w: CustomerWhere!, $o: OrderWhere!) {
        customer(by: {email: $e}) { id email } customers(where: $w) { nodes { id } }
        search: customers(search: $e) { nodes { id } } orders(where: $o) { totalCount }
    }"""
    for orders, (how, email) in enumerate(SPELLINGS.items(), 1):
        row = {"name": "J", "email": email}
        assert await refusals(ask, "createCustomer", row) == [("UNIQUE", "input.email")], how
        assert await refusals(ask, "createCustomers", {"customers": [row]}) == [("UNIQUE", "input.customers.0.email")], how
        assert await refusals(ask, "insertCustomers", {"rows": [row]}) == [("UNIQUE", "input.rows.0.email")], how
        twice = {"rows": [{"name": "x", "email": "ada@example.com"}, {"name": "y", "email": "ADA@example.com"}, row]}
        assert await done(ask, "insertCustomers", {**twice, "onConflict": "SKIP"}, "inserted skipped") == {
            "inserted": 0,
            "skipped": 3,
            "errors": [],
        }
        assert await refusals(ask, "updateCustomer", {"id": "Customer:1", "email": email}) == [("UNIQUE", "input.email")], how
        upserted = await done(ask, "upsertCustomer", row, "created customer { id email }")
        assert (upserted["created"], upserted["customer"]) == (False, {"id": "Customer:2", "email": STORED}), how
        await done(ask, "createOrder", {"customer": {"email": email}})
        for operator, operand in (
            ("eq", email),
            ("in", [email]),
            ("startsWith", email),
            ("endsWith", email),
            ("contains", email),
        ):
            where = {"email": {operator: operand}}
            found = await ask.data(query, {"e": email, "w": where, "o": {"customer": where}})
            assert found["customer"] == {"id": "Customer:2", "email": STORED}, how
            assert found["customers"]["nodes"] == found["search"]["nodes"] == [{"id": "Customer:2"}], (how, operator)
            assert found["orders"]["totalCount"] == orders, (how, operator)
    assert (await ask.data("{ customers { totalCount } }"))["customers"]["totalCount"] == 2


@pytest.mark.parametrize(
    ("operator", "text", "found"),
    [
        ("startsWith", "JU\u0308RGEN", True),
        ("contains", "gen.ADA@xn--mller-kva.e", True),
        ("endsWith", "XN--MLLER-KVA.example", True),
        ("contains", "ｌｅｒ．ｅｘ", True),
        ("endsWith", "ler。example", True),
        ("contains", "ler.ex\u00adam", True),
        ("contains", "muller", False),
        ("contains", "\u00ad", False),
        ("contains", "\u200d", False),
    ],
)
async def test_a_part_of_an_address_is_looked_for_as_it_is_stored(ask: Ask, operator: str, text: str, found: bool) -> None:
    await done(ask, "createCustomer", {"name": "Jürgen", "email": STORED})
    query = (
        "query($w: CustomerWhere!, $s: String!) { customers(where: $w) { totalCount } s: customers(search: $s) { totalCount } }"
    )
    answer = await ask.data(query, {"w": {"email": {operator: text}}, "s": text})
    assert (answer["customers"]["totalCount"], answer["s"]["totalCount"]) == (int(found), int(found))


LONG = ".".join("d" * length for length in (62, 61, 61))  # 186 octets
REFUSED = {
    "a full-width part before the @": "ａda@example.com",
    "a ligature": "ﬁn@example.com",
    "a zero-width space": "a\u200bda@example.com",
    "a joiner": "a\u200dda@example.com",
    "a soft hyphen": "a\u00adda@example.com",
    "a direction mark": "a\u202eda@example.com",
    "a control character": "a\u0001da@example.com",
    "a variation selector": "a\ufe0fda@example.com",
    "a filler": "a\u115fda@example.com",
    "a grapheme joiner": "a\u034fda@example.com",
    "an ideographic dot": "a\u3002da@example.com",
    "a mark alone": "\u0301@example.com",
    "a full-width @": "ada＠example.com",
    "a quoted part": '"ada"@example.com',
    "an escaped part": "a\\da@example.com",
    "an address of a machine": "ada@[127.0.0.1]",
    "an address of a machine, version 6": "ada@[IPv6:::1]",
    "a bare address of a machine": "ada@127.0.0.1",
    "a link": "mailto:ada@example.com",
    "two": "ada@example.com@example.org",
    "no domain": "ada@",
    "no part before the @": "@example.com",
    "a domain of one part": "ada@localhost",
    "an empty part": "ada@example..com",
    "an empty first part": "ada@.example.com",
    "a dot at the end": "ada@example.com.",
    "an ideographic dot at the end": "ada@example.com\u3002",
    "an underscore": "ada@exam_ple.com",
    "a hyphen first": "ada@-example.com",
    "a hyphen last": "ada@example-.com",
    "an emoji": "ada@i\u2764.ws",
    "an emoji in ASCII": "ada@xn--i-7iq.ws",
    "ASCII that is none": "ada@xn--ada-.com",
    "ASCII of nothing": "ada@xn--.com",
    "a mark first": "ada@\u0301xample.com",
    "both directions": "ada@1\u05d0.com",
    "a joiner that joins nothing": "ada@exam\u200dple.com",
    "65 octets before the @": f"{'a' * 65}@example.com",
    "66 octets before the @": f"{'é' * 33}@example.com",
    "a part of 64": f"ada@{'a' * 64}.com",
    "a part that is 64 in ASCII": f"ada@{'a' * 59}é.com",
    "255 octets": f"{'a' * 64}@{LONG}.com",
}


async def test_what_is_no_address_is_refused_on_every_way_in(ask: Ask) -> None:
    await done(ask, "createCustomer", {"name": "Ada", "email": "ada@example.org"})
    rows = [{"name": "x", "email": email} for email in REFUSED.values()]
    expected = [("INVALID_INPUT", f"input.rows.{index}.email") for index in range(len(rows))]
    found = await refusals(ask, "insertCustomers", {"rows": rows})
    taken = [what for what, place in zip(REFUSED, expected, strict=True) if place not in found]
    assert (found, taken) == (expected, [])
    for row in rows[::8]:
        for field, input_ in (("createCustomer", row), ("upsertCustomer", row), ("updateCustomer", {"id": "Customer:1", **row})):
            assert await refusals(ask, field, input_) == [("INVALID_INPUT", "input.email")], row
    assert (await ask.data("{ customers { nodes { email } } }"))["customers"]["nodes"] == [{"email": "ada@example.org"}]


ACCEPTED = {
    "Ada+Tag/x='y@Example.museum": "ada+tag/x='y@example.museum",
    "a..b.@example.com": "a..b.@example.com",
    "ada@ab--cd.de": "ada@ab--cd.de",
    "ada@straße.de": "ada@straße.de",
    "ada@STRASSE.de": "ada@strasse.de",
    "ΜΑΡΑΣ@example.com": "μαρασ@example.com",
    "\u212a@example.com": "k@example.com",
    "ada@نامه\u200cای.example": "ada@نامه\u200cای.example",
    "ada@\u05d0\u05d11.com": "ada@\u05d0\u05d11.com",
    "ada@日本語。jp": "ada@日本語.jp",
    f"{'a' * 64}@example.com": f"{'a' * 64}@example.com",
    f"{'é' * 32}@example.com": f"{'é' * 32}@example.com",
    f"ada@{'a' * 63}.com": f"ada@{'a' * 63}.com",
    f"{'a' * 64}@{LONG[1:]}.com": f"{'a' * 64}@{LONG[1:]}.com",
}


async def test_an_address_is_stored_in_one_spelling(ask: Ask) -> None:
    rows = [{"name": "x", "email": email} for email in ACCEPTED]
    await done(ask, "insertCustomers", {"rows": rows})
    nodes = (await ask.data("{ customers(first: 50) { nodes { email } } }"))["customers"]["nodes"]
    assert [node["email"] for node in nodes] == list(ACCEPTED.values())


CHARACTERS = st.characters(codec="utf-8") | st.sampled_from("éßΣſKİᾳＡ。\u0301\u200b\u00ad\ufe0f\u3000xn-@.")
TEXTS = st.text(CHARACTERS, max_size=12)


@settings(max_examples=examples(100))
@given(local=TEXTS, domain=TEXTS)
def test_the_spelling_of_an_address_is_settled(local: str, domain: str) -> None:
    spelled = Email().normal(f"{local}@{domain}.com")
    assert Email().normal(spelled) == spelled
    if email_address(spelled) is None:
        assert Email().normal(normalize("NFD", spelled)) == spelled
        assert Email().part(spelled.rpartition("@")[0], "starts_with") in spelled


# ---- codes and names

ACUTE = "caf\u00e9"


async def test_a_sku_is_one_item_composed_or_not(ask: Ask) -> None:
    await done(ask, "createItem", {"sku": normalize("NFD", ACUTE), "name": normalize("NFD", ACUTE), "price": "1"})
    assert await refusals(ask, "createItem", {"sku": ACUTE, "name": "x", "price": "1"}) == [("UNIQUE", "input.sku")]
    for text in (ACUTE, normalize("NFD", ACUTE)):
        query = """query($s: String!) {
            item(by: {sku: $s}) { sku name } items(where: {name: {endsWith: $s}}) { totalCount }
            search: items(search: $s) { totalCount }
        }"""
        found = await ask.data(query, {"s": text})
        assert found == {"item": {"sku": ACUTE, "name": ACUTE}, "items": {"totalCount": 1}, "search": {"totalCount": 1}}


async def test_a_sku_holds_nothing_that_cannot_be_seen_and_a_name_keeps_what_it_is(ask: Ask) -> None:
    for number, char in enumerate("\u0001\u00ad\u034f\u200b\u200d\u202e\u2060\u3164\ufe0f\ufeff"):
        row = {"sku": f"A{char}1", "name": "x", "price": "1"}
        assert await refusals(ask, "createItem", row) == [("INVALID_INPUT", "input.sku")], ascii(char)
        assert await refusals(ask, "insertItems", {"rows": [row]}) == [("INVALID_INPUT", "input.rows.0.sku")], ascii(char)
        await done(ask, "createItem", {**row, "sku": f"N{number}", "name": f"n{char}n"})
    # The form C of these would be ideographs of today.
    await done(ask, "createItem", {"sku": "A1", "name": "\ufa19\u0065\u0301\U0002f800", "price": "1"})
    names = [node["name"] for node in (await ask.data("{ items { nodes { name } } }"))["items"]["nodes"]]
    assert names == [
        *(f"n{char}n" for char in "\u0001\u00ad\u034f\u200b\u200d\u202e\u2060\u3164\ufe0f\ufeff"),
        "\ufa19é\U0002f800",
    ]


# ---- rows of the version before

JOSE = "jos\u00e9@example.com"


async def insert(url: str, *emails: str) -> None:
    """Customers with these addresses, past the product."""
    async with migrate.connected(url) as connection, connection.begin():
        stamp = "'2026-01-01 00:00:00.000000" + ("+00'" if connection.dialect.name == "postgresql" else "'")
        columns = "version, name, email, created_at, updated_at"
        statement = sa.text(f"INSERT INTO customer ({columns}) VALUES (1, 'x', :e, {stamp}, {stamp})")  # constants
        for email in emails:
            await connection.execute(statement, {"e": email})


async def stored(url: str) -> list[str]:
    async with migrate.connected(url) as connection:
        return list((await connection.execute(sa.text("SELECT email FROM customer ORDER BY id"))).scalars())


async def test_the_migration_respells_what_is_alone_and_lists_what_is_not(empty_url: str, capsys: Any) -> None:
    before = [
        normalize("NFD", "alone@exämple.com"),
        JOSE,
        normalize("NFD", JOSE),
        "ada@ｅxample.com",
        "ada@e\u00adxample.com",
        "a\u200bda@example.org",
        "plain@example.com",
    ]
    await migrate.downgrade(empty_url, "0004")
    await insert(empty_url, *before)
    await migrate.upgrade(empty_url)
    listed = [
        r"customer.email of id 6 stays as it is: 'a\u200bda@example.org' must be an e-mail address, such as ada@example.com",
        (
            "customer.email of these rows is one to the eye, and they stay as they are:"
            r" 'jos\xe9@example.com' (id 2), 'jose\u0301@example.com' (id 3)"
        ),
        (
            "customer.email of these rows is one to the eye, and they stay as they are:"
            r" 'ada@\uff45xample.com' (id 4), 'ada@e\xadxample.com' (id 5)"
        ),
    ]
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(listed)
    after = ["alone@exämple.com", *before[1:]]
    assert await stored(empty_url) == after
    await migrate.downgrade(empty_url, "0004")
    await migrate.upgrade(empty_url)
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(listed)
    assert await stored(empty_url) == after
    async with asking(unhurried(empty_url)) as ask:
        await mend(ask, after)


async def mend(ask: Ask, after: list[str]) -> None:
    """Rows that are spelled in another way are reached by their ids and in lists; sending their address again settles it."""
    query = """query($a: String) { customers(first: 1, after: $a, orderBy: [{field: EMAIL, direction: ASC}]) {
        nodes { email } pageInfo { endCursor hasNextPage } } }"""
    seen, place = list[str](), None
    while len(seen) <= len(after):
        page = (await ask.data(query, {"a": place}))["customers"]
        seen += [node["email"] for node in page["nodes"]]
        place = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == sorted(after)
    for email, id_ in ((after[2], "Customer:2"), (after[3], None), (after[5], "Customer:6")):
        found = (await ask.data("query($e: String!) { customer(by: {email: $e}) { id } }", {"e": email}))["customer"]
        assert found == (None if id_ is None else {"id": id_}), ascii(email)
    await done(ask, "updateCustomer", {"id": "Customer:3", "name": "y"})
    await done(ask, "createOrder", {"customer": {"id": "Customer:3"}})
    query = """mutation($i: UpdateCustomerInput!) { updateCustomer(input: $i) {
        errors { code ... on UniqueError { existing { id } } } } }"""
    again = {"id": "Customer:3", "email": after[2]}
    answer = (await ask.data(query, {"i": again}))["updateCustomer"]
    assert answer["errors"] == [{"code": "UNIQUE", "existing": {"id": "Customer:2"}}]
    await done(ask, "updateCustomer", {"id": "Customer:2", "email": "other@example.com"})
    assert (await done(ask, "updateCustomer", again, "customer { email name }"))["customer"] == {"email": JOSE, "name": "y"}
    await done(ask, "updateCustomer", {"id": "Customer:4", "email": after[3]})
    answer = (await ask.data(query, {"i": {"id": "Customer:5", "email": after[4]}}))["updateCustomer"]
    assert answer["errors"] == [{"code": "UNIQUE", "existing": {"id": "Customer:4"}}]
    await done(ask, "updateCustomer", {"id": "Customer:6", "email": "ada@example.org"})


async def test_the_migration_respells_skus_and_names(empty_url: str, capsys: Any) -> None:
    spelled = normalize("NFD", ACUTE)
    await migrate.downgrade(empty_url, "0004")
    async with migrate.connected(empty_url) as connection, connection.begin():
        stamp = "'2026-01-01 00:00:00.000000" + ("+00'" if connection.dialect.name == "postgresql" else "'")
        columns = "version, sku, name, price, created_at, updated_at"
        statement = sa.text(f"INSERT INTO item ({columns}) VALUES (1, :s, :n, 1, {stamp}, {stamp})")  # constants
        for sku in (spelled, ACUTE, f"{spelled}2", "A\u200b1"):
            await connection.execute(statement, {"s": sku, "n": spelled})
    await migrate.upgrade(empty_url)
    async with migrate.connected(empty_url) as connection:
        rows = (await connection.execute(sa.text("SELECT sku, name FROM item ORDER BY id"))).all()
    assert [tuple(row) for row in rows] == [(sku, ACUTE) for sku in (spelled, ACUTE, f"{ACUTE}2", "A\u200b1")]
    assert sorted(capsys.readouterr().out.splitlines()) == [
        r"item.sku of id 4 stays as it is: 'A\u200b1' must not hold characters that cannot be seen",
        (
            "item.sku of these rows is one to the eye, and they stay as they are:"
            r" 'cafe\u0301' (id 1), 'caf\xe9' (id 2)"
        ),
    ]
