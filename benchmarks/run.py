"""Runs all benchmarks, one after the other, and prints a table; with `--json` a list of their answers.

Other arguments (`--quick`, `--rounds N`, `--seconds S`) are passed on. Each runs in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

NAMES = ("local_sell", "transfer_lmdb", "python_calls", "durable_16", "http", "build_time")
_ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Runs all; the exit code says whether all could be run, not whether targets were met."""
    given = sys.argv[1:]
    as_json = "--json" in given
    passed = [argument for argument in given if argument != "--json"]
    answers: list[dict[str, Any]] = []
    for name in NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        answers += _run(name, passed)
    if as_json:
        print(json.dumps(answers, indent=1))
    else:
        _show([part for answer in answers for part in answer["parts"]])
    return 0 if len(answers) == len(NAMES) else 1


def _run(name: str, arguments: list[str]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *arguments]
    done = subprocess.run(command, cwd=_ROOT, text=True, stdout=subprocess.PIPE, check=False)
    return [json.loads(done.stdout)] if done.returncode == 0 else []


def _show(parts: list[dict[str, Any]]) -> None:
    if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        sys.path[0] = str(_ROOT)  # run as a file: the modules here must not hide those of the library
    from rich.console import Console
    from rich.table import Table

    table = Table("benchmark", "glas", "peer", "", "ratio", "spread", "target", "", box=None, pad_edge=False)
    for part in parts:
        spread = " .. ".join(f"{value:.3g}" for value in part["spread"] or ())
        ratio = f"{part['ratio']:.3g} x" if part["ratio"] is not None else "-"
        target = (
            _shown(part["target"], part["unit"]) if part["target_of"] == "figure" else f"{part['target']:g} x"
        )
        met = {True: "[green]met", False: "[red]missed", None: "[yellow]not measured"}[part["met"]]
        figures = (
            _shown(part["figure"], part["unit"]),
            part["peer"],
            _shown(part["peer_figure"], part["unit"]),
        )
        table.add_row(part["name"], *figures, ratio, spread, target, met)
    console = Console()
    console.print(table)
    for part in parts:
        if part["met"] is None and part["note"]:
            console.print(f"{part['name']}: {part['note']}", style="yellow")


def _shown(value: float | None, unit: str) -> str:
    from benchmarks.common import shown

    return shown(value, unit)


if __name__ == "__main__":
    sys.exit(main())
