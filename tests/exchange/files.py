"""Imports for tests: a text or a file into a database, and what became of it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph.database import Database
from graph.exchange.imports import Import, Tally
from graph.exchange.incoming import Form, Reading
from graph.exchange.presets import Terms
from graph.exchange.rejects import Rejects
from graph.schema import schema

WEEK = Path(__file__).parent / "data" / "online_retail_week.csv.gz"
HEADER = "number,order_date,email,customer_name,sku,item_name,quantity,price_paid"
DAY = "2026-01-31T10:00:00Z"


@dataclass
class Brought:
    """What an import came to: its tally, and the rejects as they were written."""

    tally: Tally
    rejects: Path | None

    @property
    def refused(self) -> list[tuple[int, str, str]]:
        """Line, code and reason of the rows that were refused."""
        if self.rejects is None:
            return []
        text = self.rejects.read_text(encoding="utf-8", errors="surrogateescape")
        if text.startswith("{"):
            told = [json.loads(line)["rejected"] for line in text.split("\n") if line]
            return [(each["line"], each["code"], each["reason"]) for each in told]
        rows = csv.DictReader(io.StringIO(text))
        return [(int(row["rejected_line"]), row["rejected_code"], row["rejected_reason"]) for row in rows]


async def bring(
    database: Database, path: Path, terms: Terms | None = None, *, dry_run: bool = False, kind: str | None = None
) -> Brought:
    """Import a file or a folder."""
    rejects = Rejects(path.with_name(f"{path.name.partition('.')[0]}.rejects"), folder=not path.suffix)
    schema.engine(database)
    made = Import(database, Reading(str(path), terms or Terms(), Form(kind), rejects))
    try:
        tally = await (made.rehearse() if dry_run else made.run())
    finally:
        rejects.close()
    return Brought(tally, rejects.written)


def lines_file(folder: Path, *rows: str, header: str = HEADER, name: str = "lines.csv") -> Path:
    """A flat file."""
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def line(number: str = "1", **given: Any) -> str:
    """A row of a flat file, with HEADER."""
    values = {
        "number": number,
        "order_date": DAY,
        "email": "ada@example.org",
        "customer_name": "Ada",
        "sku": "INK",
        "item_name": "Ink",
        "quantity": "2",
        "price_paid": "4.50",
        **given,
    }
    return ",".join(str(values[name]) for name in HEADER.split(","))
