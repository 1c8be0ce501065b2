"""Where the keys and values of a TOML text stand, by line and column, and how such a place is shown.

Owns a light scan of a text that `tomllib` has accepted or refused, in time that grows with its length, and
what `tomllib` says in words for people. Does not know what keys mean; inside inline tables and arrays of
tables it answers with the place of what surrounds them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

# Possessive, so that a long line is never gone through again; `[ \t]` and not `\s`, so that lines stay apart.
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+')"""
_PATH = rf"{_PART}(?:[ \t]*+\.[ \t]*+{_PART})*+"
_HEADER = re.compile(rf"[ \t]*+\[\[?[ \t]*+({_PATH})[ \t]*+\]")
_ASSIGNMENT = re.compile(rf"[ \t]*+({_PATH})[ \t]*+=[ \t]*+")
_TOKEN = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5}|\Z)'
    r"|'''(?:[^']++|'(?!''))*+(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]++|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|#[^\n]*+"
    r"|[^\S\n]++"
    r"|[^\s\[\]{}\"'#]++"
    r"|[\[\]{}]|\n|.",
    re.DOTALL,
)
_LONG_KEY = re.compile(rf"^[ \t]*+\[?\[?[ \t]*+(?:{_PART}[ \t]*+\.[ \t]*+){{64}}", re.MULTILINE)
_DEEPEST = 4  # how many keys from the top have places: no table of ours is deeper
_WIDTH = 120  # columns of a line that are shown
_BEFORE = 40  # of them before the place that is meant


@dataclass(frozen=True)
class Spot:
    """A place in a text: line and column count from 1, `width` in characters."""

    line: int
    column: int
    width: int


def excerpt(source: str, spot: Spot) -> tuple[str, str]:
    """The line `source` as far as it can be shown, and carets under the place."""
    source = "".join(
        char if char.isprintable() else " " if char == "\t" else "\N{REPLACEMENT CHARACTER}"
        for char in source
    )
    column, width, left, right = spot.column - 1, min(spot.width, len(source)), "", ""
    if len(source) > _WIDTH:
        first = max(0, min(column - _BEFORE, len(source) - _WIDTH))
        left, right = "..." if first > 0 else "", "..." if first + _WIDTH < len(source) else ""
        source = source[first : first + _WIDTH]
        column -= first
        width = min(width, len(source) - column)
    return left + source + right, " " * (len(left) + column) + "^" * max(1, width)


def long_key(text: str) -> Spot | None:
    """The first line whose key has so many parts that `tomllib` would need long for it."""
    found = _LONG_KEY.search(text)
    if found is None:
        return None
    return Spot(text.count("\n", 0, found.start()) + 1, 1, found.end() - found.start())


_KEYS = re.compile(r"""\((?:(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?:, )?)+,?\)""")
_HINTS = (
    ("Invalid value", 'texts stand in quotes, as in app = "pos"'),
    ("Expected '=' after a key", "a line is `key = value`, `[table]` or `# remark`"),
    ("Invalid statement", "a line is `key = value`, `[table]` or `# remark`"),
    ("Expected newline", "each key has a line of its own"),
    ("Expected ']", "close it with `]`"),
    ("Unclosed array", "close it with `]`"),
    ("Unclosed inline table", "close it with `}`"),
    ("Unterminated string", "close the text with a quote"),
    ("Illegal character '\\n'", "close the text with a quote on its own line"),
    ("twice", "a table stands once, with all its keys below"),
    ("Cannot overwrite", "each key stands once"),
    ("Duplicate", "each key stands once"),
    ("Unescaped", "write a backslash twice, or the text in single quotes"),
)


def syntax_problem(message: str, text: str) -> tuple[Spot, str, str]:
    """Where `tomllib` says that the syntax is wrong, what, and a hint."""
    found = re.fullmatch(
        r"(.*?)\s*\((?:at line (\d+), column (\d+)|at end of document)\)", message, re.DOTALL
    )
    what = _KEYS.sub(_as_key, found[1] if found else message)[:_WIDTH]
    hint = next((hint for start, hint in _HINTS if start in what), "the file is TOML, see https://toml.io")
    if not found:
        return Spot(1, 1, 1), f"not TOML: {what}", hint
    if found[2]:
        return Spot(int(found[2]), int(found[3]), 1), f"not TOML: {what}", hint
    lines = text.split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return Spot(len(lines), len(lines[-1]) + 1, 1), f"not TOML: {what} at the end of the file", hint


def _as_key(found: re.Match[str]) -> str:
    """A tuple of Python as the key that it is in TOML."""
    key = ".".join(ast.literal_eval(found[0]))
    return f"`{key if len(key) <= _BEFORE else key[: _BEFORE - 3] + '...'}`"


class TomlPlaces:
    """The places of one text."""

    def __init__(self, text: str) -> None:
        self._keys: dict[tuple[str, ...], Spot] = {}
        self._values: dict[tuple[str, ...], Spot] = {}
        self._scan(text)

    def has(self, path: Sequence[str]) -> bool:
        """Whether the key stands in the text by itself."""
        return tuple(path) in self._keys

    def key(self, path: Sequence[str]) -> Spot:
        """Where the key (or header) stands, else the nearest thing around it."""
        return self._nearest(self._keys, tuple(path))

    def value(self, path: Sequence[str]) -> Spot:
        """Where the value stands, else the nearest thing around it."""
        return self._values.get(tuple(path)) or self.key(path)

    def _nearest(self, found: dict[tuple[str, ...], Spot], path: tuple[str, ...]) -> Spot:
        for length in range(len(path), 0, -1):
            spot = found.get(path[:length])
            if spot is not None:
                return spot
        return Spot(1, 1, 1)

    def _scan(self, text: str) -> None:
        at, line = 0, 1
        table: tuple[str, ...] = ()
        while at < len(text):  # `at` is where a line begins
            header = _HEADER.match(text, at)
            assignment = None if header else _ASSIGNMENT.match(text, at)
            end = _line_end(text, at)
            if header:
                table = _parts(header[1])
                for length in range(1, len(table) + 1):
                    spot = Spot(line, header.start(1) - at + 1, len(header[1]))
                    self._keys.setdefault(table[:length], spot)
            elif assignment:
                path = (*table, *_parts(assignment[1]))[:_DEEPEST]
                begin = assignment.end()
                end, width = _value_end(text, begin)
                for length in range(len(table) + 1, len(path) + 1):
                    spot = Spot(line, assignment.start(1) - at + 1, len(assignment[1]))
                    self._keys.setdefault(path[:length], spot)
                self._values.setdefault(path, Spot(line, begin - at + 1, width))
            line += text.count("\n", at, end)
            at = end


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, begin: int) -> tuple[int, int]:
    """Where the line after a value begins, and how wide the value is on its first line."""
    depth, last = 0, begin
    at, first_line = begin, True
    for found in _TOKEN.finditer(text, begin):
        token, at = found[0], found.end()
        if token == "\n":
            first_line = False
            if depth == 0:
                break
        elif token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
        if first_line and not token.isspace() and not token.startswith("#"):
            cut = token.find("\n")
            last = at if cut < 0 else found.start() + cut
            first_line = cut < 0
    return at, max(1, last - begin)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, path)[:_DEEPEST])
