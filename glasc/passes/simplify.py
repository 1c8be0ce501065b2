"""The pass `simplify`: less code with the same meaning; takes and gives any program from lower on,
changes only bodies.

What it does, over and over until nothing changes:
- folds pure expressions, and checked arithmetic and joins of constants where they cannot be an error;
- puts what a variable is a copy of in its place, and takes fields from records that are written out;
- keeps only the branch that a constant chooses, and drops what follows a statement that never goes on;
- puts the body of an Attempt that cannot fail in its place, and the handler of one that fails at once;
- turns a variable that is set once, in the block that declares it, into a Let;
- drops what is computed but not used, where computing it has no effect that anybody could see.

Accesses stay as infer_effects found them: what a program may do does not depend on how clever this pass
is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from glasc import ir
from glasc.ir_walk import blocks, leaves, map_blocks, map_operands, rewrite, statements, variables
from glasc.types import BOOL, INT, TEXT, Record

WITHOUT_EFFECT = (ir.Pure, ir.MirrorName, ir.Now, ir.Format, ir.JsonWrite)
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def simplify(program: ir.Program) -> ir.Program:
    """The program with simpler bodies, stage "simplify"."""
    outcomes = _Outcomes(program)
    methods = tuple(replace(method, body=_settled(method.body, outcomes)) for method in program.methods)
    return replace(program, stage="simplify", methods=methods)


def _settled(body: ir.Block, outcomes: _Outcomes) -> ir.Block:
    while True:
        simpler = _tidied(_Folder(outcomes).block(body))
        if simpler == body:
            return body
        body = simpler


# ---------------------------------------------------------------- how blocks can end


class _Outcomes:
    """Says whether a block can fail or wait."""

    def __init__(self, program: ir.Program) -> None:
        self._program = program
        self._known: dict[tuple[str, bool], bool] = {}

    def fails(self, block: ir.Block) -> bool:
        """Whether the block can end by failing."""
        return any(self._stmt(stmt, _op_fails, self.fails, waiting=False) for stmt in block)

    def waits(self, block: ir.Block) -> bool:
        """Whether the block can end by waiting."""
        return any(self._stmt(stmt, _op_waits, self.waits, waiting=True) for stmt in block)

    def _stmt(
        self,
        stmt: ir.Stmt,
        direct: Callable[[ir.Op | ir.Stmt], bool],
        within: Callable[[ir.Block], bool],
        *,
        waiting: bool,
    ) -> bool:
        match stmt:
            case ir.Let(op=ir.Invoke(method)):
                return self._method(method, within, waiting)
            case ir.Let(op=op):
                return direct(op)
            case ir.Attempt(body=body, handler=handler, catches_wait=catches):
                passes = waiting and not catches and within(body)
                return passes or within(handler)
            case ir.ChooseRow():
                return direct(stmt)
        return direct(stmt) or any(within(block) for block in blocks(stmt))

    def _method(self, name: str, within: Callable[[ir.Block], bool], waiting: bool) -> bool:
        key = (name, waiting)
        if key not in self._known:
            self._known[key] = within(self._program.method(name).body)
        return self._known[key]


def _op_fails(node: ir.Op | ir.Stmt) -> bool:
    if isinstance(node, ir.BoundedAdd):
        return not (
            isinstance(node.delta, ir.Const) and isinstance(node.delta.value, int) and node.delta.value >= 0
        )
    return isinstance(node, ir.RowGet | ir.RequestBody | ir.JsonRead | ir.Fail)


def _op_waits(node: ir.Op | ir.Stmt) -> bool:
    return isinstance(node, ir.QueueRead | ir.ChooseRow)


# ---------------------------------------------------------------- expressions


def _is_copy(expr: ir.Expr) -> bool:
    """Whether an expression is as cheap as a variable."""
    match expr:
        case ir.Var() | ir.Const():
            return True
        case ir.Get(subject=subject):
            return _is_copy(subject)
    return False


def _fold_not(expr: ir.Not) -> ir.Expr:
    match expr.operand:
        case ir.Const(bool(value)):
            return ir.Const(not value, BOOL)
        case ir.Not(operand):
            return operand
        case ir.Compare(op, left, right):
            return ir.Compare(_OPPOSITE[op], left, right, BOOL)
    return expr


def _fold_logic(expr: ir.Logic) -> ir.Expr:
    decides = expr.op == "or"
    for side, other in ((expr.left, expr.right), (expr.right, expr.left)):
        if isinstance(side, ir.Const):
            return side if side.value is decides else other
    return expr


def _fold_compare(expr: ir.Compare) -> ir.Expr:
    match expr.left, expr.right:
        case ir.Const(int(left)), ir.Const(int(right)):
            return ir.Const(_COMPARED[expr.op](_order(left, right)), BOOL)
        case ir.Const(str(left)), ir.Const(str(right)):
            return ir.Const(_COMPARED[expr.op](_order(left, right)), BOOL)
    return expr


def _order(left: int | str, right: int | str) -> int:
    """Less than, equal to or greater than zero; Python orders texts by code point, which is their order
    by bytes.
    """
    assert type(left) is type(right)
    return (left > right) - (left < right)  # type: ignore[operator]


_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_COMPARED: dict[str, Callable[[int], bool]] = {
    "==": lambda order: order == 0,
    "!=": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
_FOLDS: dict[type, Callable[..., ir.Expr]] = {
    ir.Not: _fold_not,
    ir.Logic: _fold_logic,
    ir.Compare: _fold_compare,
}


# ---------------------------------------------------------------- operations


def _fold_arith(op: ir.Arith) -> ir.Op:
    match op.left, op.right:
        case ir.Const(int(left)), ir.Const(int(right)):
            value = _computed(op.op, left, right)
            return op if value is None else ir.Pure(ir.Const(value, INT))
        case left_expr, ir.Const(int(right)) if (op.op, right) in _NEUTRAL_RIGHT:
            return ir.Pure(left_expr)
        case ir.Const(int(left)), right_expr if (op.op, left) in _NEUTRAL_LEFT:
            return ir.Pure(right_expr)
    return op


_NEUTRAL_RIGHT = frozenset({("+", 0), ("-", 0), ("*", 1), ("/", 1)})
_NEUTRAL_LEFT = frozenset({("+", 0), ("*", 1)})


def _computed(op: str, left: int, right: int) -> int | None:
    """The result in 64 bits, or None where the operation is an error."""
    if op in ("/", "%"):
        if right == 0:
            return None
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        value = quotient if op == "/" else left - quotient * right
        return value if _SMALLEST <= quotient <= _LARGEST else None
    value = {"+": left + right, "-": left - right, "*": left * right}[op]
    return value if _SMALLEST <= value <= _LARGEST else None


def _fold_format(op: ir.Format) -> ir.Op:
    parts: list[ir.Expr] = []
    for part in map(_printed, op.parts):
        last = parts[-1] if parts else None
        match last, part:
            case ir.Const(str(before)), ir.Const(str(text)):
                parts[-1] = ir.Const(before + text, TEXT)
            case _, ir.Const(""):
                pass
            case _:
                parts.append(part)
    if not parts:
        return ir.Pure(ir.Const("", TEXT))
    return ir.Pure(parts[0]) if len(parts) == 1 and parts[0].type == TEXT else ir.Format(tuple(parts))


def _printed(part: ir.Expr) -> ir.Expr:
    """A constant as the text that Format makes of it."""
    match part:
        case ir.Const(bool(value)):
            return ir.Const(str(value).lower(), TEXT)
        case ir.Const(int(value), kind) if kind == INT:
            return ir.Const(str(value), TEXT)
    return part


# ---------------------------------------------------------------- forward through a body


class _Folder:
    """Goes through one body in order, with what is known of its variables."""

    def __init__(self, outcomes: _Outcomes) -> None:
        self._outcomes = outcomes
        self._copies: dict[str, ir.Expr] = {}
        self._made: dict[str, ir.Expr] = {}  # variables that hold a record or variant just made

    def block(self, block: ir.Block) -> ir.Block:
        """The block, simpler; ends with the first statement that never goes on."""
        out: list[ir.Stmt] = []
        for stmt in block:
            out.extend(self._statement(stmt))
            if out and leaves(out[-1]):
                break
        return tuple(out)

    def expr(self, expr: ir.Expr) -> ir.Expr:
        """The expression, folded."""
        return rewrite(expr, self._fold)

    def _fold(self, part: ir.Expr) -> ir.Expr:
        match part:
            case ir.Var(name):
                return self._copies.get(name, part)
            case ir.Get(subject=subject, name=name):
                return self._field(part, self._known(subject), name)
        fold = _FOLDS.get(type(part))
        return part if fold is None else fold(part)

    def _known(self, expr: ir.Expr) -> ir.Expr:
        """A record or variant as it was made, where that is known."""
        return self._made.get(expr.name, expr) if isinstance(expr, ir.Var) else expr

    def _field(self, whole: ir.Get, subject: ir.Expr, name: str) -> ir.Expr:
        if not isinstance(subject, ir.Make):
            return whole
        assert isinstance(subject.type, Record)
        field = subject.fields[[label for label, _ in subject.type.fields].index(name)]
        return field if _is_copy(field) or isinstance(whole.subject, ir.Make) else whole

    def _statement(self, stmt: ir.Stmt) -> ir.Block:
        stmt = map_operands(stmt, self.expr)
        match stmt:
            case ir.Let(var=var, op=op):
                return (self._let(stmt, var, op),)
            case ir.If(condition=ir.Const(value), then=then, orelse=orelse):
                return self.block(then if value else orelse)
            case ir.Match(subject=subject, arms=arms) if isinstance(self._known(subject), ir.Tag):
                return self._matched(stmt, self._known(subject), arms)
            case ir.Attempt():
                return self._attempt(stmt)
        return (map_blocks(stmt, self.block),)

    def _let(self, stmt: ir.Let, var: ir.Var | None, op: ir.Op) -> ir.Let:
        match op:
            case ir.Arith():
                op = _fold_arith(op)
            case ir.Format():
                op = _fold_format(op)
        if var is not None and isinstance(op, ir.Pure):
            if _is_copy(op.value):
                self._copies[var.name] = op.value
            elif isinstance(op.value, ir.Make | ir.Tag):
                self._made[var.name] = op.value
        return replace(stmt, op=op)

    def _matched(self, stmt: ir.Match, subject: ir.Expr, arms: tuple[ir.Arm, ...]) -> ir.Block:
        assert isinstance(subject, ir.Tag)
        arm = next(arm for arm in arms if arm.label == subject.label)
        bound = () if arm.var is None else (ir.Let(var=arm.var, op=ir.Pure(subject.value), span=stmt.span),)
        return self.block((*bound, *arm.body))

    def _attempt(self, stmt: ir.Attempt) -> ir.Block:
        body = self.block(stmt.body)
        if body and isinstance(body[0], ir.Fail):
            return self.block(stmt.handler)
        caught = self._outcomes.fails(body) or (stmt.catches_wait and self._outcomes.waits(body))
        if not caught:
            return body
        return (replace(stmt, body=body, handler=self.block(stmt.handler)),)


# ---------------------------------------------------------------- what is not used


def _tidied(body: ir.Block) -> ir.Block:
    """The body without what nobody uses, and with Lets for variables that are set where they are declared."""
    uses = Counter(var.name for stmt in statements(body) for var in variables(stmt))
    uses.update(stmt.verdict.name for stmt in statements(body) if isinstance(stmt, ir.ChooseRow))
    sets = Counter(stmt.var.name for stmt in statements(body) if isinstance(stmt, ir.Set))
    return _tidy_block(body, uses, sets)


def _tidy_block(block: ir.Block, uses: Counter[str], sets: Counter[str]) -> ir.Block:
    set_here = {stmt.var.name for stmt in block if isinstance(stmt, ir.Set)}
    once = {
        stmt.var.name
        for stmt in block
        if isinstance(stmt, ir.Declare) and stmt.var.name in set_here and sets[stmt.var.name] == 1
    }
    out: list[ir.Stmt] = []
    for stmt in block:
        match stmt:
            case ir.Declare(var=var) if var.name in once:
                continue
            case ir.Set(var=var, value=value) if var.name in once:
                stmt = ir.Let(var=var, op=ir.Pure(value), span=stmt.span)  # noqa: PLW2901
        if not _is_useless(stmt, uses):
            out.append(_tidy_inside(stmt, uses, sets))
    return tuple(stmt for stmt in out if not _is_empty(stmt))


def _is_useless(stmt: ir.Stmt, uses: Counter[str]) -> bool:
    match stmt:
        case ir.Let(var=var, op=op):
            return isinstance(op, WITHOUT_EFFECT) and (var is None or uses[var.name] == 0)
        case ir.Declare(var=var) | ir.Set(var=var):
            return uses[var.name] == 0
    return False


def _tidy_inside(stmt: ir.Stmt, uses: Counter[str], sets: Counter[str]) -> ir.Stmt:
    tidy = map_blocks(stmt, lambda block: _tidy_block(block, uses, sets))
    match tidy:
        case ir.Let(var=var):
            return replace(tidy, var=_if_used(var, uses))
        case ir.Match(arms=arms):
            return replace(tidy, arms=tuple(replace(arm, var=_if_used(arm.var, uses)) for arm in arms))
    return tidy


def _if_used(var: ir.Var | None, uses: Counter[str]) -> ir.Var | None:
    return var if var is not None and uses[var.name] else None


def _is_empty(stmt: ir.Stmt) -> bool:
    """Whether a statement only chooses between blocks that do nothing."""
    return isinstance(stmt, ir.If | ir.Match) and not any(blocks(stmt))
