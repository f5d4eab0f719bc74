"""What a shop may be called."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph.database.shop_names import (
    PREFIX,
    REGISTRY_FILE,
    RESERVED,
    BadShopName,
    file_of_shop,
    role_of_shop,
    schema_of_shop,
    see_shop_name,
)


@pytest.mark.parametrize("name", ["a", "acme", "acme-2", "a_b", "a--", "x" * 40])
def test_a_name_is_one(name: str) -> None:
    assert see_shop_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "Acme",
        "1a",
        "-a",
        "_a",
        "a.b",
        "a/b",
        "../a",
        "a b",
        "a\n",
        "a\0",
        "ä",
        "ａ",
        "x" * 41,
        "x" * 10_000,
        'a"b',
        "a%b",
    ],
)
def test_a_text_is_none(name: str) -> None:
    with pytest.raises(BadShopName) as refused:
        see_shop_name(name)
    assert len(str(refused.value)) < 250
    assert str(refused.value).isascii()


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(BadShopName, match="reserved"):
        see_shop_name(name)


def test_what_is_called_after_a_shop_is_its_own_and_fits() -> None:
    names = ["a", "a-b", "a_b", "x" * 39, "x" * 40]
    for called in (schema_of_shop, role_of_shop):
        assert len({called(name) for name in names}) == len(names)
        assert all(len(called(name)) < 64 and called(name).startswith(PREFIX) for name in names)
    assert file_of_shop("shops", "acme") == Path("shops/acme.db")
    assert file_of_shop("", "shops").name == REGISTRY_FILE
    assert "shops" in RESERVED
