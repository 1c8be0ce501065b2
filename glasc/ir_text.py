"""The canonical text of a program in the core language: for dumps, for goldens, and for people who read them.

Shows everything that the tree holds except spans. Decides nothing; nothing reads this text back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from glasc import ir
from glasc.types import TIME, Bounded, Cell, Counter, Dict, Primitive, Queue, Record, StateKind, Type, Variant

INDENT = "  "


def program_text(program: ir.Program) -> str:
    """The whole program as text, with a newline at the end."""
    return "\n".join([*_Printer(program).program(), ""])


def expr_text(expr: ir.Expr) -> str:
    """One expression as text, e.g. `(shop: sys.mirror.name, item: item)`."""
    return _EXPRS[type(expr)](expr)


def owner_text(owner: ir.Owner) -> str:
    """An owner for people: `at hq`, `by key.shop in shop`, `at the origin`, `everywhere`."""
    match owner:
        case ir.AtPlace(place):
            return f"at {place}"
        case ir.ByKey(place, key):
            return f"by {expr_text(key)} in {place}"
        case ir.AtOrigin():
            return "at the origin"
        case ir.Ownerless():
            return "everywhere"


def access_text(access: ir.Access) -> str:
    """One access for people and goldens, e.g. `get db.stock[line] at most 1`."""
    most = "any number of times" if access.most is None else f"at most {access.most}"
    return f"{access.kind} {_place_of(access.state, access.key)} {most}"


# ---------------------------------------------------------------- expressions


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _const(expr: ir.Const) -> str:
    match expr.value:
        case None:
            return "()"
        case bool(value):
            return str(value).lower()
        case int(value):
            return f"Time {value}" if expr.type == TIME else str(value)
        case str(value):
            return _quoted(value)


def _make(expr: ir.Make) -> str:
    assert isinstance(expr.type, Record)
    pairs = zip(expr.type.fields, expr.fields, strict=True)
    return "(" + ", ".join(f"{name}: {expr_text(part)}" for (name, _), part in pairs) + ")"


def _operand(expr: ir.Expr) -> str:
    text = expr_text(expr)
    return f"({text})" if isinstance(expr, ir.Logic | ir.Compare | ir.Not | ir.Tag) else text


def _two(expr: ir.Logic | ir.Compare | ir.Arith) -> str:
    return f"{_operand(expr.left)} {expr.op} {_operand(expr.right)}"


def _place_of(state: str, key: ir.Expr | None) -> str:
    return state if key is None else f"{state}[{expr_text(key)}]"


_EXPRS: dict[type, Callable[..., str]] = {
    ir.Var: lambda expr: expr.name,
    ir.Const: _const,
    ir.Get: lambda expr: f"{_operand(expr.subject)}.{expr.name}",
    ir.Make: _make,
    ir.Tag: lambda expr: f"{expr.label}: {_operand(expr.value)}",
    ir.MakeReply: lambda expr: (
        f"reply({expr_text(expr.status)}, {_quoted(expr.content_type)}, {expr_text(expr.body)})"
    ),
    ir.Not: lambda expr: f"not {_operand(expr.operand)}",
    ir.Logic: _two,
    ir.Compare: _two,
}


# ---------------------------------------------------------------- operations and simple statements


def _args(parts: tuple[ir.Expr, ...]) -> str:
    return ", ".join(map(expr_text, parts))


_OPS: dict[type, Callable[..., str]] = {
    ir.Arith: _two,
    ir.Format: lambda op: f"format({_args(op.parts)})",
    ir.CellGet: lambda op: f"get {op.state}",
    ir.RowGet: lambda op: f"row {_place_of(op.state, op.key)}",
    ir.CounterGet: lambda op: f"sum {_place_of(op.state, op.key)}",
    ir.BoundedGet: lambda op: f"rights {_place_of(op.state, op.key)}",
    ir.QueueRead: lambda op: f"read {op.state}",
    ir.MirrorName: lambda _: "sys.mirror.name",
    ir.Now: lambda _: "sys.time.now",
    ir.RequestBody: lambda _: "request.body",
    ir.JsonWrite: lambda op: f"json {_operand(op.value)}",
    ir.Invoke: lambda op: f"invoke {op.method}({_args(op.args)})",
    ir.Pure: lambda op: expr_text(op.value),
}

_SIMPLE: dict[type, Callable[..., str]] = {
    ir.Set: lambda stmt: f"set {stmt.var.name} = {expr_text(stmt.value)}",
    ir.CellSet: lambda stmt: f"{stmt.state} := {expr_text(stmt.value)}",
    ir.RowSet: lambda stmt: f"{_place_of(stmt.state, stmt.key)} := {expr_text(stmt.value)}",
    ir.CounterAdd: lambda stmt: f"add {_place_of(stmt.state, stmt.key)} += {expr_text(stmt.delta)}",
    ir.BoundedAdd: lambda stmt: f"rights {_place_of(stmt.state, stmt.key)} += {expr_text(stmt.delta)}",
    ir.QueueWrite: lambda stmt: f"write {stmt.state} <- {expr_text(stmt.value)}",
    ir.Log: lambda stmt: f"log {expr_text(stmt.text)}",
    ir.Return: lambda stmt: "return" if stmt.value is None else f"return {expr_text(stmt.value)}",
    ir.Fail: lambda _: "fail",
    ir.Raise: lambda stmt: f"error {expr_text(stmt.message)}",
}


# ---------------------------------------------------------------- blocks and declarations


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (INDENT + line for line in lines)


class _Printer:
    """Prints one program; knows its named types, so that they print by their names."""

    def __init__(self, program: ir.Program) -> None:
        self._program = program
        named = reversed(program.type_names)
        self._names = {each.type: each.name for each in named if not isinstance(each.type, Primitive)}

    def type(self, kind: Type) -> str:
        """A type, by its name where it has one."""
        if kind in self._names:
            return self._names[kind]
        match kind:
            case Record(parts):
                return "(" + ", ".join(f"{name}: {self.type(part)}" for name, part in parts) + ")"
            case Variant(cases):
                return "(" + " | ".join(f"{label}: {self.type(part)}" for label, part in cases) + ")"
        return str(kind)

    def kind(self, kind: StateKind | Type) -> str:
        """A kind of state, with named types by their names."""
        match kind:
            case Cell(value):
                return f"cell {self.type(value)}"
            case Queue(value):
                return f"queue of {self.type(value)}"
            case Dict(key, inner):
                return f"dict {self.type(key)} of {self.kind(inner)}"
            case Counter() | Bounded():
                return str(kind)
        return self.type(kind)

    def program(self) -> Iterator[str]:
        """All lines of the program."""
        program = self._program
        yield f"app {program.name} version {_quoted(program.version)} after {program.stage}"
        for place, many in program.places:
            yield f"place {place}{' many' if many else ''}"
        for named in program.type_names:
            yield f"type {named.name} = {named.type}"
        for state in program.states:
            yield from self.state(state)
        for method in program.methods:
            yield ""
            yield from self.method(method)

    def state(self, state: ir.State) -> Iterator[str]:
        """A state variable with its annotations and, when known, its owner."""
        yield f"{state.name} : {self.kind(state.kind)}"
        near_key = "" if state.near_key is None else f"[{expr_text(state.near_key)}]"
        notes = {
            "at": state.at,
            "near": None if state.near is None else state.near + near_key,
            "reader": state.reader,
            "together": ", ".join(state.together) or None,
            "mirror stale": None if state.stale_us is None else f"{state.stale_us}us",
        }
        yield from (f"{INDENT}@{name} {text}" for name, text in notes.items() if text is not None)
        if state.owner is not None:
            yield f"{INDENT}owner {owner_text(state.owner)}: {state.why}"

    def method(self, method: ir.Method) -> Iterator[str]:
        """A method with its effects and routes, when known, and its body."""
        params = ", ".join(f"{var.name}: {self.type(var.type)}" for var in method.params)
        yield f"{method.title} = {method.name}({params}) -> {self.type(method.result)}"
        if method.available is not None:
            yield f"{INDENT}@available {method.available}"
        if method.observes_name:
            yield f"{INDENT}observes sys.mirror.name"
        for access in method.accesses or ():
            yield f"{INDENT}access {access_text(access)}"
        for route in method.routes:
            needs = f" needs {', '.join(route.needs)}" if route.needs else ""
            yield f"{INDENT}route at {route.place or 'no place'}: {route.how}{needs}: {route.why}"
        yield from _indented(self.block(method.body))

    def block(self, block: ir.Block) -> Iterator[str]:
        """The lines of a block; `pass` for an empty one."""
        if not block:
            yield "pass"
        for stmt in block:
            yield from self.statement(stmt)

    def statement(self, stmt: ir.Stmt) -> Iterator[str]:
        """The lines of one statement."""
        match stmt:
            case ir.Let(var=None, op=op):
                yield self.op(op)
            case ir.Let(var=ir.Var(name, kind), op=op):
                yield f"let {name}: {self.type(kind)} = {self.op(op)}"
            case ir.Declare(var=var):
                yield f"var {var.name}: {self.type(var.type)}"
            case ir.If() | ir.Match() | ir.Attempt() | ir.ForRows() | ir.ChooseRow():
                yield from self.compound(stmt)
            case _:
                yield _SIMPLE[type(stmt)](stmt)

    def op(self, op: ir.Op) -> str:
        """One operation."""
        if isinstance(op, ir.JsonRead):
            return f"{_operand(op.text)} as {self.type(op.type)}"
        return _OPS[type(op)](op)

    def compound(self, stmt: ir.If | ir.Match | ir.Attempt | ir.ForRows | ir.ChooseRow) -> Iterator[str]:
        """The lines of a statement that holds blocks."""
        match stmt:
            case ir.If(condition=condition, then=then, orelse=orelse):
                yield from self.section(f"if {expr_text(condition)}", then)
                if orelse:
                    yield from self.section("else", orelse)
            case ir.Match(subject=subject, arms=arms):
                yield f"match {expr_text(subject)}"
                for arm in arms:
                    head = f"{arm.label}: {'_' if arm.var is None else arm.var.name} ->"
                    yield from _indented(self.section(head, arm.body))
            case ir.Attempt(body=body, handler=handler, catches_wait=waits, writes=writes):
                marks = ("" if writes else " readonly") + (" catching waits" if waits else "")
                yield from self.section(f"attempt{marks}", body)
                yield from self.section("else", handler)
            case ir.ForRows(key=key, value=value, state=state, body=body):
                yield from self.section(f"for ({key.name}, {value.name}) in {state}", body)
            case ir.ChooseRow(key=key, value=value, state=state, test=test, verdict=verdict):
                head = f"choose ({key.name}, {value.name}) in {state} where {verdict.name} after"
                yield from self.section(head, test)

    def section(self, head: str, block: ir.Block) -> Iterator[str]:
        """A head line and an indented block under it."""
        yield head
        yield from _indented(self.block(block))
