"""Names to what they mean.

Takes the tree as parsed. Leaves it without TypeName: types are expanded; `db.x` is a StateRef,
`sys.mirror.name` a SysName, `request.json` a Request; a Call has the name of an rpc method or a normal
built-in ("queue.read" with the StateRef as first argument). Every name is defined once and before its use,
every state is used in a way that its kind offers, rpc methods call each other without circles. Does not know
types of expressions, nor annotations beyond the names in their keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from glasc import syntax as s
from glasc import types as t
from glasc.diagnostics import Collector, Note, did_you_mean
from glasc.source import Span
from glasc.syntax_walk import dotted

TYPES = {kind.name: kind for kind in (t.BOOL, t.INT, t.TEXT, t.TIME, t.UNIT)}
BUILT_INS = ("reply", "json")
SYS_CALLS = ("sys.time.now", "sys.log")
SYS_LATER = frozenset(
    {
        "sys.time.after",
        "sys.random",
        "sys.tty",
        "sys.env",
        "sys.file",
        "sys.http.fetch",
        "sys.rpc.find",
        "sys.rpc.call",
        "sys.ffi",
        "sys.halt",
    }
)
QUEUE_CALLS = ("read", "write")
KEPT_NAMES = frozenset({"db", "mem", "sys", "request", *BUILT_INS})
MAX_TYPE_PARTS, MAX_TYPE_DEPTH = 4096, 64
STATEMENTS = frozenset({"assert", "choose", "error", "fail", "for", "try", "wait", "while"})
"""Words that start a statement: a call of a method of such a name would be taken for one."""

Scope = dict[str, Span]
"""The local names that can be seen, with the place of their definition."""


def resolve(program: s.Program) -> s.Program:
    """The program with every name replaced by what it means. Raises CompileErrors."""
    errors = Collector()
    types = _Types(program.types, errors)
    states = tuple(replace(state, kind=types.kind(state.kind)) for state in program.states)
    names = _Names(program, states, types, errors)
    resolved = replace(
        program,
        types=tuple(replace(each, type=types.expand(each.type)) for each in program.types),
        states=tuple(names.state(state) for state in states),
        methods=tuple(names.method(method) for method in program.methods),
    )
    _check_places_once(program, errors)
    _check_circles(names.calls, program, errors)
    errors.finish()
    return resolved


class _Types:
    """The named types of a program."""

    def __init__(self, defined: Iterable[s.TypeDef], errors: Collector) -> None:
        self.errors = errors
        self.defined: dict[str, s.TypeDef] = {}
        self.known: dict[str, t.Type] = dict(TYPES)
        self.too_large = False  # said once: what is made of such a type is too large as well
        self.extents: dict[str, tuple[int, int]] = {}
        for each in defined:
            if each.name in TYPES:
                errors.error("E0211", f"`{each.name}` is a type of the language itself", each.span)
            elif each.name in self.defined:
                _twice(errors, f"the type `{each.name}`", each.span, self.defined[each.name].span)
            else:
                self.defined[each.name] = each

    def expand(self, kind: t.Type, inside: tuple[str, ...] = ()) -> t.Type:
        """The type with all names replaced; `inside` are the names whose definitions are being expanded."""
        match kind:
            case s.TypeName(name, span):
                return self.named(name, span, inside)
            case t.Record(fields):
                return t.Record(tuple((name, self.expand(part, inside)) for name, part in fields))
            case t.Variant(cases):
                return t.Variant(tuple((label, self.expand(part, inside)) for label, part in cases))
            case _:
                return kind

    def named(self, name: str, span: Span, inside: tuple[str, ...]) -> t.Type:
        if name in inside:
            definition = Note(f"`{name}` is defined here", self.defined[name].span)
            self.errors.error("E0205", f"the type `{name}` contains itself", span, notes=[definition])
            return t.UNIT
        if name not in self.known:
            if name not in self.defined:
                hint = did_you_mean(name, {*TYPES, *self.defined})
                self.errors.error("E0204", f"the type `{name}` is not defined", span, hint=hint)
                return t.UNIT
            self.known[name] = self.definition(name, inside)
        return self.known[name]

    def definition(self, name: str, inside: tuple[str, ...]) -> t.Type:
        """What a name stands for. It has a bound: names of names could make a type that fills the memory."""
        defined = self.defined[name]
        if len(inside) < MAX_TYPE_DEPTH:
            kind = self.expand(defined.type, (*inside, name))
            parts, depth = self.extent(defined.type)
            self.extents[name] = parts, depth
            if parts <= MAX_TYPE_PARTS and depth <= MAX_TYPE_DEPTH:
                return kind
        self.extents[name] = 1, 1
        if self.too_large:
            return t.UNIT
        self.too_large = True
        most = f"a type may have {MAX_TYPE_PARTS} parts, {MAX_TYPE_DEPTH} deep"
        self.errors.error("E0212", f"the type `{name}` is too large", defined.span, hint=most)
        return t.UNIT

    def extent(self, kind: t.Type) -> tuple[int, int]:
        """How many parts a type has with all names written out, and how deep they nest."""
        match kind:
            case s.TypeName(name):
                return self.extents.get(name, (1, 1))
            case t.Record(parts) | t.Variant(parts):
                inner = [self.extent(part) for _, part in parts]
                return 1 + sum(count for count, _ in inner), 1 + max(depth for _, depth in inner)
        return 1, 1

    def kind(self, kind: t.StateKind) -> t.StateKind:
        """The kind of state with all names of types replaced."""
        match kind:
            case t.Cell(value):
                return t.Cell(self.expand(value))
            case t.Queue(value):
                return t.Queue(self.expand(value))
            case t.Dict(key, value) if isinstance(value, t.Counter | t.Bounded):
                return t.Dict(self.expand(key), value)
            case t.Dict(key, value):
                assert not isinstance(value, t.Counter | t.Bounded)
                return t.Dict(self.expand(key), self.expand(value))
            case _:
                return kind


class _Names:
    """Resolves states and methods; `calls` collects who calls whom, and where."""

    def __init__(
        self, program: s.Program, states: Iterable[s.State], types: _Types, errors: Collector
    ) -> None:
        self.types = types
        self.errors = errors
        self.calls: dict[str, dict[str, Span]] = {}
        self.method_now: s.Method | None = None
        self.states: dict[str, s.State] = {}
        for state in states:
            if state.name in self.states:
                _twice(errors, f"`{state.name}`", state.span, self.states[state.name].span)
            self.states.setdefault(state.name, state)
        self.methods = _methods(program, errors)

    # ------------------------------------------------------------ declarations

    def state(self, state: s.State) -> s.State:
        """The state with the keys in its annotations resolved."""
        annotations = tuple(
            each if each.key is None else replace(each, key=self.expr(each.key, {"key": each.span}))
            for each in state.annotations
        )
        return replace(state, annotations=annotations)

    def method(self, method: s.Method) -> s.Method:
        self.method_now = method
        scope: Scope = {}
        for param in method.params:
            self.bind(param.name, param.span, scope)
        params = tuple(replace(param, type=self.types.expand(param.type)) for param in method.params)
        result = self.types.expand(method.result)
        body = self.block(method.body, scope)
        self.method_now = None
        return replace(method, params=params, result=result, body=body)

    def bind(self, name: str, span: Span, scope: Scope) -> None:
        """Makes a local name visible, unless it is taken; `_` names nothing."""
        if name == "_":
            return
        if name in KEPT_NAMES:
            self.errors.error("E0211", f"the language keeps the name `{name}` for itself", span)
        elif name in scope:
            hint = "a name means one thing as long as it can be seen; take another one"
            _twice(self.errors, f"`{name}`", span, scope[name], hint)
        scope.setdefault(name, span)

    # ------------------------------------------------------------ statements

    def block(self, statements: tuple[s.Stmt, ...], outer: Scope) -> tuple[s.Stmt, ...]:
        scope = dict(outer)
        return tuple(self.statement(each, scope) for each in statements)

    def statement(self, node: s.Stmt, scope: Scope) -> s.Stmt:
        """One statement; names that it binds for the rest of its block are added to `scope`."""
        match node:
            case s.Let() | s.Choose():
                return self.binding(node, scope)
            case s.Assign(target=target, value=value):
                return replace(node, target=self.target(target, scope), value=self.expr(value, scope))
            case s.ExprStmt(value=value):
                return replace(node, value=self.expr(value, scope))
            case s.Assert(condition=condition):
                return replace(node, condition=self.expr(condition, scope))
            case s.Return() | s.Fail() | s.Error():
                return self.leave(node, scope)
            case s.If(condition=condition, then=then, orelse=orelse):
                condition = self.expr(condition, scope)
                return replace(
                    node, condition=condition, then=self.block(then, scope), orelse=self.block(orelse, scope)
                )
            case s.Try(body=body, orelse=orelse):
                return replace(node, body=self.block(body, scope), orelse=self.block(orelse, scope))
            case s.Match(subject=subject, arms=arms):
                subject = self.expr(subject, scope)
                return replace(node, subject=subject, arms=tuple(self.arm(arm, scope) for arm in arms))
            case s.For(key=key, value=value, body=body):
                rows = self.rows(node.state, scope)
                inner = dict(scope)
                self.bind(key, node.span, inner)
                self.bind(value, node.span, inner)
                return replace(node, state=rows, body=self.block(body, inner))

    def binding(self, node: s.Let | s.Choose, scope: Scope) -> s.Stmt:
        if isinstance(node, s.Let):
            value = self.expr(node.value, scope)
            declared = None if node.declared is None else self.types.expand(node.declared)
            self.bind(node.name, node.span, scope)
            return replace(node, value=value, declared=declared)
        rows = self.rows(node.state, scope)
        self.bind(node.key, node.span, scope)
        self.bind(node.value, node.span, scope)
        where = None if node.where is None else self.expr(node.where, scope)
        return replace(node, state=rows, where=where)

    def leave(self, node: s.Return | s.Fail | s.Error, scope: Scope) -> s.Return | s.Fail | s.Error:
        match node:
            case s.Return(value=s.Expr() as value):
                return replace(node, value=self.expr(value, scope))
            case s.Error(message=message):
                return replace(node, message=self.expr(message, scope))
            case _:
                return node

    def arm(self, arm: s.Arm, scope: Scope) -> s.Arm:
        inner = dict(scope)
        if arm.name is not None:
            self.bind(arm.name, arm.span, inner)
        return replace(arm, body=self.block(arm.body, inner))

    def rows(self, state: s.Expr, scope: Scope) -> s.Expr:
        """The dict over whose rows `for` or `choose` goes."""
        found = self.reference(state)
        if found is None:
            before = len(self.errors.found)
            self.expr(state, scope)
            if len(self.errors.found) == before:
                self.errors.error("E0210", "rows are those of a dict, such as `db.stock`", state.span)
            return state
        kind = self.kind(found)
        if isinstance(kind, t.Dict) and not isinstance(kind.value, t.Counter | t.Bounded):
            return found
        if isinstance(kind, t.Dict):
            message = f"to go over the rows of a {kind} is not supported yet"
            self.errors.error("E0901", message, state.span)
        elif kind is not None:
            self.misuse(found, f"`{found.state}` is a {kind}, it has no rows")
        return found

    def target(self, target: s.Expr, scope: Scope) -> s.Expr:
        """What stands on the left of an assignment."""
        if isinstance(target, s.Index):
            return self.expr(target, scope)
        found = self.reference(target)
        if found is not None:
            return self.whole(found)
        hint = None
        if isinstance(target, s.Name) and target.name in scope:
            hint = "a local name keeps its value; give the new value a name of its own with `let`"
        self.errors.error(
            "E0309", "only state can be set: a variable of `db.` or `mem.`, or a row", target.span, hint=hint
        )
        return target

    # ------------------------------------------------------------ expressions

    def expr(self, node: s.Expr, scope: Scope) -> s.Expr:
        match node:
            case s.Name(name=name):
                return self.name(node, name, scope)
            case s.Field():
                return self.field(node, scope)
            case s.Call():
                return self.call(node, scope)
            case s.Index():
                return self.index(node, scope)
            case s.TextLit(parts=parts):
                return replace(
                    node,
                    parts=tuple(part if isinstance(part, str) else self.expr(part, scope) for part in parts),
                )
            case s.RecordLit(fields=fields):
                return replace(node, fields=tuple((name, self.expr(value, scope)) for name, value in fields))
            case s.VariantLit(value=value):
                return replace(node, value=self.expr(value, scope))
            case s.Unary(operand=operand):
                return replace(node, operand=self.expr(operand, scope))
            case s.Binary(left=left, right=right):
                return replace(node, left=self.expr(left, scope), right=self.expr(right, scope))
            case s.JsonAs(subject=subject, target=target):
                return replace(node, subject=self.expr(subject, scope), target=self.types.expand(target))
            case s.Else(attempt=attempt, alternative=alternative):
                return self.otherwise(node, attempt, alternative, scope)
            case _:
                return node

    def otherwise(
        self, node: s.Else, attempt: s.Expr, alternative: s.Expr | s.Return | s.Fail | s.Error, scope: Scope
    ) -> s.Else:
        attempt = self.expr(attempt, scope)
        if isinstance(alternative, s.Expr):
            return replace(node, attempt=attempt, alternative=self.expr(alternative, scope))
        return replace(node, attempt=attempt, alternative=self.leave(alternative, scope))

    def name(self, node: s.Name, name: str, scope: Scope) -> s.Expr:
        if name in scope:
            return node
        hint = did_you_mean(name, scope)
        for state in self.states:
            if state.partition(".")[2] == name:
                hint = f"did you mean `{state}`?"
        if name in self.methods and self.methods[name].kind == "rpc":
            hint = f"`{name}` is an rpc method; `{name}(...)` calls it"
        self.errors.error("E0201", f"the name `{name}` is not defined here", node.span, hint=hint)
        return node

    def field(self, node: s.Field, scope: Scope) -> s.Expr:
        found = self.reference(node)
        if found is not None:
            return self.whole(found)
        path = dotted(node) or ""
        root = path.partition(".")[0]
        if path == "sys.mirror.name":
            return s.SysName(span=node.span)
        if path in ("request.json", "request.body"):
            if self.method_now is None or self.method_now.kind != "http":
                self.errors.error("E0209", "only an http method has a `request`", node.span)
            return s.Request(span=node.span, part=node.name)
        if root == "sys":
            self.unknown_sys(path, node.span)
            return node
        if root == "request" and path.count(".") == 1:
            hint = "a request has `request.json` and `request.body`"
            self.errors.error("E0207", f"there is no `{path}`", node.span, hint=hint)
            return node
        return replace(node, subject=self.expr(node.subject, scope))

    def reference(self, node: s.Expr) -> s.StateRef | None:
        """The state that an expression names as a whole, or None. Reports what is not declared."""
        match node:
            case s.Field(subject=s.Name(name="db" | "mem" as lifetime), name=name):
                full = f"{lifetime}.{name}"
                if full not in self.states:
                    hint = did_you_mean(full, self.states)
                    self.errors.error("E0203", f"the state `{full}` is not declared", node.span, hint=hint)
                return s.StateRef(span=node.span, state=full)
        return None

    def kind(self, reference: s.StateRef) -> t.StateKind | None:
        """The kind of the state; None where it is not declared, which is reported already."""
        state = self.states.get(reference.state)
        return None if state is None else state.kind

    def misuse(self, reference: s.StateRef, message: str, hint: str | None = None) -> None:
        """Reports that the kind of a state does not offer what is asked of it."""
        declared = Note(f"`{reference.state}` is declared here", self.states[reference.state].span)
        self.errors.error("E0210", message, reference.span, notes=[declared], hint=hint)

    def whole(self, reference: s.StateRef) -> s.StateRef:
        """A state that stands as a value or is set: a cell or counter."""
        name = reference.state
        match self.kind(reference):
            case t.Dict():
                hint = f"`{name}[key]` is one row, `for (key, value) in {name}` goes over all"
                self.misuse(reference, f"`{name}` is a dict, a whole dict is no value", hint)
            case t.Queue():
                hint = f"`{name}.read()` takes an item, `{name}.write(x)` adds one"
                self.misuse(reference, f"`{name}` is a queue, a whole queue is no value", hint)
        return reference

    def index(self, node: s.Index, scope: Scope) -> s.Expr:
        key = self.expr(node.key, scope)
        found = self.reference(node.subject)
        if found is None:
            subject = self.expr(node.subject, scope)
            message = "only a row of a dict is found by `[...]`"
            self.errors.error("E0210", message, node.subject.span, hint="dicts are state, such as `db.stock`")
            return replace(node, subject=subject, key=key)
        kind = self.kind(found)
        if kind is not None and not isinstance(kind, t.Dict):
            self.misuse(found, f"`{found.state}` is a {kind}, it has no rows")
        return replace(node, subject=found, key=key)

    # ------------------------------------------------------------ calls

    def call(self, node: s.Call, scope: Scope) -> s.Call:
        node = replace(node, args=tuple(self.expr(arg, scope) for arg in node.args))
        name = node.function
        span = Span(node.span.source, node.span.start, min(node.span.end, node.span.start + len(name)))
        root, _, rest = name.partition(".")
        if root in ("db", "mem"):
            return self.queue_call(node, root, rest, span)
        if root == "sys":
            if name not in SYS_CALLS:
                self.unknown_sys(name, span)
        elif name in self.methods and self.methods[name].kind == "rpc":
            if self.method_now is not None:
                self.calls.setdefault(self.method_now.name, {}).setdefault(name, span)
        elif name not in BUILT_INS:
            rpcs = [method.name for method in self.methods.values() if method.kind == "rpc"]
            hint = did_you_mean(name, (*rpcs, *BUILT_INS, *SYS_CALLS))
            if name in self.methods:
                hint = (
                    f"`{name}` is a method of kind {self.methods[name].kind}; only rpc methods can be called"
                )
            self.errors.error("E0206", f"the function `{name}` is not defined", span, hint=hint)
        return node

    def queue_call(self, node: s.Call, lifetime: str, rest: str, span: Span) -> s.Call:
        """`db.sales.read()` and `db.sales.write(x)`, which become queue.read and queue.write."""
        name, _, operation = rest.rpartition(".")
        if not name or "." in name:
            self.errors.error("E0206", f"the function `{node.function}` is not defined", span)
            return node
        state_span = Span(span.source, span.start, max(span.start, span.end - len(operation) - 1))
        subject = s.Field(span=state_span, subject=s.Name(span=span, name=lifetime), name=name)
        found = self.reference(subject)
        assert found is not None
        kind = self.kind(found)
        if kind is None:
            return node
        if not isinstance(kind, t.Queue):
            self.misuse(
                found,
                f"`{found.state}` is a {kind}, it has no `{operation}`",
                "only queues are read and written so",
            )
        elif operation in ("peek", "unread"):
            self.errors.error("E0901", f"`{operation}` of a queue is not supported yet", span)
        elif operation not in QUEUE_CALLS:
            self.errors.error(
                "E0206", f"a queue has no `{operation}`", span, hint="a queue has `read` and `write`"
            )
        return replace(node, function=f"queue.{operation}", args=(found, *node.args))

    def unknown_sys(self, path: str, span: Span) -> None:
        """Reports a part of `sys` that does not exist, or not yet, or not so."""
        if any(path == later or path.startswith(f"{later}.") for later in SYS_LATER):
            self.errors.error("E0901", f"`{path}` is not supported yet", span)
            return
        hint = did_you_mean(path, (*SYS_CALLS, "sys.mirror.name"))
        if path in SYS_CALLS:
            hint = f"it is a function: `{path}(...)`"
        if path == "sys.mirror.name":
            hint = "it is a value: `sys.mirror.name`"
        message = (
            f"`{path}` cannot be used so" if hint and hint.startswith("it is") else f"there is no `{path}`"
        )
        self.errors.error("E0207", message, span, hint=hint)


def _methods(program: s.Program, errors: Collector) -> dict[str, s.Method]:
    """The methods by name; check_declarations looks at http methods."""
    methods: dict[str, s.Method] = {}
    for method in program.methods:
        if method.kind == "http":
            continue
        if method.name in methods:
            _twice(errors, f"the method `{method.name}`", method.span, methods[method.name].span)
        elif method.name in KEPT_NAMES | STATEMENTS:
            errors.error("E0211", f"the language keeps the name `{method.name}` for itself", method.span)
        methods.setdefault(method.name, method)
    return methods


def _check_places_once(program: s.Program, errors: Collector) -> None:
    places: dict[str, s.Place] = {}
    for place in program.places:
        if place.name in places:
            _twice(errors, f"the place `{place.name}`", place.span, places[place.name].span)
        places.setdefault(place.name, place)


def _check_circles(calls: dict[str, dict[str, Span]], program: s.Program, errors: Collector) -> None:
    """Reports rpc methods that call themselves, if only through others; each circle once."""
    reported: set[str] = set()
    for method in program.methods:
        path = _way_back(method.name, calls)
        if method.kind != "rpc" or path is None or reported & set(path):
            continue
        reported.update(path)
        steps = list(zip(path, [*path[1:], method.name], strict=True))
        notes = [Note(f"`{a}` calls `{b}` here", calls[a][b]) for a, b in steps[1:]]
        first = calls[method.name][steps[0][1]]
        message = f"`{method.name}` calls itself" + (f" by way of `{path[1]}`" if len(path) > 1 else "")
        errors.error("E0208", message, first, notes=notes, hint="a transaction must end; repeat in a `step`")


def _way_back(start: str, calls: dict[str, dict[str, Span]]) -> list[str] | None:
    """A shortest way of calls from a method back to itself, without its end; None if there is none."""
    before: dict[str, str] = {}
    front = [start]
    while front:
        here = front.pop(0)
        for called in calls.get(here, {}):
            if called == start:
                way = [here]
                while way[0] != start:
                    way.insert(0, before[way[0]])
                return way
            if called not in before:
                before[called] = here
                front.append(called)
    return None


def _twice(errors: Collector, what: str, span: Span, first: Span, hint: str | None = None) -> None:
    errors.error(
        "E0202", f"{what} is defined twice", span, notes=[Note("first defined here", first)], hint=hint
    )
