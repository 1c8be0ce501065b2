"""The pass `infer_effects`: fills Method.accesses and Method.observes_name, and says of each Attempt
whether it may write.

Takes any program in the core language whose methods do not invoke each other in a circle (the front end
refuses those). Changes nothing else. Accesses include those of invoked methods, with the arguments in
place of their parameters; they are what the text of the method may do, whatever a later pass finds that
it never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from glasc import ir
from glasc.ir_check import WRITES
from glasc.ir_keys import MIRROR_NAME, UNKNOWN, field_of, row_of
from glasc.ir_walk import blocks, map_blocks, rewrite, statements, subexpressions
from glasc.source import Span
from glasc.types import Type

_MOST_PARTS = 200
"""What is known of a variable may be an expression of so many parts: written out, some would grow without
end.
"""


def infer_effects(program: ir.Program) -> ir.Program:
    """The program with the effects of all methods, stage "infer_effects"."""
    known: dict[str, _Effects] = {}
    for method in program.methods:
        _effects(program, method, known)
    methods = tuple(
        replace(
            method,
            body=_mark_attempts(method.body, known),
            accesses=known[method.name].accesses,
            observes_name=known[method.name].observes_name,
        )
        for method in program.methods
    )
    return replace(program, stage="infer_effects", methods=methods)


# ---------------------------------------------------------------- effects of a method


@dataclass(frozen=True)
class _Effects:
    """What a method may do, in terms of its parameters."""

    params: tuple[str, ...]
    accesses: tuple[ir.Access, ...]
    observes_name: bool
    writes: bool


_Key = tuple[str, str, ir.Expr | None]


class _Counts:
    """Accesses in the order of first occurrence, with how often each happens at most."""

    def __init__(self) -> None:
        self._found: dict[_Key, ir.Access] = {}

    def add(self, access: ir.Access) -> None:
        """Adds an access that happens after all others."""
        key = (access.state, access.kind, access.key)
        old = self._found.get(key)
        most = access.most if old is None else _sum(old.most, access.most)
        self._found[key] = replace(old or access, most=most)

    def then(self, others: Iterable[ir.Access], *, looped: bool = False) -> None:
        """Adds accesses that happen after these; any number of times if `looped`."""
        for access in others:
            self.add(replace(access, most=None) if looped else access)

    def either(self, branches: Iterable[tuple[ir.Access, ...]]) -> None:
        """Adds the accesses of the one branch that runs: of each kind as many as the busiest branch has."""
        busiest: dict[_Key, ir.Access] = {}
        for branch in branches:
            for access in branch:
                key = (access.state, access.kind, access.key)
                old = busiest.get(key, access)
                most = None if None in (old.most, access.most) else max(old.most or 0, access.most or 0)
                busiest[key] = replace(old, most=most)
        self.then(busiest.values())

    def all(self) -> tuple[ir.Access, ...]:
        """Everything that was added."""
        return tuple(self._found.values())


def _sum(left: int | None, right: int | None) -> int | None:
    return None if left is None or right is None else left + right


def _effects(program: ir.Program, method: ir.Method, known: dict[str, _Effects]) -> _Effects:
    """Effects of a method; those of all that it invokes are known afterwards too."""
    if method.name not in known:
        for callee in _invoked(method):
            _effects(program, program.method(callee), known)
        params = tuple(param.name for param in method.params)
        scan = _Scan(known, {param.name: param for param in method.params})
        accesses = scan.block(method.body)
        names = (known[callee] for callee in _invoked(method))
        observes = scan.observes_name or any(effects.observes_name for effects in names)
        known[method.name] = _Effects(params, accesses, observes, _writes(method.body, known))
    return known[method.name]


def _invoked(method: ir.Method) -> Iterator[str]:
    for stmt in statements(method.body):
        if isinstance(stmt, ir.Let) and isinstance(stmt.op, ir.Invoke):
            yield stmt.op.method


class _Scan:
    """Goes through the body of one method, in order, with what is known of its variables."""

    def __init__(self, effects: dict[str, _Effects], known: dict[str, ir.Expr]) -> None:
        self._effects = effects
        self._known = known
        self._looped = False
        self._calls = 0
        self.observes_name = False

    def block(self, block: ir.Block) -> tuple[ir.Access, ...]:
        """Accesses of a block."""
        counts = _Counts()
        for stmt in block:
            self._statement(stmt, counts)
        return counts.all()

    def key(self, expr: ir.Expr) -> ir.Expr:
        """A key with its variables replaced by what is known of them."""
        return _substituted(expr, lambda var: self._known.get(var.name) or self._unknown(var.name, var.type))

    def _unknown(self, name: str, kind: Type) -> ir.Var:
        """A part of a key of which nothing is known when compiling, but that it is what `name` is in this
        run.
        """
        return ir.Var(UNKNOWN if self._looped else UNKNOWN + name, kind)

    def _statement(self, stmt: ir.Stmt, counts: _Counts) -> None:
        match stmt:
            case ir.Let(op=ir.Invoke(method, args)):
                counts.then(self._of_callee(method, args))
            case ir.Let(var=var, op=op):
                self._let(var, op, stmt.span, counts)
            case ir.If() | ir.Match():
                counts.either([self.block(inner) for inner in blocks(stmt)])
            case ir.Attempt(body=body, handler=handler):
                counts.then(self.block(body))
                counts.then(self.block(handler))
            case ir.ForRows(state=state, body=body):
                counts.add(ir.Access(state, "rows", None, 1, stmt.span))
                counts.then(self._loop(body), looped=True)
            case ir.ChooseRow(state=state, key=key, test=test):
                counts.add(ir.Access(state, "choose", None, 1, stmt.span))
                self._known[key.name] = row_of(state, key.type)
                counts.then(self._loop(test), looped=True)
            case _:
                self._simple(stmt, stmt.span, counts)

    def _loop(self, block: ir.Block) -> tuple[ir.Access, ...]:
        outer, self._looped = self._looped, True
        accesses = self.block(block)
        self._looped = outer
        return accesses

    def _let(self, var: ir.Var | None, op: ir.Op, span: Span, counts: _Counts) -> None:
        self._simple(op, span, counts)
        match op:
            case ir.Pure(value) if var is not None:
                key = self.key(value)
                if sum(1 for _ in islice(subexpressions(key), _MOST_PARTS + 1)) <= _MOST_PARTS:
                    self._known[var.name] = key
            case ir.MirrorName():
                self.observes_name = True
                if var is not None:
                    self._known[var.name] = MIRROR_NAME

    def _simple(self, node: ir.Op | ir.Stmt, span: Span, counts: _Counts) -> None:
        """Adds the access of an operation or statement that has one."""
        kind = _KINDS.get(type(node))
        if kind is None:
            return
        state: str = getattr(node, "state", "")
        key: ir.Expr | None = getattr(node, "key", None)
        counts.add(ir.Access(state, kind(node), None if key is None else self.key(key), 1, span))

    def _of_callee(self, name: str, args: tuple[ir.Expr, ...]) -> Iterator[ir.Access]:
        """Accesses of an invoked method, with what is known of the arguments in place of its parameters."""
        effects = self._effects[name]
        known = {param: self.key(arg) for param, arg in zip(effects.params, args, strict=True)}
        self._calls += 1

        def in_caller(var: ir.Var) -> ir.Expr:
            if var.name.startswith(UNKNOWN) and var.name != UNKNOWN:
                return self._unknown(f"{name}{self._calls}.{var.name.removeprefix(UNKNOWN)}", var.type)
            return known.get(var.name, var)

        for access in effects.accesses:
            yield access if access.key is None else replace(access, key=_substituted(access.key, in_caller))


def _substituted(key: ir.Expr, of: Callable[[ir.Var], ir.Expr]) -> ir.Expr:
    """The key with each variable replaced by what `of` gives for it, and fields taken from records
    written out.
    """

    def change(part: ir.Expr) -> ir.Expr:
        match part:
            case ir.Var():
                return of(part)
            case ir.Get(subject=subject, name=name):
                return field_of(subject, name)
        return part

    return rewrite(key, change)


def _bounded_kind(stmt: ir.BoundedAdd) -> str:
    """`add` only where the amount is known not to be negative; else it may use rights."""
    amount = stmt.delta.value if isinstance(stmt.delta, ir.Const) else None
    return "add" if isinstance(amount, int) and amount >= 0 else "sub"


_KINDS: dict[type, Callable[..., str]] = {
    ir.CellGet: lambda _: "get",
    ir.RowGet: lambda _: "get",
    ir.CounterGet: lambda _: "sum",
    ir.BoundedGet: lambda _: "sum",
    ir.QueueRead: lambda _: "read",
    ir.CellSet: lambda _: "set",
    ir.RowSet: lambda _: "set",
    ir.CounterAdd: lambda _: "add",
    ir.BoundedAdd: _bounded_kind,
    ir.QueueWrite: lambda _: "write",
}


# ---------------------------------------------------------------- attempts that write


def _writes(block: ir.Block, known: dict[str, _Effects]) -> bool:
    """Whether a block may write anything that a failing Attempt undoes; queue reads and logs count."""
    return any(_is_write(stmt, known) for stmt in statements(block))


def _is_write(stmt: ir.Stmt, known: dict[str, _Effects]) -> bool:
    match stmt:
        case ir.Let(op=ir.QueueRead()):
            return True
        case ir.Let(op=ir.Invoke(method)):
            return known[method].writes
    return isinstance(stmt, WRITES)


def _mark_attempts(block: ir.Block, known: dict[str, _Effects]) -> ir.Block:
    """The block with `writes` of every Attempt in it as the body says."""

    def mark(stmt: ir.Stmt) -> ir.Stmt:
        inner = map_blocks(stmt, lambda part: _mark_attempts(part, known))
        return replace(inner, writes=_writes(inner.body, known)) if isinstance(inner, ir.Attempt) else inner

    return tuple(mark(stmt) for stmt in block)
