"""What glasc tells people about their program: errors and warnings with codes, carets, notes and a hint, as
text or as data.

Owns the table of codes and the shape of a message. Does not know syntax, types or where messages are printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from glasc.source import Span

CODES = {
    # the text and its layout
    "E0101": "unexpected word or sign",
    "E0102": "unknown character",
    "E0103": "tab in the indentation",
    "E0104": "indentation that fits no block",
    "E0105": "bad escape in a text",
    "E0106": "nested too deeply",
    "E0107": "word of the language used as a name",
    "E0108": "unknown unit of time",
    "E0109": "name given twice in one list",
    "E0110": "not a name that can be called",
    "E0111": "duration out of range",
    # names
    "E0201": "name not defined",
    "E0202": "name defined twice",
    "E0203": "state not declared",
    "E0204": "type not defined",
    "E0205": "type defined by itself",
    "E0206": "function not defined",
    "E0207": "part of `sys` or `request` that does not exist",
    "E0208": "rpc methods that call each other in a circle",
    "E0209": "`request` outside an http method",
    "E0210": "state used in a way that its kind does not offer",
    "E0211": "name that the language keeps for itself",
    "E0212": "type that is too large",
    # types
    "E0301": "type that does not fit",
    "E0302": "no such field",
    "E0303": "wrong number of arguments",
    "E0304": "integer beyond 64 bits",
    "E0305": "operator for other types",
    "E0306": "match that is not exhaustive",
    "E0307": "label that the variant does not have",
    "E0308": "variant where no variant is expected",
    "E0309": "target that cannot be set",
    "E0310": "value that has no use",
    "E0311": "HTTP status that does not exist",
    # the ways through a method
    "E0401": "alternative behind what cannot fail",
    "E0402": "code that is never reached",
    "E0403": "way without a result",
    "E0404": "write in an invariant",
    "E0405": "`choose` where nothing can be chosen",
    "E0406": "wait in an invariant",
    "E0407": "rows that change while a loop goes over them",
    # places and annotations
    "E0501": "place not declared",
    "E0502": "annotation that does not exist",
    "E0503": "annotation that does not belong here",
    "E0504": "annotation given twice",
    "E0505": "one mirror needed, many given",
    "E0506": "key needed for a place of many mirrors",
    "E0507": "states that cannot be together",
    # http
    "E0601": "HTTP path that is not well formed",
    "E0602": "unknown HTTP verb",
    "E0603": "HTTP paths that collide",
    # owners and routes
    "E0701": "states at two places in one transaction",
    "E0702": "iteration over rows at many mirrors",
    "E0703": "rows at two mirrors in one transaction",
    "E0704": "step that depends on its mirror and needs another",
    "E0705": "step that needs a row elsewhere",
    "E0706": "start that needs a row elsewhere",
    "E0707": "method that is not available where it says",
    "E0708": "choice among rows that other state pins to one mirror",
    # what one app can hold
    "E0801": "too many state variables",
    "E0802": "too many places",
    "E0803": "method with too many kinds of changes",
    "E0804": "type with too many fields",
    "E0805": "arguments or result too large",
    "E0806": "app that no package can be called after",
    "E0807": "version that no package can have",
    # limits of this version
    "E0901": "not supported yet",
    # warnings
    "W0501": "hint that has no effect",
}
"""Every code with its short title. A code is never used again for something else."""

_WIDTH = 120  # columns of a line that are shown
_BEFORE = 40  # of them before the place that is meant


@dataclass(frozen=True)
class Note:
    """A remark about another place that takes part in the trouble."""

    message: str
    span: Span


@dataclass(frozen=True)
class Diagnostic:
    """One error (`E....`) or warning (`W....`) about a place in a source."""

    code: str
    message: str
    span: Span
    notes: tuple[Note, ...] = ()
    hint: str | None = None

    def __post_init__(self) -> None:
        assert self.code in CODES, self.code

    @property
    def severity(self) -> str:
        """`error` or `warning`."""
        return "warning" if self.code.startswith("W") else "error"

    def render(self) -> str:
        """The message for people: what, where, the line with carets, notes, hint; ends without a newline."""
        lines = [f"{self.span}: {self.severity}[{self.code}]: {self.message}", *_excerpt(self.span)]
        for note in self.notes:
            lines += [f"note: {note.span}: {note.message}", *_excerpt(note.span)]
        if self.hint is not None:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The message as data for editors; keys and their order are stable."""
        return {
            **_where(self.span),
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "notes": [{**_where(note.span), "message": note.message} for note in self.notes],
        }


class CompileErrors(Exception):
    """The program is wrong; `diagnostics` holds the reasons, in the order of the source, none twice."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = in_order(diagnostics)
        assert self.diagnostics
        super().__init__(render_all(self.diagnostics))


class Collector:
    """Collects the errors of one pass, so that one run of glasc shows as many as possible."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []

    def error(
        self, code: str, message: str, span: Span, *, notes: Sequence[Note] = (), hint: str | None = None
    ) -> None:
        """Adds one error (or, by its code, warning)."""
        self.found.append(Diagnostic(code, message, span, tuple(notes), hint))

    def finish(self) -> None:
        """Raises CompileErrors if there were any errors."""
        if self.found:
            raise CompileErrors(self.found)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The diagnostics in the order of the source, each once."""
    distinct = dict.fromkeys(diagnostics)
    return tuple(sorted(distinct, key=lambda d: (d.span.source.name, d.span.start, d.span.end, d.code)))


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    """All messages for people, an empty line between them."""
    return "\n\n".join(diagnostic.render() for diagnostic in diagnostics)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint with the known word that is closest to a mistyped one, or None."""
    import difflib

    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None


def _where(span: Span) -> dict[str, Any]:
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": span.line,
        "column": span.column,
        "end_line": end_line,
        "end_column": end_column,
    }


def _excerpt(span: Span) -> list[str]:
    """The line where the span starts, of a long one the part around it, and carets under the part of the span
    that is on it.
    """
    line = span.source.line(span.line).rstrip("\r")
    start = span.column - 1
    length = max(1, min(span.end - span.start, len(line.rstrip()) - start))
    left = right = ""
    if len(line) > _WIDTH:
        first = max(0, min(start - _BEFORE, len(line) - _WIDTH))
        left, right = "..." if first > 0 else "", "..." if first + _WIDTH < len(line) else ""
        line, start = line[first : first + _WIDTH], start - first
        length = max(1, min(length, len(line) - start))
    shown = "".join(
        char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in line
    )
    padding = " " * len(left) + "".join("\t" if char == "\t" else " " for char in line[:start])
    return [f"  {left}{shown}{right}", f"  {padding}^{'~' * (length - 1)}"]
