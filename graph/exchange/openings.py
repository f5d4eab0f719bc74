"""Files to read: plain, gzip or zstd, whatever their names, or standard input.

What goes in: a path, or `-`. What comes out: an `Input`: text, and how far into the file one is. What may be refused here:
`CannotRead` for a file that cannot be opened, or whose compression nobody here knows.
"""

from __future__ import annotations

import gzip
import io
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
#: What can read zstd: the standard library from 3.14 on, and its backport, which is the extra `zstd`.
ZSTD_MODULES = ("compression.zstd", "backports.zstd")
STANDARD_INPUT = "-"


class CannotRead(Exception):
    """A file cannot be read; the message is a sentence for whoever named it."""


class Input:
    """A file while it is read. What is no text in its encoding is kept as lone surrogates, which no value may hold."""

    def __init__(self, path: str, encoding: str) -> None:
        self.name = "standard input" if path == STANDARD_INPUT else path
        self._raw: Any
        try:
            self._raw = sys.stdin.buffer if path == STANDARD_INPUT else Path(path).open("rb")  # noqa: SIM115  # closed by `close`
            self.size = None if path == STANDARD_INPUT else Path(path).stat().st_size
            buffered = self._raw if hasattr(self._raw, "peek") else io.BufferedReader(self._raw)
            unpacked = _unpacked(buffered, buffered.peek(4)[:4], self.name)
        except OSError as error:
            raise CannotRead(f"cannot read {self.name}: {error.strerror or error}") from None
        try:
            self.text = io.TextIOWrapper(unpacked, encoding=encoding, errors="surrogateescape", newline="")
        except LookupError:
            raise CannotRead(f"there is no encoding {encoding}") from None

    def position(self) -> int:
        """How many bytes of the file were read."""
        with suppress(OSError, ValueError):
            return int(self._raw.tell())
        return 0

    def close(self) -> None:
        """Close it."""
        if self._raw is not sys.stdin.buffer:
            self._raw.close()


def _unpacked(file: IO[bytes], magic: bytes, name: str) -> Any:
    if magic.startswith(GZIP):
        return gzip.GzipFile(fileobj=file)
    if magic != ZSTD:
        return file
    for module in ZSTD_MODULES:
        with suppress(ImportError):
            return import_module(module).ZstdFile(file)
    raise CannotRead(f"{name} is packed by zstd, which needs Python 3.14 or the extra: pip install 'ordergraph[zstd]'")
