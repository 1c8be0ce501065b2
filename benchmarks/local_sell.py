"""Local `sell` transactions per second, driven from C: one core, in memory, with the steps that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.common import Options, Result, Target, calibrated, compare, main
from benchmarks.programs import POS, Program, plain, with_app

_NOTE = (
    "glas: `sell` of pos with undo, the sales queue and its step `book`, the step `reorder`, deliveries; "
    "peer: hash tables with text keys by hand, none of these"
)


def benchmark(options: Options) -> Sequence[Result]:
    """Measures."""
    with Program(with_app("local_sell.c", POS)) as glas, Program(plain("local_sell_peer.c")) as peer:
        rates = [calibrated(each.run, options.seconds, 1000) for each in (glas, peer)]
        target = Target(2e6, "figure")
        result = compare(
            "local_sell", "/s", rates[0], ("hand-written C", rates[1]), target, options, note=_NOTE
        )
        costs = {"per_cpu_s": glas.cpu_rate(options.rounds), "peer_per_cpu_s": peer.cpu_rate(options.rounds)}
        return [replace(result, details=costs)]


if __name__ == "__main__":
    main("local_sell", benchmark)
