"""Values taken apart into scalars, as the direct calls pass them: records to their parts, variants to a tag
and the parts of every label.

Owns that form: its names, the C that moves values between it and structs, and the Python that does the same
with dicts. Knows the types of the language, not its IR.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glasc.emit.model import Braced, Case, CStmt, Line, OutField
from glasc.emit.names import C_WORDS, PYTHON_WORDS, Names, member, python_name, variable
from glasc.emit.types import plain_form
from glasc.types import BOOL, TEXT, TIME, UNIT, Primitive, Record, Type, Variant

_PYTHON_LOCALS = ("self", "out", "outcome", "error", "result", "len")
_INDENT = "    "


@dataclass(frozen=True)
class Scalar:
    """One value of a primitive type; a text is two: `name` and `name`_n. The local in Python is _`name`."""

    kind: Primitive
    name: str
    size_name: str = ""


@dataclass(frozen=True)
class Fields:
    """The parts of a record, with the name of each in the program and in C."""

    parts: tuple[tuple[str, str, Flat], ...]


@dataclass(frozen=True)
class Cases:
    """A variant: the name of its tag, and the parts of every label."""

    tag: str
    parts: tuple[tuple[str, str, Flat], ...]


Flat = Scalar | Fields | Cases


def flatten_parameters(params: Sequence[tuple[str, Type]]) -> tuple[Flat, ...]:
    """The parameters of a direct call, by name and type."""
    names = Names()
    return tuple(_flatten(kind, variable(name), names) for name, kind in params)


def flatten_result(kind: Type) -> Flat:
    """The members of a result; their names are such that Python can say them too."""
    return _flatten(kind, "", Names(C_WORDS | PYTHON_WORDS | {"reply"}))


def _flatten(kind: Type, base: str, names: Names) -> Flat:
    """The form of a type; `base` is what the names begin with (empty at the top of a result)."""
    match plain_form(kind):
        case Record(parts):
            return Fields(
                tuple((name, member(name), _flatten(part, _under(base, name), names)) for name, part in parts)
            )
        case Variant(cases):
            tag = names.new(_under(base, "tag"))
            return Cases(
                tag,
                tuple(
                    (name, member(name), _flatten(part, _under(base, name), names)) for name, part in cases
                ),
            )
        case Primitive() as primitive:
            name = names.new(base or "value")
            return Scalar(primitive, name, names.new(f"{name}_n") if primitive == TEXT else "")


def _under(base: str, name: str) -> str:
    return f"{base}_{name}" if base else name


# ---------------------------------------------------------------- C


def c_params(flat: Flat) -> tuple[str, ...]:
    """The parameters of the direct call."""
    match flat:
        case Scalar(kind, name, size):
            if kind == TEXT:
                return (f"const char *{name}", f"size_t {size}")
            return () if kind == UNIT else (f"{_scalar_type(kind)} {name}",)
        case Fields(parts):
            return tuple(text for _, _, part in parts for text in c_params(part))
        case Cases(tag, parts):
            return (f"uint32_t {tag}", *(text for _, _, part in parts for text in c_params(part)))


def c_out_fields(flat: Flat) -> tuple[OutField, ...]:
    """The members of the flattened result."""
    match flat:
        case Scalar(kind, name, size):
            if kind == TEXT:
                return (
                    OutField(f"const char *{name}", "UTF-8, not terminated"),
                    OutField(f"size_t {size}", ""),
                )
            return () if kind == UNIT else (OutField(f"{_scalar_type(kind)} {name}", _unit_note(kind)),)
        case Fields(parts):
            return tuple(text for _, _, part in parts for text in c_out_fields(part))
        case Cases(tag, parts):
            labels = ", ".join(f"{number}: {label}" for number, (label, _, _) in enumerate(parts))
            inner = tuple(text for _, _, part in parts for text in c_out_fields(part))
            return (OutField(f"uint32_t {tag}", f"{labels}; what belongs to other labels is not set"), *inner)


def _scalar_type(kind: Primitive) -> str:
    return "bool" if kind == BOOL else "int64_t"


def _unit_note(kind: Primitive) -> str:
    return "microseconds since 1970" if kind == TIME else ""


def c_bad(flat: Flat) -> tuple[str, ...]:
    """Conditions under which parameters cannot be a value."""
    match flat:
        case Scalar(kind, _, size):
            return (f"{size} > UINT32_MAX",) if kind == TEXT else ()
        case Fields(parts):
            return tuple(text for _, _, part in parts for text in c_bad(part))
        case Cases(tag, parts):
            return (f"{tag} >= {len(parts)}", *(text for _, _, part in parts for text in c_bad(part)))


def c_pack(flat: Flat, target: str) -> tuple[CStmt, ...]:
    """From parameters to the struct at the lvalue `target`, which is all zero before."""
    match flat:
        case Scalar(kind, name, size):
            if kind == TEXT:
                return (Line(f"{target} = (glas_text){{{name}, (uint32_t){size}}};"),)
            return () if kind == UNIT else (Line(f"{target} = {name};"),)
        case Fields(parts):
            return tuple(stmt for _, inner, part in parts for stmt in c_pack(part, f"{target}.{inner}"))
        case Cases(tag, parts):
            arms = [
                (number, c_pack(part, f"{target}.as.{inner}"))
                for number, (_, inner, part) in enumerate(parts)
            ]
            return (Line(f"{target}.tag = {tag};"), *_switch(tag, arms))


def c_unpack(flat: Flat, source: str) -> tuple[CStmt, ...]:
    """From the struct at the lvalue `source` to the flattened result `out`."""
    match flat:
        case Scalar(kind, name, size):
            if kind == TEXT:
                return (Line(f"out->{name} = {source}.p;"), Line(f"out->{size} = {source}.n;"))
            return (
                () if kind == UNIT else (Line(f"out->{name} = {source}{' != 0' if kind == BOOL else ''};"),)
            )
        case Fields(parts):
            return tuple(stmt for _, inner, part in parts for stmt in c_unpack(part, f"{source}.{inner}"))
        case Cases(tag, parts):
            arms = [
                (number, c_unpack(part, f"{source}.as.{inner}"))
                for number, (_, inner, part) in enumerate(parts)
            ]
            return (Line(f"out->{tag} = {source}.tag;"), *_switch(f"{source}.tag", arms))


def _switch(subject: str, arms: list[tuple[int, tuple[CStmt, ...]]]) -> tuple[CStmt, ...]:
    cases = [Case(f"case {number}", (*body, Line("break;"))) for number, body in arms if body]
    if not cases:
        return ()
    return (Braced(f"switch ({subject})", (*cases, Case("default", (Line("break;"),)))),)


# ---------------------------------------------------------------- Python


def py_args(flat: Flat) -> tuple[str, ...]:
    """The arguments of the direct call, of the locals that `py_prepare` makes."""
    match flat:
        case Scalar(kind, name, _):
            if kind == TEXT:
                return (f"_{name}", f"len(_{name})")
            return () if kind == UNIT else (f"_{name}",)
        case Fields(parts):
            return tuple(text for _, _, part in parts for text in py_args(part))
        case Cases(tag, parts):
            return (f"_{tag}", *(text for _, _, part in parts for text in py_args(part)))


def py_plain_args(flat: Flat, value: str) -> tuple[str, ...]:
    """Like py_args, but an integer or truth value stands as it came, without a local of its own."""
    if isinstance(flat, Scalar) and flat.kind not in (TEXT, TIME, UNIT):
        return (value,)
    return py_args(flat)


def py_prepare(flat: Flat, value: str) -> tuple[str, ...]:
    """Lines that take the Python value apart; they raise where it does not fit (the texts of such errors are
    made elsewhere).
    """
    match flat:
        case Scalar(kind, name, _):
            return _py_scalar(kind, name, value)
        case Fields(parts):
            lines = [f"if len({value}) != {len(parts)}:", f"{_INDENT}raise _KeyError"]
            return (
                *lines,
                *(line for key, _, part in parts for line in py_prepare(part, f"{value}[{key!r}]")),
            )
        case Cases():
            return _py_cases(flat, value)


def py_prepare_top(flat: Flat, value: str) -> tuple[str, ...]:
    """py_prepare for a whole argument: nothing for what py_plain_args passes as it is."""
    if isinstance(flat, Scalar) and flat.kind not in (TEXT, TIME, UNIT):
        return ()
    return py_prepare(flat, value)


def _py_scalar(kind: Primitive, name: str, value: str) -> tuple[str, ...]:
    if kind == UNIT:
        return (f"if {value} is not None:", f"{_INDENT}raise _TypeError")
    forms = {TEXT: f"{value}.encode()", TIME: f"_microseconds({value})"}
    return (f"_{name} = {forms.get(kind, value)}",)


def _py_cases(flat: Cases, value: str) -> tuple[str, ...]:
    lines = [f"if len({value}) != 1:", f"{_INDENT}raise _KeyError"]
    lines += [f"{target} = {empty}" for _, _, part in flat.parts for target, empty in _py_empty(part)]
    for number, (label, _, part) in enumerate(flat.parts):
        lines.append(f"{'if' if number == 0 else 'elif'} {label!r} in {value}:")
        body = (f"_{flat.tag} = {number}", *py_prepare(part, f"{value}[{label!r}]"))
        lines += [_INDENT + line for line in body]
    return (*lines, "else:", f"{_INDENT}raise _KeyError")


def _py_empty(flat: Flat) -> Iterable[tuple[str, str]]:
    """What stands for the parts of a label that the value does not have."""
    match flat:
        case Scalar(kind, name, _):
            if kind != UNIT:
                yield f"_{name}", 'b""' if kind == TEXT else "0"
        case Fields(parts):
            for _, _, part in parts:
                yield from _py_empty(part)
        case Cases(tag, parts):
            yield f"_{tag}", "0"
            for _, _, part in parts:
                yield from _py_empty(part)


def py_result(flat: Flat) -> str:
    """An expression for the value in the flattened result `out`."""
    match flat:
        case Scalar(kind, name, size):
            forms = {TEXT: f"_text(out.{name}, out.{size})", TIME: f"_time(out.{name})", UNIT: "None"}
            return forms.get(kind, f"out.{name}")
        case Fields(parts):
            return "{" + ", ".join(f"{key!r}: {py_result(part)}" for key, _, part in parts) + "}"
        case Cases(tag, parts):
            *firsts, last = [f"{{{label!r}: {py_result(part)}}}" for label, _, part in parts]
            tests = [f"{text} if out.{tag} == {number} else " for number, text in enumerate(firsts)]
            return f"({''.join(tests)}{last})" if firsts else last


def py_parameter(name: str) -> str:
    """The name of a parameter in Python."""
    return python_name(name, _PYTHON_LOCALS)
