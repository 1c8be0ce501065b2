"""The keys in an Access: how they say what is known of a key when compiling.

Knows no pass. See ir.Access.
"""

from __future__ import annotations

from glasc import ir
from glasc.types import TEXT, Record, Type

MIRROR_NAME = ir.Var("sys.mirror.name", TEXT)
UNKNOWN = "?"
"""Name of a part of a key that may differ from one access to the next; `?x` is one that does not."""


def row_of(state: str, kind: Type) -> ir.Var:
    """The key of a row of `state` that is owned by the mirror where the transaction runs."""
    return ir.Var(f"row of {state}", kind)


def field_of(subject: ir.Expr, name: str) -> ir.Expr:
    """`subject.name` as far as it is known: the field itself where the subject is a record that is
    written out.
    """
    assert isinstance(subject.type, Record)
    kind = dict(subject.type.fields)[name]
    if isinstance(subject, ir.Make):
        names = [field for field, _ in subject.type.fields]
        return subject.fields[names.index(name)]
    if isinstance(subject, ir.Var) and subject.name == UNKNOWN:
        return ir.Var(UNKNOWN, kind)
    return ir.Get(subject, name, kind)
