"""The frozen syntax tree. Every node carries its span; `type` is None until infer_types has filled it.

Knows no lark and decides nothing; parse.py makes it, resolve and infer_types refine it, lower.py takes it
apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from glasc.source import Span
from glasc.types import Primitive, StateKind, Type

# ---------------------------------------------------------------- types as written


@dataclass(frozen=True)
class TypeName(Primitive):
    """A type as it is written, by name. Made by parse; resolve puts the type itself in its place."""

    span: Span


# ---------------------------------------------------------------- expressions


@dataclass(frozen=True, kw_only=True)
class Node:
    """Anything that stands somewhere in a source; the span of what has a block is that of its first line."""

    span: Span


@dataclass(frozen=True, kw_only=True)
class Expr(Node):
    """An expression; `type` is set by infer_types."""

    type: Type | None = None


@dataclass(frozen=True, kw_only=True)
class IntLit(Expr):
    """`450`, or `-450`: the parser folds the sign; infer_types sees to the 64 bits."""

    value: int


@dataclass(frozen=True, kw_only=True)
class BoolLit(Expr):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, kw_only=True)
class TextLit(Expr):
    """A text with `{expression}` pieces; `parts` holds plain strings (escapes already resolved) and
    expressions.
    """

    parts: tuple[str | Expr, ...]


@dataclass(frozen=True, kw_only=True)
class UnitLit(Expr):
    """`()`."""


@dataclass(frozen=True, kw_only=True)
class Name(Expr):
    """A local variable or parameter (dotted names become Field, StateRef or Call before infer_types ends)."""

    name: str


@dataclass(frozen=True, kw_only=True)
class StateRef(Expr):
    """A state variable such as `db.price`: read as a cell, counter or bounded when it stands as a value. Made
    by resolve.
    """

    state: str  # full name, "db.price"


@dataclass(frozen=True, kw_only=True)
class Field(Expr):
    """`subject.name`."""

    subject: Expr
    name: str


@dataclass(frozen=True, kw_only=True)
class Index(Expr):
    """`db.dict[key]`: a row; fails where the row is absent (a bounded or counter row is always there)."""

    subject: Expr  # StateRef after resolve
    key: Expr


@dataclass(frozen=True, kw_only=True)
class RecordLit(Expr):
    """`(shop: a, item: b)`."""

    fields: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, kw_only=True)
class VariantLit(Expr):
    """`label: value` where an expression of a variant type is expected (after return, in arguments)."""

    label: str
    value: Expr


@dataclass(frozen=True, kw_only=True)
class Unary(Expr):
    """`not x` or `-x`."""

    op: str  # "not" | "-"
    operand: Expr


@dataclass(frozen=True, kw_only=True)
class Binary(Expr):
    """Arithmetic `+ - * / %` on Int (checked), comparison `== != < <= > >=`, `and`, `or` (short-circuit), `+`
    on Text joins.
    """

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, kw_only=True)
class Call(Expr):
    """A call by name: an rpc method of this program or a built-in.

    Built-ins after resolve: "reply"(Int, Text)->Reply, "json"(x)->Text, "sys.time.now"()->Time,
    "sys.log"(Text)->Unit,
    "queue.read"(StateRef)->T, "queue.write"(StateRef, T)->Unit. An rpc method called so runs inside the same
    transaction.
    """

    function: str  # "sell", "sys.time.now", "queue.read" ... (dotted source text before resolve)
    args: tuple[Expr, ...]


@dataclass(frozen=True, kw_only=True)
class SysName(Expr):
    """`sys.mirror.name`: the name of the mirror where the transaction started (a Text). Made by resolve."""


@dataclass(frozen=True, kw_only=True)
class Request(Expr):
    """`request.json` (type Json) or `request.body` (Text), inside http methods only. Made by resolve."""

    part: str  # "json" | "body"


@dataclass(frozen=True, kw_only=True)
class JsonAs(Expr):
    """`expression as (item: Text, qty: Int)`: reads Json as a typed value; fails where it does not fit."""

    subject: Expr
    target: Type


@dataclass(frozen=True, kw_only=True)
class Else(Expr):
    """`attempt else alternative`: the value of the attempt, or of the alternative where the attempt fails
    (its writes undone).
    """

    attempt: Expr
    alternative: Expr | Return | Fail | Error


# ---------------------------------------------------------------- statements


@dataclass(frozen=True, kw_only=True)
class Let(Node):
    """`let name = value` or `let name: T = value`."""

    name: str
    value: Expr
    declared: Type | None = None  # None where the type is left to inference


@dataclass(frozen=True, kw_only=True)
class Assign(Node):
    """`target op value`, op one of `:=`, `+=`, `-=`; the target is a StateRef or an Index."""

    target: Expr
    op: str
    value: Expr


@dataclass(frozen=True, kw_only=True)
class ExprStmt(Node):
    """A call that stands alone, perhaps with `else`."""

    value: Expr


@dataclass(frozen=True, kw_only=True)
class If(Node):
    """`if` with its blocks; `orelse` is empty where there is no `else`."""

    condition: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]  # `else if` nests


@dataclass(frozen=True, kw_only=True)
class Arm(Node):
    """`label: name -> statement` or `label: name ->` with a block; `name` is None for `label ->` or `label: _
    ->`.
    """

    label: str
    name: str | None
    body: tuple[Stmt, ...]


@dataclass(frozen=True, kw_only=True)
class Match(Node):
    """Exhaustive match over a variant."""

    subject: Expr
    arms: tuple[Arm, ...]


@dataclass(frozen=True, kw_only=True)
class For(Node):
    """`for (key, value) in db.dict`: exact, so it needs all rows."""

    key: str
    value: str
    state: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, kw_only=True)
class Choose(Node):
    """`choose (key, value) in db.dict where condition`: binds in the rest of its block; waits where no row
    fits here.
    """

    key: str
    value: str
    state: Expr
    where: Expr | None


@dataclass(frozen=True, kw_only=True)
class Try(Node):
    """`try` block `else` block; the writes of a failed try are undone. `orelse` may be empty."""

    body: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]


@dataclass(frozen=True, kw_only=True)
class Return(Node):
    """`return` or `return value`."""

    value: Expr | None


@dataclass(frozen=True, kw_only=True)
class Fail(Node):
    """`fail`."""


@dataclass(frozen=True, kw_only=True)
class Error(Node):
    """`error "text"`: diverges."""

    message: Expr


@dataclass(frozen=True, kw_only=True)
class Assert(Node):
    """`assert condition`: an error of the transaction where it is false."""

    condition: Expr


Stmt = Let | Assign | ExprStmt | If | Match | For | Choose | Try | Return | Fail | Error | Assert

# ---------------------------------------------------------------- declarations


@dataclass(frozen=True, kw_only=True)
class Place(Node):
    """`place shop many`."""

    name: str
    many: bool


@dataclass(frozen=True, kw_only=True)
class TypeDef(Node):
    """`type Line = (shop: Text, item: Text)`."""

    name: str
    type: Type  # aliases in it are already expanded by resolve


@dataclass(frozen=True, kw_only=True)
class Annotation(Node):
    """One `@name arguments` line under a state or a method.

    at P | near P | near P[key expression] | mirror (stale duration) | reader P | together STATE... |
    available P
    """

    name: str
    place: str | None = None
    key: Expr | None = None  # of `@near shop[key.shop]`; the Name `key` stands for the row's key
    states: tuple[str, ...] = ()
    stale_us: int | None = None  # of `@mirror stale 1d`, microseconds


@dataclass(frozen=True, kw_only=True)
class State(Node):
    """`db.price : dict Text of Int` with its annotations."""

    name: str  # full, "db.price"
    kind: StateKind
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Param(Node):
    """A parameter of a method."""

    name: str
    type: Type


@dataclass(frozen=True, kw_only=True)
class Method(Node):
    """start, step, rpc, http or invariant."""

    kind: str  # "start" | "step" | "rpc" | "http" | "invariant"
    name: str  # "start" for start; for http e.g. "GET /stock/{shop}/{item}"
    params: tuple[Param, ...]  # of http: the path's parameters, all Text
    result: Type  # UNIT where nothing is declared, REPLY for http
    annotations: tuple[Annotation, ...]
    body: tuple[Stmt, ...]
    verb: str = ""  # of http: "GET", "POST", "PUT", "DELETE", "PATCH"
    path: tuple[str, ...] = ()  # of http: its segments, "{shop}" for a parameter


@dataclass(frozen=True, kw_only=True)
class Program(Node):
    """A whole app."""

    name: str
    version: str
    places: tuple[Place, ...]
    types: tuple[TypeDef, ...]
    states: tuple[State, ...]
    methods: tuple[Method, ...]
