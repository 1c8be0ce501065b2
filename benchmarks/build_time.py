"""Seconds that `glasc build` takes for pos and two targets, against the limits that were set.

`build_changed`: the core is in the cache, and each round's program is new in a way that makes every file of
its own C new. `build_unchanged`: the same build again. The time is that of the whole process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import Options, Result, Round, Target, compare, main, scratch_folder
from benchmarks.programs import POS, ROOT

_TARGETS = "x86_64,aarch64"
_CHANGED, _UNCHANGED = 10.0, 1.0


def benchmark(options: Options) -> Sequence[Result]:
    """Measures. A quick run leaves the changed program out of it."""
    with scratch_folder() as folder:
        program = folder / "pos.glas"
        program.write_text(POS.read_text(encoding="utf-8"), encoding="utf-8")
        _seconds(program)  # warms the cache of the core

        def changed() -> float:
            _change(program)
            return _seconds(program)

        first = _limited("build_changed", None if options.quick else changed, _CHANGED, options)
        return [first, _limited("build_unchanged", lambda: _seconds(program), _UNCHANGED, options)]


def _limited(name: str, round_: Round | None, limit: float, options: Options) -> Result:
    target = Target(limit, "figure", most=True)
    return compare(name, "s", round_, ("the limit", lambda: limit), target, options, more_is_better=False)


def _change(program: Path) -> None:
    """A version that no build has seen: it stands in every generated file."""
    text = POS.read_text(encoding="utf-8")
    program.write_text(text.replace('version "1.0"', f'version "1.0.{time.time_ns()}"', 1), encoding="utf-8")


def _seconds(program: Path) -> float:
    command = [sys.executable, "-m", "glasc", "build", str(program), "--targets", _TARGETS, "--json"]
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, "--out", str(program.parent)], cwd=ROOT, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command!r}: {done.stdout}{done.stderr}")
    return time.perf_counter() - begin


if __name__ == "__main__":
    main("build_time", benchmark)
