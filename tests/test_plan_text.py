"""The plan for people, compared exactly; `pytest --rewrite` writes it anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from glasc import driver
from glasc.passes.route import origin_places
from glasc.plan_text import plan_text, survives
from glasc.source import Source

ROOT = Path(__file__).parent


@pytest.mark.parametrize(
    ("name", "path"), [("pos", "../examples/pos/pos.glas"), ("owners", "cases/owners.glas")]
)
def test_plan(name: str, path: str, rewrite: bool) -> None:
    program = driver.run_until(Source(f"{name}.glas", (ROOT / path).read_text(encoding="utf-8")), "route")
    golden = ROOT / "cases" / "plans" / f"{name}.txt"
    if rewrite:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(plan_text(program), encoding="utf-8")
    assert plan_text(program) == golden.read_text(encoding="utf-8")


def test_available_methods_survive() -> None:
    """What `@available` promises is what the table says."""
    for path in ("../examples/pos/pos.glas", "cases/owners.glas"):
        program = driver.run_until(Source(path, (ROOT / path).read_text(encoding="utf-8")), "route")
        works = {(entry.method, entry.place): entry.works for entry in survives(program)}
        for method in program.methods:
            if method.available is not None:
                assert works[method.title, method.available] == "works"


def test_places_of_the_origin() -> None:
    text = (ROOT / "cases/owners.glas").read_text(encoding="utf-8")
    program = driver.run_until(Source("owners.glas", text), "route")
    assert origin_places(program) == (("hq", "start", "db.pinned"),)
