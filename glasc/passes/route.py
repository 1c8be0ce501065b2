"""The pass `route`: says for each method and each kind of place where a run of the method that starts
there happens.

Takes a program with owners; changes only Method.routes. Invariants get none: the simulator evaluates them
over all mirrors. Refuses programs that would need what is not supported yet (two-phase commit, iteration
over rows at many mirrors), and those that break an `@available`.

A mirror that stands at several places may follow the best of its routes. For what the origin owns, every
place says `ship` or `skip`; the origin itself finds the state here and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from glasc import ir
from glasc.diagnostics import Collector, Note
from glasc.ir_owners import (
    STALE_KINDS,
    Need,
    here,
    is_known,
    named_here,
    needs,
    reads_replica,
    row_place,
    static_owner,
)
from glasc.ir_text import expr_text, owner_text

NO_PLACE = ""


def route(program: ir.Program) -> ir.Program:
    """The program with the routes of all methods, stage "route"; raises CompileErrors where there are
    none.
    """
    errors = Collector()
    views = [_View.of(program, method) for method in program.methods]
    for view in views:
        for check in _CHECKS.get(view.method.kind, _CHECKS[""]):
            check(view, errors)
    errors.finish()
    places = [*(name for name, _ in program.places), NO_PLACE]
    methods = (view.method if view.method.kind == "invariant" else _routed(view, places) for view in views)
    return replace(program, stage="route", methods=tuple(methods))


def origin_places(program: ir.Program) -> tuple[tuple[str, str, str], ...]:
    """The places where the origin must stand, each with the title of a method and a state that say so.

    `start` runs at the origin; and what the origin owns is in one transaction with what a place owns only
    there.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for method in program.methods:
        view = _View.of(program, method)
        if (
            view.place is not None
            and (method.kind == "start" or view.at_origin)
            and method.kind != "invariant"
        ):
            found.setdefault(view.place, (view.place, method.title, view.static[0].access.state))
    return tuple(found.values())


# ---------------------------------------------------------------- what a method needs


@dataclass(frozen=True)
class _View:
    """A method and what it needs: states with one owner, rows by key, and rows here by construction."""

    program: ir.Program
    method: ir.Method
    static: tuple[Need, ...]  # the first of each state; those at places before those at the origin
    keyed: tuple[Need, ...]  # of ByKey states, but for those that are here wherever the method runs

    @staticmethod
    def of(program: ir.Program, method: ir.Method) -> _View:
        """The view of one method."""
        found = list(needs(program, method))
        static: dict[str, Need] = {}
        for need in found:
            if static_owner(need) is not None:
                static.setdefault(need.access.state, need)
        keyed = [need for need in found if static_owner(need) is None and not here(program, need)]
        ordered = sorted(static.values(), key=lambda need: isinstance(need.owner, ir.AtOrigin))
        return _View(program, method, tuple(ordered), tuple(keyed))

    @property
    def place(self) -> str | None:
        """The place whose mirror must run the method, if there is one."""
        return next((need.owner.place for need in self.static if isinstance(need.owner, ir.AtPlace)), None)

    @property
    def at_origin(self) -> bool:
        """Whether the method needs a state that the origin owns."""
        return any(isinstance(need.owner, ir.AtOrigin) for need in self.static)

    @property
    def states(self) -> tuple[str, ...]:
        """The states whose one owner must run the method."""
        return tuple(need.access.state for need in self.static)


# ---------------------------------------------------------------- routes


def _routed(view: _View, places: list[str]) -> ir.Method:
    find = _start_route if view.method.kind == "start" else _route
    return replace(view.method, routes=tuple(find(view, place) for place in places))


def _start_route(view: _View, place: str) -> ir.Route:
    """`start` runs at the origin, wherever that stands; so the origin must stand where start needs
    something.
    """
    if view.place in (None, place):
        return ir.Route(place, "local", view.states, "only the origin runs it")
    why = f"the origin must stand at {view.place}, for {view.states[0]}"
    return ir.Route(place, "skip", view.states, why)


def _route(view: _View, place: str) -> ir.Route:
    if view.static:
        return _static_route(view, place)
    if not view.keyed:
        return ir.Route(place, "local", (), _why_anywhere(view))
    return _keyed_route(view, place)


def _static_route(view: _View, place: str) -> ir.Route:
    """The route of a method that needs states with one owner each."""
    need = view.static[0]
    if view.place == place:
        origin = f"; the origin must stand here, for {view.states[-1]}" if view.at_origin else ""
        return ir.Route(place, "local", view.states, f"{need.access.state} is owned here{origin}")
    how = "skip" if view.method.kind == "step" else "ship"
    return ir.Route(place, how, view.states, f"{need.access.state} is owned {owner_text(need.owner)}")


def _keyed_route(view: _View, place: str) -> ir.Route:
    """The route of a method that needs rows which live where their key says."""
    need = view.keyed[0]
    owner, where = need.owner, row_place(need)
    assert isinstance(owner, ir.ByKey) and where is not None
    if place == owner.place and all(named_here(each) for each in view.keyed):
        return ir.Route(place, "local", (), f"the rows of {need.access.state} are those of this mirror")
    text = expr_text(where)
    why = f"rows of {need.access.state} are at the {owner.place} that `{text}` names, else at the origin"
    return ir.Route(place, "keyed", (), why)


def _why_anywhere(view: _View) -> str:
    accesses = view.method.accesses or ()
    names = dict.fromkeys(access.state for access in accesses)
    stale = [name for name in names if reads_replica(view.program.state(name), accesses)]
    rows = [need.access.state for need in needs(view.program, view.method)]
    if rows:
        return f"works on the rows of {rows[0]} that are here"
    return f"reads {', '.join(stale)} from a replica" if stale else "needs nothing from elsewhere"


# ---------------------------------------------------------------- what cannot be routed


def _one_place(view: _View, errors: Collector) -> None:
    """All states with an owner at a place must be owned at the same one."""
    pinned = [need for need in view.static if isinstance(need.owner, ir.AtPlace)]
    for other in pinned[1:]:
        if other.owner != pinned[0].owner:
            message = (
                f"not supported yet: {_owned(pinned[0])} and {_owned(other)}; "
                f"they would need two-phase commit in {view.method.title}"
            )
            note = Note("the other one is used here", pinned[0].access.span)
            hint = "split the method: write to a queue here, and read it where the other state is"
            errors.error("E0701", message, other.access.span, notes=[note], hint=hint)
            return


def _owned(need: Need) -> str:
    return f"{need.access.state} is owned {owner_text(need.owner)}"


def _no_rows_of_many(view: _View, errors: Collector) -> None:
    """Iterating over rows that live at many mirrors needs all of them."""
    for need in view.keyed:
        if need.access.kind == "rows":
            message = f"not supported yet: `for` over {need.access.state} needs the rows of all mirrors"
            hint = "`choose` looks at the rows here; an invariant may use `for`"
            errors.error("E0702", message, need.access.span, hint=hint)


def _rows_of_one(view: _View, errors: Collector) -> None:
    """The rows that a method needs by key must live at one mirror, and none beside a state with another
    owner.
    """
    rows = [need for need in view.keyed if need.access.key is not None]
    if rows and view.static:
        other = rows[0].access
        message = (
            f"not supported yet: {_owned(view.static[0])}, and a row of {other.state} may live elsewhere"
        )
        note = Note(f"{view.static[0].access.state} is used here", view.static[0].access.span)
        errors.error("E0703", message, other.span, notes=[note])
        return
    for need in rows[1:]:
        if not _same_mirror(rows[0], need):
            one, two = rows[0].access.state, need.access.state
            both = f"two rows of {one}" if one == two else f"a row of {one} and one of {two}"
            message = f"not supported yet: {both} may live at different mirrors"
            note = Note("the other row", rows[0].access.span)
            errors.error("E0703", message, need.access.span, notes=[note])
            return


def _same_mirror(left: Need, right: Need) -> bool:
    """Whether two rows certainly live at the same mirror."""
    one, two = row_place(left), row_place(right)
    assert isinstance(left.owner, ir.ByKey) and isinstance(right.owner, ir.ByKey)
    same = one == two and left.owner.place == right.owner.place
    return same and one is not None and is_known(one)


def _choice_is_here(view: _View, errors: Collector) -> None:
    """`choose` looks at the rows of the mirror where the method runs; what else the method needs may not say
    where that is, or rows elsewhere would never be chosen.
    """
    others = list(view.static)
    if view.method.kind != "step":  # a step that needs a row elsewhere is refused for that
        others += [need for need in view.keyed if not named_here(need)]
    for need in needs(view.program, view.method):
        if need.access.kind == "choose" and static_owner(need) is None and others:
            message = (
                f"not supported yet: `choose` over {need.access.state} looks at the rows of one mirror, and "
                f"{others[0].access.state} says which"
            )
            note = Note(f"{others[0].access.state} is used here", others[0].access.span)
            hint = "let a step choose, and write to a queue what the other state needs to know"
            errors.error("E0708", message, need.access.span, notes=[note], hint=hint)
            return


def _step_stays(view: _View, errors: Collector) -> None:
    """A step cannot be shipped: it runs where its states are, so it may not depend on where it started."""
    if view.static and view.method.observes_name:
        need = view.static[0]
        message = f"not supported yet: {view.method.title} uses sys.mirror.name, but {_owned(need)}"
        hint = "a step that asks for its mirror's name runs at every mirror, so it needs what is there"
        errors.error("E0704", message, need.access.span, hint=hint)
    for need in view.keyed:
        if need.access.key is not None and not named_here(need):
            message = f"not supported yet: {_row_elsewhere(view, need)}"
            hint = "`choose` finds rows that are here, and sys.mirror.name names the mirror"
            errors.error("E0705", message, need.access.span, hint=hint)
            return


def _row_elsewhere(view: _View, need: Need) -> str:
    return f"{view.method.title} needs a row of {need.access.state} that may live elsewhere"


def _start_stays(view: _View, errors: Collector) -> None:
    """`start` runs at the origin, which may not be the mirror that a key names."""
    for need in view.keyed[:1]:
        message = f"not supported yet: {_row_elsewhere(view, need)}"
        errors.error("E0706", message, need.access.span, hint="let a step or a request make the row")


def _available(view: _View, errors: Collector) -> None:
    """What a method with `@available P` needs must be here at every mirror of P."""
    method = view.method
    place, span = method.available, method.available_span
    if place is None or span is None:
        return
    told: set[str] = set()
    for need in needs(view.program, method):
        problem = _missing(view, need, place)
        if problem is not None and need.access.state not in told:
            told.add(need.access.state)
            message = f"{method.title} cannot commit at {place} alone: {problem[0]}"
            note = Note(f"{method.title} promises it here", span)
            errors.error("E0707", message, need.access.span, notes=[note], hint=problem[1])


def _missing(view: _View, need: Need, place: str) -> tuple[str, str | None] | None:
    """What a mirror at the place may lack, and a hint; None where the need is met there in any partition."""
    state = view.program.state(need.access.state)
    match need.owner:
        case ir.AtPlace(owner) if owner == place:
            return None
        case ir.AtPlace() | ir.AtOrigin():
            return _owned(need), _hint(view, state)
        case ir.ByKey(owner):
            if here(view.program, need) or (owner == place and named_here(need)):
                return None
            if need.access.key is None:
                return (
                    f"`for` needs the rows of {state.name} at all mirrors",
                    "`choose` looks at the rows here",
                )
            hint = f"a row whose key names sys.mirror.name is at the {owner} where the method runs"
            return f"a row of {state.name} may live at another mirror", hint if owner == place else None
    return None


def _hint(view: _View, state: ir.State) -> str:
    """What could be done about a state that is owned elsewhere."""
    kinds = {access.kind for access in view.method.accesses or () if access.state == state.name}
    if "read" in kinds:
        if view.method.kind == "step":
            return f"`@reader P` under {state.name} names the place where it is read; this step runs there"
        return f"only one mirror reads {state.name}; let a step do it"
    if kinds <= STALE_KINDS and state.name.startswith("db."):
        return f"`@mirror stale 1d` under {state.name} lets it be read everywhere"
    if kinds <= STALE_KINDS:
        return "only its owner knows what is in `mem.`; keep it in `db.` with `@mirror stale D`, or a counter"
    return "to change it from elsewhere, write to a queue that is read there, or use a counter"


_CHECKS = {
    "": (_one_place, _no_rows_of_many, _rows_of_one, _choice_is_here, _available),
    "step": (_one_place, _no_rows_of_many, _rows_of_one, _choice_is_here, _step_stays, _available),
    "start": (_one_place, _start_stays),
    "invariant": (),
}
"""What is checked, by kind of method; `""` stands for the other kinds."""
