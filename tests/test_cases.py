"""Goldens of the compiler, compared exactly; `pytest tests/test_cases.py --rewrite` writes them anew.

`tests/cases/NAME.PASS.txt` is what the pass PASS of glasc/driver.py leaves of NAME.glas beside it, or of
examples/NAME/NAME.glas. A new golden starts as an empty file. `tests/cases/errors/NAME.txt` holds the
errors or warnings for NAME.glas.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glasc import driver
from glasc.diagnostics import CODES, CompileErrors, render_all
from glasc.source import Source

CASES = Path(__file__).parent / "cases"
EXAMPLES = Path(__file__).parent.parent / "examples"
DUMPS = sorted(CASES.glob("*.*.txt"))
ERRORS = sorted((CASES / "errors").glob("*.glas"))
FRONT_END = ("E01", "E02", "E03", "E04", "E05", "E06", "E09", "W05")


def source_of(name: str) -> Source:
    beside = CASES / f"{name}.glas"
    path = beside if beside.exists() else EXAMPLES / name / f"{name}.glas"
    return Source(path.name, path.read_text(encoding="utf-8"))


def compare(golden: Path, found: str, rewrite: bool) -> None:
    if rewrite:
        golden.write_text(found, encoding="utf-8")
    assert golden.exists(), f"{golden.name} is missing: --rewrite makes it"
    assert found == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("golden", DUMPS, ids=lambda path: path.stem)
def test_dump(golden: Path, rewrite: bool) -> None:
    name, name_of_pass, _ = golden.name.split(".")
    compare(golden, driver.dump(source_of(name), name_of_pass), rewrite)


@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.stem)
def test_errors(path: Path, rewrite: bool) -> None:
    source = Source(path.name, path.read_bytes().decode())
    try:
        diagnostics = driver.check(source)
    except CompileErrors as errors:
        diagnostics = errors.diagnostics
    assert diagnostics, "nothing was found"
    compare(path.with_suffix(".txt"), render_all(diagnostics) + "\n", rewrite)


def test_every_code_of_the_front_end_is_seen_red() -> None:
    goldens = "".join(path.with_suffix(".txt").read_text(encoding="utf-8") for path in ERRORS)
    seen = set(re.findall(r"(?:error|warning)\[(\w+)\]", goldens))
    assert {code for code in CODES if code[:3] in FRONT_END} <= seen


def test_no_golden_without_source() -> None:
    sources = {path.stem for path in ERRORS}
    assert {path.stem for path in (CASES / "errors").glob("*.txt")} == sources
