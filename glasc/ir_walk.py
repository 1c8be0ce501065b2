"""Walks over the core language: the parts of its nodes, and copies with parts replaced.

Works on the shape of the dataclasses alone; knows no meaning of any node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, TypeVar, get_args

from glasc import ir
from glasc.types import Type

EXPR_CLASSES: tuple[Any, ...] = get_args(ir.Expr)
OP_CLASSES: tuple[Any, ...] = get_args(ir.Op)

N = TypeVar("N")
ExprMap = Callable[[ir.Expr], ir.Expr]
BlockMap = Callable[[ir.Block], ir.Block]

# Fields that hold a variable which the statement binds or sets; they are no uses of it.
_BINDERS = frozenset({"var", "verdict"})
_ROW_BINDERS = frozenset({"key", "value"})


def _operand_names(kind: Any) -> tuple[str, ...]:
    """Fields of a class of nodes that may hold expressions."""
    bound = _BINDERS | _ROW_BINDERS if kind in (ir.ForRows, ir.ChooseRow) else _BINDERS
    return tuple(part.name for part in fields(kind) if part.name not in bound)


_OPERANDS = {kind: _operand_names(kind) for kind in (*EXPR_CLASSES, *OP_CLASSES, *get_args(ir.Stmt))}


def operands(node: ir.Expr | ir.Op | ir.Stmt) -> Iterator[ir.Expr]:
    """The expressions that stand directly in a node, in order; of a Let those of its operation."""
    for name in _OPERANDS[type(node)]:
        part: Any = getattr(node, name)
        if isinstance(part, EXPR_CLASSES):
            yield part
        elif isinstance(part, OP_CLASSES):
            yield from operands(part)
        elif isinstance(part, tuple):
            yield from (item for item in part if isinstance(item, EXPR_CLASSES))


def subexpressions(expr: ir.Expr) -> Iterator[ir.Expr]:
    """The expression and everything in it."""
    yield expr
    for part in operands(expr):
        yield from subexpressions(part)


def variables(node: ir.Expr | ir.Op | ir.Stmt) -> Iterator[ir.Var]:
    """The variables that a node uses directly, not counting the blocks in a statement."""
    if isinstance(node, ir.Var):
        yield node
    for part in operands(node):
        yield from (item for item in subexpressions(part) if isinstance(item, ir.Var))


def map_operands(node: N, change: ExprMap) -> N:
    """A copy of the node with each expression that stands directly in it changed (of a Let in its
    operation).
    """
    changed: dict[str, Any] = {}
    for name in _OPERANDS[type(node)]:
        part: Any = getattr(node, name)
        if isinstance(part, EXPR_CLASSES):
            changed[name] = change(part)
        elif isinstance(part, OP_CLASSES):
            changed[name] = map_operands(part, change)
        elif isinstance(part, tuple) and part and isinstance(part[0], EXPR_CLASSES):
            changed[name] = tuple(change(item) for item in part)
    copy: N = replace(node, **changed) if changed else node  # type: ignore[type-var]
    return copy


def rewrite(expr: ir.Expr, change: ExprMap) -> ir.Expr:
    """The expression with `change` applied to every part of it, from the leaves up."""
    return change(map_operands(expr, lambda part: rewrite(part, change)))


def blocks(stmt: ir.Stmt) -> tuple[ir.Block, ...]:
    """The blocks that stand in a statement, in the order of its text."""
    match stmt:
        case ir.If(then=then, orelse=orelse):
            return (then, orelse)
        case ir.Match(arms=arms):
            return tuple(arm.body for arm in arms)
        case ir.Attempt(body=body, handler=handler):
            return (body, handler)
        case ir.ForRows(body=body):
            return (body,)
        case ir.ChooseRow(test=test):
            return (test,)
    return ()


def map_blocks(stmt: ir.Stmt, change: BlockMap) -> ir.Stmt:
    """A copy of the statement with each block in it changed, in the order of `blocks`."""
    match stmt:
        case ir.If(then=then, orelse=orelse):
            return replace(stmt, then=change(then), orelse=change(orelse))
        case ir.Match(arms=arms):
            return replace(stmt, arms=tuple(replace(arm, body=change(arm.body)) for arm in arms))
        case ir.Attempt(body=body, handler=handler):
            return replace(stmt, body=change(body), handler=change(handler))
        case ir.ForRows(body=body):
            return replace(stmt, body=change(body))
        case ir.ChooseRow(test=test):
            return replace(stmt, test=change(test))
    return stmt


def statements(block: ir.Block) -> Iterator[ir.Stmt]:
    """Every statement in a block and in the blocks in it, outer ones first."""
    for stmt in block:
        yield stmt
        for inner in blocks(stmt):
            yield from statements(inner)


def types_in(stmt: ir.Stmt) -> Iterator[Type]:
    """Types of the values that a statement handles, not counting the blocks in it; some more than once."""
    yield from (part.type for operand in operands(stmt) for part in subexpressions(operand))
    match stmt:
        case (
            ir.Let(op=ir.JsonRead(type=kind))
            | ir.Let(var=ir.Var(type=kind))
            | ir.Declare(var=ir.Var(type=kind))
        ):
            yield kind
        case ir.ForRows(key=key, value=value) | ir.ChooseRow(key=key, value=value):
            yield key.type
            yield value.type
        case ir.Match(arms=arms):
            yield from (arm.var.type for arm in arms if arm.var is not None)


def falls_through(block: ir.Block) -> bool:
    """Whether control can reach the end of the block."""
    return not any(leaves(stmt) for stmt in block)


def leaves(stmt: ir.Stmt) -> bool:
    """Whether a statement never goes on to the one behind it."""
    if isinstance(stmt, ir.If | ir.Match | ir.Attempt):
        return not any(falls_through(block) for block in blocks(stmt))
    return isinstance(stmt, ir.Return | ir.Fail | ir.Raise)
