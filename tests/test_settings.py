"""The settings: one variable each, typed, and refused by name."""

from __future__ import annotations

from dataclasses import fields

import pytest

from graph.database.backends import configured
from graph.environment import NOT_ABOVE, SHOWING, WORDS, check, from_environment
from graph.settings import Settings, SettingsError, variable
from tests.written import DOCS, held

#: Many shops.
SHOPS = {"ORDERGRAPH_SHOPS": "on"}


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
        ("ORDERGRAPH_MAX_DEPTH", "1_000"),
        ("ORDERGRAPH_MAX_DEPTH", "٣"),
        ("ORDERGRAPH_MAX_DEPTH", "2147483648"),
        ("ORDERGRAPH_MAX_DEPTH", "9" * 5_000),
        ("ORDERGRAPH_MAX_DEPTH", "true"),
        ("ORDERGRAPH_LOCK_TIMEOUT_SECONDS", "0"),
        ("ORDERGRAPH_LOCK_TIMEOUT_SECONDS", "0.0004"),
        ("ORDERGRAPH_LOCK_TIMEOUT_SECONDS", "-1"),
        ("ORDERGRAPH_LOCK_TIMEOUT_SECONDS", "2s"),
        ("ORDERGRAPH_LOCK_TIMEOUT_SECONDS", "1e9"),
        ("ORDERGRAPH_LOCK_TIMEOUT_SECONDS", "9999999"),
        ("ORDERGRAPH_PGBOUNCER", ""),
        ("ORDERGRAPH_PGBOUNCER", "2"),
        ("CURRENCY", ""),
        ("CURRENCY", "ÄÖÜ"),
        ("ORDERGRAPH_REQUEST_TIMEOUT_SECONDS", "nan"),
        ("ORDERGRAPH_REQUEST_TIMEOUT_SECONDS", "inf"),
        ("ORDERGRAPH_PGBOUNCER", "maybe"),
        ("CURRENCY", "usd"),
        ("CURRENCY", "DOLLAR"),
        ("CURRENCY", "U5D"),
        ("CURRENCY", "JYP"),  # a slip, by which yen would be kept as hundredths
        ("CURRENCY", "XAU"),  # gold has no decimal places
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as refusal:
        from_environment({name: value})
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORDERGRAPH_CORS_ORIGINS", "shop.example"),
        ("ORDERGRAPH_CORS_ORIGINS", "https://shop.example/"),
        ("ORDERGRAPH_CORS_ORIGINS", "https://shop.example,https://Shop.example"),
        ("ORDERGRAPH_CORS_ORIGINS", "https://shop.example:443"),
        ("ORDERGRAPH_CORS_ORIGINS", "https://*.example"),
        ("ORDERGRAPH_CORS_ORIGINS", "null"),
        ("ORDERGRAPH_CORS_ORIGINS", "https://a https://b"),
        ("ORDERGRAPH_HOSTS", "*"),
        ("ORDERGRAPH_HOSTS", "api.example:8000"),
        ("ORDERGRAPH_HOSTS", "https://api.example"),
        ("ORDERGRAPH_HOSTS", "api.*"),
        ("ORDERGRAPH_TRUSTED_PROXIES", "proxy"),
        ("ORDERGRAPH_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("ORDERGRAPH_TRUSTED_PROXIES", "*"),
    ],
)
def test_an_entry_of_a_list_that_would_match_nothing_or_all_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        from_environment({name: value})


def test_a_list_is_separated_by_commas() -> None:
    found = from_environment(
        {
            "ORDERGRAPH_CORS_ORIGINS": " https://shop.example , http://localhost:3000,https://[::1]:8443,capacitor://localhost,",
            "ORDERGRAPH_HOSTS": "api.example,*.Example,::1,127.0.0.1",
            "ORDERGRAPH_TRUSTED_PROXIES": "10.0.0.0/8,::1",
        }
    )
    origins = ("https://shop.example", "http://localhost:3000", "https://[::1]:8443", "capacitor://localhost")
    hosts = ("api.example", "*.Example", "::1", "127.0.0.1")
    assert found == Settings(cors_origins=origins, hosts=hosts, trusted_proxies=("10.0.0.0/8", "::1"))
    assert from_environment({"ORDERGRAPH_CORS_ORIGINS": " "}) == Settings()


def test_whoever_has_a_visitors_cookies_is_named() -> None:
    with pytest.raises(SettingsError, match="ORDERGRAPH_CORS_CREDENTIALS"):
        from_environment({"ORDERGRAPH_CORS_ORIGINS": "*", "ORDERGRAPH_CORS_CREDENTIALS": "true"})


@pytest.mark.parametrize(
    ("given", "off"),
    [
        ({}, set()),
        ({"PRODUCTION": "true"}, {"introspection", "suggestions", "playground", "explain"}),
        ({"PRODUCTION": "true", "INTROSPECTION": "true"}, {"suggestions", "playground", "explain"}),
        ({"PRODUCTION": "true", "PLAYGROUND": "on", "SUGGESTIONS": "on"}, {"introspection", "explain"}),
        ({"INTROSPECTION": "false"}, {"introspection", "suggestions"}),
        ({"INTROSPECTION": "false", "SUGGESTIONS": "true"}, {"introspection"}),
        ({"PRODUCTION": "true", "EXPLAIN": "on"}, {"introspection", "suggestions", "playground"}),
        ({"PRODUCTION": "false", "PLAYGROUND": "false"}, {"playground"}),
    ],
)
def test_production_shows_nothing_of_the_schema_but_what_is_set(given: dict[str, str], off: set[str]) -> None:
    """Fault 26, of which `tests/serve/test_browsers.py` shows the rest."""
    found = from_environment({f"ORDERGRAPH_{name}": value for name, value in given.items()})
    assert {name for name in SHOWING if not getattr(found, name)} == off


@pytest.mark.parametrize("value", [" true ", "TRUE", "t", "Yes", "y", "ON", "1\n"])
def test_yes_has_many_spellings(value: str) -> None:
    assert from_environment({"ORDERGRAPH_PGBOUNCER": value, "DATABASE_URL": "postgresql://db"}).pgbouncer is True


@pytest.mark.parametrize("value", [" false", "False", "F", "no", "N", "off", "0"])
def test_no_has_many_spellings(value: str) -> None:
    assert from_environment({"ORDERGRAPH_INTROSPECTION": value}).introspection is False


def test_blanks_around_a_value_do_not_count() -> None:
    found = from_environment({"CURRENCY": " EUR ", "ORDERGRAPH_MAX_DEPTH": " 9\n", "ORDERGRAPH_REQUEST_TIMEOUT_SECONDS": "\t20 "})
    assert found == Settings(currency="EUR", max_depth=9, request_timeout_seconds=20.0)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ORDERGRAPH_MAX_PAGESIZE", "did you mean ORDERGRAPH_MAX_PAGE_SIZE?"),
        ("ORDERGRAPH_REQUEST_TIMEOUT", "did you mean ORDERGRAPH_REQUEST_TIMEOUT_SECONDS?"),
        ("ORDERGRAPH_DATABASE_URL", "did you mean DATABASE_URL?"),
        ("ordergraph_max_depth", "did you mean ORDERGRAPH_MAX_DEPTH?"),
        ("ORDERGRAPH_PORT", "remove it"),
        ("ORDERGRAPH_", "remove it"),
    ],
)
def test_a_variable_that_looks_like_a_setting_and_is_none_is_named_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        from_environment({name: "9000"})
    assert str(refusal.value) == f"{name} is no setting of this version; {nearest}"


def test_what_kubernetes_tells_of_a_service_of_our_name_is_no_setting() -> None:
    links = {
        "ORDERGRAPH_SERVICE_HOST": "10.0.0.1",
        "ORDERGRAPH_SERVICE_PORT": "8000",
        "ORDERGRAPH_SERVICE_PORT_HTTP": "8000",
        "ORDERGRAPH_PORT": "tcp://10.0.0.1:8000",
        "ORDERGRAPH_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "ORDERGRAPH_PORT_8000_TCP_PROTO": "tcp",
        "ORDERGRAPH_PORT_8000_TCP_PORT": "8000",
        "ORDERGRAPH_PORT_8000_TCP_ADDR": "10.0.0.1",
        "ORDERGRAPH_DB_SERVICE_HOST": "10.0.0.2",
        "ORDERGRAPH_DB_PORT": "tcp://10.0.0.2:5432",
        "ORDERGRAPH_DB_PORT_5432_TCP": "tcp://10.0.0.2:5432",
    }
    assert from_environment(links) == Settings()


@pytest.mark.parametrize(("low", "high"), NOT_ABOVE)
def test_settings_that_contradict_each_other_are_refused(low: str, high: str) -> None:
    limit = getattr(Settings(), high)
    assert getattr(from_environment({variable(low): str(limit)}), low) == limit
    with pytest.raises(SettingsError) as refusal:
        from_environment({variable(low): str(limit + 1)})
    told = str(refusal.value)
    assert f"{variable(low)} (" in told
    assert f"may not be above {variable(high)} ({limit})" in told


SECRET = "0123456789abcdef0123456789abcdef"
ON = {"ORDERGRAPH_AUTH": "on"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"JWT_SECRET": SECRET}, "ORDERGRAPH_JWT_SECRET is set, but not ORDERGRAPH_AUTH=on"),
        ({"JWKS_FILE": "keys.json", "AUTH": "off"}, "ORDERGRAPH_JWKS_FILE is set, but not ORDERGRAPH_AUTH=on"),
        ({"JWT_AUDIENCE": "shop"}, "ORDERGRAPH_JWT_AUDIENCE is set, but not ORDERGRAPH_AUTH=on"),
        ({**ON, "JWT_AUDIENCE": "shop"}, "ORDERGRAPH_JWT_AUDIENCE needs ORDERGRAPH_JWT_SECRET or ORDERGRAPH_JWKS_FILE"),
        ({**ON, "JWT_ISSUER": "us"}, "ORDERGRAPH_JWT_ISSUER needs"),
        ({**ON, "JWT_SECRET": SECRET, "JWKS_FILE": "keys.json"}, "ORDERGRAPH_JWT_SECRET and ORDERGRAPH_JWKS_FILE are both set"),
        ({**ON, "JWT_SECRET": SECRET[1:]}, "ORDERGRAPH_JWT_SECRET must have 32 bytes or more"),
        ({**ON, "JWT_SECRET": " "}, "ORDERGRAPH_JWT_SECRET is empty"),
        ({**ON, "JWKS_FILE": ""}, "ORDERGRAPH_JWKS_FILE is empty"),
        ({**ON, "JWT_SECRET": SECRET, "JWT_AUDIENCE": ""}, "ORDERGRAPH_JWT_AUDIENCE is empty"),
        ({**ON, "CACHE_CONTROL": "public, max-age=60"}, "ORDERGRAPH_CACHE_CONTROL lets shared caches keep answers"),
        ({**ON, "CACHE_CONTROL": "s-maxage=60"}, "ORDERGRAPH_CACHE_CONTROL lets"),
        ({**ON, "CACHE_CONTROL": "private, s-maxage=60"}, "ORDERGRAPH_CACHE_CONTROL lets"),
        ({**ON, "CACHE_CONTROL": "max-age=60, must-revalidate"}, "ORDERGRAPH_CACHE_CONTROL lets"),
        ({**ON, "JWT_LEEWAY_SECONDS": "-1"}, "ORDERGRAPH_JWT_LEEWAY_SECONDS must be"),
        ({"AUTH": "jwt"}, "ORDERGRAPH_AUTH must be true or false"),
    ],
)
def test_what_would_let_people_in_unasked_is_refused(given: dict[str, str], message: str) -> None:
    named = {name if name in ON else f"ORDERGRAPH_{name}": value for name, value in given.items()}
    with pytest.raises(SettingsError, match=message) as refusal:
        from_environment(named)
    assert SECRET[1:] not in str(refusal.value)


def test_a_secret_counts_in_bytes_and_is_shown_nowhere() -> None:
    found = from_environment({**ON, "ORDERGRAPH_JWT_SECRET": "é" * 16})
    assert found.auth
    assert "é" not in repr(found)
    assert from_environment(ON) == Settings(auth=True, audit_log=True)  # API keys are a way in
    for kept_by_one in (
        "private, max-age=60",
        "must-revalidate, private",
        "no-store, must-revalidate",
        "max-age=60, proxy-revalidate",
    ):
        assert from_environment({**ON, "ORDERGRAPH_CACHE_CONTROL": kept_by_one}).auth


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ORDERGRAPH_SHOP_ROLES": "on"}, "ORDERGRAPH_SHOP_ROLES is set, but not ORDERGRAPH_SHOPS=on"),
        ({"ORDERGRAPH_SHOP_FROM": "host"}, "ORDERGRAPH_SHOP_FROM is set, but not ORDERGRAPH_SHOPS=on"),
        ({"ORDERGRAPH_SHOP_HEADER": "X-Shop"}, "ORDERGRAPH_SHOP_HEADER is set, but not ORDERGRAPH_SHOPS=on"),
        ({**SHOPS, "ORDERGRAPH_SHOP_FROM": "path"}, "ORDERGRAPH_SHOP_FROM must be header or host or claim, not 'path'"),
        ({**SHOPS, "ORDERGRAPH_SHOP_FROM": "claim"}, "ORDERGRAPH_SHOP_FROM=claim needs ORDERGRAPH_AUTH=on"),
        ({**SHOPS, "ORDERGRAPH_SHOP_FROM": "claim", "ORDERGRAPH_AUTH": "on"}, "ORDERGRAPH_SHOP_FROM=claim needs tokens"),
        ({**SHOPS, "ORDERGRAPH_SHOP_FROM": "host", "ORDERGRAPH_SHOP_HEADER": "X-Shop"}, "but ORDERGRAPH_SHOP_FROM is host"),
        ({**SHOPS, "ORDERGRAPH_SHOP_HEADER": "Authorization"}, "ORDERGRAPH_SHOP_HEADER must be a header's name"),
        ({**SHOPS, "ORDERGRAPH_SHOP_HEADER": "X-Shop: acme"}, "ORDERGRAPH_SHOP_HEADER must be a header's name"),
    ],
)
def test_what_says_which_shop_must_be_read_by_somebody(given: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        from_environment(given)


def test_files_know_no_roles() -> None:
    with pytest.raises(SettingsError, match="ORDERGRAPH_SHOP_ROLES is set, but DATABASE_URL is a folder of files on SQLite"):
        configured(Settings(shops=True, shop_roles=True))


def test_pgbouncer_before_a_file_is_a_contradiction() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL is a file"):
        configured(from_environment({"ORDERGRAPH_PGBOUNCER": "true"}))


def test_no_default_contradicts_another_and_nothing_shows_the_password() -> None:
    check(Settings())
    assert "s3cr3t" not in repr(Settings(database_url="postgresql://shop:s3cr3t@db/orders"))


@pytest.mark.parametrize(("currency", "exponent"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)])
def test_a_currency_has_its_decimal_places(currency: str, exponent: int) -> None:
    assert Settings(currency=currency).currency_exponent == exponent


def kind(name: str, default: object) -> str:
    """What a value of a setting is, and what a number counts."""
    if isinstance(default, bool):
        return "on or off"
    if isinstance(default, tuple):
        return "list"
    if isinstance(default, str):
        return " or ".join(f"`{word}`" for word in WORDS.get(name, ())) or "text"
    unit = next((unit for unit in ("bytes", "seconds") if name.endswith(f"_{unit}")), "")
    return unit or "number"


def shown(default: object) -> str:
    return ("off", "on")[default] if isinstance(default, bool) else str(default or "none")


def table() -> str:
    rows = [
        f"| `{variable(field.name)}` | {kind(field.name, field.default)} | `{shown(field.default)}` | {field.metadata['doc']} |\n"
        for field in fields(Settings)
    ]
    return "".join(["| Variable | Value | Default | What it sets |\n", "|---|---|---|---|\n", *rows])


def test_the_page_of_settings_lists_every_one_with_its_default(request: pytest.FixtureRequest) -> None:
    held(request, DOCS / "settings.md", "settings", table())
    assert table().count("\n") == len(fields(Settings)) + 2


def test_the_page_of_settings_says_which_ones_may_not_contradict_each_other(request: pytest.FixtureRequest) -> None:
    rows = [f"| `{variable(low)}` | `{variable(high)}` |\n" for low, high in NOT_ABOVE]
    held(request, DOCS / "settings.md", "not above", "".join(["| This | may not be above this |\n", "|---|---|\n", *rows]))
