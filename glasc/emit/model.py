"""The C and Python to write: a frozen view of an app in which every decision has been taken.

Owns the shape of that view. Does not know the language or its IR; the templates only walk through it.
Texts called `..._text` or `type` are C (or, in the `Py...` views, Python) as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# ---------------------------------------------------------------- statements of C


@dataclass(frozen=True)
class Line:
    """One statement, with its semicolon."""

    text: str


@dataclass(frozen=True)
class Note:
    """A comment on a line of its own; an empty line stands before it unless it opens its block."""

    text: str


@dataclass(frozen=True)
class Braced:
    """`head { body }`."""

    head: str
    body: tuple[CStmt, ...]


@dataclass(frozen=True)
class Chained:
    """`if (...) { } else { }` of two blocks."""

    head: str
    then: tuple[CStmt, ...]
    orelse: tuple[CStmt, ...]


@dataclass(frozen=True)
class Case:
    """A label in front of statements, in a switch (`case 0`, `default`) or for goto (`caught_1`)."""

    label: str
    body: tuple[CStmt, ...]


CStmt = Line | Note | Braced | Chained | Case

# ---------------------------------------------------------------- types


@dataclass(frozen=True)
class Part:
    """A field of a record or a label's value, with the C that each function of the type does for it.

    Empty texts mean that there is nothing to do. `hash` continues `h`; `equal`, `take`, `from_json` and
    `copy` are conditions that hold where all is well; `compare` is negative, zero or positive; the others
    are statements without a semicolon.
    """

    name: str  # as in the program
    member: str  # in C
    type: str
    number: int
    constant: str  # of a label: its number's name
    json_key: str  # C literal: what stands before the value in JSON
    name_text: str  # C literal of the name
    name_size: int
    hash: str
    equal: str
    compare: str
    copy: str
    drop_to: str  # gives back the copy in `t`
    drop: str
    put: str
    take: str
    to_json: str
    from_json: str
    clear: str  # stands where there is nothing to take


@dataclass(frozen=True)
class CType:
    """A struct of its own: `name` is the type (`pos_Line`), `short` names its functions (`pos_hash_Line`)."""

    name: str
    short: str
    table: str  # its glas_type
    title: str  # as in the program
    variant: bool
    plain: bool  # no part has texts
    solid: bool  # some part is not Unit
    parts: tuple[Part, ...]
    all_seen: str  # mask of the JSON fields
    last: int  # number of the last part


# ---------------------------------------------------------------- methods and tables


@dataclass(frozen=True)
class Function:
    """A method's C function; `params` says what its arguments and result are called and cast to."""

    name: str
    title: str
    where: str
    opening: tuple[str, ...]  # declarations
    body: tuple[CStmt, ...]


@dataclass(frozen=True)
class OwnerFunction:
    """From a row's key to the name of the mirror where it lives."""

    name: str
    key_type: str
    value_text: str


@dataclass(frozen=True)
class StateRow:
    """One row of the table of states."""

    name: str
    constant: str
    title: str
    kind: str
    persistent: str
    rule: str
    place: int
    owner_name: str
    stale_us: str
    key: str
    value: str


@dataclass(frozen=True)
class EffectRow:
    """One state that a method may change."""

    state: str
    once: str
    take: str


@dataclass(frozen=True)
class SegmentRow:
    """One part of an HTTP path."""

    text: str
    parameter: str


@dataclass(frozen=True)
class MethodRow:
    """One row of the table of methods."""

    name: str
    short: str
    constant: str
    title: str
    kind: str
    run: str
    args: str
    result: str
    verb: str
    path: tuple[SegmentRow, ...]
    needs: tuple[str, ...]
    effects: tuple[EffectRow, ...]
    reads: tuple[str, ...]


@dataclass(frozen=True)
class PlaceRow:
    """One place of the program."""

    name: str
    many: str


# ---------------------------------------------------------------- direct calls


@dataclass(frozen=True)
class OutField:
    """A member of a flattened result; `note` says what it is."""

    text: str
    note: str


@dataclass(frozen=True)
class Call:
    """The direct call of an rpc method, in C and in Python."""

    name: str  # pos_call_sell
    unpack: str  # pos_unpack_sell
    out: str  # pos_out_sell
    title: str
    method: str  # constant of the method
    params: tuple[str, ...]
    args_type: str
    args_used: bool
    sizes: tuple[str, ...]  # conditions under which a parameter is too large or no label
    pack: tuple[CStmt, ...]
    out_fields: tuple[OutField, ...]
    result_type: str
    unpack_body: tuple[CStmt, ...]
    py: PyMethod


@dataclass(frozen=True)
class PyMethod:
    """A method of the Python class `Mirror`."""

    name: str
    title: str
    rpc: str  # name of the rpc method
    call: str
    unpack: str
    out: str
    slot: str  # attribute that keeps the result struct
    params: tuple[str, ...]  # with annotations
    spec_text: str  # what its arguments must be, for messages
    values_text: str
    prepare: tuple[str, ...]  # lines before the call
    args: tuple[str, ...]
    result_text: str
    result_type: str


@dataclass(frozen=True)
class PyType:
    """A name for a type in Python: a TypedDict or a union of them."""

    name: str
    text: str


@dataclass(frozen=True)
class App:
    """The whole app."""

    name: str
    version: str
    prefix: str
    upper: str
    protocol_id: bytes
    interface: int
    types: tuple[CType, ...]
    methods: tuple[Function, ...]
    owner_functions: tuple[OwnerFunction, ...]
    states: tuple[StateRow, ...]
    rows: tuple[MethodRow, ...]
    places: tuple[PlaceRow, ...]
    calls: tuple[Call, ...]
    py_types: tuple[PyType, ...]
    choose_sites: int
    plan: str
    sized: tuple[str, ...] = field(default=())  # types that the core bounds by GLAS_MAX_RESULT
