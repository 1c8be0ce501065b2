"""What must hold of a program in the core language after each pass; a violation is a bug of that pass,
never of the app.

Owns the order of the stages and the types of operations. Knows nothing of how the passes work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from glasc import ir
from glasc.ir_walk import falls_through, operands, statements, subexpressions
from glasc.types import (
    BOOL,
    INT,
    REPLY,
    TEXT,
    TIME,
    UNIT,
    Bounded,
    Cell,
    Counter,
    Dict,
    Queue,
    Record,
    StateKind,
    Type,
    Variant,
)

STAGES = ("lower", "infer_effects", "simplify", "place", "route")

WRITES = (ir.CellSet, ir.RowSet, ir.CounterAdd, ir.BoundedAdd, ir.QueueWrite, ir.Log)
"""Statements that an Attempt undoes; reading a queue is one more, and so is invoking a method that holds
one.
"""


class InternalError(Exception):
    """The pass `stage` made a program that breaks a rule of the core language."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(f"after {stage}: {message}")
        self.stage = stage


def check(program: ir.Program) -> None:
    """Raises InternalError unless the program keeps every rule that holds after the pass `program.stage`."""
    if program.stage not in STAGES:
        raise InternalError(program.stage, "no such stage")
    _require(program.stage, _unique(method.name for method in program.methods), "two methods with one name")
    _require(program.stage, _unique(state.name for state in program.states), "two states with one name")
    for state in program.states:
        _check_state(program, state)
    for method in program.methods:
        _MethodCheck(program, method).run()
        _check_stage(program, method)


def op_type(program: ir.Program, op: ir.Op) -> Type:
    """Type of what an operation gives; UNIT for an Invoke without a result."""
    match op:
        case ir.Pure(value):
            return value.type
        case ir.JsonRead(type=kind):
            return kind
        case ir.Invoke(method):
            return program.method(method).result
        case ir.CellGet(state) | ir.QueueRead(state):
            return _values(program.state(state).kind)
        case ir.RowGet(state):
            return _values(program.state(state).kind)
    return _OP_TYPES[type(op)]


_OP_TYPES: dict[type, Type] = {
    ir.Arith: INT,
    ir.Format: TEXT,
    ir.CounterGet: INT,
    ir.BoundedGet: INT,
    ir.MirrorName: TEXT,
    ir.Now: TIME,
    ir.RequestBody: TEXT,
    ir.JsonWrite: TEXT,
}

ORDERED = frozenset({INT, TIME, TEXT})
PRINTABLE = frozenset({TEXT, INT, BOOL, TIME})


def _values(kind: StateKind) -> Type:
    """Type of the values in a cell, a queue, or the rows of a dict."""
    match kind:
        case Cell(value) | Queue(value):
            return value
        case Dict(_, value) if not isinstance(value, Counter | Bounded):
            return value
    return INT


def _require(stage: str, holds: bool, message: str) -> None:
    if not holds:
        raise InternalError(stage, message)


def _unique(names: Iterable[str]) -> bool:
    listed = list(names)
    return len(set(listed)) == len(listed)


# ---------------------------------------------------------------- stages


def _reached(program: ir.Program, stage: str) -> bool:
    return STAGES.index(program.stage) >= STAGES.index(stage)


def _check_state(program: ir.Program, state: ir.State) -> None:
    """The owner is there from place on, and fits the kind."""
    owned = state.owner is not None
    _require(program.stage, owned == _reached(program, "place"), f"{state.name}: owner {state.owner}")
    _require(program.stage, owned == bool(state.why), f"{state.name}: an owner and its reason go together")
    match state.owner:
        case ir.AtPlace(place) | ir.ByKey(place):
            _require(program.stage, place in dict(program.places), f"{state.name}: no place {place}")
    if isinstance(state.owner, ir.ByKey):
        _require(program.stage, isinstance(state.kind, Dict), f"{state.name}: owner by key of no dict")


def _check_stage(program: ir.Program, method: ir.Method) -> None:
    """Accesses are there from infer_effects on and cover the body, routes from route on."""
    stage = program.stage
    known = method.accesses is not None
    _require(stage, known == _reached(program, "infer_effects"), f"{method.name}: accesses {known}")
    if method.accesses is not None:
        touched = {access.state for access in method.accesses}
        missing = {name for stmt in statements(method.body) for name in _touches(stmt)} - touched
        _require(stage, not missing, f"{method.name}: no access for {', '.join(sorted(missing))}")
    routed = _reached(program, "route") and method.kind != "invariant"
    places = [place for place, _ in program.places] + [""] if routed else []
    _require(stage, [route.place for route in method.routes] == places, f"{method.name}: routes")


def _touches(stmt: ir.Stmt) -> set[str]:
    """States that a statement itself names."""
    holder = stmt.op if isinstance(stmt, ir.Let) else stmt
    state = getattr(holder, "state", None)
    return set() if state is None else {state}


# ---------------------------------------------------------------- methods


class _MethodCheck:
    """Checks one method: names, definite values, types, and where writes may stand."""

    def __init__(self, program: ir.Program, method: ir.Method) -> None:
        self._program = program
        self._method = method
        self._defined: dict[str, ir.Var] = {}

    def run(self) -> None:
        """Raises InternalError at the first rule that is broken."""
        method = self._method
        ready = set()
        for param in method.params:
            self._define(param)
            ready.add(param.name)
        self._block(method.body, ready)
        if falls_through(method.body):
            self._require(method.result == UNIT, "can end without a result")

    def _require(self, holds: bool, message: str) -> None:
        _require(self._program.stage, holds, f"{self._method.name}: {message}")

    def _define(self, var: ir.Var) -> None:
        self._require(var.name not in self._defined, f"{var.name} is bound twice")
        self._defined[var.name] = var

    def _block(self, block: ir.Block, ready: set[str]) -> set[str]:
        """Checks a block; takes the variables that have a value before it, gives those that have one
        behind it.
        """
        for stmt in block:
            ready = self._statement(stmt, ready)
        return ready if falls_through(block) else set(self._defined)

    def _statement(self, stmt: ir.Stmt, ready: set[str]) -> set[str]:
        for part in operands(stmt):
            self._expr(part, ready)
        match stmt:
            case ir.Let(var=var, op=op):
                return ready | self._let(var, op)
            case ir.Declare(var=var):
                self._define(var)
                return ready - {var.name}
            case ir.Set(var=var, value=value):
                self._require(self._defined.get(var.name) == var, f"{var.name} is set, not declared")
                self._require(var.name not in ready, f"{var.name} is set twice")
                self._same(var.type, value.type, f"set {var.name}")
                return ready | {var.name}
        simple = _SIMPLE.get(type(stmt))
        if simple is not None:
            simple(self, stmt)
            return ready
        visible = set(self._defined)
        return self._compound(stmt, ready) & (visible | _row_names(stmt))

    def _compound(self, stmt: ir.Stmt, ready: set[str]) -> set[str]:
        match stmt:
            case ir.If(condition=condition, then=then, orelse=orelse):
                self._same(BOOL, condition.type, "if")
                return self._block(then, ready) & self._block(orelse, ready)
            case ir.Match(subject=subject, arms=arms):
                return self._match(subject, arms, ready)
            case ir.Attempt(body=body, handler=handler):
                return self._block(body, ready) & self._block(handler, ready)
            case ir.ForRows(key=key, value=value, state=state, body=body):
                self._block(body, ready | self._rows(state, key, value))
                written = any(isinstance(s, ir.RowSet) and s.state == state for s in statements(body))
                self._require(not written, f"for over {state} writes it")
            case ir.ChooseRow():
                return ready | self._choose(stmt, ready)
        return ready

    def _choose(self, stmt: ir.ChooseRow, ready: set[str]) -> set[str]:
        bound = self._rows(stmt.state, stmt.key, stmt.value)
        self._block(stmt.test, ready | bound)
        last = stmt.test[-1] if stmt.test else None
        ends = isinstance(last, ir.Let) and last.var == stmt.verdict and stmt.verdict.type == BOOL
        self._require(ends, f"the test of choose in {stmt.state} does not end with its verdict")
        writes = any(isinstance(inner, WRITES) for inner in statements(stmt.test))
        self._require(not writes, f"the test of choose in {stmt.state} writes")
        return bound

    def _match(self, subject: ir.Expr, arms: tuple[ir.Arm, ...], ready: set[str]) -> set[str]:
        assert isinstance(subject.type, Variant), self._method.name
        labels = [label for label, _ in subject.type.cases]
        self._require([arm.label for arm in arms] == labels, f"match over {subject.type} has other arms")
        after: set[str] | None = None
        for arm, (_, kind) in zip(arms, subject.type.cases, strict=True):
            bound = set()
            if arm.var is not None:
                self._define(arm.var)
                self._same(kind, arm.var.type, f"arm {arm.label}")
                bound = {arm.var.name}
            ends = self._block(arm.body, ready | bound)
            after = ends if after is None else after & ends
        return ready if after is None else after

    def _rows(self, state: str, key: ir.Var, value: ir.Var) -> set[str]:
        kind = self._kind(state, Dict)
        assert isinstance(kind, Dict)
        self._define(key)
        self._define(value)
        self._same(kind.key, key.type, f"key of {state}")
        self._same(_values(kind), value.type, f"value of {state}")
        return {key.name, value.name}

    # ------------------------------------------------------------ operations and simple statements

    def _let(self, var: ir.Var | None, op: ir.Op) -> set[str]:
        self._op(op)
        kind = op_type(self._program, op)
        if var is None:
            return set()
        self._define(var)
        self._same(kind, var.type, f"let {var.name}")
        return {var.name}

    def _op(self, op: ir.Op) -> None:
        match op:
            case ir.Arith(left=left, right=right):
                self._same(INT, left.type, op.op)
                self._same(INT, right.type, op.op)
            case ir.Format(parts):
                self._require(all(part.type in PRINTABLE for part in parts), "format of a value with no text")
            case ir.JsonRead(text=text):
                self._same(TEXT, text.type, "json")
            case ir.CellGet(state):
                self._kind(state, Cell)
            case ir.QueueRead(state):
                self._kind(state, Queue)
            case ir.RowGet(state, key) | ir.CounterGet(state, key) | ir.BoundedGet(state, key):
                self._keyed(state, key, _KEYED[type(op)])
            case ir.Invoke(method, args):
                params = self._program.method(method).params
                self._require([a.type for a in args] == [p.type for p in params], f"arguments of {method}")

    def _kind(self, state: str, wanted: type) -> StateKind:
        kind = self._program.state(state).kind
        self._require(isinstance(kind, wanted), f"{state} is a {kind}")
        return kind

    def _keyed(self, state: str, key: ir.Expr | None, wanted: type | None) -> None:
        """A state of the wanted kind, or with a key a dict of it; `wanted` is None for rows of values."""
        kind: object = self._program.state(state).kind
        if key is not None:
            assert isinstance(kind, Dict), state
            self._same(kind.key, key.type, f"key of {state}")
            kind = kind.value
        fits = not isinstance(kind, Counter | Bounded) if wanted is None else isinstance(kind, wanted)
        self._require(fits, f"{state} is not of the kind that is used")

    def _cell_set(self, stmt: ir.CellSet) -> None:
        self._same(_values(self._kind(stmt.state, Cell)), stmt.value.type, stmt.state)

    def _row_set(self, stmt: ir.RowSet) -> None:
        self._keyed(stmt.state, stmt.key, None)
        self._same(_values(self._program.state(stmt.state).kind), stmt.value.type, stmt.state)

    def _add(self, stmt: ir.CounterAdd | ir.BoundedAdd) -> None:
        self._keyed(stmt.state, stmt.key, _KEYED[type(stmt)])
        self._same(INT, stmt.delta.type, stmt.state)

    def _queue_write(self, stmt: ir.QueueWrite) -> None:
        self._same(_values(self._kind(stmt.state, Queue)), stmt.value.type, stmt.state)

    def _text(self, stmt: ir.Log | ir.Raise) -> None:
        self._same(TEXT, (stmt.text if isinstance(stmt, ir.Log) else stmt.message).type, "text")

    def _return(self, stmt: ir.Return) -> None:
        self._same(self._method.result, UNIT if stmt.value is None else stmt.value.type, "return")

    def _fail(self, stmt: ir.Fail) -> None:
        """Nothing can be wrong with `fail`."""

    # ------------------------------------------------------------ expressions

    def _same(self, wanted: Type, found: Type, where: str) -> None:
        self._require(wanted == found, f"{where}: {found} where {wanted} is needed")

    def _expr(self, expr: ir.Expr, ready: set[str]) -> None:
        for part in subexpressions(expr):
            if isinstance(part, ir.Var):
                self._require(self._defined.get(part.name) == part, f"{part.name} is not bound here")
                self._require(part.name in ready, f"{part.name} is used before it has a value")
            else:
                rule = _EXPRESSIONS[type(part)]
                self._require(rule(part), f"{part} does not agree with its type")


def _row_names(stmt: ir.Stmt) -> set[str]:
    """Names that stay bound behind a statement with blocks."""
    return {stmt.key.name, stmt.value.name} if isinstance(stmt, ir.ChooseRow) else set()


def _const(expr: ir.Const) -> bool:
    match expr.value:
        case None:
            return expr.type == UNIT
        case bool():
            return expr.type == BOOL
        case int(value):
            return expr.type in (INT, TIME) and -(2**63) <= value < 2**63
    return expr.type == TEXT


def _compare(expr: ir.Compare) -> bool:
    ordered = expr.op in ("==", "!=") or expr.left.type in ORDERED
    return expr.left.type == expr.right.type and expr.type == BOOL and ordered


def _make(expr: ir.Make) -> bool:
    return isinstance(expr.type, Record) and [part.type for part in expr.fields] == [
        kind for _, kind in expr.type.fields
    ]


_KEYED: dict[type, type | None] = {
    ir.RowGet: None,
    ir.CounterGet: Counter,
    ir.BoundedGet: Bounded,
    ir.CounterAdd: Counter,
    ir.BoundedAdd: Bounded,
}

_EXPRESSIONS: dict[type, Callable[..., bool]] = {
    ir.Const: _const,
    ir.Get: lambda e: isinstance(e.subject.type, Record) and e.subject.type.field(e.name) == e.type,
    ir.Make: _make,
    ir.Tag: lambda e: isinstance(e.type, Variant) and e.type.case(e.label) == e.value.type,
    ir.MakeReply: lambda e: (e.status.type, e.body.type, e.type) == (INT, TEXT, REPLY),
    ir.Not: lambda e: e.operand.type == BOOL == e.type,
    ir.Logic: lambda e: e.left.type == BOOL == e.right.type == e.type,
    ir.Compare: _compare,
}

_SIMPLE: dict[type, Callable[..., None]] = {
    ir.CellSet: _MethodCheck._cell_set,
    ir.RowSet: _MethodCheck._row_set,
    ir.CounterAdd: _MethodCheck._add,
    ir.BoundedAdd: _MethodCheck._add,
    ir.QueueWrite: _MethodCheck._queue_write,
    ir.Log: _MethodCheck._text,
    ir.Raise: _MethodCheck._text,
    ir.Return: _MethodCheck._return,
    ir.Fail: _MethodCheck._fail,
}
