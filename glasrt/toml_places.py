"""Where the keys and values of a TOML text stand, by line and column.

Owns a light scan of a text that `tomllib` has accepted or refused. Does not know what keys mean; inside
inline tables and arrays of tables it answers with the place of what surrounds them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_PATH = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_PATH})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_PATH})\s*=[ \t]*")
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""'
    r"|'''.*?'''"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}]|\n|.",
    re.DOTALL,
)


@dataclass(frozen=True)
class Spot:
    """A place in a text: line and column count from 1, `width` in characters."""

    line: int
    column: int
    width: int


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
        while at < len(text):
            start = text.rfind("\n", 0, at) + 1
            header = _HEADER.match(text, at)
            assignment = None if header else _ASSIGNMENT.match(text, at)
            end = _line_end(text, at)
            if header and "\n" not in header[0]:
                table = _parts(header[1])
                for length in range(1, len(table) + 1):
                    spot = Spot(line, header.start(1) - start + 1, len(header[1]))
                    self._keys.setdefault(table[:length], spot)
            elif assignment and "\n" not in assignment[0]:
                path = (*table, *_parts(assignment[1]))
                begin = assignment.end()
                end, width = _value_end(text, begin)
                for length in range(len(table) + 1, len(path) + 1):
                    spot = Spot(line, assignment.start(1) - start + 1, len(assignment[1]))
                    self._keys.setdefault(path[:length], spot)
                self._values.setdefault(path, Spot(line, begin - start + 1, width))
            line += text.count("\n", at, end)
            at = end


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, begin: int) -> tuple[int, int]:
    """Where the line after a value begins, and how wide the value is on its first line."""
    depth, at, last = 0, begin, begin
    first_line = None
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            break
        token = found[0]
        if token == "\n":
            first_line = last if first_line is None else first_line
            if depth == 0:
                at += 1
                break
        elif token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
        at = found.end()
        if not token.isspace() and not token.startswith("#"):
            last = begin + len(text[begin:at].split("\n", 1)[0]) if first_line is None else last
    width = (last if first_line is None else first_line) - begin
    return at, max(1, width)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, path))
