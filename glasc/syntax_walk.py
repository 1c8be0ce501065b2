"""What stands directly inside a node of the syntax tree, so that passes need not repeat every kind of node.

Knows the shape of the tree; does not know what anything means.
"""

from __future__ import annotations

from collections.abc import Iterator

from glasc import syntax as s

Inner = s.Expr | s.Return | s.Fail | s.Error
"""What can stand directly inside an expression."""

_PARTS: dict[type[s.Node], tuple[str, ...]] = {
    s.TextLit: ("parts",),
    s.Field: ("subject",),
    s.Index: ("subject", "key"),
    s.RecordLit: ("fields",),
    s.VariantLit: ("value",),
    s.Unary: ("operand",),
    s.Binary: ("left", "right"),
    s.Call: ("args",),
    s.JsonAs: ("subject",),
    s.Else: ("attempt", "alternative"),
    s.Let: ("value",),
    s.Assign: ("target", "value"),
    s.ExprStmt: ("value",),
    s.If: ("condition",),
    s.Match: ("subject",),
    s.For: ("state",),
    s.Choose: ("state", "where"),
    s.Return: ("value",),
    s.Error: ("message",),
    s.Assert: ("condition",),
}
_BLOCKS: dict[type[s.Node], tuple[str, ...]] = {
    s.If: ("then", "orelse"),
    s.Try: ("body", "orelse"),
    s.For: ("body",),
}


def children(node: s.Expr | s.Stmt) -> tuple[Inner, ...]:
    """The expressions directly inside a node, in the order of evaluation; not those of its blocks."""
    found: list[Inner] = []
    for name in _PARTS.get(type(node), ()):
        part = getattr(node, name)
        for each in part if isinstance(part, tuple) else (part,):
            inner = each[1] if isinstance(each, tuple) else each  # a field of a record: name and value
            if isinstance(inner, Inner):
                found.append(inner)
    return tuple(found)


def blocks(node: s.Stmt) -> tuple[tuple[s.Stmt, ...], ...]:
    """The blocks directly inside a statement."""
    if isinstance(node, s.Match):
        return tuple(arm.body for arm in node.arms)
    return tuple(getattr(node, name) for name in _BLOCKS.get(type(node), ()))


def everything(statements: tuple[s.Stmt, ...]) -> Iterator[s.Expr | s.Stmt]:
    """All statements and expressions in a block, outer before inner, in the order of the source."""
    for statement in statements:
        yield from inside(statement)
        for block in blocks(statement):
            yield from everything(block)


def inside(node: s.Expr | s.Stmt) -> Iterator[s.Expr | s.Stmt]:
    """A node and all expressions below it, without the blocks of statements."""
    yield node
    for child in children(node):
        yield from inside(child)


def dotted(expr: s.Expr) -> str | None:
    """The dotted name that an expression is as it is written, or None."""
    if isinstance(expr, s.Name):
        return expr.name
    if isinstance(expr, s.Field):
        subject = dotted(expr.subject)
        return None if subject is None else f"{subject}.{expr.name}"
    return None
