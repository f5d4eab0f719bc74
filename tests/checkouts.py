"""A copy of the checkout as a clone of it would be, and an environment that knows nothing of the one in which the tests run.

What goes in: a folder. What comes out: the files that git knows or would take, and variables for a shell. Nothing is refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: What belongs to a checkout's user, where there is no git to say so.
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", "node_modules", "built", "*.db", "*.db-*", ".*_cache", ".hypothesis"
)
LISTED = "git ls-files -z --cached --others --exclude-standard".split()


def clone(folder: Path) -> Path:
    """What a clone of the state of this checkout holds."""
    listed = subprocess.run(LISTED, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        return Path(shutil.copytree(ROOT, folder, ignore=LEFT_OUT))
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def bare_environment(home: Path, *programs: Path, **variables: str) -> dict[str, str]:
    """The variables of somebody who has Python, the system's programs, and his own way to packages."""
    python = home / "python"
    python.mkdir(exist_ok=True)
    if not (python / "python3").exists():
        (python / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    path = [str(each) for each in (python, *programs)] + ["/usr/local/bin", "/usr/bin", "/bin"]
    kept = {k: v for k, v in os.environ.items() if k.lower() in ("lang", "tmpdir") or k.lower().endswith("_proxy")}
    ways = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "NPM_CONFIG_", "npm_config_", "PLAYGROUND_"))}
    return {**kept, **ways, "HOME": str(home), "PATH": ":".join(path), **variables}
