"""The canonical text of a syntax tree: glas again, and after infer_types with the type of every local name.

Owns spacing, parentheses and the order of declarations. parse(print_program(p)) is p again, but for spans
(comments apart, which the tree does not hold). Does not know what anything means.
"""

from __future__ import annotations

from glasc import syntax as s
from glasc import types as t

_BINARY = {"or": 1, "and": 2, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6}
_COMPARISON = 4
_PREFIX, _CAST, _POSTFIX, _ATOM = 7, 8, 9, 10
_ESCAPES = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\", "{": "\\{", "}": "\\}"}
_UNITS = (
    (86_400_000_000, "d"),
    (3_600_000_000, "h"),
    (60_000_000, "min"),
    (1_000_000, "s"),
    (1_000, "ms"),
    (1, "us"),
)

Kinds = dict[str, t.StateKind]
"""The kinds of the states of a program, by name."""


def print_program(program: s.Program) -> str:
    """The text of a program, ending with a newline."""
    parts = [f"app {program.name} version {quoted(program.version)}"]
    parts += ["\n".join(_place(place) for place in program.places)]
    parts += ["\n".join(f"type {each.name} = {each.type}" for each in program.types)]
    parts += ["\n".join(line for state in program.states for line in _state(state))]
    kinds = {state.name: state.kind for state in program.states}
    parts += ["\n".join(_method(method, kinds)) for method in program.methods]
    return "\n\n".join(part for part in parts if part) + "\n"


def quoted(text: str) -> str:
    """A text literal without interpolations."""
    return f'"{_escaped(text)}"'


def duration(microseconds: int) -> str:
    """A duration in the largest unit that has no fraction."""
    for size, unit in _UNITS:
        if microseconds % size == 0 and microseconds:
            return f"{microseconds // size}{unit}"
    return "0s"


def expression(node: s.Expr, level: int = 0) -> str:
    """An expression, in parentheses if it binds looser than `level`."""
    text, own = _expression(node)
    return f"({text})" if own < level else text


# ---------------------------------------------------------------- declarations


def _place(place: s.Place) -> str:
    return f"place {place.name}{' many' if place.many else ''}"


def _state(state: s.State) -> list[str]:
    return [f"{state.name} : {state.kind}", *(f"  {_annotation(each)}" for each in state.annotations)]


def _annotation(annotation: s.Annotation) -> str:
    words = [f"@{annotation.name}"]
    if annotation.place is not None:
        key = "" if annotation.key is None else f"[{expression(annotation.key)}]"
        words.append(f"{annotation.place}{key}")
    if annotation.states:
        words.append(", ".join(annotation.states))
    if annotation.stale_us is not None:
        words += ["stale", duration(annotation.stale_us)]
    return " ".join(words)


def _method(method: s.Method, kinds: Kinds) -> list[str]:
    params = ", ".join(f"{param.name}: {param.type}" for param in method.params)
    match method.kind:
        case "start":
            head = "start"
        case "rpc":
            result = "" if method.result == t.UNIT else f" -> {method.result}"
            head = f"rpc {method.name}({params}){result}"
        case "http":
            head = f'http {method.verb} "/{"/".join(method.path)}"'
        case _:
            head = f"{method.kind} {method.name}"
    return [head, *(f"  {_annotation(each)}" for each in method.annotations), *_block(method.body, kinds)]


# ---------------------------------------------------------------- statements


def _block(statements: tuple[s.Stmt, ...], kinds: Kinds) -> list[str]:
    return [f"  {line}" for statement in statements for line in _statement(statement, kinds)]


def _statement(node: s.Stmt, kinds: Kinds) -> list[str]:
    match node:
        case s.If():
            return _if(node, kinds)
        case s.Match(subject=subject, arms=arms):
            lines = [line for arm in arms for line in _arm(arm, subject, kinds)]
            return [f"match {expression(subject)}", *(f"  {line}" for line in lines)]
        case s.For(body=body):
            return [f"for {_rows(node)}{_row_types(node, kinds)}", *_block(body, kinds)]
        case s.Try(body=body, orelse=orelse):
            other = ["else", *_block(orelse, kinds)] if orelse else []
            return ["try", *_block(body, kinds), *other]
        case s.Choose(where=where):
            condition = "" if where is None else f" where {expression(where)}"
            return [f"choose {_rows(node)}{condition}{_row_types(node, kinds)}"]
        case _:
            return [_simple(node)]


def _simple(node: s.Stmt | s.Expr) -> str:
    """A statement without blocks; also what stands behind `else` in an expression."""
    match node:
        case s.Let(name=name, value=value, declared=declared):
            kind = value.type if declared is None else declared
            return f"let {name}{'' if kind is None else f': {kind}'} = {expression(value)}"
        case s.Assign(target=target, op=op, value=value):
            return f"{expression(target)} {op} {expression(value)}"
        case s.ExprStmt(value=value):
            return expression(value)
        case s.Return(value=value):
            return "return" if value is None else f"return {expression(value)}"
        case s.Fail():
            return "fail"
        case s.Error(message=message):
            return f"error {expression(message)}"
        case s.Assert(condition=condition):
            return f"assert {expression(condition)}"
        case s.Expr():
            return expression(node)
    raise AssertionError(type(node).__name__)


def _if(node: s.If, kinds: Kinds) -> list[str]:
    lines = [f"if {expression(node.condition)}", *_block(node.then, kinds)]
    match node.orelse:
        case ():
            return lines
        case (s.If() as other,):
            first, *rest = _if(other, kinds)
            return [*lines, f"else {first}", *rest]
        case _:
            return [*lines, "else", *_block(node.orelse, kinds)]


def _arm(arm: s.Arm, subject: s.Expr, kinds: Kinds) -> list[str]:
    case = subject.type.case(arm.label) if isinstance(subject.type, t.Variant) else None
    comment = f"  # {arm.name}: {case}" if arm.name is not None and case is not None else ""
    return [f"{arm.label}: {arm.name or '_'} ->{comment}", *_block(arm.body, kinds)]


def _rows(node: s.For | s.Choose) -> str:
    return f"({node.key}, {node.value}) in {expression(node.state)}"


def _row_types(node: s.For | s.Choose, kinds: Kinds) -> str:
    """After resolve: a comment with the types of the names that a row binds."""
    if not isinstance(node.state, s.StateRef):
        return ""
    kind = kinds[node.state.state]
    assert isinstance(kind, t.Dict)
    return f"  # {node.key}: {kind.key}, {node.value}: {kind.value}"


# ---------------------------------------------------------------- expressions


def _expression(node: s.Expr) -> tuple[str, int]:
    """The text of an expression and how tight it binds."""
    match node:
        case s.Else(attempt=attempt, alternative=alternative):
            return f"{expression(attempt, 1)} else {_simple(alternative)}", 0
        case s.Binary(op=op, left=left, right=right):
            level = _BINARY.get(op, _COMPARISON)
            left_level = level + 1 if level == _COMPARISON else level
            return f"{expression(left, left_level)} {op} {expression(right, level + 1)}", level
        case s.Unary(op="not", operand=operand):
            return f"not {expression(operand, 3)}", 3
        case s.Unary(operand=operand):
            return f"-{expression(operand, _PREFIX)}", _PREFIX
        case s.JsonAs(subject=subject, target=target):
            return f"{expression(subject, _CAST)} as {t.atom(target)}", _CAST
        case s.Call(function="json", args=(arg,)):
            return f"json {expression(arg, _PREFIX)}", _PREFIX
        case s.VariantLit(label=label, value=value):
            return f"{label}: {expression(value)}", 0
        case _:
            return _operand(node)


def _operand(node: s.Expr) -> tuple[str, int]:
    match node:
        case s.Field(subject=subject, name=name):
            return f"{expression(subject, _POSTFIX)}.{name}", _POSTFIX
        case s.Index(subject=subject, key=key):
            return f"{expression(subject, _POSTFIX)}[{expression(key)}]", _POSTFIX
        case s.Call(function=function, args=args):
            return _call(function, args), _POSTFIX
        case s.IntLit(value=value):
            return str(value), _ATOM if value >= 0 else _PREFIX
        case _:
            return _atom(node), _ATOM


def _call(function: str, args: tuple[s.Expr, ...]) -> str:
    if function.startswith("queue."):
        queue, *args_left = args
        function = f"{expression(queue)}.{function.removeprefix('queue.')}"
        args = tuple(args_left)
    return f"{function}({', '.join(expression(arg) for arg in args)})"


def _atom(node: s.Expr) -> str:
    match node:
        case s.Name(name=name) | s.StateRef(state=name):
            return name
        case s.BoolLit(value=value):
            return "true" if value else "false"
        case s.UnitLit():
            return "()"
        case s.SysName():
            return "sys.mirror.name"
        case s.Request(part=part):
            return f"request.{part}"
        case s.RecordLit(fields=fields):
            return "(" + ", ".join(f"{name}: {expression(value)}" for name, value in fields) + ")"
        case s.TextLit(parts=parts):
            return '"' + "".join(_text_part(part) for part in parts) + '"'
    raise AssertionError(type(node).__name__)


def _text_part(part: str | s.Expr) -> str:
    return _escaped(part) if isinstance(part, str) else f"{{{expression(part)}}}"


def _escaped(text: str) -> str:
    return "".join(
        _ESCAPES.get(char) or (char if char.isprintable() else f"\\u{{{ord(char):X}}}") for char in text
    )
