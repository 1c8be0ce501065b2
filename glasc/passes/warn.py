"""Warnings: what is allowed and probably not meant. A hint may be ignored (docs/language.md), but not in
silence.

Takes a program that has passed all checks; changes nothing.
"""

from __future__ import annotations

from glasc import syntax as s
from glasc.diagnostics import Diagnostic, in_order
from glasc.passes.check_declarations import is_owned


def warn(program: s.Program) -> tuple[Diagnostic, ...]:
    """The warnings for a program, in the order of the source."""
    return in_order(found for state in program.states for found in _state(state))


def _state(state: s.State) -> list[Diagnostic]:
    found = []
    pinned = any(each.name == "at" for each in state.annotations)
    together = any(each.name == "together" for each in state.annotations)
    for each in state.annotations:
        if each.name == "near" and not is_owned(state.kind):
            found.append(_ignored(each, f"a {state.kind} has no owner that could be near"))
        elif each.name in ("near", "together") and pinned:
            found.append(_ignored(each, "`@at` decides already"))
        elif each.name == "near" and together:
            found.append(_ignored(each, "`@together` decides already"))
    return found


def _ignored(annotation: s.Annotation, why: str) -> Diagnostic:
    return Diagnostic("W0501", f"the hint `@{annotation.name}` has no effect: {why}", annotation.span)
