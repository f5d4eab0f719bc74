"""The pages of error codes and of limits: every code that the product has, every limit that it holds, and nothing else."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

from graphql import GraphQLObjectType

from graph.base import MAX_PRICE, MAX_QUANTITY, MAX_SUBTOTAL
from graph.database.open_files import MOST_FILES
from graph.database.shop_pool import MOST_SHOPS
from graph.operations.limits import MAX_REPEATED, MAX_SCHEMAS
from graph.read.planning.filters import MAX_CONDITIONS
from graph.read.planning.groups import MAX_GROUPS
from graph.read.planning.nesting import MAX_FILTER, RELATION
from graph.schema import schema
from graph.serve import kept_shops
from graph.settings import Settings, variable
from graph.shops.directory import BETWEEN_SECONDS
from graph.write.errors import ErrorCode, MutationError, error_types
from graph.write.idempotency import MAX_KEY_LENGTH
from tests.operations.test_limits_by_number import LIMITS

ROOT = Path(__file__).parents[1]
ERRORS, HTTP, IMPORT, LIMITS_PAGE = (
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("errors", "http", "import", "limits")
)
#: What every error of a mutation has.
COMMON = {"code", "message", "path", "retryable"}


def rows(text: str) -> list[list[str]]:
    """The rows of the tables of a page, without their heads."""
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    heads = {index - 1 for index, row in enumerate(cells) if set("".join(row)) <= set("-|")}
    return [row for index, row in enumerate(cells) if index not in heads and index - 1 not in heads]


def constants(node: ast.AST) -> set[str]:
    """The codes among the constants in a piece of code."""
    words = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return {word for word in words if re.fullmatch("[A-Z]+(_[A-Z]+)*", word)}


def codes_of(source: str) -> dict[str, set[int]]:
    """The codes of request errors in a source, each with the statuses that are said beside it."""
    found: dict[str, set[int]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "refused" and node.args:
            said = [int(ast.unparse(each)) for each in node.args[2:3]] or [422]
            for code in constants(node.args[0]):
                found.setdefault(code, set()).update(said)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "code":
                    found |= {code: found.get(code, set()) for code in constants(value)}
        elif isinstance(node, ast.Assign) and re.search(r"\bcode\b", " ".join(map(ast.unparse, node.targets))):
            found |= {code: found.get(code, set()) for code in constants(node.value)}
    return found


def codes() -> dict[str, set[int]]:
    """Those of the whole product: not of payloads, which are an enumeration, and not of imports, which answer no request."""
    found: dict[str, set[int]] = {}
    for path in (ROOT / "graph").rglob("*.py"):
        if "exchange" not in path.parts and path != ROOT / "graph/write/errors.py":
            for code, statuses in codes_of(path.read_text(encoding="utf-8")).items():
                found.setdefault(code, set()).update(statuses)
    return found


def told(part: str) -> list[list[str]]:
    return rows(ERRORS.partition(f"## {part}\n")[2].partition("\n## ")[0])


def test_every_code_of_a_mutation_is_told_with_its_type_and_what_to_do() -> None:
    types = schema._schema.type_map
    expected = []
    for code in ErrorCode:
        (kind,) = (each.__name__ for each in error_types() if says(each, code))
        shown = types[kind]
        assert isinstance(shown, GraphQLObjectType)
        more = " ".join(name for name in shown.fields if name not in COMMON)
        expected.append([f"`{code.value}`", f"`{kind}`" + (f": `{more}`" if more else "")])
    found = told("Of mutations")
    assert [row[:2] for row in found] == expected
    assert all(len(row) == 4 and row[2] and row[3] for row in found)


def says(kind: type[MutationError], code: ErrorCode) -> bool:
    """Whether a type of error has this code."""
    if kind.__name__ == "IdempotencyError":
        return code.name.startswith("IDEMPOTENCY_")
    (own,) = (field for field in fields(kind) if field.name == "code")
    return own.default is code


def test_every_code_of_a_request_is_told_with_its_statuses_and_what_to_do() -> None:
    found = told("Of requests")
    assert [row[0] for row in found] == [f"`{code}`" for code in sorted(codes())]
    assert all(len(row) == 4 and row[2] and row[3] for row in found)
    by_code = {row[0].strip("`"): {int(status) for status in row[1].split(", ")} for row in found}
    for code, statuses in codes().items():
        assert statuses <= by_code[code], code
    statuses_told: dict[str, set[int]] = {}
    for status, _, listed in (row for row in rows(HTTP) if re.fullmatch("[2-5][0-9]{2}", row[0]) and len(row) == 3):
        for code in re.findall("`([A-Z_]+)`", listed):
            statuses_told.setdefault(code, set()).add(int(status))
    assert statuses_told == {code: statuses for code, statuses in by_code.items() if statuses != {200}}


def test_the_check_sees_codes_wherever_they_stand() -> None:
    source = """
raise refused("A_B", "no", 404)
raise refused("A_B" if x else "C", "no")
error = GraphQLError(text, extensions={"code": "D" if over else "E_F", **more})
message, code = "Gone", "G_H"
class Refusal(GraphQLError):
    code = "I"
"""
    assert codes_of(source) == {"A_B": {404, 422}, "C": {422}, "D": set(), "E_F": set(), "G_H": set(), "I": set()}


def test_every_code_of_an_import_is_told() -> None:
    listed = {row[0].strip("`") for row in rows(IMPORT.partition("## What is refused\n")[2].partition("\n## ")[0])}
    used: set[str] = set()
    for path in (ROOT / "graph/exchange").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("BadValue", "Fault", "refuse", "add"):
                used |= {each for argument in node.args for each in constants(argument)}
    codes_told = {code for code in listed if re.fullmatch("[A-Z_]+", code)}
    assert used <= codes_told
    assert {code.value for code in ErrorCode} | {"NOT_READABLE", "ORDER_REFUSED", "REFUSED_BY_DATABASE"} >= codes_told


#: Limits that are no settings, as the page calls them.
FIXED = {
    "One response key in one selection": MAX_REPEATED,
    "`__schema` in one operation": MAX_SCHEMAS,
    "Groups of a summary": MAX_GROUPS,
    "Conditions of a filter": MAX_CONDITIONS,
    "Relations that a filter leads through, one within the other": MAX_FILTER // RELATION,
    "Characters of an idempotency key": MAX_KEY_LENGTH,
    "A price, in the currency's smallest unit": MAX_PRICE,
    "An order's subtotal, likewise": MAX_SUBTOTAL,
    "Pieces of one line": MAX_QUANTITY,
    "Shops that are open ([scale](scale.md#shops))": kept_shops.MOST,
    "Shops that a connection to PostgreSQL serves": MOST_SHOPS,
    "Files of shops on SQLite that are open": MOST_FILES,
    "Times a second that the list of shops is asked for what is not known": round(1 / BETWEEN_SECONDS),
}
#: Times and sizes that limit nobody.
NO_LIMITS = {"jwt_leeway_seconds", "slow_seconds", "heartbeat_seconds", "drain_seconds", "idempotency_purge_seconds"}


def test_every_limit_is_told_with_its_number() -> None:
    found = rows(LIMITS_PAGE)
    by_setting = {row[2].strip("`"): row[1] for row in found if row[2]}
    expected = {
        variable(name): f"{int(default):,}" if default else "none"
        for name, default in ((field.name, field.default) for field in fields(Settings))
        if name not in NO_LIMITS
        and re.search(r"^max_|_page_size$|_seconds$|_second$|^pool_size$", name)
        and isinstance(default, (int, float))
    }
    assert by_setting == expected
    assert {row[0]: row[1] for row in found if not row[2]} == {name: f"{limit:,}" for name, limit in FIXED.items()}


def test_a_limit_is_refused_by_a_code_that_is_told() -> None:
    named = {code for row in rows(LIMITS_PAGE) for code in re.findall("`([A-Z_]+)`", row[3])}
    assert named - codes().keys() - {code.value for code in ErrorCode} == set()
    assert {limit.code for limit in LIMITS.values()} <= named
