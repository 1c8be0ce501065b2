"""Two-account transfers per second from C, in memory, against LMDB that never waits for the disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.common import Options, Result, Round, Target, calibrated, compare, main, scratch_folder
from benchmarks.programs import BANK, Missing, Program, with_app, with_library


def benchmark(options: Options) -> Sequence[Result]:
    """Measures."""
    peer: Round | None = None
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        glas = stack.enter_context(Program(with_app("transfer.c", BANK)))
        try:
            executable = with_library("transfer_lmdb.c", "lmdb.h", "lmdb", "liblmdb-dev")
            lmdb = stack.enter_context(Program(executable, str(folder)))
            peer, note = calibrated(lmdb.run, options.seconds, 1000), ""
        except Missing as missing:
            note = str(missing)
        rate = calibrated(glas.run, options.seconds, 1000)
        name = "LMDB, MDB_NOSYNC|MDB_WRITEMAP"
        result = compare("transfer_lmdb", "/s", rate, (name, peer), Target(5), options, note=note)
        return [replace(result, details={"per_cpu_s": glas.cpu_rate(options.rounds)})]


if __name__ == "__main__":
    main("transfer_lmdb", benchmark)
