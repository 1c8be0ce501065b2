"""The pass `place`: gives every state its `owner`, and in `why` the reason for people.

Takes a program with accesses; changes nothing but owners. Annotations were checked by the front end; what
remains to decide is:

1. Counters and bounded counters, and dicts of them, have no owner.
2. `@at`, `@near` and `@reader` name an owner.
3. `@together`, which goes before a `@near` of the same state, spreads the owner of one state over its
   group; where a group has several, each annotated state keeps its own and the others follow the first,
   in the order of the program. A hint that comes to nothing is in `ignored_hints`.
4. Without any of these, a state lives where the methods that touch it must run anyway, when all of them
   agree on one place; else at the origin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from glasc import ir
from glasc.diagnostics import Diagnostic
from glasc.ir_owners import needs, reads_replica
from glasc.ir_text import owner_text
from glasc.types import Bounded, Counter, Dict

Group = tuple[str, ...]


def place(program: ir.Program) -> ir.Program:
    """The program with the owners of all states, stage "place"."""
    placed = replace(program, stage="place", states=tuple(_annotated(state) for state in program.states))
    placed = _spread(placed)
    while (more := _settle(placed)) != placed:
        placed = more
    return replace(placed, states=tuple(_at_origin(state) for state in placed.states))


def ignored_hints(program: ir.Program) -> tuple[Diagnostic, ...]:
    """Warnings about each `@together` of a placed program that names a state with another owner.

    Not about a state with `@at`: warn.py tells that its other hints have no effect.
    """
    found = []
    for state in program.states:
        spans = dict(state.annotation_spans)
        for name in state.together if state.at is None else ():
            other = program.state(name)
            if other.owner != state.owner:
                assert other.owner is not None and state.owner is not None
                message = f"`@together {name}` has no effect: {state.name} is {owner_text(state.owner)}"
                message += f", {name} {owner_text(other.owner)}"
                found.append(Diagnostic("W0501", message, spans.get("together", state.span)))
    return tuple(found)


# ---------------------------------------------------------------- kinds and annotations


def _is_ownerless(state: ir.State) -> bool:
    inner = state.kind.value if isinstance(state.kind, Dict) else state.kind
    return isinstance(inner, Counter | Bounded)


def _annotated(state: ir.State) -> ir.State:
    """The state with the owner that its kind or its own annotations give, if they give one."""
    if _is_ownerless(state):
        inner = state.kind.value if isinstance(state.kind, Dict) else state.kind
        return replace(state, owner=ir.Ownerless(), why=f"{inner}: every mirror has a replica")
    if state.at is not None:
        return replace(state, owner=ir.AtPlace(state.at), why=f"pinned by `@at {state.at}`")
    if state.reader is not None:
        return replace(
            state, owner=ir.AtPlace(state.reader), why=f"read there, says `@reader {state.reader}`"
        )
    return state if state.near is None or state.together else _near(state)


def _near(state: ir.State) -> ir.State:
    """The state with the owner that its `@near` names."""
    assert state.near is not None
    if state.near_key is None:
        return replace(state, owner=ir.AtPlace(state.near), why=f"`@near {state.near}`")
    owner = ir.ByKey(state.near, state.near_key)
    return replace(state, owner=owner, why=f"`@near {state.near}` of each row's key, else the origin")


# ---------------------------------------------------------------- together


def _groups(program: ir.Program) -> Iterator[Group]:
    """States that `@together` ties to each other, directly or by way of others; each group in program
    order.
    """
    root = {state.name: state.name for state in program.states}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for state in program.states:
        for other in state.together:
            root[find(other)] = find(state.name)
    members: dict[str, list[str]] = {}
    for state in program.states:
        members.setdefault(find(state.name), []).append(state.name)
    return (tuple(names) for names in members.values())


def _spread(program: ir.Program) -> ir.Program:
    """Owners of annotated states go to the other states of their groups; the front end saw that they fit."""
    found: dict[str, tuple[ir.Owner | None, str]] = {}
    for group in _groups(program):
        states = [program.state(name) for name in group]
        giver = next((state for state in states if state.owner is not None), None)
        giver = giver or next((_near(state) for state in states if state.near is not None), None)
        if giver is not None:
            reason = (giver.owner, f"together with {giver.name}")
            found.update((state.name, reason) for state in states if state.owner is None)
            found[giver.name] = (giver.owner, giver.why)
    return _with_owners(program, found)


def _with_owners(program: ir.Program, owners: dict[str, tuple[ir.Owner | None, str]]) -> ir.Program:
    states = (
        replace(state, owner=owners[state.name][0], why=owners[state.name][1])
        if state.name in owners
        else state
        for state in program.states
    )
    return replace(program, states=tuple(states))


# ---------------------------------------------------------------- states without annotations


def _settle(program: ir.Program) -> ir.Program:
    """One round: groups without an owner go where all methods that touch them must run for what has an
    owner already.
    """
    found: dict[str, tuple[ir.Owner | None, str]] = {}
    for group in _groups(program):
        free = tuple(name for name in group if program.state(name).owner is None)
        if free and (agreed := _agreed(program, free)) is not None:
            found.update((name, agreed) for name in free)
    return _with_owners(program, found)


def _agreed(program: ir.Program, states: Group) -> tuple[ir.Owner, str] | None:
    """The one place where every method that touches one of the states must run anyway, if there is such a
    place.
    """
    users = [
        method
        for method in program.methods
        if method.kind != "invariant" and _touches(program, method, states)
    ]
    places = [_must_run_at(program, method) for method in users]
    if not places or any(len(found) != 1 for found in places) or len(set().union(*places)) != 1:
        return None
    ((name, needed),) = places[0].items()
    return ir.AtPlace(name), f"{users[0].title} must run there for {needed}"


def _touches(program: ir.Program, method: ir.Method, states: Group) -> bool:
    accesses = method.accesses or ()
    return any(
        access.state in states and not reads_replica(program.state(access.state), accesses)
        for access in accesses
        if access.kind != "write"
    )


def _must_run_at(program: ir.Program, method: ir.Method) -> dict[str, str]:
    """The places of the owners that a method needs, each with the first state that it needs there."""
    found: dict[str, str] = {}
    for need in needs(program, method):
        if isinstance(need.owner, ir.AtPlace):
            found.setdefault(need.owner.place, need.access.state)
    return found


def _at_origin(state: ir.State) -> ir.State:
    if state.owner is not None:
        return state
    return replace(state, owner=ir.AtOrigin(), why="nothing says where else")
