"""Types of the program as C: which struct each becomes, how large it is, and what its functions do for each
part.

Owns names and layouts of structs and the table of primitives. Knows the types of the language, not its IR,
and not what the functions around the parts look like (templates/types.c.j2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from glasc.emit.literals import c_comment, c_string
from glasc.emit.model import CType, Part
from glasc.emit.names import Names, constant, identifier, member
from glasc.types import BOOL, INT, REPLY, TEXT, TIME, UNIT, Primitive, Record, Type, Variant

_NAME_PARTS = 4  # of the fields that a type without a name is called after


@dataclass(frozen=True)
class Piece:
    """What C does for a value of one type; `{a}` and `{b}` are lvalues. Empty: nothing to do."""

    type: str
    table: str
    size: int
    align: int
    hash: str
    equal: str
    compare: str
    put: str
    take: str
    to_json: str
    from_json: str
    copy: str = ""
    drop: str = ""
    clear: str = ""
    plain: bool = True


def _number(type_: str, name: str, size: int, put: str, hashed: str) -> Piece:
    return Piece(
        type=type_,
        table=f"glas_type_{name}",
        size=size,
        align=size,
        hash=f"glas_hash_int({hashed}, h)",
        equal="{a} == {b}",
        compare="glas_int_compare({a}, {b})",
        put=f"glas_put_{put}(writer, {{a}})",
        take=f"glas_take_{put}(reader, &{{a}})",
        to_json=f"glas_json_put_{put}(writer, {{a}})",
        from_json=f"glas_json_take_{put}(json, &{{a}})",
    )


_TEXT_PIECE = Piece(
    type="glas_text",
    table="glas_type_text",
    size=16,
    align=8,
    hash="glas_hash_text({a}, h)",
    equal="glas_text_equal({a}, {b})",
    compare="glas_text_compare({a}, {b})",
    put="glas_put_text(writer, {a})",
    take="glas_take_text(reader, &{a})",
    to_json="glas_json_put_text(writer, {a})",
    from_json="glas_json_take_text(json, &{a})",
    copy="glas_copy_text(heap, &{a}, {b})",
    drop="glas_drop_text(heap, &{a})",
    plain=False,
)
_UNIT_PIECE = Piece(
    type="glas_unit",
    table="glas_type_unit",
    size=1,
    align=1,
    hash="",
    equal="",
    compare="",
    put="",
    take="",
    to_json='glas_json_put(writer, "null")',
    from_json="glas_json_take_null(json)",
    clear="{a} = (glas_unit){{0}}",
)
_PRIMITIVES: Mapping[Type, Piece] = {
    BOOL: _number("uint8_t", "bool", 1, "bool", "{a}"),
    INT: _number("int64_t", "int", 8, "int", "(uint64_t){a}"),
    TIME: _number("int64_t", "time", 8, "time", "(uint64_t){a}"),
    TEXT: _TEXT_PIECE,
    UNIT: _UNIT_PIECE,
}


def _by_functions(type_: str, table: str, functions: str, size: int, align: int, plain: bool) -> Piece:
    """The piece for a value that has functions of its own; `functions` makes a function's name of `{}`."""

    def call(verb: str, *args: str) -> str:
        return f"{functions.format(verb)}({', '.join(args)})"

    return Piece(
        type=type_,
        table=table,
        size=size,
        align=align,
        hash=call("hash", "&{a}", "h"),
        equal=call("equal", "&{a}", "&{b}"),
        compare=call("compare", "&{a}", "&{b}"),
        put=call("put", "writer", "&{a}"),
        take=call("take", "reader", "&{a}"),
        to_json=call("to_json", "writer", "&{a}"),
        from_json=call("from_json", "json", "&{a}"),
        copy="" if plain else call("copy", "heap", "&{a}", "&{b}"),
        drop="" if plain else call("drop", "heap", "&{a}"),
        plain=plain,
    )


_REPLY_PIECE = _by_functions("glas_http_reply", "glas_type_reply", "glas_type_reply.{}", 40, 8, False)


def plain_form(kind: Type) -> Type:
    """The type without records that hold nothing: those are Unit in C."""
    match kind:
        case Record(()):
            return UNIT
        case Record(parts):
            return Record(tuple((name, plain_form(part)) for name, part in parts))
        case Variant(cases):
            return Variant(tuple((name, plain_form(part)) for name, part in cases))
        case Primitive():
            return kind


class TypeTable:
    """All struct types of one app in an order in which C can declare them."""

    def __init__(self, prefix: str, aliases: Iterable[tuple[str, Type]]) -> None:
        """`prefix` begins every name; `aliases` are the names that the program gives to types."""
        self._prefix = prefix
        self._shorts = Names()
        self._constants = Names()
        self._pieces: dict[Type, Piece] = {**_PRIMITIVES, REPLY: _REPLY_PIECE}
        self._types: dict[str, CType] = {}
        self._made: dict[Type, CType] = {}
        self._aliases: dict[Type, str] = {}
        for name, kind in aliases:
            self._aliases.setdefault(plain_form(kind), identifier(name))

    def add(self, kind: Type, wanted: str | None = None) -> None:
        """Makes a struct for the type, and first for its parts; a type without an alias takes the name
        `wanted`.
        """
        self._add(plain_form(kind), wanted)

    def add_args(self, record: Record, method: str) -> CType | None:
        """A struct of its own for a method's arguments (None where there are none), whatever else looks like
        it.
        """
        kind = plain_form(record)
        if not isinstance(kind, Record):
            return None
        for _, part in kind.fields:
            self._add(part, None)
        return self._make(kind, self._shorts.new(f"args_{method}"), str(kind))[0]

    def piece(self, kind: Type) -> Piece:
        """What C does for values of an added type."""
        return self._pieces[plain_form(kind)]

    def struct(self, kind: Type) -> CType:
        """The struct of an added record or variant."""
        return self._made[plain_form(kind)]

    def part(self, kind: Type, name: str) -> Part:
        """A field or label of an added type."""
        return next(part for part in self.struct(kind).parts if part.name == name)

    def all(self) -> tuple[CType, ...]:
        """All structs, parts before what holds them."""
        return tuple(self._types.values())

    def size(self, name: str) -> int:
        """Bytes of a struct by its C name."""
        return next((piece.size for piece in self._pieces.values() if piece.type == name), 0)

    def _add(self, kind: Type, wanted: str | None) -> None:
        if kind in self._pieces or isinstance(kind, Primitive):
            return
        parts = kind.fields if isinstance(kind, Record) else kind.cases
        for name, part in parts:
            self._add(part, f"{wanted}_{identifier(name)}" if wanted else None)
        short = self._shorts.new(self._aliases.get(kind) or wanted or _structural(kind))
        self._made[kind], self._pieces[kind] = self._make(kind, short, str(kind))

    def _make(self, kind: Record | Variant, short: str, title: str) -> tuple[CType, Piece]:
        variant = isinstance(kind, Variant)
        raw = kind.cases if isinstance(kind, Variant) else kind.fields
        parts = tuple(self._part(short, i, name, part, variant) for i, (name, part) in enumerate(raw))
        pieces = [self._pieces[part] for _, part in raw]
        size, align = _variant_layout(pieces) if variant else _record_layout(pieces)
        plain = all(piece.plain for piece in pieces)
        name, table = f"{self._prefix}_{short}", f"{self._prefix}_type_{short}"
        view = CType(
            name=name,
            short=short,
            table=table,
            title=c_comment(title),
            variant=variant,
            plain=plain,
            solid=any(part != UNIT for _, part in raw),
            parts=parts,
            all_seen=f"UINT64_C(0x{(1 << len(parts)) - 1:x})",
            last=len(parts) - 1,
        )
        self._types[name] = view
        piece = _by_functions(name, table, f"{self._prefix}_{{}}_{short}", size, align, plain)
        self._pieces.setdefault(
            Primitive(name), piece
        )  # sizes of argument records, which are no type of the program
        return view, piece

    def _part(self, short: str, number: int, name: str, kind: Type, variant: bool) -> Part:
        piece = self._pieces[kind]
        inner = f"as.{member(name)}" if variant else member(name)
        one = {"a": f"v->{inner}"}
        two = {"a": f"a->{inner}", "b": f"b->{inner}"}
        copied = {"a": f"t->{inner}", "b": f"f->{inner}"}
        lead = "{" if variant or number == 0 else ","
        named = constant(self._prefix, "tag", short, name) if variant else ""
        return Part(
            name=name,
            member=member(name),
            type=piece.type,
            number=number,
            constant=self._constants.new(named) if variant else "",
            json_key=c_string(f'{lead}"{name}":'),
            name_text=c_string(name),
            name_size=len(name.encode()),
            hash=piece.hash.format(**one),
            equal=piece.equal.format(**two),
            compare=piece.compare.format(**two),
            copy=piece.copy.format(**copied),
            drop_to=piece.drop.format(**copied),
            drop=piece.drop.format(**one),
            put=piece.put.format(**one),
            take=piece.take.format(**one),
            to_json=piece.to_json.format(**one),
            from_json=piece.from_json.format(**one),
            clear=piece.clear.format(**one),
        )


def _structural(kind: Record | Variant) -> str:
    parts = kind.fields if isinstance(kind, Record) else kind.cases
    form = "record" if isinstance(kind, Record) else "variant"
    return "_".join([form, *(identifier(name) for name, _ in parts[:_NAME_PARTS])])


def _record_layout(pieces: list[Piece]) -> tuple[int, int]:
    offset, align = 0, 1
    for piece in pieces:
        offset = _up(offset, piece.align) + piece.size
        align = max(align, piece.align)
    return _up(offset, align), align


def _variant_layout(pieces: list[Piece]) -> tuple[int, int]:
    inner = max(piece.align for piece in pieces)
    union = _up(max(piece.size for piece in pieces), inner)
    align = max(4, inner)
    return _up(_up(4, inner) + union, align), align


def _up(offset: int, align: int) -> int:
    return -(-offset // align) * align
