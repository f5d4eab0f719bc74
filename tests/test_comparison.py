"""Changes between two schemas: named by their weight, whatever form the other schema has."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result
from graphql import GraphQLInputObjectType, build_schema, introspection_from_schema

from graph.__main__ import main
from graph.comparison import NoSchema, Weight, changes, read, understood

OLD = """
"What may be asked."
type Query { a(x: Int): E  b: Int @deprecated(reason: "use a")  c: Int }
enum E { X }
input By @oneOf { id: ID  key: String }
"""


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "type Query { a: Int }",
            "type Query { b: Int }",
            ["BREAKING: Field Query.a was removed.", "SAFE: Field Query.b was added."],
        ),
        (
            "type Query { a: E } enum E { X }",
            "type Query { a: E } enum E { X Y }",
            ["DANGEROUS: Enum value E.Y was added."],
        ),
        (
            "type Query { a(x: Int): E b: Int } enum E { X } input I { y: Int } directive @d(z: Int) on FIELD",
            """
            type Query { a(x: Int @deprecated(reason: "r1")): E b: Int @deprecated(reason: "use a") }
            enum E { X @deprecated } input I { y: Int @deprecated(reason: "r3\\nmore") }
            directive @d(z: Int @deprecated(reason: "r4")) on FIELD
            """,
            [
                "DEPRECATED: @d(z:): r4",
                "DEPRECATED: E.X: No longer supported",
                "DEPRECATED: I.y: r3",
                "DEPRECATED: Query.a(x:): r1",
                "DEPRECATED: Query.b: use a",
            ],
        ),
        (
            'type Query { a: Int @deprecated(reason: "r") b: Int @deprecated(reason: "r") c: Int }',
            'type Query { a: Int b: Int @deprecated(reason: "s") c: Int }',
            ["DEPRECATED: Query.b: s", "SAFE: Query.a is no longer deprecated."],
        ),
        ('"Old." type Query { a: Int }', '"New." type Query { a: Int }', ['SAFE: Description of Query has changed to "New.".']),
        ("type Query { a: Int b: Int }", "type Query { b: Int a: Int }", []),
        ("type Query { a: Int }", "type Query { a: Int }", []),
    ],
)
def test_changes_are_named_the_breaking_ones_first(before: str, after: str, expected: list[str]) -> None:
    assert [str(change) for change in changes(build_schema(before), build_schema(after))] == expected


def introspected() -> dict[str, Any]:
    """What a server tells of the schema."""
    built = build_schema(OLD)
    told: Any = introspection_from_schema(built)
    for kind in told["__schema"]["types"]:  # Strawberry, once imported, has changed how graphql-core answers this one
        if isinstance(type_ := built.type_map[kind["name"]], GraphQLInputObjectType):
            kind["isOneOf"] = type_.is_one_of
    found: dict[str, Any] = told
    return found


def test_every_form_of_a_schema_is_the_same_schema() -> None:
    told = introspected()
    for text in (OLD, json.dumps(told), json.dumps({"data": told})):
        assert changes(understood(text, "it"), understood(OLD, "it")) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "{",
        "{}",
        "[]",
        "{ a }",
        '{"data": null}',
        '{"data": {"__schema": null}}',
        '{"data": {"__schema": {"types": []}}}',
        '{"data": [1]}',
        '{"errors": ["no"]}',
        '{"errors": [{"message": "introspection is off"}]}',
        "type Query { a: Missing }",
        "type Query { a: Int } type Query { b: Int }",
        "type Query { a: ",
        "type Query { a: " + "[" * 100_000 + "Int" + "]" * 100_000 + " }",
        '{"data": ' + "[" * 100_000,
        "extend type Query { a: Int }",
        "query { a }",
        "\0",
    ],
)
def test_what_is_no_schema_is_one_sentence(text: str) -> None:
    with pytest.raises(NoSchema) as refusal:
        understood(text, "other.graphql")
    told = str(refusal.value)
    assert told.startswith("other.graphql ")
    assert len(told.splitlines()) == 1
    assert len(told) < 300


class Answers(BaseHTTPRequestHandler):
    """A GraphQL server, and what else a URL may lead to."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(f"GET {self.path}")
        if self.path == "/schema.graphql?key=s3cr3t":
            self.answer(OLD)
        elif self.path == "/moved.graphql":
            self.answer("", 302, location="/schema.graphql?key=s3cr3t")
        elif self.path == "/away.graphql":
            self.answer("", 302, location="ftp://127.0.0.1/schema.graphql")
        elif self.path == "/picture.graphql":
            self.answer(b"\x89PNG\xff")
        else:
            self.answer("no", 404)

    def do_POST(self) -> None:
        self.asked.append(f"POST {self.path}")
        body: Any = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/closed":
            self.answer(json.dumps({"errors": [{"message": "introspection is off\nhere"}]}))
        else:
            assert body["query"].lstrip().startswith("query IntrospectionQuery")
            self.answer(json.dumps({"data": introspected()}))

    def answer(self, text: str | bytes, status: int = 200, **headers: str) -> None:
        body = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


@pytest.mark.parametrize("path", ["/graphql", "/schema.graphql?key=s3cr3t", "/moved.graphql"])
def test_a_server_is_asked_for_its_schema(server: str, path: str) -> None:
    found = understood(read(server + path), server + path)
    assert changes(found, understood(OLD, "it")) == []
    newer = understood(OLD.replace("c: Int", ""), "it")
    assert [change.weight for change in changes(found, newer)] == [Weight.BREAKING]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nothing.graphql?key=s3cr3t", "/nothing.graphql answers 404"),
        ("/away.graphql", "does not answer: unknown url type: ftp"),
        ("/picture.graphql", "no UTF-8"),
        ("/closed", "does not tell its schema: introspection is off"),
    ],
)
def test_a_server_without_a_schema_is_one_sentence(server: str, path: str, reason: str) -> None:
    with pytest.raises(NoSchema) as refusal:
        understood(read(server + path), server + path)
    told = str(refusal.value)
    assert reason in told
    assert len(told.splitlines()) == 1
    assert "s3cr3t" not in told


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://127.0.0.1/schema.graphql",
        "http://",
        "http:///schema.graphql",
        "http://shop:s3cr3t@127.0.0.1/graphql",
        "http://s3cr3t@127.0.0.1/graphql",
        "http://127.0.0.1:s3cr3t/graphql",
        "http://127.0.0.1:99999/graphql",
        "http://127.0.0.1:0/graphql",
        "http://[::1/graphql",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\n",
        "http://127.0.0.1:1/graphql",
        "https://host.invalid/graphql",
    ],
)
def test_a_url_that_cannot_be_asked_is_one_sentence(url: str) -> None:
    with pytest.raises(NoSchema) as refusal:
        read(url)
    told = str(refusal.value)
    assert "s3cr3t" not in told
    assert "Errno" not in told
    assert len(told.splitlines()) == 1


def run(*arguments: str) -> Result:
    """`ordergraph schema` in this process."""
    return CliRunner().invoke(main, ["schema", *arguments])


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bytes.graphql").write_bytes(b"\xff\xfe")
    (tmp_path / "broken.graphql").write_text("type Query { a: ")
    for place, reason in (
        ("nothing.graphql", "No such file"),
        (".", "Is a directory"),
        ("bytes.graphql", "no UTF-8"),
        ("broken.graphql", "broken.graphql is no schema: Syntax Error: Expected Name, found <EOF>. (line 1, column 17)"),
    ):
        done = run("--check", place)
        assert done.exit_code == 1
        assert done.stderr.startswith("Error: ")
        assert len(done.stderr.splitlines()) == 1
        assert reason in done.stderr


def test_fail_on_chooses_which_changes_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = (Path(__file__).parents[1] / "schema.graphql").read_text(encoding="utf-8")
    olders = {
        "breaking": code + "\ntype Relic { id: ID! }\n",
        "dangerous": re.sub(r'  """[^"]*"""\n  ROLLED_BACK\n', "", code, count=1),
        "safe": code.replace("type Query {", "type Query  {", 1),
    }
    for weight, text in olders.items():
        assert text != code
        (tmp_path / f"{weight}.graphql").write_text(text, encoding="utf-8")
    fails = {
        "breaking": {"breaking", "dangerous", "any", None},
        "dangerous": {"dangerous", "any", None},
        "safe": {"any", None},
    }
    for weight, failing in fails.items():
        for option in ("breaking", "dangerous", "any", None):
            done = run("--check", f"{weight}.graphql", *(("--fail-on", option) if option else ()))
            assert done.exit_code == (1 if option in failing else 0), (weight, option, done)
            assert f"{weight.upper()}: " in done.stdout
    assert run("--fail-on", "any").exit_code == 2
