"""The pass `plan_protocol`: what the mirrors of an app say to each other; the sole owner of the wire.

Takes a routed program; leaves it as it is and makes a Protocol: the numbers of methods and states, which
changes an entry of each method carries and in which order, who receives them, which messages exist at all,
how values are encoded, and the protocol id, a hash of the text of all of that. The core (runtime_c/core)
carries it out; CORE_WIRE names the version of the rules that are the same for all apps. Knows no C.
"""

from __future__ import annotations

import hashlib
import keyword
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from glasc import ir
from glasc.diagnostics import Collector
from glasc.ir_text import owner_text
from glasc.ir_walk import statements, types_in
from glasc.source import Span
from glasc.types import Bounded, Cell, Counter, Dict, Queue, Record, StateKind, Type, Variant

CORE_WIRE = 2  # GLAS_WIRE_VERSION of runtime_c/core
MAX_STATES = 256
MAX_EFFECTS = 64
MAX_PLACES = 64
MAX_FIELDS = 64

_CHANGES = frozenset({"set", "write", "read", "add", "sub"})
_ID_BYTES = 16
_PACKAGE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")
_OTHER_PACKAGES = """
    glasc glasrt
    cffi pycparser click uvicorn h11 httptools uvloop
    jinja2 markupsafe lark rich pygments markdown_it markdown_it_py mdurl setuptools pkg_resources ziglang
    typing_extensions
    annotationlib compression
"""
_KEPT_PACKAGES = frozenset(_OTHER_PACKAGES.split()) | sys.stdlib_module_names
"""What a mirror and the compiler import, or have installed; a package of that name would take its place. The
last two belong to later Pythons.
"""

_ENCODINGS = (
    ("Bool", "one byte, 0 or 1"),
    ("Int", "zigzag varint"),
    ("Text", "varint length, then that many bytes of UTF-8"),
    ("Time", "zigzag varint: microseconds after the time of the entry or message that it is in"),
    ("Unit", "nothing"),
    ("record", "its fields in order"),
    ("variant", "varint number of the label, then its value"),
)


@dataclass(frozen=True)
class Effect:
    """Changes to one state in the entries of a method; where not `once`, a count stands before them.

    `take`: items taken from the read end of a queue; written ones are an effect of their own.
    """

    state: str
    number: int
    kinds: tuple[str, ...]
    once: bool
    take: bool


@dataclass(frozen=True)
class StateWire:
    """A state as entries carry it: `to` says which mirrors receive its changes."""

    name: str
    number: int
    kind: str
    owner: str
    persistent: bool
    to: str
    stale_us: int | None


@dataclass(frozen=True)
class MethodWire:
    """A method as entries and requests carry it. An invariant never travels, and has no wire form."""

    name: str
    number: int
    params: tuple[tuple[str, str], ...]
    result: str
    effects: tuple[Effect, ...]
    travels: bool


@dataclass(frozen=True)
class Message:
    """A kind of message that this app can cause; the core numbers them."""

    number: int
    name: str
    parts: str


@dataclass(frozen=True)
class Protocol:
    """Everything about the wire of one app version; `id` is what the handshake compares."""

    app: str
    version: str
    places: tuple[str, ...]
    states: tuple[StateWire, ...]
    methods: tuple[MethodWire, ...]
    messages: tuple[Message, ...]
    id: bytes

    def number(self, state: str) -> int:
        """The number of a state. KeyError where there is none of that name."""
        return next(row.number for row in self.states if row.name == state)

    def method(self, name: str) -> MethodWire:
        """The wire form of a method. KeyError where there is none of that name."""
        return next(row for row in self.methods if row.name == name)


def plan_protocol(program: ir.Program) -> Protocol:
    """The protocol of a program. Raises CompileErrors where the program is beyond what a message can
    number.
    """
    _check_limits(program)
    states = tuple(_state(number, state) for number, state in enumerate(program.states))
    numbers = {row.name: row.number for row in states}
    order = sorted(program.methods, key=lambda method: method.kind == "invariant")
    methods = tuple(_method(number, method, numbers) for number, method in enumerate(order))
    protocol = Protocol(
        app=program.name,
        version=program.version,
        places=tuple(f"{name} many" if many else name for name, many in program.places),
        states=states,
        methods=methods,
        messages=_messages(program),
        id=b"",
    )
    digest = hashlib.sha256("\n".join(_canonical(protocol)).encode()).digest()
    return replace(protocol, id=digest[:_ID_BYTES])


def protocol_text(protocol: Protocol) -> str:
    """The protocol for people: the text that the id is the hash of, and the id above it."""
    return "\n".join([f"protocol {protocol.id.hex()}", *_canonical(protocol), ""])


def type_text(kind: Type) -> str:
    """A type in full, without names that the program gives to types: what a value of it looks like on the
    wire.
    """
    match kind:
        case Record(parts):
            return "(" + ", ".join(f"{name}: {type_text(part)}" for name, part in parts) + ")"
        case Variant(cases):
            return "(" + " | ".join(f"{label}: {type_text(part)}" for label, part in cases) + ")"
    return str(kind)


# ---------------------------------------------------------------- parts


def _kind_text(kind: StateKind) -> str:
    match kind:
        case Cell(value):
            return f"cell {type_text(value)}"
        case Queue(value):
            return f"queue of {type_text(value)}"
        case Dict(key, value):
            shown = str(value) if isinstance(value, Counter | Bounded) else type_text(value)
            return f"dict {type_text(key)} of {shown}"
    return str(kind)


def _state(number: int, state: ir.State) -> StateWire:
    assert state.owner is not None, f"{state.name} has no owner after {state}"
    return StateWire(
        name=state.name,
        number=number,
        kind=_kind_text(state.kind),
        owner=owner_text(state.owner),
        persistent=state.persistent,
        to=_receivers(state),
        stale_us=state.stale_us,
    )


def _receivers(state: ir.State) -> str:
    """Who receives changes of a state that others made."""
    match state.kind:
        case Counter() | Bounded() | Dict(_, Counter() | Bounded()):
            return "every mirror"
        case Queue():
            return "written items: the owner; taken items: nobody"
    return "nobody" if state.stale_us is None else "every mirror"


def _method(number: int, method: ir.Method, numbers: dict[str, int]) -> MethodWire:
    return MethodWire(
        name=method.name,
        number=number,
        params=tuple((var.name, type_text(var.type)) for var in method.params),
        result=type_text(method.result),
        effects=_effects(method, numbers),
        travels=method.kind != "invariant",
    )


def _effects(method: ir.Method, numbers: dict[str, int]) -> tuple[Effect, ...]:
    """An effect for each state that the method may change (two for a queue that it reads and writes).

    They stand in the order of the first change.
    """
    assert method.accesses is not None, f"{method.name} has no accesses"
    grouped: dict[tuple[str, bool], list[ir.Access]] = {}
    for access in method.accesses:
        if access.kind in _CHANGES:
            grouped.setdefault((access.state, access.kind == "read"), []).append(access)
    return tuple(
        Effect(
            state=state,
            number=numbers[state],
            kinds=tuple(dict.fromkeys(access.kind for access in group)),
            once=_at_most(group) == 1,
            take=take,
        )
        for (state, take), group in grouped.items()
    )


def _at_most(accesses: list[ir.Access]) -> int | None:
    """How many changes they make together, None for no bound."""
    counts = [access.most for access in accesses]
    return None if None in counts else sum(count for count in counts if count is not None)


_ALWAYS = (
    Message(
        1, "hello", "core wire, protocol id, app, version, hash of the roster, mirror, incarnation, frontier"
    ),
    Message(
        2,
        "entries",
        "entries in a row: causes, time, method, effects that the receiver needs; or how many have none",
    ),
    Message(3, "acknowledge", "number of the last entry that is on disk"),
    Message(7, "ping", "time"),
    Message(8, "pong", "the ping's time, when everything from before it has been sent"),
    Message(9, "bye", "reason"),
)
_SHIPPED = (
    Message(
        4, "request", "number, lowest number open, time, frontier, time left, method, arguments, body of http"
    ),
    Message(5, "reply", "number, time, frontier, outcome, then the result, or reason and message"),
    Message(6, "done", "number of a request whose reply is not needed any more"),
    Message(
        10, "open", "numbers of requests still open; in the last, up to which number all others are over"
    ),
)
_FRAME = "length of what follows in 4 bytes, low one first; number of the message; its parts"


def _messages(program: ir.Program) -> tuple[Message, ...]:
    """The messages that the app can cause."""
    ships = any(route.how in ("ship", "keyed") for method in program.methods for route in method.routes)
    found = (*_ALWAYS, *_SHIPPED) if ships else _ALWAYS
    return tuple(sorted(found, key=lambda message: message.number))


# ---------------------------------------------------------------- the canonical text


def _canonical(protocol: Protocol) -> Iterator[str]:
    yield f"app {protocol.app} version {protocol.version} core wire {CORE_WIRE}"
    yield "encodings"
    yield from (f"  {name}: {form}" for name, form in _ENCODINGS)
    yield "places"
    yield from (f"  {number} {place}" for number, place in enumerate(protocol.places))
    yield "states"
    for state in protocol.states:
        lasting = "persistent" if state.persistent else "in memory"
        stale = "" if state.stale_us is None else f", replicas at most {state.stale_us} us old"
        where = f"{state.owner}{stale}, changes to {state.to}"
        yield f"  {state.number} {state.name}: {state.kind}, {lasting}, {where}"
    yield "methods"
    for method in protocol.methods:
        if method.travels:
            params = ", ".join(f"{name}: {kind}" for name, kind in method.params)
            yield f"  {method.number} {method.name}({params}) -> {method.result}"
            yield from (f"    {_effect_text(effect)}" for effect in method.effects)
    yield f"messages: {_FRAME}"
    yield from (f"  {message.number} {message.name}: {message.parts}" for message in protocol.messages)


def _effect_text(effect: Effect) -> str:
    count = "" if effect.once else "count, then each "
    return f"{count}{' or '.join(effect.kinds)} {effect.state} ({effect.number})"


# ---------------------------------------------------------------- limits


def _check_limits(program: ir.Program) -> None:
    """Raises CompileErrors where the program has more of something than the core numbers."""
    errors = Collector()
    _check_head(program, errors)
    if len(program.states) > MAX_STATES:
        extra = program.states[MAX_STATES]
        errors.error(
            "E0801", f"more than {MAX_STATES} state variables: `{extra.name}` is one too many", extra.span
        )
    if len(program.places) > MAX_PLACES:
        errors.error("E0802", f"more than {MAX_PLACES} places", program.head)
    for method in program.methods:
        found = (access for access in method.accesses or () if access.kind in _CHANGES)
        changed = {(access.state, access.kind == "read") for access in found}
        if len(changed) > MAX_EFFECTS:
            message = (
                f"`{method.title}` makes {len(changed)} kinds of changes to state; {MAX_EFFECTS} is the most"
            )
            errors.error("E0803", message, method.span)
    known: set[Type] = set()
    for kind, span in _types_in_use(program):
        _check_fields(kind, span, known, errors)
    errors.finish()


def _check_head(program: ir.Program, errors: Collector) -> None:
    """The bundle is a Python package and a wheel: what those cannot be called is no name of an app."""
    name, head = program.name, program.head
    if not _PACKAGE.fullmatch(name):
        message = f"`{name}` cannot name an app: its bundle is a package in small letters, digits and `_`"
        fitting = "_".join(part for part in name.lower().split("_") if part)
        errors.error("E0806", f"{message} between them", head, hint=f"call it `{fitting}`")
    elif keyword.iskeyword(name) or name in _KEPT_PACKAGES:
        message = f"`{name}` cannot name an app: Python has a word or a package of that name"
        errors.error("E0806", message, head, hint=f"call it `{name}_app`")
    if not _VERSION.fullmatch(program.version):
        message = "a version is made of numbers with dots, as in `1.0` or `2.1rc1`"
        errors.error("E0807", message, head)


def _types_in_use(program: ir.Program) -> Iterator[tuple[Type, Span]]:
    """All types, where they first come up."""
    yield from ((named.type, named.span) for named in program.type_names)
    for state in program.states:
        yield from ((kind, state.span) for kind in _value_types(state.kind))
    for method in program.methods:
        yield Record(tuple((var.name, var.type) for var in method.params)), method.span
        yield method.result, method.span
        for stmt in statements(method.body):
            yield from ((kind, stmt.span) for kind in types_in(stmt))


def _value_types(kind: StateKind) -> Iterator[Type]:
    parts = (kind.key, kind.value) if isinstance(kind, Dict) else (getattr(kind, "value", None),)
    yield from (part for part in parts if part is not None and not isinstance(part, Counter | Bounded))


def _check_fields(kind: Type, span: Span, known: set[Type], errors: Collector) -> None:
    """Looks at a type and its parts, but for those that are `known`."""
    if kind in known:
        return
    known.add(kind)
    match kind:
        case Record(parts) | Variant(parts):
            if len(parts) > MAX_FIELDS:
                what = "fields" if isinstance(kind, Record) else "labels"
                errors.error("E0804", f"{len(parts)} {what} in one type; {MAX_FIELDS} is the most", span)
            for _, part in parts:
                _check_fields(part, span, known, errors)
