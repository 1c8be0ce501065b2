"""The reference interpreter: what a program in the core language means on one mirror that stands at every
place.

Tests compare the generated C with it, so it is written to be read. Knows nothing of owners, routes, logs
or the wire: here no unit is ever missed. JSON is in typed_json.py, which states its rules.

Values: bool, int, str, None for Unit, a dict for a record, a pair (label, value) for a variant. An HTTP
answer is a dict with status, content_type and body.

What the core language leaves to be said:
- A cell starts with the default of its type: false, 0, "", the time 0, (), a record of defaults, the
  first label of a variant.
- Rows go in key order: numbers by size, false before true, texts by their UTF-8 bytes, records field by
  field, variants by the place of their label in the type and then by value.
- `choose` goes in the order in which rows were made. Each remembers the row that it found last, even where
  the transaction then aborts, and starts behind it.
- A counter whose sum at one mirror would leave 64 bits is an error where it is added to, and so is a
  bounded counter.
- A failing Attempt also takes back what it logged. Log lines appear when the transaction commits.
- An http path is cut at each `/`; what follows the first `?` is ignored. Literal segments match exactly and
  undecoded. `{x}` matches a segment that is not empty, percent-decoded; `+` is no space. A path with escapes
  that are not well formed, or not UTF-8, is answered with 400.
  The front end sees to it that at most one method with the verb matches. An unknown path is answered with
  404, a known one with another verb (HEAD too) with 405.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from glasc import ir
from glasc.ir_walk import falls_through
from glasc.typed_json import LARGEST, SMALLEST, DoesNotFit, plain, read, time_text, write
from glasc.types import BOOL, INT, TEXT, TIME, Bounded, Cell, Counter, Dict, Queue, Record, Type, Variant

Frame = dict[str, Any]
"""Values of the variables of one run of a method."""


@dataclass(frozen=True)
class Outcome:
    """How a transaction ended: committed with a value, failed, waiting, or an error with a message."""

    kind: str
    value: Any = None
    message: str = ""


FAILED = Outcome("failed")
WAITING = Outcome("waiting")


class _Failed(Exception):
    """A part of a transaction fails."""


class _Waiting(Exception):
    """A part of a transaction waits."""


class _Raised(Exception):
    """The transaction is an error; the argument is its message."""


class _Returned(Exception):
    """The method ends with this value."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


def default(kind: Type) -> Any:
    """The value that a cell of the type starts with."""
    match kind:
        case Record(parts):
            return {name: default(part) for name, part in parts}
        case Variant(((label, inner), *_)):
            return (label, default(inner))
    return _DEFAULTS.get(kind)


_DEFAULTS: dict[Type, Any] = {BOOL: False, INT: 0, TEXT: "", TIME: 0}


def order(value: Any, kind: Type) -> Any:
    """A key that sorts values of the type as rows are sorted, and is equal for equal values."""
    match kind:
        case Record(parts):
            return tuple(order(value[name], part) for name, part in parts)
        case Variant(cases):
            label, inner = value
            return [name for name, _ in cases].index(label), order(inner, dict(cases)[label])
    return 0 if value is None else value


class Machine:
    """One mirror with its state. `now` is its clock, to be set forward by the user; `log` holds the lines
    logged so far.
    """

    def __init__(self, program: ir.Program, mirror_name: str, now: int) -> None:
        self.program = program
        self._name = mirror_name
        self.now = now
        self.log: tuple[str, ...] = ()
        self._state: dict[str, Any] = {state.name: _empty(state) for state in program.states}
        self._body = b""
        self._found: dict[tuple[str, str], int] = {}  # by method and key variable: the row chosen last

    # ------------------------------------------------------------ from outside

    def call(self, method: str, args: Sequence[Any] = ()) -> Outcome:
        """Runs a method, by its IR name, as one transaction."""
        saved = self._saved()
        try:
            return Outcome("committed", self._invoke(method, args))
        except _Failed:
            outcome = FAILED
        except _Waiting:
            outcome = WAITING
        except _Raised as raised:
            outcome = Outcome("error", message=str(raised))
        self._restore(saved)
        return outcome

    def run_step(self, name: str) -> Outcome:
        """One run of a step."""
        return self.call(name)

    def ready_steps(self) -> list[str]:
        """The steps that could commit something new now (log lines are nothing new); nothing is changed."""
        found = []
        for method in self.program.methods:
            if method.kind == "step":
                saved, chosen = self._saved(), dict(self._found)
                if self.run_step(method.name).kind == "committed" and self._state != saved[0]:
                    found.append(method.name)
                self._restore(saved)
                self._found = chosen
        return found

    def http(self, verb: str, path: str, body: bytes = b"") -> Outcome:
        """One HTTP request; "failed" means that it would be tried again until its time is over."""
        segments = path.partition("?")[0].split("/")
        if segments[0] == "" and None in map(percent_decoded, segments):
            return Outcome("committed", _answer(400, "malformed path"))
        fitting = {
            method.verb: (method.name, args)
            for method in self.program.methods
            if method.kind == "http" and (args := match_path(method, segments)) is not None
        }
        if not fitting:
            return Outcome("committed", _answer(404, "not found"))
        if verb not in fitting:
            return Outcome("committed", _answer(405, "method not allowed"))
        self._body = body
        return self.call(*fitting[verb])

    def dump(self) -> dict[str, Any]:
        """All state as plain JSON data: rows as [key, value] in key order, without counters that are zero."""
        return {state.name: _dumped(self._state[state.name], state) for state in self.program.states}

    # ------------------------------------------------------------ transactions

    def _saved(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The state as it is; its values are never changed in place."""
        return dict(self._state), self.log

    def _restore(self, saved: tuple[dict[str, Any], tuple[str, ...]]) -> None:
        self._state, self.log = dict(saved[0]), saved[1]

    def _invoke(self, name: str, args: Sequence[Any]) -> Any:
        method = self.program.method(name)
        frame = {param.name: arg for param, arg in zip(method.params, args, strict=True)}
        try:
            _Run(self, method, frame).block(method.body)
        except _Returned as returned:
            return returned.value
        assert falls_through(method.body)
        return None


def _empty(state: ir.State) -> Any:
    """A state before anything was written: rows by the order of their keys, with the keys."""
    match state.kind:
        case Cell(value):
            return default(value)
        case Queue():
            return ()
        case Dict():
            return {}
    return 0


def _dumped(value: Any, state: ir.State) -> Any:
    match state.kind:
        case Cell(kind):
            return plain(value, kind)
        case Queue(kind):
            return [plain(item, kind) for item in value]
        case Dict(key, Counter() | Bounded()):
            return [[plain(name, key), count] for _, (name, count) in sorted(value.items()) if count]
        case Dict(key, kind):
            assert not isinstance(kind, Counter | Bounded)
            return [[plain(name, key), plain(row, kind)] for _, (name, row) in _in_order(value)]
    return value


def _in_order(rows: dict[Any, tuple[Any, Any]]) -> Iterator[tuple[Any, tuple[Any, Any]]]:
    return ((key, rows[key]) for key in sorted(rows))


# ---------------------------------------------------------------- http paths


def match_path(method: ir.Method, segments: Sequence[str]) -> tuple[str, ...] | None:
    """The parameters that a path, cut at each `/`, gives to an http method, or None where it does not fit."""
    patterns = ("", *(method.path or ("",)))
    if len(segments) != len(patterns):
        return None
    found = []
    for pattern, segment in zip(patterns, segments, strict=True):
        if pattern.startswith("{"):
            value = percent_decoded(segment)
            if not value:
                return None
            found.append(value)
        elif pattern != segment:
            return None
    return tuple(found)


def percent_decoded(segment: str) -> str | None:
    """The text of a path segment, or None where its escapes are not well formed or not UTF-8."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", segment):
        return None
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeError:
        return None


def _answer(status: int, body: str) -> dict[str, Any]:
    return {"status": status, "content_type": "text/plain; charset=utf-8", "body": body}


# ---------------------------------------------------------------- running


class _Run:
    """One run of one method: its variables, and the machine whose state it changes."""

    def __init__(self, machine: Machine, method: ir.Method, frame: Frame) -> None:
        self._machine = machine
        self._method = method
        self._frame = frame

    def block(self, block: ir.Block) -> None:
        """Runs a block; ends by falling through or with one of the exceptions above."""
        for stmt in block:
            _STATEMENTS[type(stmt)](self, stmt)

    # ------------------------------------------------------------ expressions

    def value(self, expr: ir.Expr) -> Any:
        """The value of a pure expression."""
        return _EXPRESSIONS[type(expr)](self, expr)

    def _make(self, expr: ir.Make) -> Any:
        assert isinstance(expr.type, Record)
        return {name: self.value(part) for (name, _), part in zip(expr.type.fields, expr.fields, strict=True)}

    def _reply(self, expr: ir.MakeReply) -> Any:
        return {
            "status": self.value(expr.status),
            "content_type": expr.content_type,
            "body": self.value(expr.body),
        }

    def _logic(self, expr: ir.Logic) -> bool:
        left = bool(self.value(expr.left))
        return left if left is (expr.op == "or") else bool(self.value(expr.right))

    def _compare(self, expr: ir.Compare) -> bool:
        kind = expr.left.type
        return _COMPARISONS[expr.op](order(self.value(expr.left), kind), order(self.value(expr.right), kind))

    # ------------------------------------------------------------ operations

    def op(self, op: ir.Op) -> Any:
        """The result of an operation."""
        return _OPERATIONS[type(op)](self, op)

    def _arith(self, op: ir.Arith) -> int:
        left, right = self.value(op.left), self.value(op.right)
        if op.op in ("/", "%"):
            if right == 0:
                raise _Raised("division by zero")
            quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
            return _in_range(quotient if op.op == "/" else left - quotient * right)
        return _in_range({"+": left + right, "-": left - right, "*": left * right}[op.op])

    def _format(self, op: ir.Format) -> str:
        return "".join(_printed(self.value(part), part.type) for part in op.parts)

    def _state(self, name: str) -> Any:
        return self._machine._state[name]

    def _write(self, name: str, value: Any) -> None:
        self._machine._state[name] = value

    def _order(self, state: str, key: Any) -> Any:
        kind = self._machine.program.state(state).kind
        assert isinstance(kind, Dict)
        return order(key, kind.key)

    def _row_get(self, op: ir.RowGet) -> Any:
        row = self._state(op.state).get(self._order(op.state, self.value(op.key)))
        if row is None:
            raise _Failed
        return row[1]

    def _count(self, op: ir.CounterGet | ir.BoundedGet | ir.CounterAdd | ir.BoundedAdd) -> int:
        if op.key is None:
            return int(self._state(op.state))
        _, count = self._state(op.state).get(self._order(op.state, self.value(op.key)), (None, 0))
        return int(count)

    def _read(self, op: ir.QueueRead) -> Any:
        items = self._state(op.state)
        if not items:
            raise _Waiting
        self._write(op.state, items[1:])
        return items[0]

    def _request(self, _op: ir.RequestBody) -> str:
        try:
            return self._machine._body.decode()
        except UnicodeDecodeError:
            raise _Failed from None

    def _json_read(self, op: ir.JsonRead) -> Any:
        try:
            return read(self.value(op.text), op.type)
        except DoesNotFit:
            raise _Failed from None

    def _invoke(self, op: ir.Invoke) -> Any:
        return self._machine._invoke(op.method, [self.value(arg) for arg in op.args])

    # ------------------------------------------------------------ statements

    def _let(self, stmt: ir.Let) -> None:
        value = self.op(stmt.op)
        if stmt.var is not None:
            self._frame[stmt.var.name] = value

    def _set(self, stmt: ir.Set) -> None:
        self._frame[stmt.var.name] = self.value(stmt.value)

    def _put_row(self, state: str, key: Any, value: Any) -> None:
        self._write(state, {**self._state(state), self._order(state, key): (key, value)})

    def _add(self, stmt: ir.CounterAdd | ir.BoundedAdd) -> None:
        delta = self.value(stmt.delta)
        count = self._count(stmt) + delta
        if isinstance(stmt, ir.BoundedAdd) and delta < 0 and count < 0:
            raise _Failed
        _in_range(count)
        if stmt.key is None:
            self._write(stmt.state, count)
        else:
            self._put_row(stmt.state, self.value(stmt.key), count)

    def _queue_write(self, stmt: ir.QueueWrite) -> None:
        self._write(stmt.state, (*self._state(stmt.state), self.value(stmt.value)))

    def _log(self, stmt: ir.Log) -> None:
        self._machine.log = (*self._machine.log, self.value(stmt.text))

    def _if(self, stmt: ir.If) -> None:
        self.block(stmt.then if self.value(stmt.condition) else stmt.orelse)

    def _match(self, stmt: ir.Match) -> None:
        label, inner = self.value(stmt.subject)
        arm = next(arm for arm in stmt.arms if arm.label == label)
        if arm.var is not None:
            self._frame[arm.var.name] = inner
        self.block(arm.body)

    def _attempt(self, stmt: ir.Attempt) -> None:
        saved = self._machine._saved()
        try:
            self.block(stmt.body)
            return
        except _Failed:
            self._machine._restore(saved)
        except _Waiting:
            if not stmt.catches_wait:
                raise
            self._machine._restore(saved)
        self.block(stmt.handler)

    def _for(self, stmt: ir.ForRows) -> None:
        for _, (key, value) in _in_order(self._state(stmt.state)):
            self._frame |= {stmt.key.name: key, stmt.value.name: value}
            self.block(stmt.body)

    def _choose(self, stmt: ir.ChooseRow) -> None:
        site = (self._method.name, stmt.key.name)
        rows = list(self._state(stmt.state).values())
        first = self._machine._found.get(site, -1) + 1
        for count in range(len(rows)):
            at = (first + count) % len(rows) if first < len(rows) else count
            key, value = rows[at]
            self._frame |= {stmt.key.name: key, stmt.value.name: value}
            if self._fits(stmt):
                self._machine._found[site] = at
                return
        raise _Waiting

    def _fits(self, stmt: ir.ChooseRow) -> bool:
        try:
            self.block(stmt.test)
        except _Failed:
            return False
        return bool(self._frame[stmt.verdict.name])

    def _return(self, stmt: ir.Return) -> None:
        raise _Returned(None if stmt.value is None else self.value(stmt.value))

    def _fail(self, _stmt: ir.Fail) -> None:
        raise _Failed

    def _raise(self, stmt: ir.Raise) -> None:
        raise _Raised(self.value(stmt.message))


def _in_range(value: int) -> int:
    """The value, or an error where it has more than 64 bits."""
    if not SMALLEST <= value <= LARGEST:
        raise _Raised("integer overflow")
    return value


def _printed(value: Any, kind: Type) -> str:
    """A value as Format shows it."""
    if kind == TIME:
        return time_text(value)
    return str(value).lower() if kind == BOOL else str(value)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}

_EXPRESSIONS: dict[type, Callable[..., Any]] = {
    ir.Var: lambda run, expr: run._frame[expr.name],
    ir.Const: lambda _run, expr: expr.value,
    ir.Get: lambda run, expr: run.value(expr.subject)[expr.name],
    ir.Make: _Run._make,
    ir.Tag: lambda run, expr: (expr.label, run.value(expr.value)),
    ir.MakeReply: _Run._reply,
    ir.Not: lambda run, expr: not run.value(expr.operand),
    ir.Logic: _Run._logic,
    ir.Compare: _Run._compare,
}

_OPERATIONS: dict[type, Callable[..., Any]] = {
    ir.Arith: _Run._arith,
    ir.Format: _Run._format,
    ir.CellGet: lambda run, op: run._state(op.state),
    ir.RowGet: _Run._row_get,
    ir.CounterGet: _Run._count,
    ir.BoundedGet: _Run._count,
    ir.QueueRead: _Run._read,
    ir.MirrorName: lambda run, _op: run._machine._name,
    ir.Now: lambda run, _op: run._machine.now,
    ir.RequestBody: _Run._request,
    ir.JsonRead: _Run._json_read,
    ir.JsonWrite: lambda run, op: write(run.value(op.value), op.value.type),
    ir.Invoke: _Run._invoke,
    ir.Pure: lambda run, op: run.value(op.value),
}

_STATEMENTS: dict[type, Callable[..., None]] = {
    ir.Let: _Run._let,
    ir.Declare: lambda _run, _stmt: None,
    ir.Set: _Run._set,
    ir.CellSet: lambda run, stmt: run._write(stmt.state, run.value(stmt.value)),
    ir.RowSet: lambda run, stmt: run._put_row(stmt.state, run.value(stmt.key), run.value(stmt.value)),
    ir.CounterAdd: _Run._add,
    ir.BoundedAdd: _Run._add,
    ir.QueueWrite: _Run._queue_write,
    ir.Log: _Run._log,
    ir.If: _Run._if,
    ir.Match: _Run._match,
    ir.Attempt: _Run._attempt,
    ir.ForRows: _Run._for,
    ir.ChooseRow: _Run._choose,
    ir.Return: _Run._return,
    ir.Fail: _Run._fail,
    ir.Raise: _Run._raise,
}
