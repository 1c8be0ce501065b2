"""The pass `lower`: takes a checked syntax.Program (resolved, every expression typed), gives the
ir.Program of it.

Everything is evaluated from left to right. What can fail, wait, miss or overflow becomes a statement of
its own; what is left in expressions is pure. Names become unique in their method; named types,
annotations and spans are carried over. Nothing is decided about owners, and nothing is optimized: that is
for later passes.

`target op value` evaluates the target's key, then the value, and only then reads and writes the target,
so that what the value does to the target is not lost. An http method gets a name made of its verb and
path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from glasc import ir, syntax
from glasc.source import Span
from glasc.types import (
    BOOL,
    INT,
    JSON,
    NEVER,
    REPLY,
    TEXT,
    TIME,
    UNIT,
    Bounded,
    Counter,
    Dict,
    Record,
    StateKind,
    Type,
    Variant,
)

CONTENT_JSON = "application/json"
CONTENT_TEXT = "text/plain; charset=utf-8"
NOTHING = ir.Const(None, UNIT)

Scope = dict[str, ir.Var]


def lower(program: syntax.Program) -> ir.Program:
    """The program in the core language, stage "lower"."""
    names = _method_names(program.methods)
    rpcs = {method.name: names[i] for i, method in enumerate(program.methods) if method.kind == "rpc"}
    kinds = {state.name: state.kind for state in program.states}
    return ir.Program(
        name=program.name,
        version=program.version,
        head=program.span,
        stage="lower",
        places=tuple((place.name, place.many) for place in program.places),
        type_names=tuple(ir.NamedType(named.name, named.type, named.span) for named in program.types),
        states=tuple(_state(state) for state in program.states),
        methods=tuple(
            _Lowering(kinds, rpcs).method(method, name)
            for method, name in zip(program.methods, names, strict=True)
        ),
    )


# ---------------------------------------------------------------- declarations


def _title(method: syntax.Method) -> str:
    """A method as people know it."""
    match method.kind:
        case "start":
            return "start"
        case "http":
            return f'http {method.verb} "/{"/".join(method.path)}"'
    return f"{method.kind} {method.name}"


def _wanted_name(method: syntax.Method) -> str:
    if method.kind != "http":
        return method.name
    words = [re.sub(r"\W", "_", part.strip("{}"), flags=re.ASCII) for part in method.path]
    return "_".join(["http", method.verb.lower(), *words])


def _method_names(methods: Sequence[syntax.Method]) -> list[str]:
    """A unique name for each method; rpc methods, which others call by name, keep theirs."""
    used: set[str] = set()
    names = [""] * len(methods)
    for i in sorted(range(len(methods)), key=lambda i: methods[i].kind != "rpc"):
        names[i] = _unique(_wanted_name(methods[i]), used)
    return names


def _unique(wanted: str, used: set[str]) -> str:
    """`wanted`, or with the first free number behind it; adds it to `used`."""
    name, number = wanted, 1
    while name in used:
        number += 1
        name = f"{wanted}_{number}"
    used.add(name)
    return name


def _state(state: syntax.State) -> ir.State:
    """A state variable with its annotations as fields; the last wins where one stands twice."""
    places = {note.name: note.place for note in state.annotations}
    return ir.State(
        name=state.name,
        kind=state.kind,
        persistent=state.name.startswith("db."),
        span=state.span,
        at=places.get("at"),
        near=places.get("near"),
        near_key=next(
            (_key_of_row(note.key, state) for note in state.annotations if note.key is not None), None
        ),
        reader=places.get("reader"),
        together=tuple(
            other for note in state.annotations if note.name == "together" for other in note.states
        ),
        stale_us=next((note.stale_us for note in state.annotations if note.name == "mirror"), None),
        annotation_spans=tuple((note.name, note.span) for note in state.annotations),
    )


def _key_of_row(expr: syntax.Expr, state: syntax.State) -> ir.Expr:
    """The expression of `@near P[...]` over `Var("key")`: the key itself, a field of it, or a constant
    text.
    """
    assert isinstance(state.kind, Dict)
    match expr:
        case syntax.Name():
            return ir.Var("key", state.kind.key)
        case syntax.Field(subject=subject, name=name):
            inner = _key_of_row(subject, state)
            assert isinstance(inner.type, Record)
            return ir.Get(inner, name, dict(inner.type.fields)[name])
        case syntax.TextLit(parts=parts) if all(isinstance(part, str) for part in parts):
            return ir.Const("".join(map(str, parts)), TEXT)
    raise AssertionError(f"{expr.span}: infer_types lets only pure keys pass")


# ---------------------------------------------------------------- methods


def _type(expr: syntax.Expr) -> Type:
    """The type of a checked expression; an unread JSON text is a text from here on."""
    assert expr.type is not None, f"{expr.span}: no type"
    return TEXT if expr.type == JSON else expr.type


class _Lowering:
    """Lowers one method: holds its names, what they mean here, and the block that is being written."""

    def __init__(self, kinds: dict[str, StateKind], rpcs: dict[str, str]) -> None:
        self._kinds = kinds
        self._rpcs = rpcs
        self._used: set[str] = set()
        self._temporaries = 0
        self._scope: Scope = {}
        self._out: list[ir.Stmt] = []

    def method(self, method: syntax.Method, name: str) -> ir.Method:
        """The method under its unique name."""
        params = tuple(self._bind(param.name, param.type) for param in method.params)
        available = next((note for note in method.annotations if note.name == "available"), None)
        return ir.Method(
            kind=method.kind,
            name=name,
            title=_title(method),
            params=params,
            result=method.result,
            body=self._block(method.body),
            span=method.span,
            verb=method.verb,
            path=method.path,
            available=None if available is None else available.place,
            available_span=None if available is None else available.span,
        )

    # ------------------------------------------------------------ names and blocks

    def _fresh(self, name: str | None, kind: Type) -> ir.Var:
        """A new variable called `name` or like it; None for one that the program does not name."""
        if name is not None and name != "_":
            return ir.Var(_unique(name, self._used), kind)
        while True:
            self._temporaries += 1
            name = f"t_{self._temporaries}"
            if name not in self._used:
                self._used.add(name)
                return ir.Var(name, kind)

    def _bind(self, name: str, kind: Type) -> ir.Var:
        """A new variable that `name` means from here to the end of the block."""
        var = self._fresh(name, kind)
        self._scope[name] = var
        return var

    def _emit(self, stmt: ir.Stmt) -> None:
        self._out.append(stmt)

    def _let(self, op: ir.Op, kind: Type, span: Span, name: str | None = None) -> ir.Expr:
        """Emits the operation; the value is that of the variable that it binds, or () for Unit."""
        if kind in (UNIT, NEVER):
            self._emit(ir.Let(var=None, op=op, span=span))
            return NOTHING
        var = self._fresh(name, kind)
        self._emit(ir.Let(var=var, op=op, span=span))
        return var

    def _nested(self, write: Callable[[], None]) -> ir.Block:
        """The block that `write` emits, in a scope of its own."""
        out, scope = self._out, self._scope
        self._out, self._scope = [], dict(scope)
        write()
        block = tuple(self._out)
        self._out, self._scope = out, scope
        return block

    def _block(self, body: Sequence[syntax.Stmt]) -> ir.Block:
        def write() -> None:
            for stmt in body:
                _STATEMENTS[type(stmt)](self, stmt)

        return self._nested(write)

    # ------------------------------------------------------------ expressions

    def value(self, expr: syntax.Expr, name: str | None = None) -> ir.Expr:
        """Emits what the expression does and gives what is left of it; `name` is for the variable of its
        result, if any.
        """
        return _EXPRESSIONS[type(expr)](self, expr, name)

    def _values(self, exprs: Sequence[syntax.Expr]) -> tuple[ir.Expr, ...]:
        return tuple(self.value(expr) for expr in exprs)

    def _name(self, expr: syntax.Name, _name: str | None) -> ir.Expr:
        return self._scope[expr.name]

    def _text(self, expr: syntax.TextLit, name: str | None) -> ir.Expr:
        parts = tuple(ir.Const(p, TEXT) if isinstance(p, str) else self.value(p) for p in expr.parts)
        if all(isinstance(part, str) for part in expr.parts):
            return ir.Const("".join(map(str, expr.parts)), TEXT)
        return self._let(ir.Format(parts), TEXT, expr.span, name)

    def _state_value(self, expr: syntax.StateRef, name: str | None) -> ir.Expr:
        match self._kinds[expr.state]:
            case Counter():
                return self._let(ir.CounterGet(expr.state, None), INT, expr.span, name)
            case Bounded():
                return self._let(ir.BoundedGet(expr.state, None), INT, expr.span, name)
        return self._let(ir.CellGet(expr.state), _type(expr), expr.span, name)

    def _row(self, expr: syntax.Index, name: str | None) -> ir.Expr:
        state = self._row_state(expr)
        key = self.value(expr.key)
        return self._let(self._row_op(state, key), _type(expr), expr.span, name)

    def _row_state(self, expr: syntax.Index) -> str:
        assert isinstance(expr.subject, syntax.StateRef), f"{expr.span}: only dicts have rows"
        return expr.subject.state

    def _row_op(self, state: str, key: ir.Expr) -> ir.Op:
        kind = self._kinds[state]
        assert isinstance(kind, Dict)
        match kind.value:
            case Counter():
                return ir.CounterGet(state, key)
            case Bounded():
                return ir.BoundedGet(state, key)
        return ir.RowGet(state, key)

    def _field(self, expr: syntax.Field, _name: str | None) -> ir.Expr:
        return ir.Get(self.value(expr.subject), expr.name, _type(expr))

    def _record(self, expr: syntax.RecordLit, _name: str | None) -> ir.Expr:
        kind = _type(expr)
        assert isinstance(kind, Record)
        parts = {field: self.value(part) for field, part in expr.fields}
        return ir.Make(tuple(parts[field] for field, _ in kind.fields), kind)

    def _variant(self, expr: syntax.VariantLit, _name: str | None) -> ir.Expr:
        return ir.Tag(expr.label, self.value(expr.value), _type(expr))

    def _unary(self, expr: syntax.Unary, name: str | None) -> ir.Expr:
        match expr.op, expr.operand:
            case "not", operand:
                return ir.Not(self.value(operand), BOOL)
            case _, syntax.IntLit(value=value):
                return ir.Const(-value, INT)
        return self._let(ir.Arith("-", ir.Const(0, INT), self.value(expr.operand)), INT, expr.span, name)

    def _binary(self, expr: syntax.Binary, name: str | None) -> ir.Expr:
        if expr.op in ("and", "or"):
            return self._logic(expr, name)
        left, right = self.value(expr.left), self.value(expr.right)
        if expr.op in _COMPARISONS:
            return ir.Compare(expr.op, left, right, BOOL)
        return self._let(_arithmetic(expr.op, left, right), _type(expr), expr.span, name)

    def _logic(self, expr: syntax.Binary, name: str | None) -> ir.Expr:
        """`and`, `or`: Logic where the right side is pure, else an If, so that the right side runs only
        where it decides.
        """
        left = self.value(expr.left)
        found: list[ir.Expr] = []
        block = self._nested(lambda: found.append(self.value(expr.right)))
        if not block:
            return ir.Logic(expr.op, left, found[0], BOOL)
        result = self._fresh(name, BOOL)
        right = (*block, ir.Set(var=result, value=found[0], span=expr.span))
        known = (ir.Set(var=result, value=ir.Const(expr.op == "or", BOOL), span=expr.span),)
        then, orelse = (right, known) if expr.op == "and" else (known, right)
        self._emit(ir.Declare(var=result, span=expr.span))
        self._emit(ir.If(condition=left, then=then, orelse=orelse, span=expr.span))
        return result

    def _else(self, expr: syntax.Else, name: str | None) -> ir.Expr:
        """`a else b`; `else` directly behind a queue read also catches its wait (docs/consistency.md 7)."""
        kind = _type(expr)
        result = None if kind in (UNIT, NEVER) else self._fresh(name, kind)
        if result is not None:
            self._emit(ir.Declare(var=result, span=expr.span))
        waits = isinstance(expr.attempt, syntax.Call) and expr.attempt.function == "queue.read"
        body = self._nested(lambda: self._set(result, expr.attempt))
        handler = self._nested(lambda: self._set(result, expr.alternative))
        self._emit(ir.Attempt(body=body, handler=handler, catches_wait=waits, span=expr.span))
        return NOTHING if result is None else result

    def _set(
        self, result: ir.Var | None, source: syntax.Expr | syntax.Return | syntax.Fail | syntax.Error
    ) -> None:
        """Emits `source`; its value, if it is an expression that has one, goes to `result`."""
        if not isinstance(source, syntax.Expr):
            _STATEMENTS[type(source)](self, source)
            return
        value = self.value(source)
        if result is not None and _type(source) != NEVER:
            self._emit(ir.Set(var=result, value=value, span=source.span))

    def _request(self, expr: syntax.Request, name: str | None) -> ir.Expr:
        return self._let(ir.RequestBody(), TEXT, expr.span, name)

    def _json_as(self, expr: syntax.JsonAs, name: str | None) -> ir.Expr:
        text = self.value(expr.subject)
        return self._let(ir.JsonRead(text, expr.target), expr.target, expr.span, name)

    def _call(self, expr: syntax.Call, name: str | None) -> ir.Expr:
        builtin = _BUILTINS.get(expr.function)
        if builtin is not None:
            return builtin(self, expr, name)
        op = ir.Invoke(self._rpcs[expr.function], self._values(expr.args))
        return self._let(op, _type(expr), expr.span, name)

    def _reply(self, expr: syntax.Call, _name: str | None) -> ir.Expr:
        status, body = expr.args
        is_json = isinstance(body, syntax.Call) and body.function == "json"
        content_type = CONTENT_JSON if is_json else CONTENT_TEXT
        return ir.MakeReply(self.value(status), content_type, self.value(body), REPLY)

    def _json(self, expr: syntax.Call, name: str | None) -> ir.Expr:
        return self._let(ir.JsonWrite(self.value(expr.args[0])), TEXT, expr.span, name)

    def _log(self, expr: syntax.Call, _name: str | None) -> ir.Expr:
        self._emit(ir.Log(text=self.value(expr.args[0]), span=expr.span))
        return NOTHING

    def _read(self, expr: syntax.Call, name: str | None) -> ir.Expr:
        queue = expr.args[0]
        assert isinstance(queue, syntax.StateRef)
        return self._let(ir.QueueRead(queue.state), _type(expr), expr.span, name)

    def _write(self, expr: syntax.Call, _name: str | None) -> ir.Expr:
        queue = expr.args[0]
        assert isinstance(queue, syntax.StateRef)
        self._emit(ir.QueueWrite(state=queue.state, value=self.value(expr.args[1]), span=expr.span))
        return NOTHING

    # ------------------------------------------------------------ statements

    def _let_stmt(self, stmt: syntax.Let) -> None:
        value = self.value(stmt.value, stmt.name)
        if not isinstance(value, ir.Var):
            var = self._fresh(stmt.name, value.type)
            self._emit(ir.Let(var=var, op=ir.Pure(value), span=stmt.span))
            value = var
        self._scope[stmt.name] = value

    def _assign(self, stmt: syntax.Assign) -> None:
        match stmt.target:
            case syntax.StateRef(state=state):
                self._assign_to(stmt, state, None, self._kinds[state])
            case syntax.Index(key=key) as row:
                state = self._row_state(row)
                kind = self._kinds[state]
                assert isinstance(kind, Dict)
                self._assign_to(stmt, state, self.value(key), kind.value)

    def _assign_to(
        self, stmt: syntax.Assign, state: str, key: ir.Expr | None, kind: StateKind | Type
    ) -> None:
        """Emits the change of a cell, a row, a counter or a bounded counter; `kind` says which."""
        value, span = self.value(stmt.value), stmt.span
        if isinstance(kind, Counter | Bounded):
            delta = value if stmt.op == "+=" else self._negated(value, span)
            make = ir.CounterAdd if isinstance(kind, Counter) else ir.BoundedAdd
            self._emit(make(state=state, key=key, delta=delta, span=span))
            return
        if stmt.op != ":=":
            read: ir.Op = ir.CellGet(state) if key is None else ir.RowGet(state, key)
            old = self._let(read, value.type, span)
            value = self._let(_arithmetic(stmt.op[0], old, value), value.type, span)
        if key is None:
            self._emit(ir.CellSet(state=state, value=value, span=span))
        else:
            self._emit(ir.RowSet(state=state, key=key, value=value, span=span))

    def _negated(self, value: ir.Expr, span: Span) -> ir.Expr:
        """Minus the value, checked; at once where it is a constant."""
        if isinstance(value, ir.Const) and isinstance(value.value, int) and value.value > -(2**63):
            return replace(value, value=-value.value)
        return self._let(ir.Arith("-", ir.Const(0, INT), value), INT, span)

    def _expr_stmt(self, stmt: syntax.ExprStmt) -> None:
        self.value(stmt.value)

    def _if(self, stmt: syntax.If) -> None:
        condition = self.value(stmt.condition)
        then, orelse = self._block(stmt.then), self._block(stmt.orelse)
        self._emit(ir.If(condition=condition, then=then, orelse=orelse, span=stmt.span))

    def _match(self, stmt: syntax.Match) -> None:
        subject = self.value(stmt.subject)
        kind = _type(stmt.subject)
        written = {arm.label: arm for arm in stmt.arms}
        assert isinstance(kind, Variant)
        arms = tuple(self._arm(written[label], inner) for label, inner in kind.cases)
        self._emit(ir.Match(subject=subject, arms=arms, span=stmt.span))

    def _arm(self, arm: syntax.Arm, kind: Type) -> ir.Arm:
        bound: list[ir.Var] = []

        def write() -> None:
            if arm.name is not None and arm.name != "_":
                bound.append(self._bind(arm.name, kind))
            for stmt in arm.body:
                _STATEMENTS[type(stmt)](self, stmt)

        body = self._nested(write)
        return ir.Arm(label=arm.label, var=bound[0] if bound else None, body=body)

    def _rows(self, stmt: syntax.For | syntax.Choose) -> tuple[str, ir.Var, ir.Var]:
        """The dict that a `for` or `choose` is about, and the variables of its rows, bound from here on."""
        assert isinstance(stmt.state, syntax.StateRef)
        kind = self._kinds[stmt.state.state]
        assert isinstance(kind, Dict) and not isinstance(kind.value, Counter | Bounded)
        return stmt.state.state, self._bind(stmt.key, kind.key), self._bind(stmt.value, kind.value)

    def _for(self, stmt: syntax.For) -> None:
        outer = self._scope
        self._scope = dict(outer)
        state, key, value = self._rows(stmt)
        body = self._block(stmt.body)
        self._scope = outer
        self._emit(ir.ForRows(key=key, value=value, state=state, body=body, span=stmt.span))

    def _choose(self, stmt: syntax.Choose) -> None:
        state, key, value = self._rows(stmt)
        verdict = self._fresh(None, BOOL)

        def decide() -> None:
            found = ir.Const(True, BOOL) if stmt.where is None else self.value(stmt.where)
            self._emit(ir.Let(var=verdict, op=ir.Pure(found), span=(stmt.where or stmt).span))

        test = self._nested(decide)
        self._emit(
            ir.ChooseRow(key=key, value=value, state=state, test=test, verdict=verdict, span=stmt.span)
        )

    def _try(self, stmt: syntax.Try) -> None:
        body, handler = self._block(stmt.body), self._block(stmt.orelse)
        self._emit(ir.Attempt(body=body, handler=handler, span=stmt.span))

    def _return(self, stmt: syntax.Return) -> None:
        value = None if stmt.value is None else self.value(stmt.value)
        self._emit(ir.Return(value=value, span=stmt.span))

    def _fail(self, stmt: syntax.Fail) -> None:
        self._emit(ir.Fail(span=stmt.span))

    def _error(self, stmt: syntax.Error) -> None:
        self._emit(ir.Raise(message=self.value(stmt.message), span=stmt.span))

    def _assert(self, stmt: syntax.Assert) -> None:
        condition = self.value(stmt.condition)
        span = stmt.condition.span
        words = " ".join(span.source.text[span.start : span.end].split())
        raised = ir.Raise(message=ir.Const(f"assertion failed: {words}", TEXT), span=stmt.span)
        self._emit(ir.If(condition=ir.Not(condition, BOOL), then=(raised,), orelse=(), span=stmt.span))


def _arithmetic(op: str, left: ir.Expr, right: ir.Expr) -> ir.Op:
    """The checked operation on Int, or the join of two texts."""
    return ir.Format((left, right)) if left.type == TEXT else ir.Arith(op, left, right)


_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})

# Functions of _Lowering by node: (lowering, node, wanted name) -> what is left.
_EXPRESSIONS: dict[type, Callable[..., ir.Expr]] = {
    syntax.IntLit: lambda _self, expr, _name: ir.Const(expr.value, INT),
    syntax.BoolLit: lambda _self, expr, _name: ir.Const(expr.value, BOOL),
    syntax.UnitLit: lambda _self, _expr, _name: NOTHING,
    syntax.TextLit: _Lowering._text,
    syntax.Name: _Lowering._name,
    syntax.StateRef: _Lowering._state_value,
    syntax.Index: _Lowering._row,
    syntax.Field: _Lowering._field,
    syntax.RecordLit: _Lowering._record,
    syntax.VariantLit: _Lowering._variant,
    syntax.Unary: _Lowering._unary,
    syntax.Binary: _Lowering._binary,
    syntax.Call: _Lowering._call,
    syntax.SysName: lambda self, expr, name: self._let(ir.MirrorName(), TEXT, expr.span, name),
    syntax.Request: _Lowering._request,
    syntax.JsonAs: _Lowering._json_as,
    syntax.Else: _Lowering._else,
}

_BUILTINS: dict[str, Callable[..., ir.Expr]] = {
    "reply": _Lowering._reply,
    "json": _Lowering._json,
    "sys.time.now": lambda self, expr, name: self._let(ir.Now(), TIME, expr.span, name),
    "sys.log": _Lowering._log,
    "queue.read": _Lowering._read,
    "queue.write": _Lowering._write,
}

_STATEMENTS: dict[type, Callable[..., None]] = {
    syntax.Let: _Lowering._let_stmt,
    syntax.Assign: _Lowering._assign,
    syntax.ExprStmt: _Lowering._expr_stmt,
    syntax.If: _Lowering._if,
    syntax.Match: _Lowering._match,
    syntax.For: _Lowering._for,
    syntax.Choose: _Lowering._choose,
    syntax.Try: _Lowering._try,
    syntax.Return: _Lowering._return,
    syntax.Fail: _Lowering._fail,
    syntax.Error: _Lowering._error,
    syntax.Assert: _Lowering._assert,
}
