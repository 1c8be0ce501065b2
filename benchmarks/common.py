"""What all benchmarks share: rounds that alternate with the peer, medians, spread, targets, output.

The clock of a virtual machine drifts by half within minutes, so a figure alone says little: glas and its
peer take turns (A-B-A-B), and the ratio is the median over the rounds of the ratio within one round. Does not
know what is measured, nor how C is compiled (programs.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Round = Callable[[], float]
"""Measures once and returns the figure of that round."""


@dataclass(frozen=True)
class Options:
    """How long to measure. `quick` only shows that everything works; its figures mean nothing."""

    rounds: int
    seconds: float
    quick: bool


@dataclass(frozen=True)
class Target:
    """What is to be reached: `of` is "figure" or "ratio"; `most`: at most this instead of at least."""

    value: float
    of: str = "ratio"
    most: bool = False

    def met(self, figure: float | None, ratio: float | None) -> bool | None:
        """Whether it is reached; None: not measured."""
        value = figure if self.of == "figure" else ratio
        if value is None:
            return None
        return value <= self.value if self.most else value >= self.value


@dataclass(frozen=True)
class Result:
    """One comparison. `ratio`: how many times better than the peer; `spread`: its least and largest round."""

    name: str
    figure: float | None
    unit: str
    peer: str
    peer_figure: float | None
    ratio: float | None
    spread: tuple[float, float] | None
    target: Target
    figures: Sequence[float] = ()
    peer_figures: Sequence[float] = ()
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None: not measured."""
        return self.target.met(self.figure, self.ratio)

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        data = asdict(self)
        data["target"] = self.target.value
        data["target_of"] = self.target.of
        data["met"] = self.met
        return data

    def line(self) -> str:
        """For people."""
        verdict = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        what = (
            shown(self.target.value, self.unit) if self.target.of == "figure" else f"{self.target.value:g} x"
        )
        target = f"target {'<=' if self.target.most else '>='} {what}: {verdict}"
        ratio = "no ratio"
        if self.ratio is not None and self.spread is not None:
            ratio = f"{self.ratio:.3g} x ({self.spread[0]:.3g} .. {self.spread[1]:.3g})"
        lines = [
            f"{self.name}: {shown(self.figure, self.unit)}; {self.peer}: "
            f"{shown(self.peer_figure, self.unit)}; {ratio}; {target}"
        ]
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])


def shown(value: float | None, unit: str) -> str:
    """A figure as people read it: 1.25 M/s."""
    if value is None:
        return "-"
    if unit == "s":
        return f"{value:.2f} s"
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}{unit}"
    return f"{value:.3g} {unit}"


def calibrated(run: Callable[[int], float], seconds: float, first: int) -> Round:
    """A round that repeats something for about `seconds`; `run` does it so many times and returns the
    seconds that took. The first rounds find the count and warm up.
    """
    count = first
    took = run(count)
    while took < seconds / 2:
        count = max(count + 1, int(count * min(10.0, seconds / max(took, 1e-6))))
        took = run(count)
    return lambda: count / run(count)


def compare(
    name: str,
    unit: str,
    glas: Round | None,
    peer: tuple[str, Round | None],
    target: Target,
    options: Options,
    *,
    note: str = "",
    more_is_better: bool = True,
) -> Result:
    """Rounds of glas and its peer, turn by turn. A side that is None is not measured; the note says why."""
    figures: list[float] = []
    peer_figures: list[float] = []
    for _ in range(options.rounds):
        figures += [glas()] if glas is not None else []
        peer_figures += [peer[1]()] if peer[1] is not None else []
    ratios = [a / b if more_is_better else b / a for a, b in zip(figures, peer_figures, strict=False)]
    return Result(
        name,
        median(figures) if figures else None,
        unit,
        peer[0],
        median(peer_figures) if peer_figures else None,
        median(ratios) if ratios else None,
        (min(ratios), max(ratios)) if ratios else None,
        target,
        figures,
        peer_figures,
        note,
    )


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder on the disk that `TMPDIR` names, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="glas-bench-") as folder:
        yield Path(folder)


def main(name: str, benchmark: Callable[[Options], Sequence[Result]]) -> None:
    """The command line of one benchmark. JSON: the fields of the result that is nearest to missing its
    target, and all of them as `parts`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (default: 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round (default: 1)")
    given = parser.parse_args()
    options = Options(1, 0.02, True) if given.quick else Options(given.rounds, given.seconds, False)
    results = benchmark(options)
    if given.json:
        print(json.dumps(as_json(name, results, options), indent=1))
    else:
        print("\n".join(result.line() for result in results))


def as_json(name: str, results: Sequence[Result], options: Options) -> dict[str, Any]:
    """The answer of one benchmark as data."""
    parts = [result.as_data() for result in results]
    worst = min(zip(results, parts, strict=True), key=lambda pair: _margin(pair[0]))[1]
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    how = {"rounds": options.rounds, "quick": options.quick, "machine": machine, "load": os.getloadavg()}
    return {
        **worst,
        "name": name,
        **how,
        "parts": parts,
        "command": f"{Path(sys.executable).name} -m benchmarks.{name}",
    }


def _margin(result: Result) -> float:
    """How far from missing its target; what was not measured comes last."""
    value = result.figure if result.target.of == "figure" else result.ratio
    if value is None:
        return float("inf")
    return result.target.value / value if result.target.most else value / result.target.value
