"""Every way through a method ends well.

Takes the tree that infer_types made and leaves it as it is. Afterwards every way ends with a result where one
is declared, no code is unreachable, no alternative stands behind what cannot fail, invariants only read, and
nothing changes the rows that a loop goes over. Failing is what `else` and `try` catch; errors (overflow,
`assert`, `error`) are not, nor is waiting, but that `else` directly behind the read of a queue sees that it
is empty (docs/consistency.md 7).
"""

from __future__ import annotations

from dataclasses import dataclass

from glasc import syntax as s
from glasc import types as t
from glasc.diagnostics import Collector, Note
from glasc.source import Span
from glasc.syntax_walk import Inner, blocks, children, everything, inside

_CHOOSING = frozenset({"step", "rpc", "http"})


def check_flow(program: s.Program) -> s.Program:
    """The same program. Raises CompileErrors."""
    errors = Collector()
    check = _Check(_Facts(program), errors)
    for method in program.methods:
        check.method(method)
    errors.finish()
    return program


@dataclass(frozen=True)
class _Effects:
    """What running something may do; `writes` says which states, and where first ("" is the log)."""

    fails: bool
    waits: bool
    writes: dict[str, Span]


class _Facts:
    """What methods, statements and expressions may do. No circle of calls (resolve) means an end here."""

    def __init__(self, program: s.Program) -> None:
        self.kinds = {state.name: state.kind for state in program.states}
        self.rpcs = {method.name: method for method in program.methods if method.kind == "rpc"}
        self.known: dict[str, _Effects] = {}

    def method(self, name: str) -> _Effects:
        """What an rpc method may do."""
        if name not in self.known:
            body = self.rpcs[name].body
            self.known[name] = _Effects(self.fail(body), self.wait(body), self.writes(body))
        return self.known[name]

    def fail(self, statements: tuple[s.Stmt, ...]) -> bool:
        """Whether a block may fail."""
        return any(self.statement_fails(each) for each in statements)

    def statement_fails(self, node: s.Stmt) -> bool:
        match node:
            case s.Fail():
                return True
            case s.Try(orelse=orelse):
                return self.fail(orelse)
            case s.Choose():  # a row for which the condition fails does not fit
                return False
            case s.Assign() if self.assignment_fails(node):
                return True
        parts = children(node)
        if isinstance(node, s.Assign) and isinstance(node.target, s.Index):
            parts = (node.target.key, node.value)
        return any(self.fails(part) for part in parts) or any(self.fail(block) for block in blocks(node))

    def assignment_fails(self, node: s.Assign) -> bool:
        """Whether an assignment itself may fail, once its parts are computed."""
        kind = self.target_kind(node.target)
        if isinstance(kind, t.Bounded):
            amount = node.value.value if isinstance(node.value, s.IntLit) else None
            return amount is None or (amount < 0 if node.op == "+=" else amount > 0)
        row = isinstance(node.target, s.Index) and not isinstance(kind, t.Counter)
        return row and node.op != ":="

    def target_kind(self, target: s.Expr) -> t.StateKind | t.Type:
        name = state_of(target)
        kind = self.kinds[name]
        return kind.value if isinstance(kind, t.Dict) else kind

    def fails(self, node: Inner) -> bool:
        """Whether an expression (or what stands behind `else`) may fail."""
        match node:
            case s.Fail() | s.JsonAs() | s.Request(part="body"):  # a body need not be a text
                return True
            case s.Index() if not isinstance(self.target_kind(node), t.Counter | t.Bounded):
                return True
            case s.Else(alternative=alternative):
                return self.fails(alternative)
            case s.Call(function=name) if name in self.rpcs and self.method(name).fails:
                return True
        return any(self.fails(child) for child in children(node))

    def wait(self, statements: tuple[s.Stmt, ...]) -> bool:
        """Whether a block may wait."""
        return any(self.waits(node) for node in everything(statements))

    def waits(self, node: s.Expr | s.Stmt) -> bool:
        match node:
            case s.Choose() | s.Call(function="queue.read"):
                return True
            case s.Call(function=name) if name in self.rpcs:
                return self.method(name).waits
        return False

    def writes(self, statements: tuple[s.Stmt, ...]) -> dict[str, Span]:
        """The states that a block may write, and where first."""
        found: dict[str, Span] = {}
        for node in everything(statements):
            for name, span in self.written(node).items():
                found.setdefault(name, span)
        return found

    def written(self, node: s.Expr | s.Stmt) -> dict[str, Span]:
        """The states that a node itself may write, its parts apart."""
        match node:
            case s.Assign(target=target):
                return {state_of(target): node.span}
            case s.Call(function="queue.read" | "queue.write", args=args):
                return {state_of(args[0]): node.span}
            case s.Call(function="sys.log"):
                return {"": node.span}
            case s.Call(function=name) if name in self.rpcs:
                return dict.fromkeys(self.method(name).writes, node.span)
        return {}


class _Check:
    def __init__(self, facts: _Facts, errors: Collector) -> None:
        self.facts = facts
        self.errors = errors

    def method(self, method: s.Method) -> None:
        self.block(method.body)
        if method.result != t.UNIT and not ends(method.body):
            message = f"`{method.name}` has a way that ends without a result"
            hint = f"every way needs `return`, with a value of type {method.result}"
            self.errors.error("E0403", message, method.span, hint=hint)
        if method.kind == "invariant":
            self.invariant(method)
        for node in everything(method.body):
            match node:
                case s.Choose():
                    self.choose(node, method)
                case s.Else():
                    self.otherwise(node)
                case s.For():
                    self.loop(node)

    def block(self, statements: tuple[s.Stmt, ...]) -> None:
        """Reports the first statement that is never reached, and useless alternatives."""
        for node, following in zip(statements, (*statements[1:], None), strict=False):
            if isinstance(node, s.Try) and not self.facts.fail(node.body):
                hint = (
                    "errors and waits are not caught; what can fail is an absent row, a reading of JSON, "
                    "a bounded counter, `fail`"
                )
                self.errors.error("E0401", "nothing in this `try` can fail", node.span, hint=hint)
            for block in blocks(node):
                self.block(block)
            if following is not None and ends((node,)):
                notes = [Note("nothing goes on behind this", node.span)]
                self.errors.error("E0402", "this is never reached", following.span, notes=notes)
                break

    def invariant(self, method: s.Method) -> None:
        for name, span in self.facts.writes(method.body).items():
            message = (
                f"an invariant only reads, but this changes `{name}`" if name else "an invariant only reads"
            )
            self.errors.error("E0404", message, span)
        for node in everything(method.body):
            if isinstance(node, s.Call) and node.function in self.facts.rpcs and self.facts.waits(node):
                self.errors.error("E0406", "an invariant cannot wait", node.span)

    def choose(self, node: s.Choose, method: s.Method) -> None:
        if method.kind not in _CHOOSING:
            hint = "`choose` waits for a row; step, rpc and http can wait"
            self.errors.error("E0405", f"`choose` cannot stand in {method.kind}", node.span, hint=hint)
        for part in () if node.where is None else inside(node.where):
            if self.facts.written(part) or self.facts.waits(part):
                self.errors.error("E0404", "the condition of `choose` only reads", part.span)
                break

    def otherwise(self, node: s.Else) -> None:
        reads_queue = isinstance(node.attempt, s.Call) and node.attempt.function == "queue.read"
        if not reads_queue and not self.facts.fails(node.attempt):
            span = node.attempt.span
            self.errors.error("E0401", "this cannot fail, so what stands behind `else` is of no use", span)

    def loop(self, node: s.For) -> None:
        name = state_of(node.state)
        written = self.facts.writes(node.body)
        if name in written:
            notes = [Note("the loop is here", node.span)]
            self.errors.error(
                "E0407", f"`{name}` changes while `for` goes over it", written[name], notes=notes
            )


def ends(statements: tuple[s.Stmt, ...]) -> bool:
    """Whether no way goes on behind a block."""
    return any(_statement_ends(each) for each in statements)


def _statement_ends(node: s.Stmt) -> bool:
    match node:
        case s.Return() | s.Fail() | s.Error():
            return True
        case s.If() | s.Try():
            return all(ends(block) for block in blocks(node))
        case s.Match(arms=arms):
            return all(ends(arm.body) for arm in arms)
        case _:
            return False


def state_of(node: s.Expr) -> str:
    """The state that a StateRef, or a row of it, belongs to."""
    reference = node.subject if isinstance(node, s.Index) else node
    assert isinstance(reference, s.StateRef)
    return reference.state
