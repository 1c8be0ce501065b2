"""Random well-typed programs and calls of their methods, for comparing two ways of running a program.

`app_of(rng)` makes one from any random.Random; `apps()` is the same as a hypothesis strategy, which shrinks.
Every program passes the compiler: what cannot fail gets no `else`, nothing stands where it is never reached,
loops do not write what they go over. All state is at the origin, so one mirror runs everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

from glasc.typed_json import write
from glasc.types import BOOL, INT, TEXT, TIME, UNIT, Record, Type, Variant

PAIR = Record((("a", INT), ("t", TEXT)))
RES = Variant((("ok", INT), ("bad", TEXT), ("none", UNIT)))
DEEP = Record((("pair", PAIR), ("res", RES), ("at", TIME), ("flag", BOOL)))
NAMES: dict[Type, str] = {
    INT: "Int", BOOL: "Bool", TEXT: "Text", TIME: "Time", PAIR: "Pair", RES: "Res", DEEP: "Deep"
}  # fmt: skip
HEAD = """\
app random version "1"
type Pair = (a: Int, t: Text)
type Res = ok: Int | bad: Text | none
type Deep = (pair: Pair, res: Res, at: Time, flag: Bool)
db.n : cell Int
mem.t : cell Text
db.p : cell Pair
db.v : cell Res
db.deep : cell Deep
db.d : dict Text of Int
db.e : dict Pair of Res
mem.f : dict Int of Bool
db.g : dict Res of Deep
db.q : queue of Int
db.w : queue of Deep
db.c : counter
db.cd : dict Text of counter
db.b : bounded
db.bd : dict Int of bounded
"""
CELLS: dict[str, Type] = {"db.n": INT, "mem.t": TEXT, "db.p": PAIR, "db.v": RES, "db.deep": DEEP}
DICTS: dict[str, tuple[Type, Type]] = {
    "db.d": (TEXT, INT), "db.e": (PAIR, RES), "mem.f": (INT, BOOL), "db.g": (RES, DEEP)
}  # fmt: skip
QUEUES: dict[str, Type] = {"db.q": INT, "db.w": DEEP}
COUNTS: dict[str, Type | None] = {"db.c": None, "db.cd": TEXT, "db.b": None, "db.bd": INT}
BOUNDED = ("db.b", "db.bd")
PLAIN = (INT, INT, INT, BOOL, TEXT, TEXT, TIME, PAIR, RES, DEEP)
NUMBERS = (0, 0, 1, 1, 2, 3, 5, -1, -2, 7, 1000, 2**31, 2**62, 2**63 - 1, -(2**63), 2**63 - 2)
TEXTS = ("", "a", "b", "tea", "ä€", "𝄞", '"\\', "\n\t{x}", "\x00\x1f\x7f")


@dataclass(frozen=True)
class Call:
    """One thing that happens to the app: `kind` is call, http or wait (lets `number` microseconds pass)."""

    kind: str
    method: str = ""  # IR name, for call
    args: tuple[Any, ...] = ()
    verb: str = ""
    path: str = ""
    body: bytes = b""
    number: int = 0


@dataclass(frozen=True)
class App:
    """A program and what to do with it."""

    source: str
    calls: tuple[Call, ...]


def apps() -> st.SearchStrategy[App]:
    """Programs and calls, shrinking to smaller ones."""
    return st.randoms(use_true_random=False, note_method_calls=False).map(app_of)


def app_of(rng: Random) -> App:
    """One program and calls of its methods."""
    steps = rng.randint(0, 2)
    maker = _Maker(rng, observes=not steps)
    methods = [maker.rpc(i) for i in range(rng.randint(1, 4))]
    texts = [HEAD, *(text for text, _ in methods)]
    texts += [maker.step(i) for i in range(steps)]
    bodies = [maker.http(i) for i in range(rng.randint(0, 2))]
    texts += [text for text, _ in bodies]
    calls = tuple(
        _call(
            rng,
            [method for _, method in methods],
            [f"s{i}" for i in range(steps)],
            [kind for _, kind in bodies],
        )
        for _ in range(rng.randint(1, 12))
    )
    return App("\n".join(texts), calls)


def value_of(rng: Random, kind: Type) -> Any:
    """A random value of a type, as the interpreter has it."""
    match kind:
        case Record(parts):
            return {name: value_of(rng, part) for name, part in parts}
        case Variant(cases):
            label, inner = rng.choice(cases)
            return (label, value_of(rng, inner))
    return rng.choice(_VALUES[kind])


_VALUES: dict[Type, tuple[Any, ...]] = {
    INT: NUMBERS,
    BOOL: (False, True),
    TEXT: TEXTS,
    TIME: (0, 1, 1_700_000_000_123_456, -1),
    UNIT: (None,),
}


# ---------------------------------------------------------------- calls


@dataclass(frozen=True)
class _Method:
    name: str
    params: tuple[Type, ...]
    result: Type
    fails: bool  # certainly has a way to fail


def _call(rng: Random, methods: list[_Method], steps: list[str], bodies: list[Type]) -> Call:
    kinds = ["call"] * 6 + ["wait"] + ["step"] * 2 * bool(steps) + ["http"] * 2 * bool(bodies)
    match rng.choice(kinds):
        case "wait":
            return Call("wait", number=rng.randint(1, 10_000_000))
        case "step":
            return Call("call", rng.choice(steps))
        case "http":
            return _request(rng, bodies)
    method = rng.choice(methods)
    return Call("call", method.name, tuple(value_of(rng, kind) for kind in method.params))


def _request(rng: Random, bodies: list[Type]) -> Call:
    """A request that mostly fits."""
    number = rng.randrange(len(bodies))
    body = write(value_of(rng, bodies[number]), bodies[number]).encode()
    if rng.random() < 0.3:
        at = rng.randrange(len(body) + 1)
        body = (
            body[:at]
            + rng.choice((b"", b" ", b"1", b"\xff", b'"', b"}", b"\\u0041"))
            + body[at + rng.randint(0, 2) :]
        )
    part = rng.choice(("a", "%41b", "%e2%82%ac", "%", "%ff", "", "a+b", "x?y/z"))
    path = rng.choice((f"/h{number}/{part}",) * 5 + (f"/h{number}", "/", "/h0/a/b", ""))
    return Call("http", verb=rng.choice(("POST",) * 5 + ("GET", "HEAD")), path=path, body=body)


# ---------------------------------------------------------------- programs


@dataclass
class _Scope:
    """What may be written at some point of a method."""

    names: dict[str, Type]
    result: Type
    kept: frozenset[str] = frozenset()  # dicts that a loop around goes over
    reads_only: bool = False  # in the condition of a choose
    caught: bool = False  # a failure here ends in a try or else
    chooses: bool = True

    def inner(self, **changes: Any) -> _Scope:
        """A scope in this one."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return _Scope(**{**values, "names": dict(self.names), **changes})


_Lines = tuple[list[str], bool]
"""Lines of statements, and whether they certainly leave the block."""


@dataclass
class _Maker:
    """Writes methods; knows those that are written already."""

    rng: Random
    observes: bool  # whether methods may ask for their mirror's name; a step here may not
    methods: list[_Method] = field(default_factory=list)
    fails: bool = False
    numbers: int = 0

    # ------------------------------------------------------------ methods

    def rpc(self, number: int) -> tuple[str, _Method]:
        """An rpc method that may call those before it."""
        params = tuple(self.rng.choice(PLAIN) for _ in range(self.rng.randint(0, 3)))
        result = self.rng.choice((UNIT, *PLAIN))
        names = {f"p{i}": kind for i, kind in enumerate(params)}
        listed = ", ".join(f"{name}: {NAMES[kind]}" for name, kind in names.items())
        arrow = "" if result == UNIT else f" -> {NAMES[result]}"
        body = self._body(_Scope(names, result))
        method = _Method(f"m{number}", params, result, self.fails)
        self.methods.append(method)
        return "\n".join([f"rpc {method.name}({listed}){arrow}", *body, ""]), method

    def step(self, number: int) -> str:
        """A step."""
        return "\n".join([f"step s{number}", *self._body(_Scope({}, UNIT)), ""])

    def http(self, number: int) -> tuple[str, Type]:
        """An http method that reads a JSON body of the type that comes with it."""
        kind = self.rng.choice((PAIR, RES, DEEP, INT))
        lines = [
            f'http POST "/h{number}/{{x}}"',
            f'  let body = request.json as {NAMES[kind]} else return reply(400, "{{x}}: " + request.body)',
        ]
        scope = _Scope({"x": TEXT, "body": kind}, UNIT)
        lines += self._calm(scope)
        status = self.rng.choice(("200", "201", "404"))
        body = self.rng.choice((f"json {self._expr(scope, self._some(), 1)}", self._expr(scope, TEXT, 2)))
        return "\n".join([*lines, f"  return reply({status}, {body})", ""]), kind

    def _calm(self, scope: _Scope) -> list[str]:
        """Statements of one line each, in an http method, whose results are replies."""
        return [f"  {line}" for _ in range(self.rng.randint(0, 3)) for line in self._simple(scope)]

    def _body(self, scope: _Scope) -> list[str]:
        self.fails = False
        lines, ends = self._statements(scope, self.rng.randint(1, 6), 2)
        if scope.result != UNIT and not ends:
            lines.append(f"return {self._value(scope, scope.result, 2)}")
        return _indented(lines)

    # ------------------------------------------------------------ statements

    def _statements(self, scope: _Scope, count: int, depth: int) -> _Lines:
        lines: list[str] = []
        for _ in range(count):
            if depth > 0 and self.rng.random() < 0.45:
                more, ends = self._nested(scope, depth - 1)
                lines += more
                if ends:
                    return lines, True
            else:
                lines += self._simple(scope)
        if self.rng.random() < 0.15 or not lines:
            return [*lines, self._leaving(scope)], True
        return lines, False

    def _leaving(self, scope: _Scope) -> str:
        kind = self.rng.choice(("return", "return", "fail", "error"))
        if kind == "return":
            return "return" if scope.result == UNIT else f"return {self._value(scope, scope.result, 2)}"
        if kind == "error":
            return f"error {self._expr(scope, TEXT, 1)}"
        return self._may_fail(scope, "fail")

    def _may_fail(self, scope: _Scope, text: str) -> str:
        self.fails = self.fails or not scope.caught
        return text

    def _new(self) -> str:
        self.numbers += 1
        return f"v{self.numbers}"

    def _some(self) -> Type:
        return self.rng.choice(PLAIN)

    def _simple(self, scope: _Scope) -> list[str]:
        make: Callable[[_Scope], str] = self.rng.choice(
            (
                self._let,
                self._let,
                self._let,
                self._cell,
                self._row,
                self._count,
                self._write,
                self._read,
                self._note,
            )
        )
        return [make(scope)]

    def _let(self, scope: _Scope) -> str:
        kind = self._some()
        value = self._value(scope, kind, 3)
        name = self._new()
        scope.names[name] = kind
        return f"let {name}: {NAMES[kind]} = {value}"

    def _cell(self, scope: _Scope) -> str:
        name = self.rng.choice(tuple(CELLS))
        ops = (":=", "+=", "-=") if CELLS[name] == INT else (":=",)
        op = self.rng.choice(ops)
        value = self._expr(scope, CELLS[name], 2) if op != ":=" else self._value(scope, CELLS[name], 2)
        return f"{name} {op} {value}"

    def _row(self, scope: _Scope) -> str:
        free = tuple(name for name in DICTS if name not in scope.kept)
        if not free:
            return self._note(scope)
        name = self.rng.choice(free)
        key, kind = DICTS[name]
        if name == "db.d" and self.rng.random() < 0.4:
            target = f"{name}[{self._expr(scope, key, 1)}]"
            return self._may_fail(
                scope, f"{target} {self.rng.choice(('+=', '-='))} {self._expr(scope, kind, 2)}"
            )
        return f"{name}[{self._expr(scope, key, 1)}] := {self._value(scope, kind, 2)}"

    def _count(self, scope: _Scope) -> str:
        name = self.rng.choice(tuple(COUNTS))
        text = f"{self._counted(scope, name)} {self.rng.choice(('+=', '-='))} {self._expr(scope, INT, 2)}"
        certainly = name in BOUNDED and "-=" in text and text.endswith((" 1", " 2", " 3", " 5"))
        return self._may_fail(scope, text) if certainly else text

    def _counted(self, scope: _Scope, name: str) -> str:
        key = COUNTS[name]
        return name if key is None else f"{name}[{self._expr(scope, key, 1)}]"

    def _write(self, scope: _Scope) -> str:
        name = self.rng.choice(tuple(QUEUES))
        return f"{name}.write({self._value(scope, QUEUES[name], 2)})"

    def _read(self, scope: _Scope) -> str:
        name = self.rng.choice(tuple(QUEUES))
        other = f" else {self._value(scope, QUEUES[name], 1)}" if self.rng.random() < 0.6 else ""
        bound = self._new()
        scope.names[bound] = QUEUES[name]
        return f"let {bound} = {name}.read(){other}"

    def _note(self, scope: _Scope) -> str:
        if self.rng.random() < 0.5:
            return f"sys.log({self._expr(scope, TEXT, 2)})"
        return f"assert {self._expr(scope, BOOL, 1)} or {self._expr(scope, BOOL, 1)} or db.c == db.c"

    def _nested(self, scope: _Scope, depth: int) -> _Lines:
        kinds = ["if", "if", "match", "for", "try", "try"] + ["choose"] * scope.chooses
        make: Callable[[_Scope, int], _Lines] = getattr(self, f"_{self.rng.choice(kinds)}")
        return make(scope, depth)

    def _block(self, scope: _Scope, depth: int) -> _Lines:
        lines, ends = self._statements(scope, self.rng.randint(1, 3), depth)
        return _indented(lines), ends

    def _if(self, scope: _Scope, depth: int) -> _Lines:
        head = f"if {self._expr(scope, BOOL, 2)}"
        then, then_ends = self._block(scope.inner(), depth)
        if self.rng.random() < 0.5:
            return [head, *then], False
        other, other_ends = self._block(scope.inner(), depth)
        return [head, *then, "else", *other], then_ends and other_ends

    def _match(self, scope: _Scope, depth: int) -> _Lines:
        lines, all_end = [f"match {self._expr(scope, RES, 1)}"], True
        for label, kind in RES.cases:
            inner = scope.inner()
            name = self._new()
            if kind != UNIT:
                inner.names[name] = kind
            body, ends = self._block(inner, depth)
            lines += _indented([f"{label} ->" if kind == UNIT else f"{label}: {name} ->", *body])
            all_end = all_end and ends
        return lines, all_end

    def _for(self, scope: _Scope, depth: int) -> _Lines:
        name = self.rng.choice(tuple(DICTS))
        inner = scope.inner(kept=scope.kept | {name})
        head = f"for {self._rows(inner, name)} in {name}"
        return [head, *self._block(inner, depth)[0]], False

    def _rows(self, scope: _Scope, name: str) -> str:
        key, value = self._new(), self._new()
        scope.names[key], scope.names[value] = DICTS[name]
        return f"({key}, {value})"

    def _choose(self, scope: _Scope, _depth: int) -> _Lines:
        name = self.rng.choice(tuple(DICTS))
        rows = self._rows(scope, name)
        condition = self._expr(scope.inner(reads_only=True, caught=True), BOOL, 2)
        return [f"choose {rows} in {name} where {condition}"], False

    def _try(self, scope: _Scope, depth: int) -> _Lines:
        inner = scope.inner(caught=True)
        first = self._certain_failure(inner)
        body, body_ends = self._statements(inner, self.rng.randint(1, 2), depth)
        if self.rng.random() < 0.3:
            return ["try", *_indented([*first, *body])], False
        other, other_ends = self._block(scope.inner(), depth)
        return ["try", *_indented([*first, *body]), "else", *other], body_ends and other_ends

    def _certain_failure(self, scope: _Scope) -> list[str]:
        """Statements that the compiler knows to be able to fail."""
        forms = (
            [f"if {self._expr(scope, BOOL, 2)}", "  fail"],
            [f"db.b -= {self.rng.choice((1, 2, 3))}"],
            [f"db.bd[{self._expr(scope, INT, 1)}] -= 1"],
            [f"let {self._new()} = db.d[{self._expr(scope, TEXT, 1)}]"],
        )
        return list(self.rng.choice(forms))

    # ------------------------------------------------------------ expressions

    def _value(self, scope: _Scope, kind: Type, depth: int) -> str:
        """An expression, or a variant with its label, where the type is known from outside."""
        if kind == RES and self.rng.random() < 0.6:
            label, inner = self.rng.choice(RES.cases)
            return f"{label}: ()" if inner == UNIT else f"{label}: {self._expr(scope, inner, depth - 1)}"
        if isinstance(kind, Record) and self.rng.random() < 0.3:
            parts = [f"{name}: {self._value(scope, part, depth - 1)}" for name, part in kind.fields]
            return f"({', '.join(parts)})"
        return self._expr(scope, kind, depth)

    def _expr(self, scope: _Scope, kind: Type, depth: int) -> str:
        """An expression of the type that stands in brackets where it needs them."""
        forms = list(self._leaves(scope, kind))
        if depth > 0:
            forms += [form for form in self._FORMS.get(kind, ()) for _ in range(2)]
            forms += [_Maker._row_value] * 2 + [_Maker._call_value]
        return str(self.rng.choice(forms)(self, scope, kind, depth - 1))

    def _leaves(self, scope: _Scope, kind: Type) -> Iterator[Callable[..., str]]:
        """Ways to write an expression without parts of its type."""
        if any(known == kind for known in scope.names.values()):
            yield from (_Maker._name,) * 3
        if kind in CELLS.values():
            yield _Maker._cell_value
        literal = _LITERALS.get(kind)
        if literal is not None:
            yield literal
        elif isinstance(kind, Record):
            yield _Maker._record
        if kind == INT:
            yield _Maker._count_value

    def _name(self, scope: _Scope, kind: Type, _depth: int) -> str:
        return self.rng.choice([name for name, known in scope.names.items() if known == kind])

    def _cell_value(self, _scope: _Scope, kind: Type, _depth: int) -> str:
        return self.rng.choice([name for name, known in CELLS.items() if known == kind])

    def _number(self, _scope: _Scope, _kind: Type, _depth: int) -> str:
        number = self.rng.choice(NUMBERS)
        return f"({number})" if number < 0 else str(number)

    def _truth(self, _scope: _Scope, _kind: Type, _depth: int) -> str:
        return self.rng.choice(("true", "false"))

    def _literal(self, _scope: _Scope, _kind: Type, _depth: int) -> str:
        return f'"{_escaped(self.rng.choice(TEXTS))}"'

    def _now(self, _scope: _Scope, _kind: Type, _depth: int) -> str:
        return "sys.time.now()"

    def _record(self, scope: _Scope, kind: Record, depth: int) -> str:
        parts = [f"{name}: {self._expr(scope, part, depth)}" for name, part in kind.fields]
        return f"({', '.join(parts)})"

    def _count_value(self, scope: _Scope, _kind: Type, _depth: int) -> str:
        return self._counted(scope.inner(), self.rng.choice(tuple(COUNTS)))

    def _arith(self, scope: _Scope, _kind: Type, depth: int) -> str:
        op = self.rng.choice("++--**/%")
        left = self._expr(scope, INT, depth)
        right = self.rng.choice("011") if self.rng.random() < 0.25 else self._expr(scope, INT, depth)
        if self.rng.random() < 0.15:
            left, right = right, left
        return f"({left} {op} {right})"

    def _minus(self, scope: _Scope, _kind: Type, depth: int) -> str:
        return f"(-({self._expr(scope, INT, depth)} + 0))"

    def _part(self, scope: _Scope, kind: Type, depth: int) -> str:
        """A field of a record."""
        wholes = [(whole, name) for whole in (PAIR, DEEP) for name, part in whole.fields if part == kind]
        whole, name = self.rng.choice(wholes)
        return f"{self._expr(scope, whole, depth)}.{name}"

    def _logic(self, scope: _Scope, _kind: Type, depth: int) -> str:
        op = self.rng.choice(("and", "or"))
        return f"({self._expr(scope, BOOL, depth)} {op} {self._expr(scope, BOOL, depth)})"

    def _not(self, scope: _Scope, _kind: Type, depth: int) -> str:
        return f"(not {self._expr(scope, BOOL, depth)})"

    def _comparison(self, scope: _Scope, _kind: Type, depth: int) -> str:
        kind = self.rng.choice((INT, self._some()))
        ordered = kind in (INT, TEXT, TIME)
        op = self.rng.choice(("==", "!=", "<", "<=", ">", ">=") if ordered else ("==", "!="))
        text = f"({self._expr(scope, kind, depth)} {op} {self._expr(scope, kind, depth)})"
        return f"(not {text})" if self.rng.random() < 0.3 else text

    def _interpolation(self, scope: _Scope, _kind: Type, depth: int) -> str:
        parts = []
        for _ in range(self.rng.randint(1, 3)):
            parts.append(_escaped(self.rng.choice(TEXTS)))
            parts.append("{" + self._expr(scope, self.rng.choice((INT, TEXT, BOOL, TIME)), depth) + "}")
        return f'"{"".join(parts)}"'

    def _join(self, scope: _Scope, _kind: Type, depth: int) -> str:
        return f"({self._expr(scope, TEXT, depth)} + {self._expr(scope, TEXT, depth)})"

    def _json(self, scope: _Scope, _kind: Type, depth: int) -> str:
        return f"(json {self._expr(scope, self._some(), depth)})"

    def _mirror(self, _scope: _Scope, _kind: Type, _depth: int) -> str:
        return "sys.mirror.name" if self.observes else "mem.t"

    def _row_value(self, scope: _Scope, kind: Type, depth: int) -> str:
        """A row, mostly with an alternative; of a type that no dict holds, something else."""
        names = [name for name, (_, held) in DICTS.items() if held == kind]
        if not names:
            return self._expr(scope, kind, 0)
        name = self.rng.choice(names)
        bare = self.rng.random() < 0.25
        inner = scope if bare else scope.inner(caught=True)
        row = f"{name}[{self._expr(inner, DICTS[name][0], depth)}]"
        return self._may_fail(scope, row) if bare else f"({row} else {self._expr(scope, kind, depth)})"

    def _call_value(self, scope: _Scope, kind: Type, depth: int) -> str:
        """A call of another method; where nothing is to be written or there is none, something else."""
        known = [method for method in self.methods if method.result == kind]
        if scope.reads_only or scope.kept or not known:
            return self._expr(scope, kind, 0)
        method = self.rng.choice(known)
        bare = not method.fails or self.rng.random() < 0.4
        inner = scope if bare else scope.inner(caught=True)
        text = f"{method.name}({', '.join(self._value(inner, part, depth) for part in method.params)})"
        if not bare:
            return f"({text} else {self._expr(scope, kind, depth)})"
        return self._may_fail(scope, text) if method.fails else text

    _FORMS: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._FORMS = {
            INT: (_Maker._arith, _Maker._arith, _Maker._minus, _Maker._part),
            BOOL: (_Maker._logic, _Maker._not, _Maker._comparison, _Maker._comparison, _Maker._part),
            TEXT: (_Maker._interpolation, _Maker._join, _Maker._json, _Maker._mirror, _Maker._part),
            PAIR: (_Maker._part,),
            RES: (_Maker._part,),
            TIME: (_Maker._part,),
        }


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _escaped(text: str) -> str:
    """A text as it stands between quotes in a program."""
    special = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\", "{": "\\{", "}": "\\}"}
    return "".join(special.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text)


_LITERALS: dict[Type, Callable[..., str]] = {
    INT: _Maker._number,
    BOOL: _Maker._truth,
    TEXT: _Maker._literal,
    TIME: _Maker._now,
}
