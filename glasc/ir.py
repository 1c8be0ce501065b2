"""The core language: what lower.py makes of a checked program and everything after it works on.

Close to glas's own program model: structured control, failure and waiting explicit, every access to state a
statement of its own. Expressions (`Expr`) are pure and total; whatever can fail, wait, miss a unit, overflow
or allocate is an `Op` and stands alone in `Let`. Knows no syntax and no C; prints through ir_text.py, is
checked by ir_check.py.

The outcome of running a block is one of: it falls through; it returns; it *fails* (`Attempt` catches that
and undoes writes); it *waits* (an Attempt catches that only where `catches_wait`); it *misses* a unit that
another mirror owns; it is an *error* (overflow, assertion, `error`, out of memory). Only failing, and where
said waiting, is ever caught.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from glasc.source import Span
from glasc.types import StateKind, Type

# ---------------------------------------------------------------- pure expressions


@dataclass(frozen=True)
class Var:
    """A local of one method: its name is unique in the method (`left`, `left_2`, `t_1`), a valid C
    identifier after `v_`.
    """

    name: str
    type: Type


@dataclass(frozen=True)
class Const:
    """A constant: bool, int (Int or Time), str, or None for Unit."""

    value: bool | int | str | None
    type: Type


@dataclass(frozen=True)
class Get:
    """`subject.name` of a record."""

    subject: Expr
    name: str
    type: Type


@dataclass(frozen=True)
class Make:
    """A record; fields in the order of its type."""

    fields: tuple[Expr, ...]
    type: Type


@dataclass(frozen=True)
class Tag:
    """A labelled variant."""

    label: str
    value: Expr
    type: Type


@dataclass(frozen=True)
class MakeReply:
    """An HTTP answer (type REPLY)."""

    status: Expr
    content_type: str
    body: Expr
    type: Type


@dataclass(frozen=True)
class Not:
    """`not x`."""

    operand: Expr
    type: Type


@dataclass(frozen=True)
class Logic:
    """`and`, `or` of two pure operands."""

    op: str
    left: Expr
    right: Expr
    type: Type


@dataclass(frozen=True)
class Compare:
    """`== != < <= > >=`; the ordering ones on Int, Time and Text (bytewise), equality on every storable
    type.
    """

    op: str
    left: Expr
    right: Expr
    type: Type


Expr = Var | Const | Get | Make | Tag | MakeReply | Not | Logic | Compare

# ---------------------------------------------------------------- operations: each may end the block


@dataclass(frozen=True)
class Arith:
    """`+ - * / %` on Int, checked: overflow and division by zero are errors. Division truncates toward zero,
    `%` has the sign of the dividend.
    """

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Format:
    """Joins texts; each part is an Expr of type Text, Int (decimal), Bool (true/false) or Time (RFC 3339,
    UTC, microseconds).
    """

    parts: tuple[Expr, ...]


@dataclass(frozen=True)
class CellGet:
    """Value of a cell; misses where another mirror owns it."""

    state: str


@dataclass(frozen=True)
class RowGet:
    """A row's value; fails where its owner (this mirror, or the replica here) has none, misses where another
    mirror owns it.
    """

    state: str
    key: Expr


@dataclass(frozen=True)
class CounterGet:
    """Sum of a counter as this mirror knows it; `key` for a dict of counters, else None. Error beyond 64
    bits.
    """

    state: str
    key: Expr | None


@dataclass(frozen=True)
class BoundedGet:
    """Value of a bounded counter as this mirror knows it: the rights of all mirrors."""

    state: str
    key: Expr | None


@dataclass(frozen=True)
class QueueRead:
    """Takes the next item; waits while the queue is empty; misses where the read end is elsewhere."""

    state: str


@dataclass(frozen=True)
class MirrorName:
    """Name of the mirror where the transaction started."""


@dataclass(frozen=True)
class Now:
    """The transaction's time, the same all through it."""


@dataclass(frozen=True)
class RequestBody:
    """Body of the HTTP request, a Text; fails where it is not UTF-8."""


@dataclass(frozen=True)
class JsonRead:
    """Reads a text as a typed value; fails where it is not JSON or does not fit (missing, surplus or
    mistyped fields).
    """

    text: Expr
    type: Type


@dataclass(frozen=True)
class JsonWrite:
    """The canonical JSON of a value: no spaces, fields in order, a variant as {"label":value}, Time as RFC
    3339, Unit as null.
    """

    value: Expr


@dataclass(frozen=True)
class Invoke:
    """Runs another method (by its IR name) inside this transaction; what ends it (fail, wait, ...) ends this
    block alike.
    """

    method: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Pure:
    """A pure expression given a name."""

    value: Expr


Op = (
    Arith | Format | CellGet | RowGet | CounterGet | BoundedGet | QueueRead | MirrorName | Now | RequestBody
    | JsonRead | JsonWrite | Invoke | Pure
)  # fmt: skip

# ---------------------------------------------------------------- statements


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Anything in a block; `span` is what it came from."""

    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Let(Statement):
    """Runs `op` and binds its result; `var` is None where the result is not used."""

    var: Var | None
    op: Op


@dataclass(frozen=True, kw_only=True)
class Declare(Statement):
    """Introduces a variable that `Set` gives its value on every path before it is used."""

    var: Var


@dataclass(frozen=True, kw_only=True)
class Set(Statement):
    """Gives a declared variable its value, once on every path."""

    var: Var
    value: Expr


@dataclass(frozen=True, kw_only=True)
class CellSet(Statement):
    """Writes a cell; misses where another mirror owns it."""

    state: str
    value: Expr


@dataclass(frozen=True, kw_only=True)
class RowSet(Statement):
    """Writes a row (makes it where absent); misses where another mirror owns it."""

    state: str
    key: Expr
    value: Expr


@dataclass(frozen=True, kw_only=True)
class CounterAdd(Statement):
    """Adds to a counter or to one in a dict; an error where this mirror's part leaves 64 bits."""

    state: str
    key: Expr | None
    delta: Expr


@dataclass(frozen=True, kw_only=True)
class BoundedAdd(Statement):
    """Adds rights here, or with a negative delta uses rights of this mirror; fails where those do not
    suffice.
    """

    state: str
    key: Expr | None
    delta: Expr


@dataclass(frozen=True, kw_only=True)
class QueueWrite(Statement):
    """Puts an item at the end of a queue."""

    state: str
    value: Expr


@dataclass(frozen=True, kw_only=True)
class Log(Statement):
    """`sys.log`: goes to the mirror's log if the transaction commits."""

    text: Expr


@dataclass(frozen=True, kw_only=True)
class If(Statement):
    """Runs one of two blocks."""

    condition: Expr
    then: Block
    orelse: Block


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A block of a Match, for one label; `var` is what the label carries, if the block uses it."""

    label: str
    var: Var | None
    body: Block


@dataclass(frozen=True, kw_only=True)
class Match(Statement):
    """One arm for every label of the subject's type, in the order of the type."""

    subject: Expr
    arms: tuple[Arm, ...]


@dataclass(frozen=True, kw_only=True)
class Attempt(Statement):
    """Runs `body`; where it fails, undoes its writes and runs `handler`. `writes` says whether body may
    write (no undo needed else).
    """

    body: Block
    handler: Block
    catches_wait: bool = False  # `else` directly behind a queue read (exact: the reader's own queue)
    writes: bool = True


@dataclass(frozen=True, kw_only=True)
class ForRows(Statement):
    """Over all rows of a dict, in key order; exact, so it misses where any row may be elsewhere. The body
    does not write that dict.
    """

    key: Var
    value: Var
    state: str
    body: Block


@dataclass(frozen=True, kw_only=True)
class ChooseRow(Statement):
    """Finds a row owned here for which `test` leaves `verdict` true, binds it and falls through; waits where
    there is none.

    Fair: a search starts behind the row that this statement found last, and goes round in the order in which
    rows were made, so that a new row starves none; this memory is lost when the mirror restarts, and kept
    when the transaction aborts. `test` ends with a Let of `verdict` and does not write; where it fails the
    row does not fit.
    """

    key: Var
    value: Var
    state: str
    test: Block
    verdict: Var


@dataclass(frozen=True, kw_only=True)
class Return(Statement):
    """Leaves the method; `value` is None only where the result is Unit."""

    value: Expr | None


@dataclass(frozen=True, kw_only=True)
class Fail(Statement):
    """`fail`."""


@dataclass(frozen=True, kw_only=True)
class Raise(Statement):
    """`error` and a false `assert`: an error of the transaction with this message."""

    message: Expr


Stmt = (
    Let | Declare | Set | CellSet | RowSet | CounterAdd | BoundedAdd | QueueWrite | Log | If | Match | Attempt
    | ForRows | ChooseRow | Return | Fail | Raise
)  # fmt: skip
Block = tuple[Stmt, ...]

# ---------------------------------------------------------------- effects, owners, routes: from later passes


@dataclass(frozen=True)
class Access:
    """One way in which a method touches a state; made by infer_effects, in the order of first occurrence.

    `kind`: get, set (cells, rows), rows (for), choose, read, write (queues), add (counters; bounded where
    the amount is a constant that is not negative), sub (bounded: may use rights), sum (reading either).
    `key` is None for no key, else the key expression with locals replaced by what they are known to be:
    constants, parameters, the results of MirrorName as `Var("sys.mirror.name", TEXT)`, a row found by
    choose as `Var("row of db.stock", K)`. Any other local `x` is `Var("?x", T)`, with the same value wherever
    it stands, or `Var("?", T)` where it has several (in loops).
    `most`: how often at most in one run of the method, None for unbounded (in a loop).
    """

    state: str
    kind: str
    key: Expr | None
    most: int | None
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class AtPlace:
    """Owned by the one mirror at a place (`@at`: pinned; `@near P`, `@reader P`)."""

    place: str


@dataclass(frozen=True)
class ByKey:
    """Each row owned by the mirror of `place` that `key` names (an Expr over `Var("key", ...)`), or by the
    origin where it names none.
    """

    place: str
    key: Expr


@dataclass(frozen=True)
class AtOrigin:
    """Owned by the origin."""


@dataclass(frozen=True)
class Ownerless:
    """A replica at every mirror."""


Owner = AtPlace | ByKey | AtOrigin | Ownerless


@dataclass(frozen=True, kw_only=True)
class State:
    """A state variable; `owner` is None until place.py; for a queue it is the owner of the read end."""

    name: str  # "db.price"
    kind: StateKind
    persistent: bool
    span: Span = field(compare=False, repr=False)
    at: str | None = None  # the annotations, as written
    near: str | None = None
    near_key: Expr | None = None
    reader: str | None = None
    together: tuple[str, ...] = ()
    stale_us: int | None = None  # of `@mirror stale D`
    annotation_spans: tuple[tuple[str, Span], ...] = field(default=(), compare=False, repr=False)  # by name
    owner: Owner | None = None
    why: str = ""  # how place.py came to the owner, one line for people


@dataclass(frozen=True)
class Route:
    """What happens to a method at a place: `how` is local, ship, skip, keyed (local or ship, as the key
    says); `why` for people.
    """

    place: str  # "" for a mirror at no place
    how: str
    needs: tuple[str, ...]  # states whose one static owner must be here
    why: str


@dataclass(frozen=True, kw_only=True)
class Method:
    """A transactional method. `name` is unique: "start", "sell", "http_post_sell", "never_oversold"."""

    kind: str  # start | step | rpc | http | invariant
    name: str
    title: str  # as people know it: "rpc sell", 'http GET "/stock/{shop}/{item}"'
    params: tuple[Var, ...]
    result: Type
    body: Block
    span: Span = field(compare=False, repr=False)
    verb: str = ""
    path: tuple[str, ...] = ()
    available: str | None = None  # of `@available P`
    available_span: Span | None = field(default=None, compare=False, repr=False)
    accesses: tuple[Access, ...] | None = None  # infer_effects; includes those of invoked methods
    observes_name: bool = False  # infer_effects: uses sys.mirror.name
    routes: tuple[Route, ...] = ()  # route.py


@dataclass(frozen=True)
class NamedType:
    """A name that the program gives to a type."""

    name: str
    type: Type
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A whole app in the core language; `stage` is the last pass it has been through, ir_check asks
    accordingly. `head` is the line with name and version.
    """

    name: str
    version: str
    head: Span = field(compare=False, repr=False)
    stage: str
    places: tuple[tuple[str, bool], ...]  # name, many
    type_names: tuple[NamedType, ...]  # for printing and for names in C
    states: tuple[State, ...]
    methods: tuple[Method, ...]

    def state(self, name: str) -> State:
        """The state of that full name; KeyError where there is none."""
        return next(state for state in self.states if state.name == name)

    def method(self, name: str) -> Method:
        """The method of that unique name; KeyError where there is none."""
        return next(method for method in self.methods if method.name == name)
