"""Questions about owners that several passes ask: which states a method needs at their owners, and which
rows are here.

Knows accesses and owners, not how either is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from glasc import ir
from glasc.ir_keys import MIRROR_NAME, UNKNOWN, field_of, row_of
from glasc.ir_walk import rewrite, subexpressions
from glasc.types import Dict

LOCAL_KINDS = frozenset({"write", "add", "sub", "sum"})
"""Kinds of access that every mirror can do for itself: queue writes, and whatever is done with ownerless
state.
"""

STALE_KINDS = frozenset({"get", "rows"})
"""Kinds of access that a stale replica can serve."""


@dataclass(frozen=True)
class Need:
    """An access that must happen at the owner of its state."""

    access: ir.Access
    owner: ir.Owner


def needs(program: ir.Program, method: ir.Method) -> Iterator[Need]:
    """The accesses of a method that must happen at an owner which is known (from infer_effects on), in
    order.
    """
    accesses = method.accesses or ()
    for access in accesses:
        state = program.state(access.state)
        local = access.kind in LOCAL_KINDS or reads_replica(state, accesses)
        if state.owner is not None and not local:
            yield Need(access, state.owner)


def reads_replica(state: ir.State, accesses: tuple[ir.Access, ...]) -> bool:
    """Whether a method with these accesses only reads the state, and may do so through `@mirror stale`."""
    kinds = {access.kind for access in accesses if access.state == state.name}
    return state.stale_us is not None and kinds <= STALE_KINDS


def static_owner(need: Need) -> ir.AtPlace | ir.AtOrigin | None:
    """The owner of a need where it is one mirror for the whole state."""
    return need.owner if isinstance(need.owner, ir.AtPlace | ir.AtOrigin) else None


# ---------------------------------------------------------------- rows that live where their key says


def here(program: ir.Program, need: Need) -> bool:
    """Whether the rows of a ByKey access are those of the mirror where the method runs, at any place."""
    access = need.access
    if access.kind == "choose":
        return True
    return any(
        isinstance(state.kind, Dict)
        and state.owner == need.owner
        and access.key == row_of(state.name, state.kind.key)
        for state in program.states
    )


def row_place(need: Need) -> ir.Expr | None:
    """The name of the mirror where the row of a ByKey access lives, as far as it is known; None for many
    rows.
    """
    if not isinstance(need.owner, ir.ByKey) or need.access.key is None:
        return None
    key = need.access.key

    def change(part: ir.Expr) -> ir.Expr:
        match part:
            case ir.Var("key"):
                return key
            case ir.Get(subject=subject, name=name):
                return field_of(subject, name)
        return part

    return rewrite(need.owner.key, change)


def named_here(need: Need) -> bool:
    """Whether the row of a ByKey access lives at the mirror where the transaction started, if that stands
    at the place.
    """
    return row_place(need) == MIRROR_NAME


def is_known(expr: ir.Expr) -> bool:
    """Whether an expression in terms of a method's accesses has the same value each time it is evaluated
    in a run.
    """
    return not any(isinstance(part, ir.Var) and part.name == UNKNOWN for part in subexpressions(expr))
