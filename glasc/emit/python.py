"""The Python package of an app: names of types, and the methods of its class `Mirror`.

Owns how types of the program look in Python: records and variants are dicts as in JSON, a Time is an aware
datetime. Knows the types of the language, not its IR.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from glasc.emit.flat import Flat, py_args, py_parameter, py_plain_args, py_prepare_top, py_result
from glasc.emit.literals import c_comment
from glasc.emit.model import PyMethod, PyType
from glasc.emit.names import PYTHON_WORDS, Names, camel, identifier, python_name
from glasc.emit.types import plain_form
from glasc.types import BOOL, INT, TEXT, TIME, UNIT, Primitive, Record, Type, Variant

_SCALARS: dict[Type, str] = {BOOL: "bool", INT: "int", TEXT: "str", TIME: "datetime", UNIT: "None"}
_ANNOTATIONS = frozenset(_SCALARS.values())
"""Names that mean a type in the body of a class, and that nothing else there can have."""

_TAKEN = ("Mirror", "PROTOCOL_ID")
"""Names that types cannot have. Whatever else the package uses begins with a small letter or `_`."""

_BASE = ("http", "rpc", "inspect", "close", "name")
"""Names that methods cannot have: attributes of glasrt.embedded.EmbeddedMirror."""


class PyNames:
    """Python's names for the types of one app, made as they are asked for."""

    def __init__(self, aliases: Iterable[tuple[str, Type]]) -> None:
        """`aliases` are the names that the program gives to types."""
        self._names = Names((*_TAKEN, *PYTHON_WORDS))
        self._methods = Names((*_BASE, *_ANNOTATIONS, *PYTHON_WORDS))
        self._wanted: dict[Type, str] = {}
        self._made: dict[Type, str] = {}
        self._types: list[PyType] = []
        for name, kind in aliases:
            self._wanted.setdefault(plain_form(kind), camel(identifier(name)))

    def method(self, rpc: str) -> str:
        """The name of the Python method for an rpc method; to be asked once for each."""
        return self._methods.new(python_name(rpc, (*_BASE, *_ANNOTATIONS)))

    def types(self) -> tuple[PyType, ...]:
        """All that were asked for, parts before what holds them."""
        return tuple(self._types)

    def type(self, kind: Type, context: str) -> str:
        """The annotation for a type; one without a name is called after `context`."""
        form = plain_form(kind)
        if isinstance(form, Primitive):
            return _SCALARS[form]
        if form not in self._made:
            wanted = self._wanted.get(form, context)
            self._made[form] = (
                self._record(form, wanted) if isinstance(form, Record) else self._variant(form, wanted)
            )
        return self._made[form]

    def _record(self, kind: Record, wanted: str) -> str:
        parts = [(name, self.type(part, wanted + camel(name))) for name, part in kind.fields]
        return self._dict(wanted, parts)

    def _variant(self, kind: Variant, wanted: str) -> str:
        cases = [(label, self.type(part, f"{wanted}{camel(label)}Value")) for label, part in kind.cases]
        dicts = [self._dict(wanted + camel(label), [(label, inner)]) for label, inner in cases]
        name = self._names.new(wanted)
        self._types.append(PyType(name, f"{name} = {' | '.join(dicts)}"))
        return name

    def _dict(self, wanted: str, parts: Sequence[tuple[str, str]]) -> str:
        name = self._names.new(wanted)
        if any(key in PYTHON_WORDS or key in _ANNOTATIONS for key, _ in parts):
            inner = ", ".join(f"{key!r}: {kind}" for key, kind in parts)
            self._types.append(PyType(name, f"{name} = _TypedDict({name!r}, {{{inner}}})"))
        else:
            lines = [f"class {name}(_TypedDict):", *(f"    {key}: {kind}" for key, kind in parts)]
            self._types.append(PyType(name, "\n".join(lines)))
        return name


def py_method(
    names: PyNames,
    rpc: str,
    title: str,
    symbols: tuple[str, str, str],
    params: Sequence[tuple[str, Type, Flat]],
    result: tuple[Type, Flat],
) -> PyMethod:
    """The Python method for an rpc method; `symbols` are its direct call, its unpacking and its result
    struct in C.
    """
    named = Names()
    local = [named.new(py_parameter(name)) for name, _, _ in params]
    kinds = [names.type(kind, camel(f"{rpc}_{name}")) for name, kind, _ in params]
    prepare = [
        line for name, (_, _, flat) in zip(local, params, strict=True) for line in py_prepare_top(flat, name)
    ]
    args = [text for name, (_, _, flat) in zip(local, params, strict=True) for text in _args(flat, name)]
    call, unpack, out = symbols
    return PyMethod(
        name=names.method(rpc),
        title=c_comment(title).replace("\\", "\\\\").replace('"', "'"),
        rpc=rpc,
        call=call,
        unpack=unpack,
        out=out,
        slot=f"_out_{rpc}",
        params=tuple(f"{name}: {kind}" for name, kind in zip(local, kinds, strict=True)),
        spec_text=spec_text([(name, kind) for name, kind, _ in params]),
        values_text="(" + "".join(f"{name}, " for name in local) + ")",
        prepare=tuple(prepare),
        args=tuple(args),
        result_text=py_result(result[1]),
        result_type=names.type(result[0], camel(f"{rpc}_result")),
    )


def _args(flat: Flat, value: str) -> tuple[str, ...]:
    return py_plain_args(flat, value) or py_args(flat)


def spec_text(params: Sequence[tuple[str, Type]]) -> str:
    """What arguments must be, as a Python literal: `(("qty", "Int"), ("line", ("record", (("shop", "Text"),
    ...))))`.
    """
    return "(" + "".join(f"({name!r}, {_spec(kind)}), " for name, kind in params) + ")"


def _spec(kind: Type) -> str:
    match plain_form(kind):
        case Record(parts):
            return f"('record', {spec_text(parts)})"
        case Variant(cases):
            return f"('variant', {spec_text(cases)})"
        case Primitive(name):
            return repr(name)
