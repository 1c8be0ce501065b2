"""Properties of the front end: printing and parsing are inverse, and no text whatever makes it fail in
another way than to say what is wrong.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glasc import driver
from glasc.diagnostics import CompileErrors, Diagnostic
from glasc.parse import parse
from glasc.source import Source, Span
from glasc.syntax_text import print_program

ROOT = Path(__file__).parent.parent
PROGRAMS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in (ROOT / "examples/pos/pos.glas", ROOT / "tests/cases/forms.glas")
}
ERROR_CASES = sorted((ROOT / "tests/cases/errors").glob("*.glas"))
TOKENS = sorted(
    {*re.findall(r"\w+|[^\w\s]+|\s+", "".join(PROGRAMS.values()))} | {"\t", "\\", "\x00", "é", "@", "~"}
)


def without_spans(value: Any) -> Any:
    """A tree as plain data, where only spans are left out."""
    if isinstance(value, tuple):
        return [without_spans(part) for part in value]
    if dataclasses.is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        kept = {name: without_spans(part) for name, part in parts.items() if not isinstance(part, Span)}
        return type(value).__name__, kept
    return value


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """A program with a few pieces removed, doubled, moved or replaced by others."""
    text = PROGRAMS[draw(st.sampled_from(sorted(PROGRAMS)))]
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            pieces = re.findall(r"\w+|[^\w\s]|[ \t]+|\n", text)
        else:
            pieces = list(text)
        where = draw(st.integers(0, len(pieces) - 1))
        new = draw(st.sampled_from(["", pieces[where] * 2, *draw(st.permutations(TOKENS))[:1]]))
        pieces[where] = new
        text = "".join(pieces)
    return text


def check_round_trip(source: Source) -> None:
    """If the source can be parsed, its canonical text gives the same tree, and is its own canonical text."""
    try:
        tree = parse(source)
    except CompileErrors:
        return
    text = print_program(tree)
    again = parse(Source("again", text))
    assert without_spans(again) == without_spans(tree)
    assert print_program(again) == text


@settings(max_examples=50, deadline=None, derandomize=True)
@given(mutants())
def test_mutants_raise_nothing_but_compile_errors(text: str) -> None:
    source = Source("mutant.glas", text)
    check_round_trip(source)
    try:
        driver.check(source)
    except CompileErrors as errors:
        for diagnostic in errors.diagnostics:
            assert diagnostic.render()
            assert json.dumps(diagnostic.to_json())


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(TOKENS), max_size=30))
def test_random_tokens_raise_nothing_but_compile_errors(tokens: list[str]) -> None:
    with pytest.raises(CompileErrors):
        driver.check(Source("random.glas", 'app t version "1"\nstep s\n  fail\n~' + " ".join(tokens)))
    check_round_trip(Source("random.glas", 'app t version "1"\nstep s\n  ' + " ".join(tokens) + "\n"))


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_programs_stay_the_same(name: str) -> None:
    source = Source(name, PROGRAMS[name])
    check_round_trip(source)
    assert re.sub(r"\s*#.*", "", PROGRAMS["pos"]).count("\n") > 50
    typed = driver.dump(source, "check_flow")
    assert driver.dump(Source(name, typed), "check_flow") == typed


@pytest.mark.parametrize("path", ERROR_CASES, ids=lambda path: path.stem)
def test_error_cases_round_trip(path: Path) -> None:
    check_round_trip(Source(path.name, path.read_bytes().decode()))


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_every_prefix_ends_well(name: str) -> None:
    text = PROGRAMS[name]
    for end in range(0, len(text), 97):
        try:
            driver.run_until(Source("prefix.glas", text[:end]), "check_flow")
        except CompileErrors as errors:
            assert all(d.span.end <= len(text) for d in errors.diagnostics)


def test_errors_as_data() -> None:
    source = Source("a.glas", 'app t version "1"\ndb.x : cell Int\ndb.x : cell Int\nstep s\n  db.x := db.y\n')
    with pytest.raises(CompileErrors) as caught:
        driver.check(source)
    twice, unknown = (diagnostic.to_json() for diagnostic in caught.value.diagnostics)
    assert list(twice) == [
        "file", "line", "column", "end_line", "end_column", "severity", "code", "message", "hint", "notes",
    ]  # fmt: skip
    assert (twice["line"], twice["column"], twice["end_line"], twice["end_column"]) == (3, 1, 3, 16)
    assert twice["notes"][0]["line"] == 2
    assert (unknown["code"], unknown["hint"]) == ("E0203", "did you mean `db.x`?")


def test_of_a_long_line_the_part_that_matters_is_shown() -> None:
    def shown(text: str, start: int, end: int) -> str:
        return Diagnostic("E0203", "wrong", Span(Source("long.glas", text), start, end)).render()

    x, y = "x" * 500, "y" * 500
    assert shown(f"{x}!!{y}", 500, 502) == (
        f"long.glas:1:501: error[E0203]: wrong\n  ...{'x' * 40}!!{'y' * 78}...\n  {' ' * 43}^~"
    )
    assert shown(f"!{y}", 0, 501) == f"long.glas:1:1: error[E0203]: wrong\n  !{'y' * 119}...\n  ^{'~' * 119}"
    assert shown(f"{x}!", 500, 501) == (
        f"long.glas:1:501: error[E0203]: wrong\n  ...{'x' * 119}!\n  {' ' * 122}^"
    )
