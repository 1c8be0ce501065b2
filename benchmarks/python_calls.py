"""Transfers per second from Python within its process, against SQLite in memory driven from C."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.common import Options, Result, Round, Target, calibrated, compare, main
from benchmarks.programs import BANK, Missing, Program, imported, with_library

_ACCOUNTS = 1000
_PAIRS = 4096


def benchmark(options: Options) -> Sequence[Result]:
    """Measures."""
    peer: Round | None = None
    with ExitStack() as stack:
        mirror = stack.enter_context(imported(BANK).Mirror())
        try:
            executable = with_library("transfer_sqlite.c", "sqlite3.h", "sqlite3", "libsqlite3-dev")
            sqlite = stack.enter_context(Program(executable))
            peer, note = calibrated(sqlite.run, options.seconds, 1000), ""
        except Missing as missing:
            note = str(missing)
        rate = calibrated(_transfers(mirror), options.seconds, 1000)
        name = "SQLite :memory: from C"
        return [compare("python_calls", "/s", rate, (name, peer), Target(1.5), options, note=note)]


def _transfers(mirror: Any) -> Callable[[int], float]:
    """So many transfers; the seconds that took. Their accounts are drawn beforehand."""
    for number in range(_ACCOUNTS):
        mirror.open(number, 10**9)
    draw = random.Random(1)
    pairs = [tuple(draw.sample(range(_ACCOUNTS), 2)) for _ in range(_PAIRS)]

    def run(count: int) -> float:
        transfer = mirror.transfer
        begin = time.perf_counter()
        for _ in range(count // _PAIRS):
            for a, b in pairs:
                transfer(a, b, 1)
        for a, b in pairs[: count % _PAIRS]:
            transfer(a, b, 1)
        return time.perf_counter() - begin

    return run


if __name__ == "__main__":
    main("python_calls", benchmark)
