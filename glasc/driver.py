"""THE list of passes, in order, and how to run a part of it.

Owns the order. Does not know what a pass does, nor where sources come from and messages go.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from glasc import ir, ir_check, paths
from glasc.build import ModuleSource
from glasc.diagnostics import Diagnostic, in_order
from glasc.emit.model import App
from glasc.emit.render import Files, render
from glasc.ir_text import program_text
from glasc.parse import parse
from glasc.passes.check_declarations import check_declarations
from glasc.passes.check_flow import check_flow
from glasc.passes.infer_effects import infer_effects
from glasc.passes.infer_types import infer_types
from glasc.passes.lower import lower
from glasc.passes.place import ignored_hints, place
from glasc.passes.plan_protocol import Protocol, plan_protocol, protocol_text
from glasc.passes.resolve import resolve
from glasc.passes.route import route
from glasc.passes.simplify import simplify
from glasc.passes.to_c import to_c
from glasc.passes.warn import warn
from glasc.source import Source
from glasc.syntax_text import print_program


@dataclass(frozen=True)
class Pass:
    """One pass: a pure function of what the pass before it leaves, and a printer of its own result."""

    name: str
    run: Callable[[Any], Any]
    print: Callable[[Any], str]


@dataclass(frozen=True)
class Planned:
    """A routed program and the protocol of its mirrors."""

    program: ir.Program
    protocol: Protocol


@dataclass(frozen=True)
class Translated:
    """What is left of a program when C is to be written."""

    planned: Planned
    app: App


def _planned(program: ir.Program) -> Planned:
    return Planned(program, plan_protocol(program))


def _translated(planned: Planned) -> Translated:
    return Translated(planned, to_c(planned.program, planned.protocol))


def _files_text(translated: Translated) -> str:
    """All generated C, one file after the other."""
    files = _render(translated.app).c_files
    return "\n".join(f"/* ==== {name} ==== */\n{text}" for name, text in files.items())


_HEADERS = ("glas_core.h", "glas_module.h")  # those that cffi reads


def _render(app: App) -> Files:
    include = paths.runtime_c() / "include"
    return render(app, [(include / name).read_text(encoding="utf-8") for name in _HEADERS])


def _checked(run: Callable[[Any], ir.Program]) -> Callable[[Any], ir.Program]:
    """The pass, followed by a check of what it leaves: InternalError is a bug of the pass."""

    def checked(value: Any) -> ir.Program:
        program = run(value)
        ir_check.check(program)
        return program

    return checked


PASSES = (
    # text -> syntax tree
    Pass("parse", parse, print_program),
    # names -> what they mean; types expanded
    Pass("resolve", resolve, print_program),
    # no change: annotations, places and HTTP paths make sense
    Pass("check_declarations", check_declarations, print_program),
    # types of everything
    Pass("infer_types", infer_types, print_program),
    # no change: every way through a method ends well, no code without use
    Pass("check_flow", check_flow, print_program),
    # syntax -> the core language: evaluation order, every effect a statement
    Pass("lower", _checked(lower), program_text),
    # what each method reads and writes, and with which keys
    Pass("infer_effects", _checked(infer_effects), program_text),
    # less code with the same meaning
    Pass("simplify", _checked(simplify), program_text),
    # annotations and effects -> owners
    Pass("place", _checked(place), program_text),
    # owners and effects -> what happens to a method at a place
    Pass("route", _checked(route), program_text),
    # + the wire: numbers, contents of entries, messages, protocol id
    Pass("plan_protocol", _planned, lambda planned: protocol_text(planned.protocol)),
    # the core language -> a view of the C to write
    Pass("to_c", _translated, _files_text),
)
"""Each takes what the one above it returns, the first a Source. All raise CompileErrors."""


_FRAMES = 10_000
"""Calls that may be open at once: passes recurse on the tree, some ten calls for each of its levels
(MAX_DEPTH in parse.py).
"""


@contextmanager
def _deep() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def run_until(source: Source, name: str) -> Any:
    """What the pass `name` leaves of a source. Raises CompileErrors; ValueError if there is no such pass."""
    names = [each.name for each in PASSES]
    value: Any = source
    with _deep():
        for each in PASSES[: names.index(name) + 1]:
            value = each.run(value)
    return value


def dump(source: Source, name: str) -> str:
    """The text of what the pass `name` leaves of a source. Raises like run_until."""
    printers = {each.name: each.print for each in PASSES}
    left = run_until(source, name)
    with _deep():
        return printers[name](left)


def check(source: Source) -> tuple[Diagnostic, ...]:
    """Runs everything that can find mistakes in a program; the warnings for it. Raises CompileErrors."""
    return _warnings(_run_all(source))


def compile_program(source: Source) -> ModuleSource:
    """Everything that goes into the bundle of a program, but for the core. Raises CompileErrors."""
    return _module_source(run_until(source, "to_c"))


def compile_and_warn(source: Source) -> tuple[ModuleSource, tuple[Diagnostic, ...]]:
    """compile_program and check in one. Raises CompileErrors."""
    left = _run_all(source)
    return _module_source(left["to_c"]), _warnings(left)


def _run_all(source: Source) -> dict[str, Any]:
    """What each pass leaves of a source."""
    left: dict[str, Any] = {}
    value: Any = source
    with _deep():
        for each in PASSES:
            value = left[each.name] = each.run(value)
    return left


def _warnings(left: dict[str, Any]) -> tuple[Diagnostic, ...]:
    return in_order((*warn(left["check_flow"]), *ignored_hints(left["route"])))


def _module_source(translated: Translated) -> ModuleSource:
    app = translated.app
    files = _render(app)
    return ModuleSource(app.name, app.version, files.c_files, files.cdef, files.preamble, files.package)
