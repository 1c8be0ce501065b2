"""The types of everything.

Takes the tree that resolve made. Leaves it with `type` set in every expression, but for a StateRef that
stands for a whole dict or queue (rows, queue.read, queue.write): that is no value and keeps None. Every value
fits where it stands, every match is exhaustive, every Int literal has 64 bits. Does not know which ways lead
through a method (check_flow does) nor where anything runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from glasc import syntax as s
from glasc import types as t
from glasc.diagnostics import Collector, Note, did_you_mean
from glasc.source import Span

Env = dict[str, t.Type]
"""The types of the local names of a method."""

_UNKNOWN = t.Primitive("?")  # of what is wrong and reported already: fits everywhere
_ORDERED = frozenset({t.INT, t.TEXT, t.TIME})
_INTERPOLATED = frozenset({t.INT, t.TEXT, t.BOOL, t.TIME, _UNKNOWN})
_ARITHMETIC = frozenset("+-*/%")
_LARGEST = (1 << 63) - 1
_BUILT_INS: dict[str, tuple[tuple[t.Type, ...], t.Type]] = {
    "reply": ((t.INT, t.TEXT), t.REPLY),
    "sys.time.now": ((), t.TIME),
    "sys.log": ((t.TEXT,), t.UNIT),
}
_PURE_CALLS = frozenset({"json", "reply", "sys.time.now"})


def infer_types(program: s.Program) -> s.Program:
    """The program with all types filled in. Raises CompileErrors."""
    errors = Collector()
    infer = _Infer(program, errors)
    typed = replace(
        program,
        states=tuple(infer.state(state) for state in program.states),
        methods=tuple(infer.method(method) for method in program.methods),
    )
    errors.finish()
    return typed


class _Infer:
    """Types of one program; `method_now` is the method whose body is being typed."""

    def __init__(self, program: s.Program, errors: Collector) -> None:
        self.errors = errors
        self.states = {state.name: state for state in program.states}
        self.rpcs = {method.name: method for method in program.methods if method.kind == "rpc"}
        self.method_now: s.Method | None = None

    # ------------------------------------------------------------ declarations

    def state(self, state: s.State) -> s.State:
        """The state with the keys in its annotations typed; a key is the name of a mirror."""
        if not isinstance(state.kind, t.Dict):
            return state
        env = {"key": state.kind.key}
        annotations = tuple(
            each if each.key is None else replace(each, key=self.check(each.key, env, t.TEXT))
            for each in state.annotations
        )
        return replace(state, annotations=annotations)

    def method(self, method: s.Method) -> s.Method:
        self.method_now = method
        env = {param.name: param.type for param in method.params}
        return replace(method, body=self.block(method.body, env))

    # ------------------------------------------------------------ statements

    def block(self, statements: tuple[s.Stmt, ...], env: Env) -> tuple[s.Stmt, ...]:
        return tuple(self.statement(each, env) for each in statements)

    def statement(self, node: s.Stmt, env: Env) -> s.Stmt:
        """One statement; the names that it binds are added to `env` (resolve made them distinct)."""
        match node:
            case s.Let():
                return self.let(node, env)
            case s.Assign():
                return self.assign(node, env)
            case s.ExprStmt():
                return self.call_statement(node, env)
            case s.If(condition=condition, then=then, orelse=orelse):
                condition = self.check(condition, env, t.BOOL)
                return replace(
                    node, condition=condition, then=self.block(then, env), orelse=self.block(orelse, env)
                )
            case s.Match():
                return self.match(node, env)
            case s.For(body=body):
                self.rows(node, env)
                return replace(node, body=self.block(body, env))
            case s.Choose(where=where):
                self.rows(node, env)
                return node if where is None else replace(node, where=self.check(where, env, t.BOOL))
            case s.Try(body=body, orelse=orelse):
                return replace(node, body=self.block(body, env), orelse=self.block(orelse, env))
            case s.Return() | s.Fail() | s.Error():
                return self.leave(node, env)
            case s.Assert(condition=condition):
                return replace(node, condition=self.check(condition, env, t.BOOL))

    def let(self, node: s.Let, env: Env) -> s.Let:
        if node.declared is not None:
            value = self.check(node.value, env, node.declared)
            env[node.name] = node.declared
        else:
            value = self.expr(node.value, env)
            env[node.name] = _type(value)
        return replace(node, value=value)

    def assign(self, node: s.Assign, env: Env) -> s.Assign:
        target = self.expr(node.target, env)
        kind = self.target_kind(target)
        counts = isinstance(kind, t.Counter | t.Bounded)
        if node.op == ":=" and counts:
            hint = "`+=` and `-=` change it"
            self.errors.error("E0309", f"a {kind} cannot be set", target.span, hint=hint)
        elif node.op != ":=" and not self.fits(_type(target), t.INT):
            self.errors.error("E0305", f"`{node.op}` is for Int, found {_type(target)}", target.span)
            return replace(node, target=target, value=self.expr(node.value, env))
        return replace(node, target=target, value=self.check(node.value, env, _type(target)))

    def target_kind(self, target: s.Expr) -> t.StateKind | t.Type | None:
        """What the target of an assignment is: the kind of a state, or what a row of a dict is."""
        match target:
            case s.StateRef(state=name):
                return self.states[name].kind
            case s.Index(subject=s.StateRef(state=name)):
                kind = self.states[name].kind
                return kind.value if isinstance(kind, t.Dict) else None
        return None

    def call_statement(self, node: s.ExprStmt, env: Env) -> s.ExprStmt:
        value = self.expr(node.value, env)
        acting = value.attempt if isinstance(value, s.Else) else value
        if not isinstance(acting, s.Call) or acting.function in _PURE_CALLS:
            hint = "`:=` changes state, `return` gives a result" if _type(value) != t.UNIT else None
            self.errors.error("E0310", "this value is not used", node.span, hint=hint)
        return replace(node, value=value)

    def match(self, node: s.Match, env: Env) -> s.Match:
        subject = self.expr(node.subject, env)
        kind = _type(subject)
        if isinstance(kind, t.Variant):
            self.check_arms(node, kind)
        elif kind != _UNKNOWN:
            self.errors.error(
                "E0301", f"`match` tells the labels of a variant apart, found {kind}", subject.span
            )
        arms = []
        for arm in node.arms:
            case = kind.case(arm.label) if isinstance(kind, t.Variant) else None
            if arm.name is not None:
                env[arm.name] = _UNKNOWN if case is None else case
            arms.append(replace(arm, body=self.block(arm.body, env)))
        return replace(node, subject=subject, arms=tuple(arms))

    def check_arms(self, node: s.Match, kind: t.Variant) -> None:
        """Every label of the variant has exactly one arm."""
        seen: dict[str, Span] = {}
        labels = [label for label, _ in kind.cases]
        for arm in node.arms:
            if arm.label not in labels:
                hint = did_you_mean(arm.label, labels) or f"labels: {', '.join(labels)}"
                self.errors.error(
                    "E0307", f"the variant {kind} has no label `{arm.label}`", arm.span, hint=hint
                )
            elif arm.label in seen:
                note = Note("first given here", seen[arm.label])
                self.errors.error("E0109", f"the label `{arm.label}` is given twice", arm.span, notes=[note])
            seen.setdefault(arm.label, arm.span)
        missing = [label for label in labels if label not in seen]
        if missing:
            listed = ", ".join(f"`{label}`" for label in missing)
            hint = f"add `{missing[0]}: name -> ...`"
            self.errors.error("E0306", f"the match leaves out {listed}", node.span, hint=hint)

    def rows(self, node: s.For | s.Choose, env: Env) -> None:
        """Binds the names of `for` and `choose`."""
        assert isinstance(node.state, s.StateRef)
        kind = self.states[node.state.state].kind
        assert isinstance(kind, t.Dict) and not isinstance(kind.value, t.Counter | t.Bounded)
        env[node.key] = kind.key
        env[node.value] = kind.value

    def leave(self, node: s.Return | s.Fail | s.Error, env: Env) -> s.Return | s.Fail | s.Error:
        match node:
            case s.Return():
                return self.result(node, env)
            case s.Error(message=message):
                return replace(node, message=self.check(message, env, t.TEXT))
            case _:
                return node

    def result(self, node: s.Return, env: Env) -> s.Return:
        method = self.method_now
        assert method is not None
        if node.value is None:
            if method.result != t.UNIT:
                message = (
                    f"`return` without a value, where `{method.name}` has a result of type {method.result}"
                )
                self.errors.error("E0301", message, node.span)
            return node
        if method.result == t.UNIT and not isinstance(node.value, s.UnitLit):
            value = self.expr(node.value, env, _UNKNOWN)
            if _type(value) != t.UNIT:
                self.no_result(method, node)
            return replace(node, value=value)
        return replace(node, value=self.check(node.value, env, method.result))

    def no_result(self, method: s.Method, node: s.Return) -> None:
        hint = f"`rpc {method.name}(...) -> T` declares a result of type T" if method.kind == "rpc" else None
        self.errors.error("E0301", f"`{method.name}` has no result", node.span, hint=hint)

    # ------------------------------------------------------------ expressions

    def check(self, node: s.Expr, env: Env, expected: t.Type) -> s.Expr:
        """The expression with its type, which has to be `expected`."""
        typed = self.expr(node, env, expected)
        if not self.fits(_type(typed), expected):
            hint = None
            if _same_but_order(_type(typed), expected):
                hint = "the order of the fields is part of the type"
            elif expected == t.TEXT and _type(typed) in _INTERPOLATED and self.method_now is not None:
                hint = 'a text with the value in it is `"{value}"`'
            self.errors.error("E0301", f"expected {expected}, found {_type(typed)}", node.span, hint=hint)
        return typed

    def fits(self, kind: t.Type, expected: t.Type) -> bool:
        return kind == expected or _UNKNOWN in (kind, expected) or _holds_unknown(kind)

    def expr(self, node: s.Expr, env: Env, expected: t.Type | None = None) -> s.Expr:
        """The expression with its type; `expected` helps where a literal alone does not tell its type."""
        match node:
            case s.IntLit(value=value):
                return self.integer(node, value)
            case s.BoolLit():
                return replace(node, type=t.BOOL)
            case s.UnitLit():
                return replace(node, type=t.UNIT)
            case s.SysName():
                return replace(node, type=t.TEXT)
            case s.Request(part=part):
                return replace(node, type=t.JSON if part == "json" else t.TEXT)
            case s.Name(name=name):
                return replace(node, type=env[name])
            case s.StateRef(state=name):
                return replace(node, type=_value_type(self.states[name].kind))
            case s.RecordLit() | s.VariantLit():
                return self.literal(node, env, expected)
            case s.Else():
                return self.otherwise(node, env, expected)
            case _:
                return self.operation(node, env)

    def operation(self, node: s.Expr, env: Env) -> s.Expr:
        """An expression whose type follows from its parts."""
        match node:
            case s.TextLit(parts=parts):
                typed = tuple(
                    part if isinstance(part, str) else self.interpolated(part, env) for part in parts
                )
                return replace(node, parts=typed, type=t.TEXT)
            case s.Field():
                return self.field(node, env)
            case s.Index():
                return self.index(node, env)
            case s.Unary(op=op, operand=operand):
                kind = t.BOOL if op == "not" else t.INT
                return replace(node, operand=self.check(operand, env, kind), type=kind)
            case s.Binary():
                return self.binary(node, env)
            case s.JsonAs(subject=subject, target=target):
                return replace(node, subject=self.check(subject, env, t.JSON), type=target)
            case s.Call():
                return self.call(node, env)
        raise AssertionError(type(node).__name__)

    def integer(self, node: s.IntLit, value: int) -> s.Expr:
        if not -_LARGEST - 1 <= value <= _LARGEST:
            message = "this number does not fit into 64 bits"
            self.errors.error(
                "E0304", message, node.span, hint=f"an Int goes from {-_LARGEST - 1} to {_LARGEST}"
            )
        return replace(node, type=t.INT)

    def interpolated(self, part: s.Expr, env: Env) -> s.Expr:
        typed = self.expr(part, env)
        if _type(typed) not in _INTERPOLATED and not _holds_unknown(_type(typed)):
            message = f"a text takes in Int, Text, Bool and Time, found {_type(typed)}"
            self.errors.error("E0301", message, part.span)
        return typed

    def literal(self, node: s.RecordLit | s.VariantLit, env: Env, expected: t.Type | None) -> s.Expr:
        """A record, or a variant, whose other labels only its surroundings can tell."""
        if isinstance(node, s.RecordLit):
            wanted = expected.field if isinstance(expected, t.Record) else lambda _name: None
            fields = tuple((name, self.field_value(value, env, wanted(name))) for name, value in node.fields)
            kind = t.Record(tuple((name, _type(value)) for name, value in fields))
            return replace(node, fields=fields, type=kind)
        if not isinstance(expected, t.Variant):
            if expected != _UNKNOWN:
                found = "" if expected is None else f", but {_a(expected)}"
                self.errors.error("E0308", f"no variant is expected here{found}", node.span)
            return replace(node, type=_UNKNOWN)
        case = expected.case(node.label)
        if case is None:
            labels = [label for label, _ in expected.cases]
            hint = did_you_mean(node.label, labels) or f"labels: {', '.join(labels)}"
            span = Span(node.span.source, node.span.start, node.span.start + len(node.label))
            self.errors.error("E0307", f"the variant {expected} has no label `{node.label}`", span, hint=hint)
            return replace(node, type=_UNKNOWN)
        return replace(node, value=self.check(node.value, env, case), type=expected)

    def field_value(self, value: s.Expr, env: Env, expected: t.Type | None) -> s.Expr:
        """A field of a record literal; where its type is known, what is wrong is said at the field."""
        if expected is not None:
            return self.checked(value, env, expected)
        typed = self.expr(value, env)
        kind = _type(typed)
        if t.is_storable(kind) or _holds_unknown(kind):
            return typed
        hint = "`request.json as T` reads a value" if kind == t.JSON else None
        self.errors.error("E0301", f"{_a(kind)} cannot be part of a record", value.span, hint=hint)
        return replace(typed, type=_UNKNOWN)

    def checked(self, value: s.Expr, env: Env, expected: t.Type) -> s.Expr:
        """Like check, but what does not fit counts as unknown, so that it is reported once only."""
        before = len(self.errors.found)
        typed = self.check(value, env, expected)
        return replace(typed, type=_UNKNOWN) if len(self.errors.found) > before else typed

    def otherwise(self, node: s.Else, env: Env, expected: t.Type | None) -> s.Expr:
        attempt = self.expr(node.attempt, env, expected)
        alternative = node.alternative
        if isinstance(alternative, s.Expr):
            alternative = self.check(alternative, env, _type(attempt))
        else:
            alternative = self.leave(alternative, env)
        return replace(node, attempt=attempt, alternative=alternative, type=_type(attempt))

    def field(self, node: s.Field, env: Env) -> s.Expr:
        subject = self.expr(node.subject, env)
        kind = _type(subject)
        found = kind.field(node.name) if isinstance(kind, t.Record) else None
        if found is None and kind != _UNKNOWN:
            hint = None
            if isinstance(kind, t.Record):
                names = [name for name, _ in kind.fields]
                hint = did_you_mean(node.name, names) or f"fields: {', '.join(names)}"
            self.errors.error("E0302", f"{_a(kind)} has no field `{node.name}`", node.span, hint=hint)
        return replace(node, subject=subject, type=_UNKNOWN if found is None else found)

    def index(self, node: s.Index, env: Env) -> s.Expr:
        assert isinstance(node.subject, s.StateRef)
        kind = self.states[node.subject.state].kind
        assert isinstance(kind, t.Dict)
        counts = isinstance(kind.value, t.Counter | t.Bounded)
        value = t.INT if isinstance(kind.value, t.Counter | t.Bounded) else kind.value
        assert counts or t.is_storable(value)
        return replace(node, key=self.check(node.key, env, kind.key), type=value)

    def binary(self, node: s.Binary, env: Env) -> s.Expr:
        op = node.op
        if op in ("and", "or"):
            left, right = (self.check(part, env, t.BOOL) for part in (node.left, node.right))
            return replace(node, left=left, right=right, type=t.BOOL)
        left, right = self.expr(node.left, env), self.expr(node.right, env)
        a, b = _type(left), _type(right)
        unknown = _UNKNOWN in (a, b)
        if op in _ARITHMETIC:
            kind = t.TEXT if op == "+" and t.TEXT in (a, b) and t.INT not in (a, b) else t.INT
            if not unknown and (a, b) != (kind, kind):
                self.no_arithmetic(node, a, b)
            return replace(node, left=left, right=right, type=_UNKNOWN if unknown and op == "+" else kind)
        if not unknown:
            self.comparison(node, a, b)
        return replace(node, left=left, right=right, type=t.BOOL)

    def no_arithmetic(self, node: s.Binary, a: t.Type, b: t.Type) -> None:
        offer = "adds Int or joins Text" if node.op == "+" else "is for Int"
        hint = (
            'a text with a value in it is `"... {value} ..."`'
            if node.op == "+" and t.TEXT in (a, b)
            else None
        )
        self.errors.error("E0305", f"`{node.op}` {offer}, found {a} and {b}", node.span, hint=hint)

    def comparison(self, node: s.Binary, a: t.Type, b: t.Type) -> None:
        if a != b:
            self.errors.error("E0301", f"`{node.op}` compares {a} with {b}", node.span)
        elif not t.is_storable(a):
            self.errors.error("E0305", f"{_a(a)} cannot be compared", node.span)
        elif node.op not in ("==", "!=") and a not in _ORDERED:
            self.errors.error("E0305", f"`{node.op}` is for Int, Text and Time, found {a}", node.span)

    # ------------------------------------------------------------ calls

    def call(self, node: s.Call, env: Env) -> s.Expr:
        if node.function == "json":
            return self.json(node, env)
        if node.function in ("queue.read", "queue.write"):
            return self.queue_call(node, env)
        if node.function in _BUILT_INS:
            params, result = _BUILT_INS[node.function]
            args = self.arguments(node, env, params, node.args)
            if node.function == "reply":
                self.check_status(args)
            return replace(node, args=args, type=result)
        rpc = self.rpcs[node.function]
        kinds = tuple(param.type for param in rpc.params)
        note = Note(f"`{rpc.name}` is declared here", rpc.span)
        return replace(node, args=self.arguments(node, env, kinds, node.args, [note]), type=rpc.result)

    def arguments(
        self,
        node: s.Call,
        env: Env,
        params: tuple[t.Type, ...],
        args: tuple[s.Expr, ...],
        notes: Sequence[Note] = (),
    ) -> tuple[s.Expr, ...]:
        """The arguments of a call with their types; there have to be as many as parameters."""
        if len(args) != len(params):
            name = node.function.replace("queue.", "")
            plural = "" if len(params) == 1 else "s"
            message = f"`{name}` takes {len(params)} argument{plural}, found {len(args)}"
            self.errors.error("E0303", message, node.span, notes=notes)
        typed = [self.check(arg, env, kind) for arg, kind in zip(args, params, strict=False)]
        typed += [self.expr(arg, env, _UNKNOWN) for arg in args[len(params) :]]
        return tuple(typed)

    def json(self, node: s.Call, env: Env) -> s.Expr:
        args = self.arguments(node, env, (_UNKNOWN,), node.args)
        for arg in args:
            if not t.is_storable(_type(arg)) and not _holds_unknown(_type(arg)):
                self.errors.error("E0301", f"{_a(_type(arg))} cannot be written as JSON", arg.span)
        return replace(node, args=args, type=t.TEXT)

    def queue_call(self, node: s.Call, env: Env) -> s.Expr:
        queue, *args = node.args
        assert isinstance(queue, s.StateRef)
        kind = self.states[queue.state].kind
        assert isinstance(kind, t.Queue)
        reads = node.function == "queue.read"
        typed = self.arguments(node, env, () if reads else (kind.value,), tuple(args))
        return replace(node, args=(queue, *typed), type=kind.value if reads else t.UNIT)

    def check_status(self, args: tuple[s.Expr, ...]) -> None:
        if args and isinstance(args[0], s.IntLit) and not 200 <= args[0].value <= 599:
            message = f"{args[0].value} is no HTTP status of an answer"
            self.errors.error("E0311", message, args[0].span, hint="from 200 to 599")


def _type(node: s.Expr) -> t.Type:
    assert node.type is not None
    return node.type


def _a(kind: t.Type) -> str:
    """A type in a sentence, as its subject."""
    match kind:
        case t.Record():
            return f"the record {kind}"
        case t.Variant():
            return f"the variant {kind}"
        case _:
            return f"{'an' if kind.name[0] in 'AEIOU' else 'a'} {kind}"


def _value_type(kind: t.StateKind) -> t.Type:
    """The type of a state that stands as a value; resolve lets only cells and counters do so."""
    match kind:
        case t.Cell(value):
            return value
        case t.Counter() | t.Bounded():
            return t.INT
        case _:
            return _UNKNOWN


def _holds_unknown(kind: t.Type) -> bool:
    match kind:
        case t.Record(fields):
            return any(_holds_unknown(part) for _, part in fields)
        case _:
            return kind == _UNKNOWN


def _same_but_order(kind: t.Type, expected: t.Type) -> bool:
    return (
        isinstance(kind, t.Record)
        and isinstance(expected, t.Record)
        and sorted(kind.fields, key=lambda field: field[0])
        == sorted(expected.fields, key=lambda field: field[0])
    )
