"""Text to syntax tree: runs the grammar and says in the words of the language what is wrong with a text.

Knows the names of the grammar's terminals, for messages. Does not know rules (build_syntax.py does) nor what
names mean.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from glasc import __version__, paths
from glasc.diagnostics import CompileErrors, Diagnostic, Note, did_you_mean
from glasc.source import Source, Span
from glasc.syntax import Program
from glasc.zig import default_cache_dir

if TYPE_CHECKING:
    from lark import Lark, Token, Tree
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken
    from lark.lexer import TerminalDef

    from glasc.layout import Layout

MAX_DEPTH = 250
"""Blocks and expressions may nest this deep, in nodes of the tree, so that no pass runs out of stack."""

_EXPRESSION = frozenset(
    {
        "NAME",
        "INT",
        "DURATION",
        "TEXT",
        "TEXT_OPEN",
        "LPAR",
        "LSQB",
        "TRUE",
        "FALSE",
        "MINUS",
        "JSON",
        "NOT",
    }
)
_OPERATORS = frozenset(
    {
        "PLUS",
        "MINUS",
        "TIMES",
        "DIVIDE",
        "REMAINDER",
        "COMPARE",
        "AND",
        "OR",
        "AS",
        "ELSE",
        "DOT",
        "LPAR",
        "LSQB",
    }
)
_TYPE = frozenset({"TYPE_NAME", "LPAR", "LIST", "OPTION", "MAP_TYPE"})
_GROUPS = ((_EXPRESSION, "an expression"), (_TYPE, "a type"), (_OPERATORS, "an operator"))
_WORDS = {
    "NAME": "a name",
    "IGNORED": "`_`",
    "TYPE_NAME": "a type",
    "VERB": "a verb such as `GET`",
    "INT": "a number",
    "DURATION": "a duration such as `10s` or `1d`",
    "TEXT": "a text",
    "TEXT_OPEN": "a text",
    "TEXT_MIDDLE": "`}`",
    "TEXT_CLOSE": "`}`",
    "ASSIGN": "`:=`",
    "COMPARE": "a comparison",
    "LIFETIME": "`db` or `mem`",
    "_NL": "the end of the line",
    "_INDENT": "an indented block",
    "_DEDENT": "the end of the block",
    "$END": "the end of the program",
}
_TEXT_GOES_ON = frozenset({"TEXT_MIDDLE", "TEXT_CLOSE"})
_HINTS = {
    "EQUAL": "`let name = ...` names a value, `:=` changes state, `==` compares",
    "COLON": "`label: value` stands in `(...)`, behind `return` and in arguments",
    "LBRACE": "`{...}` stands inside a text",
}


def parse(source: Source) -> Program:
    """The syntax tree of a program text. Raises CompileErrors."""
    from glasc.build_syntax import build

    tree = _parse(source)
    _check_depth(tree, source)
    return build(tree, source)


@functools.cache
def _parser() -> tuple[Lark, Layout]:
    from lark import Lark

    from glasc.layout import Layout

    layout = Layout()
    text = (paths.grammar() / "glas.lark").read_text(encoding="utf-8")
    lark = Lark(
        text,
        parser="lalr",
        postlex=layout,
        propagate_positions=True,
        edit_terminals=_whole_word,
        cache=_cache_file(),
    )
    return lark, layout


def _cache_file() -> str | bool:
    """Where lark keeps the tables that it makes of the grammar, to start faster; False for nowhere.

    Lark makes them anew if the grammar, lark or Python has changed, or if the file cannot be read.
    """
    try:
        folder = default_cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return False
    return str(folder / f"grammar-{__version__}.lark")


def _whole_word(terminal: TerminalDef) -> None:
    """Makes a quoted word of the grammar match whole words only, and go before names."""
    from lark.lexer import PatternRE

    words = _quoted(terminal)
    if all(word.isalpha() for word in words):
        terminal.pattern = PatternRE(f"(?:{'|'.join(words)})\\b")
        terminal.priority = 1


def _quoted(terminal: TerminalDef) -> list[str]:
    """The words that a terminal stands for, as the grammar quotes them; other patterns as they are."""
    pattern = terminal.pattern.value
    return pattern.removeprefix("(?:").removesuffix(")").split("|")


def _parse(source: Source) -> Tree[Token]:
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    from glasc.layout import LayoutError

    lark, layout = _parser()
    try:
        return lark.parse(source.text.rstrip())
    except LayoutError as error:
        span = Span(source, error.offset, error.offset + 1)
        raise CompileErrors([Diagnostic(error.code, error.message, span)]) from None
    except UnexpectedToken as error:
        raise CompileErrors([_unexpected_token(error, layout, source)]) from None
    except UnexpectedCharacters as error:
        raise CompileErrors([_unexpected_character(error, source)]) from None


def _unexpected_character(error: UnexpectedCharacters, source: Source) -> Diagnostic:
    start: Any = error.pos_in_stream  # lark declares None and means an int
    char = source.text[start]
    if char == '"':
        rest = re.compile(r'"(?:\\.|[^"\\{}\n])*').match(source.text, start)
        assert rest is not None
        if source.text.startswith("}", rest.end()):
            start, char = rest.end(), "}"
    span = Span(source, start, start + 1)
    if char == '"':
        hint = 'a text ends on its line; `\\"` is the sign itself'
        return Diagnostic("E0102", "this text has no end", span, hint=hint)
    if char == "}":
        return Diagnostic("E0102", "`}` without `{`", span, hint="in a text, `\\}` is the sign itself")
    shown = f"`{char}`" if char.isprintable() else f"U+{ord(char):04X}"
    return Diagnostic("E0102", f"{shown} means nothing here", span)


def _unexpected_token(error: UnexpectedToken, layout: Layout, source: Source) -> Diagnostic:
    token = error.token
    accepted = _accepted(error)
    end = len(source.text.rstrip())
    start = end if token.type == "$END" else min(token.start_pos or 0, len(source.text))
    length = 1 if token.type in _TEXT_GOES_ON else len(token)
    span = Span(source, start, start + length)
    if token.type == "_INDENT":
        return Diagnostic("E0104", "this line is indented more than its block", span)
    if source.text[:start].endswith("@") and length:
        known = _spelled(accepted)
        hint = did_you_mean(str(token), known) or f"known: {', '.join(known)}"
        return Diagnostic("E0502", f"there is no annotation `@{token}`", span, hint=hint)
    if "NAME" in accepted and "INT" not in accepted and token.isalpha() and token.type not in _WORDS:
        return Diagnostic("E0107", f"`{token}` is a word of the language, not a name", span)
    notes = [
        Note("this is still open", Span(source, bracket.start_pos or 0, bracket.end_pos or 0))
        for bracket in layout.open[-1:]
        if (bracket.line or 0) < span.line
    ]
    message = f"expected {_in_words(accepted)}, found {_found(token)}"
    return Diagnostic("E0101", message, span, tuple(notes), _hint(token, accepted))


def _hint(token: Token, accepted: set[str]) -> str | None:
    """What may have been meant by a token that does not fit."""
    if token.type in _HINTS:
        return _HINTS[token.type]
    if token[:1].isupper() and "NAME" in accepted and "TYPE_NAME" not in accepted:
        return "names start with a small letter, types with a capital one"
    if token.type == "NAME" and "TYPE_NAME" in accepted:
        return "types start with a capital letter"
    return did_you_mean(str(token), _spelled(accepted))


def _accepted(error: UnexpectedToken) -> set[str]:
    """The terminals that could have stood here."""
    interactive: Any = error.interactive_parser
    return set(interactive.accepts()) if interactive is not None else set(error.expected)


def _found(token: Token) -> str:
    if token.type in ("_NL", "_DEDENT", "$END"):
        return _WORDS[token.type]
    return "`}`" if token.type in _TEXT_GOES_ON else f"`{token}`"


def _in_words(terminals: set[str]) -> str:
    """What was expected, in a fixed order, with groups of terminals taken together."""
    words: list[str] = []
    left = set(terminals)
    for group, name in _GROUPS:
        if len(left & group) > 3 or (group is _TYPE and left >= group):
            words.append(name)
            left -= group
    words += sorted({_WORDS[name] for name in left if name in _WORDS})
    words += [f"`{word}`" for word in _spelled(left)]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _spelled(terminals: set[str]) -> list[str]:
    """The terminals that are fixed words or signs, as they are written."""
    lark, _ = _parser()
    patterns = {terminal.name: terminal.pattern.value for terminal in lark.terminals}
    fixed = (patterns[name] for name in terminals if name not in _WORDS and name in patterns)
    return sorted(pattern.removeprefix("(?:").removesuffix(r")\b") for pattern in fixed)


def _check_depth(tree: Tree[Token], source: Source) -> None:
    """Raises CompileErrors where blocks or expressions nest deeper than MAX_DEPTH."""
    depth: dict[int, int] = {}
    for part in tree.iter_subtrees():  # children come before their parents
        depth[id(part)] = 1 + max((depth.get(id(child), 0) for child in part.children), default=0)
        if depth[id(part)] > MAX_DEPTH:
            span = Span(source, part.meta.start_pos, part.meta.end_pos)
            raise CompileErrors([Diagnostic("E0106", f"nested deeper than {MAX_DEPTH} levels", span)])
