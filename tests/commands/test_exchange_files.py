"""`ordergraph import` and `ordergraph export` as users run them."""

from __future__ import annotations

import asyncio
import gzip
import signal
from pathlib import Path

import pytest

from tests.audit import rows_of
from tests.exchange.files import HEADER, line, lines_file
from tests.remote import until
from tests.test_commands import Run, Start, refused


def test_an_import_says_what_came_what_was_there_and_what_was_refused(run: Run, empty_url: str, tmp_path: Path) -> None:
    lines_file(tmp_path, line("1"), line("2", quantity=0), name="sales.csv")
    rehearsed = run("import", "--dry-run", "--rejects", "none.csv", "sales.csv", DATABASE_URL=empty_url)
    assert rehearsed.stdout.startswith("Would import 1 order with 1 line, 1 customer, 1 item.\n")
    done = run("import", "sales.csv", DATABASE_URL=empty_url)
    assert done.returncode == rehearsed.returncode == 3
    assert done.stderr == ""  # no bar where nobody looks
    assert done.stdout == (
        "Imported 1 order with 1 line, 1 customer, 1 item.\n"
        "Refused one row, which is in sales.rejects.csv:\n"
        "          1  CHECK                line 3 of sales.csv: quantity must be from 1 to 100,000\n"
    )
    again = run("import", "sales.csv", DATABASE_URL=empty_url)
    assert "Were there already: 1 order, 1 line." in again.stdout
    assert (tmp_path / "sales.rejects-2.csv").exists()  # what somebody mends is not written over
    mended = (tmp_path / "sales.rejects.csv").read_text().replace(",0,", ",5,")
    (tmp_path / "sales.rejects.csv").write_text(mended)
    assert run("import", "sales.rejects.csv", DATABASE_URL=empty_url).returncode == 0
    exported = run("export", "--lines", DATABASE_URL=empty_url)
    assert exported.stdout.count("\n") == 3
    assert exported.stderr == "Exported 2 orders, 2 lines.\n"


def test_columns_of_another_shop_and_packed_files(run: Run, tmp_path: Path) -> None:
    text = "No;Tag;Kunde;Artikel;Stück;Preis\n7;2026-01-31;12;A-1;2;4.50\n"
    (tmp_path / "verkauf.bin").write_bytes(gzip.compress(text.encode("latin-1")))
    maps = {"number": "No", "order_date": "Tag", "email": "{Kunde}@shop.example", "sku": "Artikel", "quantity": "Stück"}
    options = [option for name, column in maps.items() for option in ("--map", f"{name}={column}")]
    more = ["--map", "customer_name=Kunde {Kunde}", "--map", "price_paid=Preis", "--zone", "Europe/Berlin", "--delimiter", ";"]
    done = run("import", "verkauf.bin", "--encoding", "latin-1", *options, *more)
    assert done.stdout == "Imported 1 order with 1 line, 1 customer, 1 item.\n", done
    exported = run("export", "--lines")
    assert "import,7,2026-01-30T23:00:00Z,PENDING,0.00,,12@shop.example,Kunde 12,A-1,A-1,2,4.50\n" in exported.stdout


def test_files_without_rows_are_no_mistake(run: Run, tmp_path: Path) -> None:
    lines_file(tmp_path, name="none.csv")
    (tmp_path / "none.ndjson").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "customers.csv").write_text("email,name\n")
    for path in ("none.csv", "none.ndjson", "folder"):
        for options in ([], ["--dry-run"]):
            done = run("import", *options, path)
            assert (done.returncode, done.stdout, done.stderr) == (0, f"Nothing to import: {path} has no rows.\n", "")
    assert not list(tmp_path.glob("*.rejects*"))
    lines_file(tmp_path, ",,", name="short.csv")
    assert run("import", "short.csv").stdout.startswith("Imported 0 orders with 0 lines, 0 customers, 0 items.\nRefused one row")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["import", "absent.csv"], 1, "cannot read absent.csv: No such file or directory"),
        (
            ["import", "header.csv"],
            1,
            "no column holds sku: name one by --map sku=COLUMN. The columns are number, order_date, email",
        ),
        (["import", "empty.csv"], 1, "the file is empty"),
        (["import", "folder"], 1, "has none of the files customers.csv, items.csv, orders.csv, order_items.csv"),
        (["import", "--map", "colour=x", "header.csv"], 2, "a name is one of source, number"),
        (["import", "--zone", "Mars/Base", "header.csv"], 2, "there is no such time zone"),
        (["import", "--encoding", "none", "header.csv"], 1, "there is no encoding none"),
        (["import", "--delimiter", ";;", "header.csv"], 2, "--delimiter takes one character"),
        (["import", "semicolons.csv"], 1, "where they are several, say --delimiter ';'"),
        (["import", "tabs.csv"], 1, "where they are several, say --delimiter $'\\t'"),
        (["import", "utf16.csv"], 1, "is no text in this encoding: --encoding says which one"),
        (["export", "new.csv"], 2, "new.csv is one file: add --lines for order lines, or name a folder"),
        (["export", "header.csv", "--lines"], 1, "cannot write header.csv: File exists"),
        (["export", "--format", "csv"], 2, "a folder of tables needs a name"),
        (["export", "--where", "{colour: 1}"], 2, 'no field "colour"'),
        (["export", "--format", "csv", "folder"], 1, "cannot make the folder folder: File exists"),
    ],
)
def test_mistakes_are_told_in_one_line(run: Run, tmp_path: Path, arguments: list[str], status: int, told: str) -> None:
    (tmp_path / "header.csv").write_text("number,order_date,email\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "semicolons.csv").write_text("number;order_date;email\n")
    (tmp_path / "tabs.csv").write_text("number\torder_date\temail\n")
    (tmp_path / "utf16.csv").write_text("number,order_date,email\n", "utf-16")
    assert run("migrate").returncode == 0
    done = run(*arguments)
    assert (done.returncode, told in done.stderr, len(done.stderr.splitlines())) == (status, True, 1), done


@pytest.mark.parametrize("arguments", [["new.ndjson"], ["--lines", "new.csv"], ["--format", "csv", "new"]])
def test_an_export_that_fails_leaves_nothing_and_can_be_tried_again(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    assert run("sample").returncode == 0
    before = set(tmp_path.iterdir())
    done = run("export", *arguments, "--where", "{status: PAID}")
    assert (done.returncode, set(tmp_path.iterdir())) == (2, before), done
    assert run("export", *arguments, "--where", "{status: {eq: SHIPPED}}").returncode == 0
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {arguments[-1]}


def test_zstd_is_read_or_said_to_need_an_extra(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sales.csv.zst").write_bytes(b"\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00\x99\xe9\xd8\x51")  # an empty one
    assert any(told in refused(run("import", "sales.csv.zst")) for told in ("ordergraph[zstd]", "the file is empty"))


def test_an_import_that_is_stopped_leaves_whole_orders_and_goes_on(
    run: Run, start: Start, empty_url: str, tmp_path: Path
) -> None:
    rows = [line(str(number), sku=f"S{place}") for number in range(6_000) for place in range(5)]
    lines_file(tmp_path, *rows, header=HEADER, name="sales.csv")
    process = start("import", "sales.csv", DATABASE_URL=empty_url)

    async def begun() -> bool:
        return await rows_of(empty_url, "SELECT id FROM orders LIMIT 1") != [[]] or process.poll() is not None

    asyncio.run(until(begun))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert "Traceback" not in said
    assert process.returncode in (0, 130, 1, -signal.SIGINT)
    done = run("import", "sales.csv", DATABASE_URL=empty_url)
    assert done.returncode == 0, done
    exported = run("export", "--lines", DATABASE_URL=empty_url)
    assert exported.stdout.count("\n") == 30_001
