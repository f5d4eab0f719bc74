"""`DATABASE_URL` as managed PostgreSQL hands it out: what it comes to, what is refused, and what arrives at a server."""

from __future__ import annotations

import asyncio
import socket
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import asyncpg
import pytest
from asyncpg.exceptions import TargetServerAttributeNotMatched
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graph import migrate
from graph.database.backends import database_url
from graph.database.link import Opening, connect_arguments, tell
from graph.database.protocol import DatabaseUrl
from graph.settings import DatabaseUrlError, Settings
from tests import wire
from tests.conftest import asking
from tests.engines import Postgres
from tests.examples import examples
from tests.unhurried import unhurried


@pytest.mark.parametrize(
    ("text", "hosts", "user", "password", "database"),
    [
        ("postgresql://shop:pw@db.example:6543/orders", [("db.example", 6543)], "shop", "pw", "orders"),
        ("postgres://shop:pw@db.example/orders", [("db.example", None)], "shop", "pw", "orders"),
        ("POSTGRES://shop@db/orders", [("db", None)], "shop", None, "orders"),
        ("postgresql+asyncpg://shop@db/orders", [("db", None)], "shop", None, "orders"),
        ("  postgresql://shop@db/orders\n", [("db", None)], "shop", None, "orders"),
        ("postgresql://shop@[::1]/orders", [("::1", None)], "shop", None, "orders"),
        ("postgresql://shop@[2001:db8::7]:5433/orders", [("2001:db8::7", 5433)], "shop", None, "orders"),
        ("postgresql://shop@[fe80::1%25eth0]:5433/orders", [("fe80::1%eth0", 5433)], "shop", None, "orders"),
        ("postgresql://shop@%2Frun%2Fpostgresql/orders", [("/run/postgresql", None)], "shop", None, "orders"),
        ("postgresql://shop@%2Frun%2Fpostgresql:5433/orders", [("/run/postgresql", 5433)], "shop", None, "orders"),
        ("postgresql://shop@/orders?host=/run/postgresql", [("/run/postgresql", None)], "shop", None, "orders"),
        ("postgresql://shop@/orders?host=/cloudsql/p:r:i", [("/cloudsql/p:r:i", None)], "shop", None, "orders"),
        ("postgresql:///orders?host=db&port=5433&user=shop&password=p%26w", [("db", 5433)], "shop", "p&w", "orders"),
        ("postgresql:///?host=::1&dbname=orders", [("::1", None)], None, None, "orders"),
        ("postgresql:///?host=a,b:5433&database=orders", [("a", None), ("b", 5433)], None, None, "orders"),
        ("postgresql:///orders?host=a,b&port=5433", [("a", 5433), ("b", 5433)], None, None, "orders"),
        ("postgresql:///orders?host=a,b&port=5432,5433", [("a", 5432), ("b", 5433)], None, None, "orders"),
        ("postgresql:///orders?port=5433", [("", 5433)], None, None, "orders"),
        ("postgresql://shop@a:5432,b:5433,[::1]/orders", [("a", 5432), ("b", 5433), ("::1", None)], "shop", None, "orders"),
        ("postgresql://shop%40server:p%40ss@db/order%20s", [("db", None)], "shop@server", "p@ss", "order s"),
        ("postgresql://shop:a:b+c&d=e!$'()*;@db/", [("db", None)], "shop", "a:b+c&d=e!$'()*;", None),
        ("postgresql://", [], None, None, None),
    ],
)
def test_a_url_comes_to_hosts_and_names(
    text: str, hosts: list[Any], user: str | None, password: str | None, database: str | None
) -> None:
    found = database_url(text)
    assert list(found.hosts) == hosts
    wanted = {"user": user, "password": password, "database": database}
    assert found.arguments == {name: value for name, value in wanted.items() if value is not None}
    assert found.url.render_as_string(hide_password=False) == "postgresql+asyncpg://"


def driver_parameters(found: DatabaseUrl) -> dict[str, str]:
    """What the driver reads by itself."""
    query = found.arguments.get("dsn", "?").partition("?")[2]
    return {name: value for name, (value,) in parse_qs(query).items()}


CRT, KEY = str(wire.CERTIFICATE), str(wire.KEY)


@pytest.mark.parametrize(
    ("query", "driver", "server", "more"),
    [
        ("sslmode=require", {"sslmode": "require"}, {}, {}),
        ("ssl=true", {"sslmode": "require"}, {}, {}),
        ("ssl=false", {"sslmode": "disable"}, {}, {}),
        (f"sslmode=verify-full&sslrootcert={CRT}", {"sslmode": "verify-full", "sslrootcert": CRT}, {}, {}),
        (f"sslcert={CRT}&sslkey={KEY}", {"sslcert": CRT, "sslkey": KEY}, {}, {}),
        ("application_name=shop%20a+b", {}, {"application_name": "shop a+b"}, {}),
        ("fallback_application_name=shop", {}, {"application_name": "shop"}, {}),
        ("options=-c%20geqo%3Doff%20-csearch_path=x", {}, {"options": "-c geqo=off -csearch_path=x"}, {}),
        ("sslmode=require&options=endpoint%3Dep-cool-1", {"sslmode": "require"}, {"options": "endpoint=ep-cool-1"}, {}),
        ("connect_timeout=10", {}, {}, {"timeout_seconds": 10.0}),
        ("connect_timeout=0", {}, {}, {"timeout_seconds": None}),
        ("target_session_attrs=read-write", {}, {}, {"target_session_attrs": "read-write"}),
        ("gssencmode=prefer&channel_binding=prefer&sslcompression=0&sslsni=1&client_encoding=UTF8", {}, {}, {}),
        ("ssl_min_protocol_version=TLSv1.3&sslmode=", {"ssl_min_protocol_version": "TLSv1.3"}, {}, {}),
        ("keepalives=0&keepalives_idle=5&tcp_user_timeout=0", {}, {}, {"socket_options": ()}),
    ],
)
def test_parameters_go_where_they_are_understood(
    query: str, driver: dict[str, str], server: dict[str, str], more: dict[str, Any]
) -> None:
    found = database_url(f"postgresql://shop@db/orders?{query}")
    assert driver_parameters(found) == driver
    assert found.server_settings == server
    for name, value in more.items():
        assert getattr(found, name) == value


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("postgresql://shop:s3cr3t@ss:w/rd#@db/orders", "the password must be percent-encoded"),
        ("postgresql://shop:1@s3cr3t@db/orders", "the password must be percent-encoded"),  # libpq ends it at the first @
        ("postgresql://shop:s3cr3t/rd@db/orders", "the password must be percent-encoded"),
        ("postgresql://shop:1/s3cr3t@db/orders", "the password must be percent-encoded"),
        ("postgresql://shop:1?s3cr3t=1@db/orders", "the password must be percent-encoded"),
        ("postgresql://shop:a@b?s3cr3t=1@db/orders", "the password must be percent-encoded"),
        ("postgresql://shop:[s3cr3t]@db/orders", "the password must be percent-encoded"),
        ("postgresql://shop:s3cr3t 1@db/orders", "the password must be percent-encoded"),
        ("postgresql://shop:s3cr3t%@db/orders", "the password holds a %"),
        ("postgresql://shop:s3cr3t%zz@db/orders", "the password holds a %"),
        ("postgresql://shop:s3cr3t%ff@db/orders", "the escapes of the password"),
        ("postgresql://shop:s3cr3t%00@db/orders", "the password holds %00"),
        ("postgresql://shop:s3cr3t\n@db/orders", "control character"),
        ("postgresql://shop:s3cr3t\udcff@db/orders", "no UTF-8"),
        ("postgresql://shop:s3cr3t", "the port"),
        ("postgresql://shop@db/orders?password=s3cr3t@1", "the password must be percent-encoded"),
        ("postgresql://shop@db/orders?password=1%s3cr3t", "the value of password holds a %"),
        ("postgresql://shop@db/orders?password=1#s3cr3t", "#"),
        ("postgresql://shop@db/orders?password=1&s3cr3t=1", "what follows password"),
        ("postgresql://shop@db/orders?password=1&s3cr3t", "what follows password"),
        ("postgresql://shop@db/orders?sslpassword=1&s3cr3t", "what follows sslpassword"),
        ("postgresql://shop:1@db/orders?password=s3cr3t", "password is given twice"),
        ("postgresql://shop@db/orders?password=1&password=s3cr3t", "password is given twice"),
        (f"postgresql://shop@db/orders?sslcert={CRT}&sslkey={wire.ENCRYPTED_KEY}&sslpassword=s3cr3t", "sslpassword"),
        ("host=db user=shop password=s3cr3t", "it must be"),
        ("jdbc:postgresql://db/orders?password=s3cr3t", "it must be"),
        ("shop:s3cr3t@db/orders", "it must be"),
        ("s3cr3t", "it must be"),
        ("", "it must be"),
        ('"postgresql://shop:s3cr3t@db/orders"', "quotes"),
        ("mysql://shop:s3cr3t@db/orders", "not mysql"),
        ("postgresql://shop:s3cr3t@db:port/orders", "the port"),
        ("postgresql://shop:s3cr3t@db:0/orders", "the port"),
        ("postgresql://shop:s3cr3t@db:65536/orders", "the port"),
        ("postgresql://shop:s3cr3t@db:٣/orders", "the port"),
        ("postgresql://shop:s3cr3t@db:/orders", "no port behind a colon"),
        ("postgresql://shop:s3cr3t@a:1,b:x/orders", "the port"),
        ("postgresql://shop:s3cr3t@db/orders?port=5433", "port is given twice"),
        ("postgresql://shop:s3cr3t@/orders?host=a:1&port=5433", "port is given twice"),
        ("postgresql://shop:s3cr3t@/orders?host=a,b&port=1,2,3", "as many as there are hosts"),
        ("postgresql://shop:s3cr3t@::1/orders", "brackets"),
        ("postgresql://shop:s3cr3t@[::1/orders", "[ADDRESS]"),
        ("postgresql://shop:s3cr3t@[::1]5432/orders", "[ADDRESS]"),
        ("postgresql://shop:s3cr3t@[db]/orders", "[ADDRESS]"),
        ("postgresql://shop:s3cr3t@a,,b/orders", "one of the hosts is empty"),
        ("postgresql://shop:s3cr3t@a b/orders", "the host is no name"),
        ("postgresql://shop:s3cr3t@db/orders/more", "the database's name"),
        ("postgresql://shop:s3cr3t@db/orders?host=other", "host is given twice"),
        ("postgresql://shop:s3cr3t@db/orders?user=other", "user is given twice"),
        ("postgresql://shop:s3cr3t@db/orders?sslmod=require", "the parameter sslmod is not supported; did you mean sslmode?"),
        ("postgresql://shop:s3cr3t@db/orders?SSLMODE=require", "the parameter SSLMODE is not supported"),
        ("postgresql://shop:s3cr3t@db/orders?pgbouncer=true", "pgbouncer is not supported; set ORDERGRAPH_PGBOUNCER"),
        ("postgresql://shop:s3cr3t@db/orders?schema=shop", "search_path"),
        ("postgresql://shop:s3cr3t@db/orders?sslmode", "name=value"),
        ("postgresql://shop:s3cr3t@db/orders?=1", "name=value"),
        ("postgresql://shop:s3cr3t@db/orders?a&b", "name=value"),
        ("postgresql://shop:s3cr3t@db/orders?sslmode=no-verify", "sslmode can be disable, allow, prefer, require"),
        ("postgresql://shop:s3cr3t@db/orders?ssl=maybe", "sslmode can be"),
        ("postgresql://shop:s3cr3t@db/orders?sslmode=require&ssl=true", "sslmode is given twice"),
        ("postgresql://shop:s3cr3t@db/orders?gssencmode=require", "gssencmode"),
        ("postgresql://shop:s3cr3t@db/orders?require_auth=scram-sha-256", "require_auth"),
        ("postgresql://shop:s3cr3t@db/orders?hostaddr=10.0.0.1", "hostaddr is not supported; write host"),
        ("postgresql://shop:s3cr3t@db/orders?client_encoding=LATIN1", "client_encoding"),
        ("postgresql://shop:s3cr3t@db/orders?target_session_attrs=master", "target_session_attrs can be any, read-write"),
        ("postgresql://shop:s3cr3t@db/orders?connect_timeout=soon", "connect_timeout"),
        ("postgresql://shop:s3cr3t@db/orders?connect_timeout=-1", "connect_timeout"),
        ("postgresql://shop:s3cr3t@db/orders?channel_binding=require&sslmode=prefer", "channel_binding"),
        ("postgresql://shop:s3cr3t@db/orders?sslrootcert=system&sslmode=require", "sslrootcert"),
        ("postgresql://shop:s3cr3t@db/orders?sslrootcert=system&sslcrl=x", "sslcrl"),
        ("postgresql://shop:s3cr3t@db/orders?sslrootcert=/no/such/file", "the file of sslrootcert cannot be read"),
        (f"postgresql://shop:s3cr3t@db/orders?sslrootcert={__file__}", "the file of sslrootcert holds no certificates"),
        (f"postgresql://shop:s3cr3t@db/orders?sslkey={KEY}", "sslkey needs sslcert"),
        (f"postgresql://shop:s3cr3t@db/orders?sslcert={CRT}&sslkey={CRT}", "sslcert, sslkey"),
        ("sqlite://orders.db", "three slashes"),
        ("sqlite://shop:s3cr3t@db/orders.db", "three slashes"),
        ("sqlite:///orders.db?mode=ro", "no parameters"),
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_that_names_the_part_and_no_secret(text: str, part: str) -> None:
    with pytest.raises(DatabaseUrlError) as refusal:
        database_url(text)
    told = str(refusal.value)
    assert told.startswith("DATABASE_URL: ")
    assert part in told
    assert SECRET not in told
    assert "\n" not in told
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


# Every printable character that no word of ours has: so no piece of a message is a piece of a password by chance.
PASSWORDS = st.text(string.digits + string.punctuation + "QXZäß€😀", min_size=8, max_size=30)


def pieces(password: str) -> Iterator[str]:
    """What of a password nobody may see: every five characters of it."""
    return (password[start : start + 5] for start in range(len(password) - 4))


@settings(max_examples=examples(30))
@given(PASSWORDS)
@example("p@ss:w/rd#")
@example(string.printable.strip() + " ")
def test_an_escaped_password_arrives_and_an_unescaped_one_arrives_or_is_not_shown(password: str) -> None:
    escaped = quote(password, safe="")
    for text in (f"postgresql://shop:{escaped}@db/orders", f"postgresql://shop@db/orders?sslmode=require&password={escaped}"):
        found = database_url(text)
        assert found.arguments["password"] == password
        assert "shop:***@db/orders" in found.shown
        assert password not in f"{found}{found.shown}{Settings(database_url=text)}"
    for text in (f"postgresql://shop:{password}@db/orders", f"postgresql://shop@db/orders?sslmode=require&password={password}"):
        try:
            found = database_url(text)
        except DatabaseUrlError as refusal:
            told = str(refusal)
        else:
            assert "%" in password or found.arguments["password"] == password
            told = found.shown
        assert not [piece for piece in pieces(password) if piece in told]


async def opened(text: str) -> Any:
    arguments = connect_arguments(database_url(text), 5)
    opening = arguments.pop("async_creator_fn")
    assert isinstance(opening(), Opening)
    return await opening(**arguments)


async def test_all_of_it_arrives_at_the_server() -> None:
    password = "p@ss:w/rd# %&+ü"
    async with wire.doorkeeper() as keeper:
        url = f"127.0.0.1:{keeper.port}/order%20s?application_name=till%201&options=-c%20geqo%3Doff&sslmode=disable"
        with pytest.raises(asyncpg.InvalidPasswordError):
            await opened(f"postgresql://sh%40op:{quote(password, safe='')}@{url}")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await opened(f"postgresql://sh%40op@{url}&password={quote(password, safe='')}")
    for said in keeper.heard:
        assert not said.asked_for_tls
        assert said.password == password
        assert said.startup["user"] == "sh@op"
        assert said.startup["database"] == "order s"
        assert said.startup["application_name"] == "till 1"
        assert said.startup["options"] == "-c geqo=off"
    assert len(keeper.heard) == 2


@pytest.mark.parametrize(
    ("query", "has_tls", "over_tls"),
    [
        ("", True, True),
        ("", False, False),
        ("sslmode=disable", True, False),
        ("sslmode=prefer", False, False),
        ("sslmode=require", True, True),
        ("sslmode=require", False, None),
        (f"sslmode=verify-ca&sslrootcert={CRT}", True, True),
        (f"sslmode=verify-full&sslrootcert={CRT}", True, True),
        (f"channel_binding=require&sslmode=require&sslrootcert={CRT}", True, True),
        ("channel_binding=require&sslmode=require", True, None),  # no authority that the system trusts has signed it
        ("sslmode=verify-full&sslrootcert=system", True, None),
        ("sslrootcert=system", False, None),
        (f"sslmode=require&sslcert={CRT}&sslkey={wire.ENCRYPTED_KEY}&sslpassword={quote(wire.KEY_PASSWORD)}", True, True),
    ],
)
async def test_tls_is_used_as_asked_and_no_password_is_told_without(query: str, has_tls: bool, over_tls: bool | None) -> None:
    async with wire.doorkeeper(tls=has_tls) as keeper:
        with pytest.raises(OSError if over_tls is None else asyncpg.InvalidPasswordError):
            await opened(f"postgresql://shop:pw@localhost:{keeper.port}/orders?{query}")
    heard = [(said.over_tls, said.password) for said in keeper.heard if said.password is not None]
    if over_tls is None:
        assert heard == []
    else:
        assert set(heard) == {(over_tls, "pw")} if query else (over_tls, "pw") in heard
        assert all(said.shown_a_certificate for said in keeper.heard if "sslcert" in query)


async def test_a_certificate_of_another_host_passes_verify_ca_only() -> None:
    async with wire.doorkeeper(tls=True) as keeper:
        url = f"postgresql://shop:pw@127.0.0.1:{keeper.port}/orders?sslrootcert={CRT}"
        with pytest.raises(OSError, match="IP address mismatch"):
            await opened(f"{url}&sslmode=verify-full")
        assert [said.password for said in keeper.heard] == [None]
        with pytest.raises(asyncpg.InvalidPasswordError):
            await opened(f"{url}&sslmode=verify-ca")
        assert [said.password for said in keeper.heard] == [None, "pw"]


def test_a_connection_is_kept_alive(silent: int) -> None:
    url = "postgresql://shop@db/orders?keepalives_idle=77&tcp_user_timeout=7000"
    with socket.create_connection(("127.0.0.1", silent)) as made:
        tell(made, database_url(url).socket_options)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000


def test_a_connection_is_kept_alive_where_nobody_asks_for_it(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection(("127.0.0.1", silent)) as made:
        tell(made, database_url("postgresql://shop@db/orders").socket_options)
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert [made.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names] == [30, 5, 3, 5000]
        for name in names:
            monkeypatch.delattr(socket, name)  # an operating system without
        assert database_url("postgresql://shop@db/orders").socket_options == ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),)


@pytest.fixture
def postgres_url(postgres_engines: Postgres) -> Iterator[str]:
    """A migrated PostgreSQL database without rows."""
    url = postgres_engines.new("empty")
    yield url
    postgres_engines.drop(url)


def place(url: str, *, query: str = "", before: str = "", behind: str = "") -> str:
    """The same database by a URL with other hosts beside its own."""
    found = database_url(url)
    ((host, port),) = found.hosts
    own = quote(host, safe="") + (f":{port}" if port else "")
    if ":" in host:
        own = f"[{host}]" + (f":{port}" if port else "")
    user, password = found.arguments["user"], found.arguments.get("password")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    return f"postgresql://{login}@{before}{own}{behind}/{found.arguments['database']}?{query}"


def by_parameter(url: str) -> str:
    """The same database with its host as a parameter."""
    found = database_url(url)
    ((host, port),) = found.hosts
    login = "&".join(f"{name}={quote(found.arguments[name])}" for name in ("user", "password") if name in found.arguments)
    return f"postgres:///{found.arguments['database']}?{login}&host={quote(host)}" + (f"&port={port}" if port else "")


@pytest.fixture
def closed() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


CREATE = 'mutation { createCustomer(input: {name: "Ada", email: "ada@example.org"}) { customer { name } errors { code } } }'


async def works(url: str, plain: str | None = None) -> None:
    """A write and a read, and the migrations, over a URL; `plain` is one of the same database that other clients read."""
    assert await migrate.is_current(url)
    async with asking(unhurried(url)) as ask:
        ask.snapshots.url = plain or url
        assert (await ask.data(CREATE))["createCustomer"] == {"customer": {"name": "Ada"}, "errors": []}
        assert (await ask.data("{ customers { totalCount } }")) == {"customers": {"totalCount": 1}}


async def test_a_host_before_the_path_works(postgres_url: str) -> None:
    await works(place(postgres_url))


async def test_a_host_as_a_parameter_works(postgres_url: str) -> None:
    await works(by_parameter(postgres_url))


async def test_the_first_host_that_answers_and_will_do_is_taken(postgres_url: str, silent: int, closed: int) -> None:
    hosts = f"127.0.0.1:{closed},127.0.0.1:{silent},"
    query = "connect_timeout=3600&target_session_attrs=read-write"
    async with asyncio.timeout(60):
        await works(place(postgres_url, before=hosts, behind=",host.invalid", query=query), plain=postgres_url)


async def test_nobody_waits_for_a_silent_host_before_others(postgres_url: str, silent: int) -> None:
    async with asyncio.timeout(60):
        await works(place(postgres_url, before=f"127.0.0.1:{silent},", query="connect_timeout=3600"), plain=postgres_url)


async def test_a_host_that_will_not_do_is_refused_or_only_preferred(postgres_url: str) -> None:
    for attributes in ("standby", "read-only"):
        with pytest.raises(TargetServerAttributeNotMatched, match=f"no host is {attributes}"):
            await opened(place(postgres_url, query=f"target_session_attrs={attributes}"))
    for attributes in ("primary", "prefer-standby", "any"):
        await (await opened(place(postgres_url, query=f"target_session_attrs={attributes}"))).close()


async def test_what_the_server_is_told_arrives(postgres_url: str) -> None:
    url = place(postgres_url, query="application_name=till%201&options=-c%20geqo%3Doff%20-c%20work_mem%3D5MB")
    connection = await opened(url)
    try:
        async with asking(unhurried(url)) as ask:
            await ask.data("{ customers { totalCount } }")
            names = await connection.fetch("SELECT application_name FROM pg_stat_activity WHERE datname = current_database()")
            assert [row[0] for row in names] == ["till 1", "till 1"]
        assert [await connection.fetchval(f"SHOW {name}") for name in ("geqo", "work_mem")] == ["off", "5MB"]
    finally:
        await connection.close()


async def test_our_name_is_told_where_the_url_names_none(postgres_url: str) -> None:
    connection = await opened(postgres_url)
    try:
        async with asking(unhurried(postgres_url)) as ask:
            await ask.data("{ customers { totalCount } }")
            names = await connection.fetch("SELECT application_name FROM pg_stat_activity WHERE datname = current_database()")
    finally:
        await connection.close()
    assert "ordergraph" in {row[0] for row in names}


@pytest.mark.parametrize("query", ["", "options=-c%20DateStyle%3DGerman"])
async def test_times_are_spelled_alike_whatever_a_database_or_a_url_says(postgres_url: str, query: str) -> None:
    connection = await opened(postgres_url)
    try:
        name = await connection.fetchval("SELECT quote_ident(current_database())")
        await connection.execute(f"ALTER DATABASE {name} SET DateStyle = 'SQL, DMY'")
    finally:
        await connection.close()
    order = '{items: [{item: {create: {sku: "A", name: "A", price: "1"}}, quantity: 1}], orderDate: "2001-02-03T04:05:06.7Z"}'
    async with asking(unhurried(place(postgres_url, query=query))) as ask:
        given = f'{{name: "Ada", email: "ada@example.org", orders: [{order}]}}'
        shown = "customer { orders { nodes { orderDate } } } errors { message }"
        created = await ask.data(f"mutation {{ createCustomer(input: {given}) {{ {shown} }} }}")
        dates = {"nodes": [{"orderDate": "2001-02-03T04:05:06.7Z"}]}
        assert created["createCustomer"] == {"customer": {"orders": dates}, "errors": []}
        assert await ask.data("{ orders { nodes { orderDate } } }") == {"orders": dates}


def test_alembic_reads_the_same_url(postgres_url: str, tmp_path: Path) -> None:
    from tests.test_commands import alembic

    assert alembic("current", DATABASE_URL=by_parameter(postgres_url)).stdout.startswith(str(migrate.head()))
    done = alembic("current", DATABASE_URL="postgresql://shop:s3cr3t/x@db/orders")
    assert done.returncode != 0
    assert "the password must be percent-encoded" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
