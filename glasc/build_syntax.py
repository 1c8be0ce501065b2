"""Lark tree to syntax tree. One method for each rule of grammar/glas.lark.

Owns what the parser cannot say in its grammar: escapes in texts, units of time, lists without duplicates,
HTTP paths, and which parts of the language are not supported yet. Does not know names, types or what anything
means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lark import Token, Transformer, Tree, v_args
from lark.tree import Meta

from glasc import syntax as s
from glasc import types as t
from glasc.diagnostics import Collector, Note
from glasc.source import Source, Span
from glasc.syntax_walk import dotted

VERBS = ("GET", "POST", "PUT", "DELETE", "PATCH")
MICROSECONDS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
LONGEST = 36_500 * MICROSECONDS["d"]
"""The longest duration, in microseconds: sums of a few stay far from 64 bits."""
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "{": "{", "}": "}"}
_ESCAPE = re.compile(r"\\u\{([^}]*)\}|\\(.)", re.DOTALL)
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_LATER_TYPES = frozenset({"Binary", "Duration"})
_KINDS_NOW = "state kinds of this version: cell, dict, queue, counter, bounded"
_LATER_HINTS = {
    "slot": _KINDS_NOW,
    "register": _KINDS_NOW,
    "bag": _KINDS_NOW,
    "set": _KINDS_NOW,
    "map": _KINDS_NOW,
    "max": _KINDS_NOW,
    "min": _KINDS_NOW,
    "while": "a named `step` repeats for ever, one transaction each time",
    "wait": "a `step` that reads a queue or chooses a row waits by itself",
    "def": "an `rpc` can be called from any method of this program",
    "import": "write the program into one file",
    "from": "write the program into one file",
    "@mirror": "`@mirror stale 1d` keeps replicas that may be so old",
}
_CHOOSE_NOW = "`choose (key, value) in db.some_dict where ...` finds a row"
_TYPES_NOW = "types of this version: Bool, Int, Text, Time, Unit, records and variants"


@dataclass(frozen=True)
class _Body:
    """A block under construction; `start` is where the line above it ends."""

    start: int
    statements: tuple[s.Stmt, ...]
    annotations: tuple[s.Annotation, ...] = ()


def build(tree: Tree[Token], source: Source) -> s.Program:
    """The syntax tree of a parsed program. Raises CompileErrors."""
    builder = _Builder(source)
    program = builder.transform(tree)
    builder.errors.finish()
    assert isinstance(program, s.Program)
    return program


def _split(children: list[Any], kind: Any) -> tuple[Any, ...]:
    return tuple(child for child in children if isinstance(child, kind))


@v_args(meta=True)
class _Builder(Transformer[Token, Any]):
    """Errors are collected; what is wrong becomes any node, because the tree is thrown away then."""

    def __init__(self, source: Source) -> None:
        super().__init__(visit_tokens=False)
        self.source = source
        self.errors = Collector()

    # ------------------------------------------------------------ help

    def span(self, where: Meta | Token, end: int | None = None) -> Span:
        start = where.start_pos or 0
        return Span(self.source, start, end if end is not None else (where.end_pos or start))

    def later(self, where: Meta | Token, what: str, hint: str | None = None) -> None:
        """Refuses what the language has and this version of glasc has not."""
        self.errors.error(
            "E0901", f"`{what}` is not supported yet", self.span(where), hint=hint or _LATER_HINTS.get(what)
        )

    def distinct(self, names: list[tuple[str, Span]], what: str) -> None:
        first: dict[str, Span] = {}
        for name, span in names:
            if name in first:
                note = Note("first given here", first[name])
                self.errors.error("E0109", f"{what} `{name}` is given twice", span, notes=[note])
            first.setdefault(name, span)

    # ------------------------------------------------------------ declarations

    def start(self, meta: Meta, children: list[Any]) -> s.Program:
        return s.Program(
            span=self.span(meta, children[1].end_pos),
            name=str(children[0]),
            version=self.unescape(children[1]),
            places=_split(children, s.Place),
            types=_split(children, s.TypeDef),
            states=_split(children, s.State),
            methods=_split(children, s.Method),
        )

    def place(self, meta: Meta, children: list[Any]) -> s.Place:
        return s.Place(span=self.span(meta), name=str(children[0]), many=children[1] is not None)

    def typedef(self, meta: Meta, children: list[Any]) -> s.TypeDef:
        return s.TypeDef(span=self.span(meta), name=str(children[0]), type=children[1])

    def state(self, meta: Meta, children: list[Any]) -> s.State | None:
        lifetime, name, kind, annotations = children
        if kind is None:
            return None
        span = self.span(meta, annotations.start)
        inner = kind.value if isinstance(kind, t.Dict) else None
        if lifetime == "mem" and (
            isinstance(kind, t.Counter | t.Bounded) or isinstance(inner, t.Counter | t.Bounded)
        ):
            self.errors.error(
                "E0901",
                f"`mem.` for a {kind} is not supported yet",
                span,
                hint="`mem.` for cells, dicts of values and queues; `db.` for everything",
            )
        return s.State(span=span, name=f"{lifetime}.{name}", kind=kind, annotations=annotations.annotations)

    def annotations(self, meta: Meta, children: list[Any]) -> _Body:
        return _Body(meta.start_pos, (), _split(children, s.Annotation))

    def method_body(self, meta: Meta, children: list[Any]) -> _Body:
        return _Body(meta.start_pos, _split(children, s.Stmt), _split(children, s.Annotation))

    def method(self, meta: Meta, kind: str, name: str, body: _Body, **parts: Any) -> s.Method:
        given: dict[str, Any] = {"params": (), "result": t.UNIT} | parts
        return s.Method(
            span=self.span(meta, body.start),
            kind=kind,
            name=name,
            annotations=body.annotations,
            body=body.statements,
            **given,
        )

    def start_method(self, meta: Meta, children: list[Any]) -> s.Method:
        return self.method(meta, "start", "start", children[0])

    def step(self, meta: Meta, children: list[Any]) -> s.Method:
        return self.method(meta, "step", str(children[0]), children[1])

    def invariant(self, meta: Meta, children: list[Any]) -> s.Method:
        return self.method(meta, "invariant", str(children[0]), children[1])

    def rpc(self, meta: Meta, children: list[Any]) -> s.Method:
        name, params, result, body = children
        result = t.UNIT if result is None else result
        return self.method(meta, "rpc", str(name), body, params=params, result=result)

    def parameters(self, _meta: Meta, children: list[Any]) -> tuple[s.Param, ...]:
        params: tuple[s.Param, ...] = _split(children, s.Param)
        self.distinct([(param.name, param.span) for param in params], "the parameter")
        return params

    def parameter(self, meta: Meta, children: list[Any]) -> s.Param:
        return s.Param(span=self.span(meta), name=str(children[0]), type=children[1])

    def later_method(self, _meta: Meta, children: list[Any]) -> None:
        self.later(children[0], str(children[0]))

    later_def = later_import = later_method

    def later_expression(self, meta: Meta, children: list[Any]) -> s.Expr:
        """A duration, or a list in brackets."""
        first = children[0]
        self.later(meta, str(first) if first.type == "DURATION" else "[...]")
        return s.UnitLit(span=self.span(meta))

    def later_choose(self, meta: Meta, _children: list[Any]) -> None:
        hint = "a `step` for each: steps are alternatives, and all have their turn"
        self.later(meta, "choose among blocks", hint)

    def later_choose_item(self, meta: Meta, _children: list[Any]) -> None:
        self.later(meta, "choose x in ...", _CHOOSE_NOW)

    def later_choose_else(self, meta: Meta, _children: list[Any]) -> None:
        self.later(meta, "choose ... else", "a `step` that finds no row waits until there is one")

    # ------------------------------------------------------------ http

    def http(self, meta: Meta, children: list[Any]) -> s.Method:
        verb, text, body = children
        if verb not in VERBS:
            known = ", ".join(VERBS)
            self.errors.error("E0602", f"unknown HTTP verb `{verb}`", self.span(verb), hint=f"verbs: {known}")
        path, params = self.http_path(text)
        name = f"{verb} /{'/'.join(path)}"
        return self.method(meta, "http", name, body, params=params, result=t.REPLY, verb=str(verb), path=path)

    def http_path(self, text: s.TextLit) -> tuple[tuple[str, ...], tuple[s.Param, ...]]:
        """The segments of a path and the parameters in it."""
        params: list[s.Param] = []
        written = ""
        for part in text.parts:
            if isinstance(part, str):
                written += part
            elif isinstance(part, s.Name):
                params.append(s.Param(span=part.span, name=part.name, type=t.TEXT))
                written += f"{{{part.name}}}"
            else:
                self.errors.error("E0601", "a path holds names of parameters only", part.span)
                return (), ()
        self.distinct([(param.name, param.span) for param in params], "the parameter")
        names = {f"{{{param.name}}}" for param in params}
        segments = tuple(written[1:].split("/")) if written != "/" else ()
        if not written.startswith("/"):
            self.errors.error("E0601", "a path starts with `/`", text.span)
        elif any(segment not in names and not _SEGMENT.fullmatch(segment) for segment in segments):
            hint = "each part between `/` is a `{name}`, or made of letters, digits and `-._~`"
            self.errors.error("E0601", "this path is not well formed", text.span, hint=hint)
        elif segments[:1] == ("sys",):
            self.errors.error("E0601", "paths under `/sys/` belong to the runtime", text.span)
        return segments, tuple(params)

    # ------------------------------------------------------------ annotations

    def annotation(self, meta: Meta, children: list[Any]) -> s.Annotation | None:
        if children[0] is None:
            return None
        name, parts = children[0]
        return s.Annotation(span=self.span(meta), name=name, **parts)

    def at(self, _meta: Meta, children: list[Any]) -> tuple[str, dict[str, Any]]:
        return "at", {"place": str(children[0])}

    def near(self, _meta: Meta, children: list[Any]) -> tuple[str, dict[str, Any]]:
        return "near", {"place": str(children[0]), "key": children[1]}

    def reader(self, _meta: Meta, children: list[Any]) -> tuple[str, dict[str, Any]]:
        return "reader", {"place": str(children[0])}

    def available(self, _meta: Meta, children: list[Any]) -> tuple[str, dict[str, Any]]:
        return "available", {"place": str(children[0])}

    def together(self, _meta: Meta, children: list[Any]) -> tuple[str, dict[str, Any]]:
        return "together", {"states": tuple(children)}

    def state_name(self, _meta: Meta, children: list[Any]) -> str:
        return f"{children[0]}.{children[1]}"

    def mirror(self, meta: Meta, children: list[Any]) -> tuple[str, dict[str, Any]] | None:
        if children[0] is None:
            self.later(meta, "@mirror")
            return None
        age = self.duration(children[0])
        if not 0 < age <= LONGEST:
            hint = "from `1us` to `36500d`"
            message = "a replica cannot be as old as that"
            self.errors.error("E0111", message, self.span(children[0]), hint=hint)
        return "mirror", {"stale_us": age}

    def duration(self, token: Token) -> int:
        digits = token.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = token[len(digits) :]
        if unit not in MICROSECONDS:
            known = ", ".join(MICROSECONDS)
            self.errors.error(
                "E0108", f"unknown unit of time `{unit}`", self.span(token), hint=f"units: {known}"
            )
        return self.number(digits) * MICROSECONDS.get(unit, 1)

    def later_annotation(self, _meta: Meta, children: list[Any]) -> None:
        self.later(children[0], f"@{children[0]}")

    # ------------------------------------------------------------ kinds of state and types

    def cell(self, _meta: Meta, children: list[Any]) -> t.Cell:
        return t.Cell(children[1])

    def queue(self, _meta: Meta, children: list[Any]) -> t.Queue:
        return t.Queue(children[1])

    def counter(self, _meta: Meta, _children: list[Any]) -> t.Counter:
        return t.Counter()

    def bounded(self, _meta: Meta, _children: list[Any]) -> t.Bounded:
        return t.Bounded()

    def dict_of(self, meta: Meta, children: list[Any]) -> t.Dict | None:
        _, key, value = children
        if value is None:
            return None
        if isinstance(value, t.Cell | t.Queue | t.Dict):
            word = type(value).__name__.lower()
            hint = "a dict holds values, counters or bounded counters"
            self.later(meta, f"dict of {word}", hint)
            return None
        return t.Dict(key, value)

    def later_kind(self, _meta: Meta, children: list[Any]) -> None:
        self.later(children[0], str(children[0]))

    def type_name(self, _meta: Meta, children: list[Any]) -> t.Type:
        if children[0] in _LATER_TYPES:
            self.later(children[0], str(children[0]), _TYPES_NOW)
        return s.TypeName(str(children[0]), self.span(children[0]))

    def later_type(self, _meta: Meta, children: list[Any]) -> t.Type:
        self.later(children[0], str(children[0]), _TYPES_NOW)
        return t.UNIT

    def record_type(self, _meta: Meta, children: list[Any]) -> t.Record:
        fields = [child for child in children if child is not None]
        self.distinct([(str(name), self.span(name)) for name, _ in fields], "the field")
        return t.Record(tuple((str(name), kind) for name, kind in fields))

    def field_type(self, _meta: Meta, children: list[Any]) -> tuple[Token, t.Type]:
        return children[0], children[1]

    def variant_type(self, _meta: Meta, children: list[Any]) -> t.Variant:
        self.distinct([(str(label), self.span(label)) for label, _ in children], "the label")
        return t.Variant(tuple((str(label), kind) for label, kind in children))

    def case(self, _meta: Meta, children: list[Any]) -> tuple[Token, t.Type]:
        label, kind = children
        return label, s.TypeName("Unit", self.span(label)) if kind is None else kind

    only_case = case

    # ------------------------------------------------------------ statements

    def block(self, meta: Meta, children: list[Any]) -> _Body:
        return _Body(meta.start_pos, _split(children, s.Stmt))

    def let(self, meta: Meta, children: list[Any]) -> s.Let:
        name, declared, value = children
        return s.Let(span=self.span(meta), name=str(name), value=value, declared=declared)

    def assign(self, meta: Meta, children: list[Any]) -> s.Assign:
        target, op, value = children
        return s.Assign(span=self.span(meta), target=target, op=str(op), value=value)

    def call_statement(self, meta: Meta, children: list[Any]) -> s.ExprStmt:
        return s.ExprStmt(span=self.span(meta), value=children[0])

    def return_statement(self, meta: Meta, children: list[Any]) -> s.Return:
        return s.Return(span=self.span(meta), value=children[0])

    def fail(self, meta: Meta, _children: list[Any]) -> s.Fail:
        return s.Fail(span=self.span(meta))

    def error(self, meta: Meta, children: list[Any]) -> s.Error:
        return s.Error(span=self.span(meta), message=children[0])

    def assert_statement(self, meta: Meta, children: list[Any]) -> s.Assert:
        return s.Assert(span=self.span(meta), condition=children[0])

    def if_statement(self, meta: Meta, children: list[Any]) -> s.If:
        condition, then, orelse = children
        other = (orelse,) if isinstance(orelse, s.If) else () if orelse is None else orelse.statements
        return s.If(span=self.span(meta, then.start), condition=condition, then=then.statements, orelse=other)

    def match(self, meta: Meta, children: list[Any]) -> s.Match:
        subject, arms = children
        return s.Match(span=self.span(meta, subject.span.end), subject=subject, arms=arms)

    def arms(self, _meta: Meta, children: list[Any]) -> tuple[s.Arm, ...]:
        return _split(children, s.Arm)

    def arm(self, meta: Meta, children: list[Any]) -> s.Arm:
        label, binder, body = children
        block = body if isinstance(body, _Body) else _Body(meta.end_pos, () if body is None else (body,))
        name = None if binder in (None, "_") else str(binder)
        return s.Arm(span=self.span(meta, block.start), label=str(label), name=name, body=block.statements)

    def rows(self, _meta: Meta, children: list[Any]) -> tuple[str, str, s.Expr]:
        key, value, state = children
        if key == value != "_":
            notes = [Note("first given here", self.span(key))]
            self.errors.error("E0109", f"the name `{value}` is given twice", self.span(value), notes=notes)
        return str(key), str(value), state

    def binder(self, _meta: Meta, children: list[Any]) -> Token:
        token = children[0]
        assert isinstance(token, Token)
        return token

    def for_statement(self, meta: Meta, children: list[Any]) -> s.For:
        (key, value, state), body = children
        return s.For(
            span=self.span(meta, body.start), key=key, value=value, state=state, body=body.statements
        )

    def choose(self, meta: Meta, children: list[Any]) -> s.Choose:
        (key, value, state), where = children
        return s.Choose(span=self.span(meta), key=key, value=value, state=state, where=where)

    def try_statement(self, meta: Meta, children: list[Any]) -> s.Try:
        body, orelse = children
        other = orelse.statements if orelse is not None else ()
        return s.Try(span=self.span(meta, body.start), body=body.statements, orelse=other)

    def later_while(self, _meta: Meta, children: list[Any]) -> None:
        self.later(children[0], str(children[0]))

    later_wait = later_while

    def later_for(self, meta: Meta, _children: list[Any]) -> None:
        self.later(meta, "for x in ...", "`for (key, value) in db.some_dict` goes over rows")

    # ------------------------------------------------------------ expressions

    def variant(self, meta: Meta, children: list[Any]) -> s.VariantLit:
        return s.VariantLit(span=self.span(meta), label=str(children[0]), value=children[1])

    def otherwise(self, meta: Meta, children: list[Any]) -> s.Else:
        return s.Else(span=self.span(meta), attempt=children[0], alternative=children[1])

    def binary(self, meta: Meta, children: list[Any]) -> s.Binary:
        left, op, right = children
        return s.Binary(span=self.span(meta), op=str(op), left=left, right=right)

    def unary(self, meta: Meta, children: list[Any]) -> s.Expr:
        op, operand = children
        if op == "-" and isinstance(operand, s.IntLit):
            return s.IntLit(span=self.span(meta), value=-operand.value)
        return s.Unary(span=self.span(meta), op=str(op), operand=operand)

    def json(self, meta: Meta, children: list[Any]) -> s.Call:
        return s.Call(span=self.span(meta), function="json", args=(children[1],))

    def json_as(self, meta: Meta, children: list[Any]) -> s.JsonAs:
        return s.JsonAs(span=self.span(meta), subject=children[0], target=children[1])

    def field(self, meta: Meta, children: list[Any]) -> s.Field:
        return s.Field(span=self.span(meta), subject=children[0], name=str(children[1]))

    def index(self, meta: Meta, children: list[Any]) -> s.Index:
        return s.Index(span=self.span(meta), subject=children[0], key=children[1])

    def call(self, meta: Meta, children: list[Any]) -> s.Expr:
        callee, *args = (child for child in children if child is not None)
        function = dotted(callee)
        if function is None:
            hint = "functions have names such as `sell` or `db.sales.read`"
            self.errors.error("E0110", "this cannot be called", callee.span, hint=hint)
        return s.Call(span=self.span(meta), function=function or "", args=tuple(args))

    def name(self, meta: Meta, children: list[Any]) -> s.Name:
        return s.Name(span=self.span(meta), name=str(children[0]))

    def integer(self, meta: Meta, children: list[Any]) -> s.IntLit:
        return s.IntLit(span=self.span(meta), value=self.number(children[0]))

    def number(self, digits: str) -> int:
        """The value of digits; whatever is far too large becomes 2**64, which no Int can be."""
        significant = digits.replace("_", "").lstrip("0") or "0"
        return int(significant) if len(significant) <= 20 else 1 << 64

    def true(self, meta: Meta, _children: list[Any]) -> s.BoolLit:
        return s.BoolLit(span=self.span(meta), value=True)

    def false(self, meta: Meta, _children: list[Any]) -> s.BoolLit:
        return s.BoolLit(span=self.span(meta), value=False)

    def unit(self, meta: Meta, _children: list[Any]) -> s.UnitLit:
        return s.UnitLit(span=self.span(meta))

    def record(self, meta: Meta, children: list[Any]) -> s.RecordLit:
        fields = [child for child in children if child is not None]
        self.distinct([(str(name), self.span(name)) for name, _ in fields], "the field")
        return s.RecordLit(span=self.span(meta), fields=tuple((str(name), value) for name, value in fields))

    def field_value(self, _meta: Meta, children: list[Any]) -> tuple[Token, s.Expr]:
        return children[0], children[1]

    def label(self, _meta: Meta, children: list[Any]) -> Token:
        token = children[0]
        assert isinstance(token, Token)
        return token

    # ------------------------------------------------------------ texts

    def text(self, meta: Meta, children: list[Any]) -> s.TextLit:
        parts = (self.unescape(child) if isinstance(child, Token) else child for child in children)
        return s.TextLit(span=self.span(meta), parts=tuple(part for part in parts if part != ""))

    def unescape(self, token: Token) -> str:
        """The characters of a piece of text, from behind its first sign to before its last one."""
        return _ESCAPE.sub(lambda match: self.escape(match, token), token[1:-1])

    def escape(self, match: re.Match[str], token: Token) -> str:
        code, char = match.groups()
        if code is not None and re.fullmatch("[0-9A-Fa-f]{1,6}", code):
            number = int(code, 16)
            if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
                return chr(number)
        elif char in _ESCAPES:
            return _ESCAPES[char]
        start = (token.start_pos or 0) + 1 + match.start()
        span = Span(self.source, start, start + len(match.group()))
        hint = 'known: \\n \\t \\" \\\\ \\{ \\} and \\u{1F600}'
        self.errors.error("E0105", f"`{match.group()}` means nothing in a text", span, hint=hint)
        return ""
