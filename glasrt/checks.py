"""What must hold for any app after a simulation: each check returns the violations that it finds.

Owns checks that need no knowledge of an app. Does not know how the result came about.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from glasrt.sim import Result


def finished(result: Result) -> list[str]:
    """No violation was seen while it ran, and every call has ended."""
    found = list(result.violations)
    found += [f"call {call.number} never ended" for call in result.history if call.ended_us < 0]
    return found


def replicas_equal(result: Result, states: Sequence[str]) -> list[str]:
    """Ownerless state is the same at all mirrors, in whatever order they show its rows."""
    found = []
    for state in states:
        values = {mirror: _in_order(result.states[mirror].get(state)) for mirror in result.states}
        first = next(iter(values.values()))
        if any(value != first for value in values.values()):
            found.append(f"{state} differs: {values}")
    return found


def _in_order(rows: Any) -> Any:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True)) if isinstance(rows, list) else rows


def frontiers_equal(result: Result) -> list[str]:
    """Every mirror has applied as much of each log as the others."""
    frontiers = {mirror: frontier_of(status) for mirror, status in result.status.items()}
    known = [frontier for frontier in frontiers.values() if frontier is not None]
    if len(known) != len(frontiers):
        return ["a mirror shows no frontier"]
    return [] if all(frontier == known[0] for frontier in known) else [f"frontiers differ: {frontiers}"]


def frontier_of(status: Any) -> Any:
    """The frontier in a core's status, or None."""
    if not isinstance(status, dict) or "mirrors" not in status:
        return None
    return {name: mirror["applied"] for name, mirror in status["mirrors"].items()}


def exactly_once(written: Iterable[Any], read: Iterable[Any], left: Iterable[Any]) -> list[str]:
    """Items of a queue: each one written was read once or is still there, and nothing else was read."""
    expected, seen = Counter(written), Counter(read) + Counter(left)
    found = [f"lost: {item!r}, {count} times" for item, count in (expected - seen).items()]
    return found + [f"too often: {item!r}, {count} times" for item, count in (seen - expected).items()]


def counts_between(name: str, least: int, found: int, most: int) -> list[str]:
    """A number that unknown calls make uncertain."""
    return [] if least <= found <= most else [f"{name} is {found}, but must be {least} to {most}"]


def outcomes(result: Result) -> dict[str, int]:
    """How many calls ended in which way: shows whether a run tested anything."""
    return dict(Counter(call.outcome for call in result.history))
