"""Programs to measure: C drivers compiled together with an app and the core, peers, bundles for Python.

A driver reads a count a line and answers with the seconds that so many repetitions took (drive.h). What
belongs to glas is compiled by the same compiler with the same flags as a bundle; a peer with a library of
Debian's is compiled by the machine's own `cc`. Everything compiled is kept in glasc's cache folder.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Self

from glasc import driver, paths, whole_build
from glasc.build import core_files, default_cache_dir
from glasc.source import Source
from glasc.targets import host
from glasc.zig import FLAGS, compiler_version, fingerprint
from glasrt import bundle

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BANK = HERE / "bank.glas"
POS = ROOT / "examples" / "pos" / "pos.glas"

_GLAS_FLAGS = (
    *(flag for flag in FLAGS if flag != "-shared" and not flag.startswith("-Wl")),
    "-Wno-unused-function",
)
_PEER_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")


class Missing(Exception):
    """A peer or tool is not installed; the text says how to get it."""


class Program:
    """A running driver."""

    def __init__(self, executable: Path, *arguments: str) -> None:
        """Starts it with `arguments`."""
        self._cpu_rates: list[float] = []
        self._process = subprocess.Popen(
            [str(executable), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, count: int) -> float:
        """Repeats its work `count` times; the seconds that took. Raises RuntimeError where it failed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended with code {self._process.wait()}")
        took, used = (float(number) for number in answer.split())
        self._cpu_rates.append(count / max(used, 1e-9))
        return took

    def cpu_rate(self, rounds: int) -> float:
        """Repetitions in a second of processor time, over the last rounds: the cost, whoever else uses the
        machine.
        """
        return round(median(self._cpu_rates[-rounds:]))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Ends it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


def with_app(driver_c: str, program: Path) -> Path:
    """The executable of a driver, the C of a glas program and the core."""
    source = Source(program.name, program.read_text(encoding="utf-8"))
    module = driver.compile_program(source)
    files = {path: text.decode() for path, text in core_files(paths.runtime_c()).items()}
    files |= {f"app/{name}": text for name, text in module.c_files.items()}
    files |= _own(driver_c)
    return _compiled(files, (*_zig(), *_GLAS_FLAGS, "-Iapp", "-Iinclude", "-Icore"), ())


def plain(driver_c: str) -> Path:
    """The executable of a peer in plain C, by the compiler and flags of a bundle."""
    return _compiled(_own(driver_c), (*_zig(), *_GLAS_FLAGS), ())


def with_library(driver_c: str, header: str, library: str, package: str) -> Path:
    """The executable of a peer that needs a library of Debian's. Raises Missing."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("no C compiler for the peer: apt-get install gcc libc6-dev")
    looked = subprocess.run(
        [compiler, "-E", "-x", "c", "-", "-o", "-"],
        input=f"#include <{header}>\n",
        text=True,
        capture_output=True,
        check=False,
    )
    if looked.returncode != 0:
        raise Missing(f"the peer is not installed: apt-get install {package}")
    return _compiled(_own(driver_c), (compiler, *_PEER_FLAGS), (f"-l{library}",) if library else ())


def tool(name: str, package: str) -> str:
    """The path of a program. Raises Missing."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {package}")
    return found


def bundle_of(program: Path) -> Path:
    """The wheel of a program for this machine."""
    source = Source(program.name, program.read_text(encoding="utf-8"))
    folder = default_cache_dir() / "benchmarks" / "wheels"
    built = whole_build.build(source, (host(),), folder, default_cache_dir(), lambda _step: None)
    return built.bundles[0][1].path


def imported(program: Path) -> ModuleType:
    """The Python package of a program."""
    return bundle.load(program.stem, bundle_of(program), program.parent)


def _own(driver_c: str) -> dict[str, str]:
    headers = {path.name: path.read_text() for path in HERE.glob("*.h")}
    return {driver_c: (HERE / driver_c).read_text(), **headers}


def _zig() -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", "ziglang", "cc", "-target", host().zig_triple)


def _compiled(files: dict[str, str], command: Sequence[str], libraries: Sequence[str]) -> Path:
    """Compiles and links all C files at once, unless that was done before."""
    parts = [
        compiler_version(),
        *command,
        *libraries,
        *(part for pair in sorted(files.items()) for part in pair),
    ]
    place = default_cache_dir() / "benchmarks" / fingerprint(parts)[:32]
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="glas-bench-") as name:
        folder = Path(name)
        for path, text in files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
        sources = sorted(path for path in files if path.endswith(".c"))
        done = subprocess.run(
            [*command, *sources, "-o", "driver", *libraries],
            cwd=folder,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"cannot compile {sources[-1]}:\n{done.stderr}")
        fresh = place.with_suffix(".new")
        shutil.copy2(folder / "driver", fresh)
        fresh.replace(place)
    return place
