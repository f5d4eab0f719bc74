"""Every setting: typed, documented, with the default that holds where nothing is said.

What goes in: values, each of its field's type. What comes out: one frozen `Settings`, and the variable of each. What may be
refused here: nothing; `graph/environment.py` reads values and holds them against each other. Whoever refuses one raises
`SettingsError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graph.currencies import CURRENCY_EXPONENTS


class SettingsError(ValueError):
    """A setting in the environment cannot be used; the message names the variable."""


class DatabaseUrlError(SettingsError):
    """A database's URL cannot be used; the message names the part and holds no value, which could be a piece of a password."""

    def __init__(self, reason: str, variable: str = "DATABASE_URL") -> None:
        self.reason = reason
        super().__init__(f"{variable}: {reason}")


def setting(default: Any, doc: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"doc": doc}, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may set. Sizes are in bytes, times in seconds, unless the name says otherwise."""

    database_url: str = setting("sqlite:///./ordergraph.db", "A file on SQLite, or postgresql://user@host/database", secret=True)
    replica_urls: tuple[str, ...] = setting((), "PostgreSQL's standbys that answer queries (docs/scale.md)", secret=True)
    replica_max_lag_seconds: float = setting(
        10.0, "How old what a standby shows may be; who would see older rows asks the primary"
    )
    read_after_cookie: bool = setting(False, "Whether browsers keep in a cookie what a standby must show them (docs/scale.md)")
    shops: bool = setting(False, "Whether there are many shops: a schema each on PostgreSQL, a file each in a folder on SQLite")
    shop_from: str = setting(
        "header", "What says for which shop a request is: its host, a header or the claim `shop` of its token"
    )
    shop_header: str = setting("X-Ordergraph-Shop", "The header that names the shop, where a header does")
    shop_roles: bool = setting(False, "Whether PostgreSQL enforces it too: what a shop runs, runs as a role that has no other")
    currency: str = setting("USD", "ISO 4217 code of the one currency of this deployment")

    max_tokens: int = setting(2_000, "Tokens in a GraphQL document, comments counted")
    max_depth: int = setting(15, "Depth of a selection")
    max_aliases: int = setting(30, "Aliases in an operation")
    max_root_fields: int = setting(20, "Root fields in an operation")
    max_directives: int = setting(50, "Directives in a document")
    max_cost: int = setting(12_000, "Cost of a query: about the rows it may read")
    default_page_size: int = setting(50, "Rows of a connection at the root when neither first nor last is given")
    nested_page_size: int = setting(10, "Rows of a connection of a row when neither first nor last is given")
    max_page_size: int = setting(100, "Rows of a connection at most")
    max_input_list: int = setting(250, "Entries in one list of an input")
    max_nested_rows: int = setting(1_000, "Rows one request may write through nested inputs")
    max_insert_rows: int = setting(10_000, "Rows of one plain-row insert")
    max_text_length: int = setting(10_000, "Characters in one string of an input")
    max_body_bytes: int = setting(4 * 2**20, "Size of a request body")
    max_operation_bytes: int = setting(2**20, "Size of a request body, unless all it does is to insert plain rows")
    max_head_bytes: int = setting(64 * 2**10, "Size of a request's head: its first line and its headers")
    max_url_bytes: int = setting(16 * 2**10, "Length of a URL, in which GET has its query and its variables")
    max_connections: int = setting(5_000, "Connections of clients at once; fewer where the process may not open as many files")
    max_answer_bytes: int = setting(16 * 2**20, "Size of the data in an answer")
    max_plans: int = setting(1_000, "Compiled plans kept, least recently used out")
    introspection: bool = setting(True, "Whether clients may introspect the schema")
    suggestions: bool = setting(True, "Whether errors name what the client may have meant; not where introspection is set off")
    playground: bool = setting(True, "Whether browsers are shown pages: the tour at /, the playground at /graphql, /docs")
    explain: bool = setting(True, "Whether `extensions: {explain: true}` shows SQL and plan beside an answer (docs/http.md)")
    cache_control: str = setting(
        "no-cache", "What caches are told of answers to GET; `no-cache`: keep it, and ask whether it changed"
    )
    production: bool = setting(False, "Whether introspection, suggestions, pages and explain are off unless set themselves")
    trusted_documents: str = setting("", "A file of the only documents that run, as Relay, graphql-codegen or Apollo write it")
    max_streams: int = setting(1_000, "WebSockets and event streams of a process at once")
    max_socket_operations: int = setting(100, "Operations that run on one WebSocket at once")
    max_message_bytes: int = setting(2**20, "Size of a message on a WebSocket")
    max_queued_events: int = setting(100, "Events that wait for a subscriber; one that is further behind is ended and can resume")
    cors_origins: tuple[str, ...] = setting(
        (), "Origins whose pages may call from a browser, such as `https://shop.example`, WebSockets too; `*`: all"
    )
    cors_credentials: bool = setting(False, "Whether these pages may send cookies and other credentials")
    hosts: tuple[str, ...] = setting((), "Names that `Host` may have in requests, such as `api.example,*.example` (docs/http.md)")
    trusted_proxies: tuple[str, ...] = setting((), "Addresses and networks of proxies whose `X-Forwarded-*` are believed")

    auth: bool = setting(False, "Whether everybody must say who he is, by a token or an API key (docs/access.md)")
    jwt_secret: str = setting("", "The secret of tokens signed by HS256, of 32 bytes or more", secret=True)
    jwks_file: str = setting("", "A file of the keys of tokens signed by RS256, ES256 or EdDSA; read again as it changes")
    jwt_audience: str = setting("", "What a token's `aud` must hold; none: a token that has one is refused")
    jwt_issuer: str = setting("", "What a token's `iss` must be; none: any")
    jwt_leeway_seconds: float = setting(5.0, "By how much clocks may differ where a token's times are looked at")

    budget_per_second: int = setting(0, "Cost that each identity, or address, may spend a second in each process; none: any")

    log_format: str = setting("text", "How a line of the log is written: text or json")
    access_log: bool = setting(False, "Whether each request for an operation is logged")
    audit_log: bool = setting(
        False, "Whether each write is logged: who, what, which rows, how it ended; where ORDERGRAPH_AUTH is on it is, unless set"
    )
    slow_seconds: float = setting(1.0, "From how long on an operation is logged as slow, with its cost and its slowest statement")
    trust_request_id: bool = setting(False, "Whether a request's own X-Request-Id is taken: only behind a proxy that sets it")
    metrics: bool = setting(False, "Whether /metrics is served, which takes the extra `metrics`")
    traces: bool = setting(False, "Whether operations are traced by OpenTelemetry, which takes the extra `otel`")
    trace_documents: bool = setting(False, "Whether traces hold the text of documents, in which there may be values")

    head_timeout_seconds: float = setting(10.0, "Time the head of a request may take to arrive")
    request_timeout_seconds: float = setting(10.0, "Time a request may take; its body has half of it to arrive")
    init_timeout_seconds: float = setting(10.0, "Time a WebSocket may take to send `connection_init`")
    heartbeat_seconds: float = setting(15.0, "How often a WebSocket or an event stream is seen to be alive")
    send_timeout_seconds: float = setting(20.0, "Time an answer may take to be sent, once it is made")
    drain_seconds: float = setting(10.0, "Time a server that is told to end has for what it still does")
    statement_timeout_seconds: float = setting(5.0, "Time a statement may take")
    lock_timeout_seconds: float = setting(2.0, "Time a statement may wait for a lock")
    pool_size: int = setting(15, "Connections to PostgreSQL at most; each is opened when first needed and kept")
    pool_timeout_seconds: float = setting(3.0, "Time a request waits for a connection")
    pgbouncer: bool = setting(False, "Whether PgBouncer in transaction mode stands before PostgreSQL")
    read_threads: int = setting(4, "Threads that read an SQLite file, two at least; half of them for reads that take long")
    idempotency_seconds: int = setting(24 * 3600, "How long an idempotency key is kept")
    idempotency_purge_seconds: float = setting(60.0, "How often the server looks for keys past their time, to delete them")
    changes_seconds: int = setting(7 * 24 * 3600, "How long changes are kept for `changes` and for subscribers that come back")

    @property
    def currency_exponent(self) -> int:
        """Decimal places of the currency: 2 for USD, 0 for JPY, 3 for KWD."""
        return CURRENCY_EXPONENTS[self.currency]


def variable(name: str) -> str:
    """The environment variable of a field of `Settings`."""
    return name.upper() if name in ("database_url", "currency") else f"ORDERGRAPH_{name.upper()}"
