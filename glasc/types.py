"""Types of values and kinds of state, and how they print. Knows no syntax and no C.

Types are structural: two records with the same fields in the same order are one type; a named type is an
alias.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Primitive:
    """A built-in type, by its name in the language."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Record:
    """A record; the order of the fields is part of the type."""

    fields: tuple[tuple[str, Type], ...]

    def __str__(self) -> str:
        return "(" + ", ".join(f"{name}: {atom(kind)}" for name, kind in self.fields) + ")"

    def field(self, name: str) -> Type | None:
        """Type of the field `name`, or None."""
        return dict(self.fields).get(name)


@dataclass(frozen=True)
class Variant:
    """A labelled variant; each label carries one value (Unit for none)."""

    cases: tuple[tuple[str, Type], ...]

    def __str__(self) -> str:
        return " | ".join(f"{label}: {atom(kind)}" for label, kind in self.cases)

    def case(self, label: str) -> Type | None:
        """Type of the value under `label`, or None."""
        return dict(self.cases).get(label)


Type = Primitive | Record | Variant


def atom(kind: Type | Counter | Bounded) -> str:
    """The text of a type where it is part of another one: a variant then stands in parentheses."""
    return f"({kind})" if isinstance(kind, Variant) else str(kind)


BOOL = Primitive("Bool")
INT = Primitive("Int")
TEXT = Primitive("Text")
TIME = Primitive("Time")  # microseconds since 1970-01-01 UTC
UNIT = Primitive("Unit")
REPLY = Primitive("Reply")  # an HTTP answer: status and text
JSON = Primitive("Json")  # an unread JSON text: `request.json`
REQUEST = Primitive("Request")  # the HTTP request of an http method
NEVER = Primitive("Never")  # of an expression that does not return, e.g. the `else return ...` arm

STORABLE = frozenset({BOOL, INT, TEXT, TIME, UNIT})


def is_storable(kind: Type) -> bool:
    """Whether values of the type may stand in state, in a message and in a method's parameters."""
    match kind:
        case Primitive():
            return kind in STORABLE
        case Record(fields):
            return all(is_storable(part) for _, part in fields)
        case Variant(cases):
            return all(is_storable(part) for _, part in cases)


@dataclass(frozen=True)
class Cell:
    """`cell T`: one value, with the default of T until it is set (zero, empty, false)."""

    value: Type

    def __str__(self) -> str:
        return f"cell {atom(self.value)}"


@dataclass(frozen=True)
class Queue:
    """`queue of T`."""

    value: Type

    def __str__(self) -> str:
        return f"queue of {atom(self.value)}"


@dataclass(frozen=True)
class Counter:
    """`counter`: a CRDT sum."""

    def __str__(self) -> str:
        return "counter"


@dataclass(frozen=True)
class Bounded:
    """`bounded`: a counter that no partition takes below zero."""

    def __str__(self) -> str:
        return "bounded"


@dataclass(frozen=True)
class Dict:
    """`dict K of X`: X is a type of values, or counter or bounded."""

    key: Type
    value: Type | Counter | Bounded

    def __str__(self) -> str:
        return f"dict {atom(self.key)} of {atom(self.value)}"


StateKind = Cell | Queue | Counter | Bounded | Dict
