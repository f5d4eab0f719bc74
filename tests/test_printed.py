"""Every command, operation and piece of data that a page prints is right: run where it can be, else named with its reason.

Pages whose blocks a test of their own runs are in `RUN_BY`; commands that cannot be run here, and why, in `NOT_RUN`.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import shlex
import shutil
import subprocess
from importlib import import_module
from itertools import islice
from pathlib import Path

import click
import pytest
from graphql import GraphQLError, OperationDefinitionNode, parse, validate

from graph.__main__ import main
from graph.sample import northwind
from graph.schema import schema
from tests.conftest import Ask
from tests.exchange.files import WEEK
from tests.forks import environment, shared
from tests.printed import blocks

SHOP = "northwind"

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / ".github").glob("*.md")))
}
#: Pages whose commands a test takes out of them and runs, in their order.
RUN_BY = {
    "README.md": "tests/test_readme.py",
    "docs/production.md": "tests/test_production.py",
    "docs/adding-an-entity.md": "tests/test_supplier.py",
}
#: What begins a command, of ours or of the machine.
PROGRAM = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/|\.ci/)?(ordergraph|python3?|pytest|run\.py|run|pip|npm|npx|curl|zcat|echo|psql)\b"
)
#: Lines that are not run here, by how they begin, and why.
NOT_RUN = {
    "ordergraph serve": "it does not end: tests/test_commands.py starts it",
    "DATABASE_URL=postgresql://... ordergraph serve": "the address is nobody's",
    "ordergraph sample": "it takes an empty database: the folder of these tests is filled by it",
    "ordergraph backup /var/backups": "the folder is root's; the line before it is run",
    "ordergraph key revoke 0f3a99c1d2e4": "the prefix of a key is drawn when it is made",
    "ordergraph shop drop": "only what was archived is dropped: tests/commands/test_shop_commands.py",
    "ordergraph schema --check https://": "the address is nobody's: tests/test_comparison.py asks a server",
    "python -m tests.benchmarks": "it measures for minutes; its options are looked at",
    "run.py": "it is the program of the shared benchmark, which is no part of this checkout",
    "python3 -m venv .venv": "it sets up the environment in which these tests run",
    ".venv/bin/pytest": "they are the tests",
    "CLIENTS_PACKAGES=FOLDER .venv/bin/pytest": "they are tests",
    ".ci/run": "it runs these tests",
}


def lines(block: str) -> list[str]:
    """The commands of a block: without comments, and continued lines in one."""
    joined = re.sub(r"\\\n\s*", "", block)
    found = [re.sub(r"(?:\s+#|   +\().*$", "", line).rstrip() for line in joined.splitlines()]
    return [line for line in found if line]


def commands(page: str) -> list[str]:
    """The commands that a page prints; of the page of commands the examples of their help."""
    text = PAGES[page]
    examples = re.findall(r"Examples:\n((?:    .*\n)+)", text) if page == "docs/commands.md" else []
    found = [line.strip() for block in [*blocks(text), *examples] for line in lines(block)]
    return [line for line in found if PROGRAM.match(line)]


OTHERS = [page for page in PAGES if page not in RUN_BY and commands(page)]


def reason(line: str) -> str | None:
    return next((why for begin, why in NOT_RUN.items() if line.startswith(begin)), None)


def test_the_pages_with_commands_are_known() -> None:
    assert set(OTHERS) == {
        *(
            "docs/access.md",
            "docs/commands.md",
            "docs/import.md",
            "docs/performance.md",
            "docs/scale.md",
            ".github/CONTRIBUTING.md",
        ),
        *({"docs/schema.md"} & PAGES.keys()),
    }
    for page, test in RUN_BY.items():
        assert page.rpartition("/")[2] in (ROOT / test).read_text(encoding="utf-8")


def test_no_command_is_excused_that_no_page_prints() -> None:
    printed = [line for page in OTHERS for line in commands(page)]
    assert [begin for begin in NOT_RUN if not any(line.startswith(begin) for line in printed)] == []


def test_a_command_of_ours_that_is_not_run_has_arguments_that_it_takes() -> None:
    for page in PAGES:
        for line in commands(page):
            found = re.search(r"\bordergraph ([a-z][^|>&]*)", re.sub(r"\$\(.*?\)", "today", line))
            if not found or (page not in RUN_BY and reason(line) is None):
                continue
            name, *arguments = shlex.split(found[1])
            group = main.commands[name]
            if isinstance(group, click.Group):
                name, *arguments = arguments
                group = group.commands[name]
            group.make_context(name, arguments).close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shop, and the files that the pages bring in."""
    tmp_path = tmp_path_factory.mktemp("filled")
    run(tmp_path, "ordergraph sample")
    run(tmp_path, "ordergraph export --lines orders.csv")
    run(tmp_path, "ordergraph export dump.ndjson")
    with gzip.open(tmp_path / "dump.ndjson.gz", "wb") as packed:
        packed.write((tmp_path / "dump.ndjson").read_bytes())
    shutil.copytree(northwind.FOLDER, tmp_path / "northwind")
    with gzip.open(WEEK, "rt", encoding="utf-8") as week, gzip.open(tmp_path / "online_retail.csv.gz", "wt") as part:
        part.writelines(islice(week, 200))
    header = "Order,order_date,Client,customer_name,sku,quantity,price_paid\n"
    (tmp_path / "sales.csv").write_text(header + "7,2026-01-31 10:00:00,ada,Ada,NW-1,2,18\n")
    shutil.copy(tmp_path / "orders.csv", tmp_path / "orders.rejects.csv")
    (tmp_path / "orders.graphql").write_text("{ orders(first: 2) { nodes { number items { quantity } } } }")
    (tmp_path / "order.graphql").write_text("query ($number: String!) { order(by: {number: $number}) { status } }")
    return tmp_path


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(filled, tmp_path, dirs_exist_ok=True)


def is_of_shops(line: str) -> bool:
    """Whether a command is of a deployment with many shops."""
    return "ordergraph shop " in line or "--shop " in line


#: A command of ours, with what the shell gives it and does with what it prints.
PIPED = re.compile(r"(?:([^|>$]+) \| )?(ordergraph [^|>$]+?)(?: ([|>][^$]*))?")


def shell(folder: Path, line: str, given: bytes = b"") -> bytes:
    """What a line prints that a shell runs."""
    words = ["bash", "-euo", "pipefail", "-c", line]
    return subprocess.run(words, cwd=folder, input=given, capture_output=True, check=True).stdout


def run(folder: Path, line: str) -> None:
    """Run a command as it is printed. An import may have refused rows."""
    line = line.removeprefix(".venv/bin/")
    env = environment(ORDERGRAPH_AUTH="off")
    if is_of_shops(line):
        env |= {"ORDERGRAPH_SHOPS": "on", "DATABASE_URL": "sqlite:///./shops"}
    parts = PIPED.fullmatch(line)
    assert parts, line
    before, ours, after = parts.groups()
    given = folder / "given"
    given.write_bytes(shell(folder, before) if before else b"")
    done = shared().run(folder, shlex.split(ours)[1:], env, given=str(given))
    if after:
        shell(folder, f"cat {after}", done.stdout.encode())
    allowed = (0, 3) if "--preset online-retail" in line else (0,)
    assert done.returncode in allowed, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", OTHERS)
def test_the_commands_of_a_page_run_one_after_the_other(folder: Path, page: str) -> None:
    for line in commands(page):
        if reason(line) is None:
            run(folder, line)
            if "--down-to" in line:
                run(folder, "ordergraph shop migrate" if is_of_shops(line) else "ordergraph migrate")


def test_the_modules_of_benchmarks_take_the_options_that_are_printed() -> None:
    printed = {line for page in PAGES for line in re.findall(r"python -m (tests\.benchmarks[^`#\n]*)", PAGES[page])}
    assert len(printed) > 8
    for line in printed:
        module, *arguments = shlex.split(line)
        options = set(re.findall(r"--[a-z-]+", " ".join(arguments)))
        path = ROOT / module.replace(".", "/")
        found = import_module(f"{module}.__main__" if path.is_dir() else module)
        assert not options or options <= {name for each in found.main.params for name in each.opts}, line


def operations(text: str) -> list[str]:
    """The operations that a page prints, fenced or indented; a part of one is put where it belongs."""
    found: list[str] = re.findall(r"```graphql\n(.*?)```", text, re.DOTALL)
    found += [block for block in blocks(text) if is_operation(block)]
    create = 'mutation { createCustomer(input: {name: "Ada", email: "ada@example.org"}) { %s } }'
    return [create % block if block.startswith("errors") else block for block in found]


def is_operation(block: str) -> bool:
    try:
        return isinstance(parse(block).definitions[0], OperationDefinitionNode)
    except GraphQLError:
        return False


#: Not those of the page of indexes, which `tests/benchmarks/plans.py` writes: they are of the benchmark, with places for values.
ASKING = [page for page, text in PAGES.items() if operations(text) and page != "docs/indexes.md"]


@pytest.mark.parametrize("page", ASKING)
async def test_the_operations_of_a_page_are_valid_and_run_on_the_sample(shop: Ask, page: str) -> None:
    for text in operations(PAGES[page]):
        document = parse(text)
        assert validate(schema._schema, document) == [], text
        (operation,) = (each for each in document.definitions if isinstance(each, OperationDefinitionNode))
        if operation.operation.value == "subscription":  # tests/serve/test_order_changed.py and test_changes_told.py subscribe
            continue
        answer = await shop(text)
        assert "errors" not in answer, (text, answer)


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if "```json" in text and page not in RUN_BY])
def test_the_data_of_a_page_is_json(page: str) -> None:
    for text in re.findall(r"```json\n(.*?)```", PAGES[page], re.DOTALL):
        json.loads(text)


def test_the_mutation_that_is_shown_as_code_is_the_one_that_runs() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", PAGES["docs/writes.md"], re.DOTALL)
    (function,) = ast.parse(shown).body
    assert isinstance(function, ast.AsyncFunctionDef)
    module = ast.parse((ROOT / "graph/orders/mutations.py").read_text(encoding="utf-8"))
    (real,) = (node for node in module.body if isinstance(node, ast.AsyncFunctionDef) and node.name == function.name)
    assert ast.dump(real) == ast.dump(function)


def test_every_kind_of_block_is_one_that_somebody_looks_at() -> None:
    """`js` and `ts` are programs of front ends: tests/clients and tests/serve run those of their pages. `sql` is for Citus, which
    no test has.
    """
    looked_at = {"graphql", "json", "sh", "python", "text", "mermaid", "js", "ts", "sql"}
    kinds = {kind for text in PAGES.values() for kind in re.findall(r"^```(\w+)$", text, re.MULTILINE)}
    assert kinds <= looked_at
