"""Names in generated C and Python: which are taken, and how a name of the program becomes one that is free.

Owns reserved words and the making of unique names. Does not know what the names stand for.

Names of the program never meet each other or ours in C, because of what stands before them. In a file it is
the app's prefix, then a word in small letters for each kind of thing: `pos_run_sell`, `pos_hash_Line`,
`POS_TAG_SHAPE_POINT`. Only types that the program names have no such word, but a capital: `pos_Line`. In a
function it is `v`: `v_left`. Members of structs stand alone, but for words and macros of C.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

_C_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int
    long register restrict return short signed sizeof static struct switch typedef union unsigned void
    volatile while asm typeof
    alignas alignof constexpr nullptr static_assert thread_local typeof_unqual
"""
_C_MACROS = "bool true false linux unix i386 main NULL EOF errno stdin stdout stderr assert alloca offsetof"

C_WORDS = frozenset(_C_KEYWORDS.split()) | frozenset(_C_MACROS.split())
"""Words that C, also later C, its compilers, cffi or the included headers keep for themselves."""

PYTHON_WORDS = frozenset(keyword.kwlist) | {"_", "case", "match"}
"""The same whichever Python the compiler runs on: later words such as `type` can be names all the same."""

_LOCAL = "v"
_KEPT_PREFIXES = ("glas", _LOCAL)

_NOT_IDENTIFIER = re.compile(r"[^A-Za-z0-9_]+")
_WORD_PARTS = re.compile(r"[^A-Za-z0-9]+")


class Names:
    """Gives out names, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """Starts with the names in `taken` gone."""
        self._taken = set(taken)

    def new(self, wanted: str) -> str:
        """`wanted`, or with the lowest number behind it that makes it free (`left_2`)."""
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name


def identifier(text: str) -> str:
    """`text` with everything that cannot stand in an identifier made an underscore: `db.price` ->
    `db_price`.
    """
    return _NOT_IDENTIFIER.sub("_", text)


def member(name: str) -> str:
    """The name of a field or label as a member of a C struct or union; different names stay different."""
    return f"{name}_" if name in C_WORDS or name.endswith("_") else name


def variable(name: str) -> str:
    """What a parameter or local of the program is called within a function of C."""
    return f"{_LOCAL}_{name}"


def constant(*parts: str) -> str:
    """A C constant: `("pos", "state", "db.price")` -> `POS_STATE_DB_PRICE`."""
    return "_".join(identifier(part) for part in parts).upper()


def camel(text: str) -> str:
    """A Python class name: `sell_result` -> `SellResult`; what is capitalised already stays."""
    parts = [part for part in _WORD_PARTS.split(text) if part]
    return "".join(part[0].upper() + part[1:] for part in parts)


def python_name(name: str, taken: Iterable[str] = ()) -> str:
    """`name` as a Python identifier: with an underscore behind it where the word is reserved or in
    `taken`.
    """
    return f"{name}_" if name in PYTHON_WORDS or name in frozenset(taken) else name


def prefix(app: str) -> str:
    """What all names of an app in a file of C begin with; `glas` belongs to the core, `v` to variables."""
    return f"app_{app}" if app.partition("_")[0] in _KEPT_PREFIXES else app
