"""Line starts to tokens: the indentation of a line becomes _INDENT and _DEDENT, brackets make lines continue.

Knows the names of the terminals of grammar/glas.lark that open and close something, and nothing else of the
syntax.
"""

from __future__ import annotations

from collections.abc import Iterator

from lark import Token
from lark.lark import PostLex

_OPENING = frozenset({"LPAR", "LSQB", "TEXT_OPEN"})
_CLOSING = frozenset({"RPAR", "RSQB", "TEXT_CLOSE"})


class LayoutError(Exception):
    """The indentation is wrong at an offset; `code` is that of the diagnostic to make of it."""

    def __init__(self, code: str, message: str, offset: int) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.offset = offset


class Layout(PostLex):
    """The filter between lexer and parser; `open` holds the brackets open where the last parse stopped."""

    always_accept = ("_NL",)

    def __init__(self) -> None:
        self.open: list[Token] = []

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """Passes tokens on, with the layout made explicit. Raises LayoutError."""
        self.open = []
        levels = [0]
        last: Token | None = None
        for token in stream:
            if token.type == "_NL":
                if last is not None and not self.open:
                    yield from _line_end(token, last, levels)
                elif last is None:
                    _check_indent(token)
                continue
            if last is None and _column(token) != 1:
                raise LayoutError("E0104", "the first line must not be indented", token.start_pos or 0)
            self._count(token)
            last = token
            yield token
        if last is not None:
            yield _mark("_NL", last)
        for _ in levels[1:]:
            yield _mark("_DEDENT", last)

    def _count(self, token: Token) -> None:
        if token.type in _OPENING:
            self.open.append(token)
        elif token.type in _CLOSING and self.open:
            self.open.pop()


def _line_end(token: Token, last: Token, levels: list[int]) -> Iterator[Token]:
    """The tokens between two lines; `levels` are the indentations of the open blocks."""
    indent = _check_indent(token)
    if indent is None:  # the file ends with a comment
        return
    yield _mark("_NL", last)
    if indent > levels[-1]:
        levels.append(indent)
        yield _mark("_INDENT", last, at=token.end_pos)
    while indent < levels[-1]:
        levels.pop()
        if indent > levels[-1]:
            raise LayoutError(
                "E0104",
                "this line is indented neither like the block before it nor like one around it",
                token.end_pos or 0,
            )
        yield _mark("_DEDENT", last)


def _check_indent(token: Token) -> int | None:
    """Columns by which the line after a newline token is indented; None behind the last line."""
    indent = token.rsplit("\n", 1)[1]
    if "#" in indent:
        return None
    if "\t" in indent:
        offset = (token.end_pos or 0) - len(indent) + indent.index("\t")
        raise LayoutError("E0103", "a tab cannot indent a line, because its width is not known", offset)
    return len(indent)


def _column(token: Token) -> int:
    return token.column or 0


def _mark(kind: str, last: Token | None, at: int | None = None) -> Token:
    """A token without text right behind the last one (or at an offset): spans end where their text ends."""
    end = at if at is not None else (last.end_pos if last is not None else 0)
    return Token(kind, "", start_pos=end, end_pos=end)
