"""What a build prints: tables of the plan and of what was written, for a terminal, a pipe or a program.

Owns their columns and form. Does not know how anything was built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glasc.whole_build import Built

_KIB = 1024


@dataclass(frozen=True)
class Table:
    """A table with a title."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(built: Built) -> tuple[Table, ...]:
    """Everything that a build has to say; tables without rows are left out."""
    plan = built.compiled.plan
    states = tuple((state["name"], state["kind"], state["owner"], state["why"]) for state in plan["states"])
    methods = tuple((method["title"], _routes(method["routes"])) for method in plan["methods"])
    bundles = tuple(
        (
            target.name,
            str(bundle.path),
            _size(bundle.size),
            _size(bundle.so_size),
            "unchanged" if bundle.cached else "new",
        )
        for target, bundle in built.bundles
    )
    found = (
        Table("state", ("name", "kind", "owner", "why"), states),
        Table("methods", ("method", "runs"), methods),
        Table("bundles", ("target", "file", "size", "module", ""), bundles),
    )
    return tuple(table for table in found if table.rows)


def heading(built: Built) -> str:
    """One line that says what was built."""
    plan = built.compiled.plan
    return f"{plan['app']} {plan['version']}, protocol {plan['protocol_id']}"


def footing(built: Built) -> str:
    """One line about what goes with the bundles."""
    return f"beside them {built.host_wheel}, which every mirror needs too"


def plain(table: Table) -> list[str]:
    """The table as lines, columns lined up."""
    rows = (table.head, *table.rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    lines = [table.title]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines += [("  " + "  ".join(cells)).rstrip()]
    return lines


def as_data(built: Built) -> dict[str, Any]:
    """The same for programs; keys are stable."""
    plan = built.compiled.plan
    return {
        "ok": True,
        "app": plan["app"],
        "version": plan["version"],
        "protocol_id": plan["protocol_id"],
        "bundles": [
            {
                "target": target.name,
                "path": str(bundle.path),
                "size": bundle.size,
                "module_size": bundle.so_size,
                "cached": bundle.cached,
            }
            for target, bundle in built.bundles
        ],
        "host_wheel": str(built.host_wheel),
        "plan": plan,
        "diagnostics": [data for _, data in built.compiled.warnings],
    }


def _routes(routes: Sequence[Mapping[str, Any]]) -> str:
    """`local at hq; ship at shop`: how a method runs at each place, places with the same answer together."""
    grouped: dict[str, list[str]] = {}
    for route in routes:
        grouped.setdefault(route["how"], []).append(route["place"] or "no place")
    if not grouped:
        return "where it is checked"
    if len(grouped) == 1:
        return f"{next(iter(grouped))} everywhere"
    return "; ".join(f"{how} at {', '.join(places)}" for how, places in grouped.items())


def _size(count: int) -> str:
    return f"{count / _KIB:.0f} KiB"
