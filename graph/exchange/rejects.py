"""What was refused, written to files of the same form as those it came from, to be mended and imported.

What goes in: rows, each with a code and a reason. What comes out: a file for each that had such rows, made when the first one
comes. What may be refused here: `CannotRead` for a file that cannot be written. No file is ever replaced.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from graph.exchange.openings import CannotRead
from graph.exchange.tables import TOLD


class Rejects:
    """The rejects of one import. `into` is their file, or their folder where several files are read."""

    def __init__(self, into: Path, *, folder: bool) -> None:
        self.into = _unused(into)
        self.folder = folder
        #: How many rows, by code.
        self.codes: Counter[str] = Counter()
        #: The first row of each code, told in a line.
        self.first: dict[str, str] = {}
        self._headers: dict[str, Sequence[str] | None] = {}
        self._files: dict[str, tuple[TextIO, Any]] = {}

    @property
    def written(self) -> Path | None:
        """Where they are, if there are any."""
        return self.into if self._files else None

    def expect(self, file: str, header: Sequence[str] | None) -> None:
        """Take rows of a file: with a header, or objects."""
        self._headers[file] = header

    def add(self, file: str, line: int, raw: Any, code: str, reason: str) -> None:
        """A row that was refused."""
        self.codes[code] += 1
        self.first.setdefault(code, f"line {line} of {file}: {reason}")
        header, (text, writer) = self._headers[file], self._opened(file)
        if header is None:
            told = {**raw, "rejected": {"line": line, "code": code, "reason": reason}}
            text.write(json.dumps(told, ensure_ascii=False) + "\n")
        else:
            kept = [value for name, value in zip(header, raw, strict=False) if name not in TOLD]
            writer.writerow([*kept, line, code, reason])

    def _opened(self, file: str) -> tuple[TextIO, Any]:
        if file not in self._files:
            header = self._headers[file]
            try:
                if self.folder:
                    self.into.mkdir(exist_ok=True)
                path = self.into / file if self.folder else self.into
                text = path.open("x", encoding="utf-8", errors="surrogateescape", newline="")
            except OSError as error:
                raise CannotRead(f"cannot write {self.into}: {error.strerror}") from None
            writer = csv.writer(text)
            if header is not None:
                writer.writerow([*(name for name in header if name not in TOLD), *TOLD])
            self._files[file] = text, writer
        return self._files[file]

    def close(self) -> None:
        """Close the files."""
        for text, _ in self._files.values():
            text.close()


def _unused(path: Path) -> Path:
    """A path where nothing is: what somebody is mending is not written over."""
    return next(each for each in _numbered(path) if not each.exists())


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, 10_000):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
