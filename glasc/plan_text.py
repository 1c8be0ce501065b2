"""The plan for people: owners and why, routes and why, and what works at a place that is cut off from all
others.

Takes a program after route; decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from glasc import ir
from glasc.ir_text import owner_text
from glasc.passes.route import NO_PLACE, origin_places
from glasc.types import Queue

_UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1000))


@dataclass(frozen=True)
class Survival:
    """What becomes of a method at a mirror of a place ("" for no place) that is cut off from all other
    mirrors.
    """

    method: str  # title
    place: str
    works: str  # "works", or why it does not always


def survives(program: ir.Program) -> tuple[Survival, ...]:
    """One entry for each method but invariants and each place, in program order."""
    return tuple(
        Survival(method.title, route.place, _cut_off(program, method, route))
        for method in program.methods
        for route in method.routes
    )


def plan_text(program: ir.Program) -> str:
    """The plan as a page of text, with a newline at the end."""
    lines = [f"Plan of {program.name} {program.version}"]
    for head, rows in (
        ("Owners", _owners(program)),
        ("Where methods run", _routes(program)),
        ("What works at a mirror that is cut off", _cuts(program)),
        ("What the configuration must say", _demands(program)),
    ):
        table = list(rows)
        if table:
            lines += ["", head, *_columns(table)]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- what works


def _cut_off(program: ir.Program, method: ir.Method, route: ir.Route) -> str:
    if method.kind == "start":
        return "works at the origin" if route.how == "local" else "never runs here"
    where = _missing(program, route)
    match route.how:
        case "local":
            return f"works if the origin is here, for {where}" if where else "works"
        case "keyed":
            return "works for rows that live here, waits for others"
        case "skip":
            return f"is left to others, for {where}"
    return f"waits, for {where}"


def _missing(program: ir.Program, route: ir.Route) -> str:
    """The owners elsewhere that the route needs, as `db.price at hq`."""
    away = []
    for name in route.needs:
        owner = program.state(name).owner
        assert owner is not None
        if owner != ir.AtPlace(route.place):
            away.append(f"{name} {owner_text(owner)}")
    return " and ".join(away)


# ---------------------------------------------------------------- tables


def _place(name: str) -> str:
    return "elsewhere" if name == NO_PLACE else name


def _owners(program: ir.Program) -> Iterator[Sequence[str]]:
    for state in program.states:
        assert state.owner is not None
        end = "read " if isinstance(state.kind, Queue) else ""
        stale = "" if state.stale_us is None else f"; replicas at most {_duration(state.stale_us)} old"
        yield state.name, end + owner_text(state.owner), state.why + stale


def _duration(microseconds: int) -> str:
    """A length of time in the largest unit that fits without a rest, `1d`."""
    for unit, size in _UNITS:
        if microseconds >= size and microseconds % size == 0:
            return f"{microseconds // size}{unit}"
    return f"{microseconds}us"


def _routes(program: ir.Program) -> Iterator[Sequence[str]]:
    for method in program.methods:
        routes = [(route.place, (route.how, route.why)) for route in method.routes]
        yield from _grouped(method.title, routes)


def _cuts(program: ir.Program) -> Iterator[Sequence[str]]:
    entries = survives(program)
    for title in dict.fromkeys(entry.method for entry in entries):
        yield from _grouped(title, [(e.place, (e.works,)) for e in entries if e.method == title])


def _grouped(title: str, cells: Sequence[tuple[str, tuple[str, ...]]]) -> Iterator[Sequence[str]]:
    """A row for each different text, with the places that it is about; the title in the first row only."""
    for i, text in enumerate(dict.fromkeys(text for _, text in cells)):
        places = [_place(place) for place, other in cells if other == text]
        where = "everywhere" if len(places) == len(cells) else ", ".join(places)
        yield "" if i else title, where, *text


def _demands(program: ir.Program) -> Iterator[Sequence[str]]:
    for place, title, state in origin_places(program):
        yield f"the origin stands at {place}", f"for {state} in {title}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, two spaces between columns, indented by two."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
