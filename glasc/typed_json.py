r"""Values of the language as JSON text: the rules that generated C follows too. Knows types, but no
programs and no state.

Values are what interpret.py computes with: bool, int (Int, and Time in microseconds since 1970), str,
None for Unit, a dict for a record, and a pair (label, value) for a variant.

Reading is strict RFC 8259, led by the type; anything else does not fit:
1. The text is one value; around tokens may stand spaces, tabs, line feeds and carriage returns, and
   nothing after the value. No byte order mark, no comments, no trailing commas.
2. A record is an object that has each field once, in any order, and no other. A variant is an object with
   one member, its label. Names are compared after their escapes are resolved. So arrays never fit.
3. Int is digits with an optional minus, no leading zeros, within 64 bits; `-0` is 0. `1.0` and `1e3` do
   not fit.
4. Text is a string: no characters below U+0020, escapes are `\" \\ \/ \b \f \n \r \t \uXXXX` with hex
   digits of either case, and a surrogate only as half of a pair, high before low. `\u0000` is allowed.
5. Bool is `true` or `false`, Unit is `null`.
6. Time is a string `YYYY-MM-DDThh:mm:ssZ` or with a fraction of one to six digits before the Z: upper
   case letters, ASCII digits, UTC, years 0001 to 9999, no leap second. The value is exact.
7. At most 32 objects are open at once.

Writing is canonical: no spaces, fields in the order of the type, a variant as {"label":value}, Time with
exactly six digits of fraction. In strings `"` and `\` are escaped with `\`, the characters below U+0020
as `\b \f \n \r \t` or else `\u00xx` in lower case; everything else stands for itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from glasc.types import BOOL, INT, TEXT, TIME, Primitive, Record, Type, Variant

MAX_DEPTH = 32
SMALLEST, LARGEST = -(2**63), 2**63 - 1

_SPACE = re.compile(r"[ \t\n\r]*")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)(?![0-9.eE])")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"')
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?Z", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class DoesNotFit(Exception):
    """The text is not the JSON of a value of the type; `offset` is where that shows, in characters."""

    def __init__(self, offset: int, wanted: str) -> None:
        super().__init__(f"at {offset}: {wanted} wanted")
        self.offset = offset


def read(text: str, kind: Type) -> Any:
    """The value of a JSON text; raises DoesNotFit."""
    reader = _Reader(text)
    value = reader.value(kind, 0)
    reader.end()
    return value


def write(value: Any, kind: Type) -> str:
    """The canonical JSON text of a value of the type."""
    return json.dumps(plain(value, kind), ensure_ascii=False, separators=(",", ":"))


def plain(value: Any, kind: Type) -> Any:
    """The value as Python's json module would read its canonical text."""
    match kind:
        case Record(parts):
            return {name: plain(value[name], part) for name, part in parts}
        case Variant(cases):
            label, inner = value
            return {label: plain(inner, dict(cases)[label])}
    return time_text(value) if kind == TIME else value


def time_text(value: int) -> str:
    """A Time as RFC 3339 in UTC with six digits of fraction, `2026-01-31T12:34:56.123456Z`."""
    moment = _EPOCH + timedelta(microseconds=value)
    return moment.strftime("%Y").rjust(4, "0") + moment.strftime("-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> int | None:
    """The Time of a text as rule 6 says, or None."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    *parts, fraction = found.groups(default="")
    try:
        moment = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    return (moment - _EPOCH) // _MICROSECOND + int(fraction.ljust(6, "0"))


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self, kind: Type, depth: int) -> Any:
        """The next value, which must be of the type; `depth` objects are open around it."""
        self._skip()
        match kind:
            case Record() | Variant():
                return self._object(kind, depth + 1)
            case Primitive() if kind in _PRIMITIVES:
                return _PRIMITIVES[kind](self)
        return self._word("null", None)

    def end(self) -> None:
        """Nothing may follow."""
        self._skip()
        if self._at != len(self._text):
            raise DoesNotFit(self._at, "the end")

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _take(self, pattern: re.Pattern[str], wanted: str) -> re.Match[str]:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise DoesNotFit(self._at, wanted)
        self._at = found.end()
        return found

    def _sign(self, sign: str) -> None:
        self._skip()
        self._word(sign, None)

    def _word(self, word: str, value: Any) -> Any:
        if not self._text.startswith(word, self._at):
            raise DoesNotFit(self._at, word)
        self._at += len(word)
        return value

    def _object(self, kind: Record | Variant, depth: int) -> Any:
        start = self._at
        if depth > MAX_DEPTH:
            raise DoesNotFit(start, f"at most {MAX_DEPTH} levels")
        members = self._members(dict(kind.fields if isinstance(kind, Record) else kind.cases), depth)
        if isinstance(kind, Record) and len(members) == len(kind.fields):
            return {name: members[name] for name, _ in kind.fields}
        if isinstance(kind, Variant) and len(members) == 1:
            return next(iter(members.items()))
        raise DoesNotFit(start, f"an object for {kind}")

    def _members(self, kinds: dict[str, Type], depth: int) -> dict[str, Any]:
        """The members of an object whose brace is next, none twice."""
        found: dict[str, Any] = {}
        self._sign("{")
        self._skip()
        if self._text.startswith("}", self._at):
            return self._word("}", found)  # type: ignore[no-any-return]
        while True:
            self._skip()
            start, name = self._at, self.string()
            if name not in kinds or name in found:
                raise DoesNotFit(start, f"one of {', '.join(kinds)}")
            self._sign(":")
            found[name] = self.value(kinds[name], depth)
            self._skip()
            if not self._text.startswith(",", self._at):
                self._sign("}")
                return found
            self._sign(",")

    def boolean(self) -> bool:
        """`true` or `false`."""
        if self._text.startswith("true", self._at):
            return bool(self._word("true", True))
        return bool(self._word("false", False))

    def integer(self) -> int:
        """An integer of 64 bits."""
        start = self._at
        digits = self._take(_INTEGER, "an integer").group()
        value = int(digits) if len(digits) <= len(str(SMALLEST)) else LARGEST + 1
        if not SMALLEST <= value <= LARGEST:
            raise DoesNotFit(start, "an integer of 64 bits")
        return value

    def string(self) -> str:
        """A string, its escapes resolved."""
        start = self._at
        raw = self._take(_STRING, "a string").group(1)
        text = _ESCAPE.sub(lambda found: _unescaped(*found.groups()), raw)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise DoesNotFit(start, "surrogates in pairs") from None

    def time(self) -> int:
        """A string that is a Time."""
        start = self._at
        value = parse_time(self.string())
        if value is None:
            raise DoesNotFit(start, "a time")
        return value


def _unescaped(digits: str | None, letter: str | None) -> str:
    if digits is not None:
        return chr(int(digits, 16))
    assert letter is not None
    return _ESCAPED.get(letter, letter)


_PRIMITIVES: dict[Type, Callable[[_Reader], Any]] = {
    BOOL: _Reader.boolean,
    INT: _Reader.integer,
    TEXT: _Reader.string,
    TIME: _Reader.time,
}
