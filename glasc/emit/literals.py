"""Constants and comments in C: how values are written so that every compiler reads back exactly them.

Knows C's lexical rules only.
"""

from __future__ import annotations

_INT64_MIN = -(2**63)
_PLAIN_INT = 2**31
_NAMED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_COMMENT_WIDTH = 100


def c_string(text: str) -> str:
    """A string literal with the UTF-8 bytes of `text`; trigraphs are broken up, what is not printable is
    octal.
    """
    out: list[str] = []
    for char in text:
        if char == "?" and out and out[-1] in ("?", "\\?"):
            out.append("\\?")
        elif char in _NAMED:
            out.append(_NAMED[char])
        elif char.isprintable():
            out.append(char)
        else:
            out.extend(f"\\{byte:03o}" for byte in char.encode())
    return '"' + "".join(out) + '"'


def c_int(value: int) -> str:
    """An integer constant that an int64_t holds."""
    if value == _INT64_MIN:
        return "INT64_MIN"
    digits = str(abs(value)) if abs(value) < _PLAIN_INT else f"INT64_C({abs(value)})"
    return f"-{digits}" if value < 0 else digits


def c_bool(value: bool) -> str:
    """A truth value."""
    return "true" if value else "false"


def c_bytes(data: bytes) -> str:
    """The elements of an array of bytes."""
    return ", ".join(f"0x{byte:02x}" for byte in data)


def c_comment(text: str) -> str:
    """The text as it may stand within a comment: on one line, not too long, without an end of comment in
    it.
    """
    shown = "".join(char if char.isprintable() else " " for char in text)
    shown = shown.replace("*/", "* /").replace("/*", "/ *").replace("??/", "?? /")
    return shown if len(shown) <= _COMMENT_WIDTH else shown[: _COMMENT_WIDTH - 3].rstrip() + "..."


def c_text_lines(text: str) -> tuple[str, ...]:
    """One long text as string literals to stand below each other, cut at its line ends."""
    return tuple(c_string(line) for line in text.splitlines(keepends=True)) or ('""',)
