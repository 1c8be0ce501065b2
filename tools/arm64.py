"""How to run an aarch64 Python on this machine, for tests and the demo.

Owns the layout of the folder `.arm64` of a clone, as far as running is concerned. Does not know how it is
filled (fetch_arm64.py) or what is run.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

QEMU = "qemu-aarch64-static"


def folder(repo: Path) -> Path:
    """Where the clone keeps all of it."""
    return repo / ".arm64"


def root(repo: Path) -> Path:
    """The root of the aarch64 system: its libraries and its Python."""
    return folder(repo) / "root"


def site(repo: Path) -> Path:
    """The aarch64 Python packages."""
    return folder(repo) / "site"


def stamp(repo: Path) -> Path:
    """A file that exists when everything was fetched and was seen to work."""
    return folder(repo) / "ready"


def qemu(repo: Path) -> Path | None:
    """The emulator: the machine's own, or the fetched one, or None."""
    installed = shutil.which(QEMU)
    if installed is not None:
        return Path(installed)
    fetched = folder(repo) / "bin" / QEMU
    return fetched if fetched.exists() else None


def python(repo: Path) -> Path | None:
    """The aarch64 interpreter, or None."""
    found = sorted((root(repo) / "usr" / "bin").glob("python3.[0-9]*[0-9]"))
    return found[0] if found else None


def arm64_command(repo: Path) -> list[str] | None:
    """The command prefix that runs an aarch64 Python, or None; `why_not` says why.

    A program under it cannot start itself again through `sys.executable`: give it this prefix for that.
    """
    if platform.machine() in ("aarch64", "arm64"):
        return [sys.executable]
    emulator, interpreter = qemu(repo), python(repo)
    if emulator is None or interpreter is None or not stamp(repo).exists():
        return None
    return [str(emulator), "-L", str(root(repo)), str(interpreter)]


def why_not(repo: Path) -> str:
    """Why there is no aarch64 Python; empty when there is one."""
    if arm64_command(repo) is not None:
        return ""
    return "no aarch64 Python on this machine; `make arm64` fetches one"


def arm64_environment(repo: Path, extra_paths: Sequence[Path]) -> dict[str, str]:
    """The environment for `arm64_command`: this one, with `extra_paths` and the aarch64 packages to import
    from.
    """
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
    paths = list(extra_paths)
    if platform.machine() not in ("aarch64", "arm64"):
        paths.append(site(repo))
    return kept | {
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
        "PYTHONNOUSERSITE": "1",
    }
