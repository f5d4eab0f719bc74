"""The settings: one variable each, typed, and refused by name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from graph.settings import Settings, SettingsError, from_environment, variable

README = Path(__file__).parents[1] / "README.md"


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_environment({}) == Settings()


def test_a_variable_sets_its_field_in_its_type() -> None:
    found = from_environment(
        {
            "DATABASE_URL": "postgresql://shop@db/orders",
            "CURRENCY": "JPY",
            "ORDERGRAPH_MAX_PAGE_SIZE": "200",
            "ORDERGRAPH_LOCK_TIMEOUT_SECONDS": "0.5",
            "ORDERGRAPH_PLAYGROUND": "off",
            "MAX_PAGE_SIZE": "7",
        }
    )
    assert found == Settings(
        database_url="postgresql://shop@db/orders",
        currency="JPY",
        max_page_size=200,
        lock_timeout_seconds=0.5,
        playground=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORDERGRAPH_MAX_DEPTH", "deep"),
        ("ORDERGRAPH_MAX_DEPTH", "0"),
        ("ORDERGRAPH_MAX_DEPTH", "-1"),
        ("ORDERGRAPH_MAX_DEPTH", "1.5"),
        ("ORDERGRAPH_MAX_DEPTH", ""),
        ("ORDERGRAPH_REQUEST_TIMEOUT_SECONDS", "nan"),
        ("ORDERGRAPH_REQUEST_TIMEOUT_SECONDS", "inf"),
        ("ORDERGRAPH_PGBOUNCER", "maybe"),
        ("CURRENCY", "usd"),
        ("CURRENCY", "DOLLAR"),
        ("CURRENCY", "U5D"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        from_environment({name: value})


@pytest.mark.parametrize(("currency", "exponent"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)])
def test_a_currency_has_its_decimal_places(currency: str, exponent: int) -> None:
    assert Settings(currency=currency).currency_exponent == exponent


def test_the_readme_lists_every_setting_with_its_default() -> None:
    text = README.read_text(encoding="utf-8")
    for field in fields(Settings):
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        assert f"| `{variable(field.name)}` | `{default}` | {field.metadata['doc']} |" in text
