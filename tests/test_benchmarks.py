"""Every benchmark runs and says what it has to; how fast anything is, is no matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("local_sell", "transfer_lmdb", "python_calls", "durable_16", "http", "build_time")
FIELDS = {
    "name": str,
    "figure": float | None,
    "unit": str,
    "peer": str,
    "peer_figure": float | None,
    "ratio": float | None,
    "spread": list | None,
    "target": int | float,
    "target_of": str,
    "met": bool | None,
    "note": str,
}


def run(*arguments: str) -> Any:
    """What a benchmark prints, quick and as JSON."""
    command = [sys.executable, "-m", *arguments, "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_answers_in_json(name: str) -> None:
    answer = run(f"benchmarks.{name}")
    assert answer["name"] == name
    assert answer["quick"] is True
    assert answer["command"].endswith(f"-m benchmarks.{name}")
    for part in (answer, *answer["parts"]):
        for field, kind in FIELDS.items():
            assert isinstance(part[field], kind), (field, part[field])
        compared = part["figure"] is not None and part["peer_figure"] is not None
        assert (part["ratio"] is not None) == (part["spread"] is not None) == compared
        assert compared or part["note"] or name == "build_time"


def test_the_list_of_benchmarks_is_complete() -> None:
    found = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if '"__main__"' in path.read_text()}
    assert found == {*NAMES, "run", "bare_asgi"}
