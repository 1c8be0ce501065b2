"""The pass `to_c`: a routed program and its protocol become the C and Python to write; the last that sees
the IR.

Takes what plan_protocol took and made; makes an emit.model.App, in which every decision about C is taken:
names, layouts, tables, calls. Bodies of methods are translated by to_c_body.py. Does not know files,
compilers or wheels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from glasc import ir
from glasc.diagnostics import Collector
from glasc.emit.flat import (
    c_bad,
    c_out_fields,
    c_pack,
    c_params,
    c_unpack,
    flatten_parameters,
    flatten_result,
)
from glasc.emit.literals import c_bool, c_comment, c_string
from glasc.emit.model import (
    App,
    Call,
    CType,
    EffectRow,
    Function,
    MethodRow,
    OwnerFunction,
    PlaceRow,
    SegmentRow,
    StateRow,
)
from glasc.emit.names import Names, constant, identifier, member, prefix
from glasc.emit.python import PyNames, py_method
from glasc.emit.types import TypeTable
from glasc.ir_walk import statements, types_in
from glasc.passes.plan_protocol import Protocol
from glasc.passes.to_c_body import Body, Context, Exprs, source_note
from glasc.plan_json import plan_text
from glasc.types import Bounded, Cell, Counter, Dict, Queue, Record, StateKind, Type

APP_INTERFACE = 1  # GLAS_APP_INTERFACE of runtime_c/include/glas_app.h
MAX_RESULT = 1024  # GLAS_MAX_RESULT there

_METHOD_KINDS = {
    "start": "GLAS_START",
    "step": "GLAS_STEP",
    "rpc": "GLAS_RPC_METHOD",
    "http": "GLAS_HTTP_METHOD",
    "invariant": "GLAS_INVARIANT",
}
_READS = frozenset({"get", "rows", "choose", "read", "sum", "sub"})


def to_c(program: ir.Program, protocol: Protocol) -> App:
    """The view of the C of a program. Raises CompileErrors where a value is larger than the core passes
    on.
    """
    return _Writer(program, protocol).app()


class _Writer:
    """Translates one program."""

    def __init__(self, program: ir.Program, protocol: Protocol) -> None:
        self._program = program
        self._protocol = protocol
        self._prefix = prefix(program.name)
        self._methods = tuple(program.method(row.name) for row in protocol.methods)
        self._aliases = tuple((named.name, named.type) for named in program.type_names)
        self._types = TypeTable(self._prefix, self._aliases)
        self._args: dict[str, CType] = {}
        self._add_types()
        constants = Names()
        self._states = {
            state.name: constants.new(constant(self._prefix, "state", state.name)) for state in program.states
        }
        self._numbers = {
            method.name: constants.new(constant(self._prefix, "method", method.name))
            for method in self._methods
        }
        self._runs = {method.name: f"{self._prefix}_run_{method.name}" for method in self._methods}

    def _add_types(self) -> None:
        """Named types first, then by where they come up; a result without a name is called after its
        method.
        """
        for _, kind in self._aliases:
            self._types.add(kind)
        for state in self._program.states:
            for part in _state_types(state.kind):
                if part is not None:
                    self._types.add(part)
        for method in self._methods:
            self._types.add(method.result, f"result_{method.name}")
            args = self._types.add_args(_args_record(method), method.name)
            if args is not None:
                self._args[method.name] = args
        for method in self._methods:
            for stmt in statements(method.body):
                for kind in types_in(stmt):
                    self._types.add(kind)

    def app(self) -> App:
        """The whole view."""
        self._check_sizes()
        program = self._program
        py_names = PyNames(self._aliases)
        calls = tuple(self._call(method, py_names) for method in self._methods if method.kind == "rpc")
        return App(
            name=program.name,
            version=program.version,
            prefix=self._prefix,
            upper=constant(self._prefix),
            protocol_id=self._protocol.id,
            interface=APP_INTERFACE,
            types=self._types.all(),
            methods=self._functions(),
            owner_functions=tuple(self._owner_functions()),
            states=tuple(self._state_row(state) for state in program.states),
            rows=tuple(self._method_row(method) for method in self._methods),
            places=tuple(PlaceRow(c_string(name), c_bool(many)) for name, many in program.places),
            calls=calls,
            py_types=py_names.types(),
            choose_sites=sum(
                isinstance(stmt, ir.ChooseRow) for method in self._methods for stmt in statements(method.body)
            ),
            plan=plan_text(program, self._protocol, self._sizes()),
            sized=tuple(self._sized()),
        )

    # ------------------------------------------------------------ methods

    def _functions(self) -> tuple[Function, ...]:
        context = Context(
            program=self._program,
            types=self._types,
            states=self._states,
            runs=self._runs,
            args={name: kind.name for name, kind in self._args.items()},
            sites=count(),
        )
        return tuple(self._function(context, method) for method in self._methods)

    def _function(self, context: Context, method: ir.Method) -> Function:
        params = {var.name: f"args->{member(var.name)}" for var in method.params}
        declarations, body = Body(context, method, params).run()
        args = self._args.get(method.name)
        kind = args.name if args is not None else "glas_unit"
        opening = (
            f"const {kind} *args = arguments;",
            f"{self._types.piece(method.result).type} *result = results;",
            "(void)txn, (void)args, (void)result;",
        )
        return Function(
            name=self._runs[method.name],
            title=c_comment(method.title),
            where=source_note(method.span),
            opening=(*opening, *declarations),
            body=body,
        )

    def _method_row(self, method: ir.Method) -> MethodRow:
        wire = self._protocol.method(method.name)
        needs = dict.fromkeys(state for route in method.routes for state in route.needs)
        reads = {access.state for access in method.accesses or () if access.kind in _READS}
        args = self._args.get(method.name)
        return MethodRow(
            name=c_string(method.name),
            short=method.name,
            constant=self._numbers[method.name],
            title=c_string(method.title),
            kind=_METHOD_KINDS[method.kind],
            run=self._runs[method.name],
            args=args.table if args is not None else "glas_type_unit",
            result=self._types.piece(method.result).table,
            verb=c_string(method.verb) if method.kind == "http" else "NULL",
            path=_segments(method),
            needs=tuple(self._states[state] for state in needs),
            effects=tuple(
                EffectRow(self._states[row.state], c_bool(row.once), c_bool(row.take)) for row in wire.effects
            ),
            reads=_mask(self._protocol.number(state) for state in reads),
        )

    # ------------------------------------------------------------ states

    def _state_row(self, state: ir.State) -> StateRow:
        kind, key, value = _kind(state.kind)
        rule, place, owner_name = self._owner(state)
        return StateRow(
            name=c_string(state.name),
            constant=self._states[state.name],
            title=c_comment(f"{state.name} : {state.kind}"),
            kind=kind,
            persistent=c_bool(state.persistent),
            rule=rule,
            place=place,
            owner_name=owner_name,
            stale_us=f"INT64_C({state.stale_us or 0})",
            key="NULL" if key is None else f"&{self._types.piece(key).table}",
            value="NULL" if value is None else f"&{self._types.piece(value).table}",
        )

    def _owner(self, state: ir.State) -> tuple[str, int, str]:
        places = [name for name, _ in self._program.places]
        match state.owner:
            case ir.AtPlace(place):
                return "GLAS_AT_PLACE", places.index(place), "NULL"
            case ir.ByKey(place, _):
                return "GLAS_BY_KEY", places.index(place), self._owner_function(state)
            case ir.AtOrigin():
                return "GLAS_AT_ORIGIN", 0, "NULL"
            case ir.Ownerless():
                return "GLAS_OWNERLESS", 0, "NULL"
        raise AssertionError(f"{state.name} has no owner")

    def _owner_function(self, state: ir.State) -> str:
        return f"{self._prefix}_owner_of_{identifier(state.name)}"

    def _owner_functions(self) -> Iterator[OwnerFunction]:
        for state in self._program.states:
            if isinstance(state.owner, ir.ByKey) and isinstance(state.kind, Dict):
                exprs = Exprs(self._types, {"key": "(*key)"})
                yield OwnerFunction(
                    name=self._owner_function(state),
                    key_type=self._types.piece(state.kind.key).type,
                    value_text=exprs.value(state.owner.key),
                )

    # ------------------------------------------------------------ direct calls

    def _call(self, method: ir.Method, py_names: PyNames) -> Call:
        flats = flatten_parameters([(var.name, var.type) for var in method.params])
        flat_args = list(zip(method.params, flats, strict=True))
        flat_result = flatten_result(method.result)
        args = self._args.get(method.name)
        base = self._prefix
        call, unpack, out = (f"{base}_{what}_{method.name}" for what in ("call", "unpack", "out"))
        return Call(
            name=call,
            unpack=unpack,
            out=out,
            title=c_comment(method.title),
            method=self._numbers[method.name],
            params=tuple(text for _, flat in flat_args for text in c_params(flat)),
            args_type=args.name if args is not None else "glas_unit",
            args_used=args is not None,
            sizes=tuple(text for _, flat in flat_args for text in c_bad(flat)),
            pack=tuple(stmt for var, flat in flat_args for stmt in c_pack(flat, f"args.{member(var.name)}")),
            out_fields=c_out_fields(flat_result),
            result_type=self._types.piece(method.result).type,
            unpack_body=c_unpack(flat_result, "(*r)"),
            py=py_method(
                py_names,
                method.name,
                method.title,
                (call, unpack, out),
                [(var.name, var.type, flat) for var, flat in flat_args],
                (method.result, flat_result),
            ),
        )

    # ------------------------------------------------------------ sizes

    def _sizes(self) -> dict[str, dict[str, int]]:
        """Bytes of arguments and results in C, by method."""
        return {
            method.name: {
                "args": self._types.size(self._args[method.name].name) if method.name in self._args else 0,
                "result": self._types.piece(method.result).size,
            }
            for method in self._methods
        }

    def _sized(self) -> Iterator[str]:
        for method in self._methods:
            if method.name in self._args:
                yield self._args[method.name].name
        yield from dict.fromkeys(self._types.piece(method.result).type for method in self._methods)

    def _check_sizes(self) -> None:
        errors = Collector()
        sizes = self._sizes()
        for method in self._methods:
            for what, bytes_ in sizes[method.name].items():
                if bytes_ > MAX_RESULT:
                    noun = "arguments" if what == "args" else "result"
                    message = (
                        f"the {noun} of `{method.title}` take {bytes_} bytes in C; {MAX_RESULT} is the most"
                    )
                    errors.error(
                        "E0805", message, method.span, hint="pass fewer values, or texts that hold several"
                    )
        errors.finish()


# ---------------------------------------------------------------- helpers


def _args_record(method: ir.Method) -> Record:
    return Record(tuple((var.name, var.type) for var in method.params))


def _state_types(kind: StateKind) -> tuple[Type | None, Type | None]:
    return _kind(kind)[1:]


def _kind(kind: StateKind) -> tuple[str, Type | None, Type | None]:
    """The C kind, type of keys and type of values."""
    match kind:
        case Cell(value):
            return "GLAS_CELL", None, value
        case Queue(value):
            return "GLAS_QUEUE", None, value
        case Counter():
            return "GLAS_COUNTER", None, None
        case Bounded():
            return "GLAS_BOUNDED", None, None
        case Dict(key, Counter()):
            return "GLAS_DICT_COUNTER", key, None
        case Dict(key, Bounded()):
            return "GLAS_DICT_BOUNDED", key, None
        case Dict(key, value):
            assert not isinstance(value, Counter | Bounded)
            return "GLAS_DICT", key, value


def _segments(method: ir.Method) -> tuple[SegmentRow, ...]:
    """The path's parts: `{name}` is a parameter."""
    rows = []
    for text in method.path:
        parameter = text.startswith("{") and text.endswith("}")
        rows.append(SegmentRow(c_string(text[1:-1] if parameter else text), c_bool(parameter)))
    return tuple(rows)


def _mask(numbers: Iterator[int]) -> tuple[str, ...]:
    """Bits of a set of states, in words of 64."""
    bits = sum(1 << number for number in set(numbers))
    words = []
    while bits:
        words.append(f"UINT64_C(0x{bits & (2**64 - 1):x})")
        bits >>= 64
    return tuple(words) or ("0",)
