"""From the view of an app to the text of its files: C, declarations for cffi, the Python package.

Owns the list of files and the indentation of C. Decides nothing about either; templates only walk through
the view.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from glasc.emit.literals import c_bytes, c_string, c_text_lines
from glasc.emit.model import App, Braced, Case, Chained, CStmt, Line, Note

_INDENT = "    "
_BEGIN, _END = "/* cffi: begin */", "/* cffi: end */"


@dataclass(frozen=True)
class Files:
    """All that is made of one app; `package` by path within the Python package."""

    c_files: dict[str, str]
    cdef: str
    preamble: str
    package: dict[str, bytes]


def render(app: App, headers: Sequence[str]) -> Files:
    """The files of an app; `headers` are the texts of the headers of which cffi reads a part."""
    values = {
        "app": app,
        "methods": [call.py for call in app.calls],
        "plan_lines": c_text_lines(app.plan),
        "name_text": c_string(app.name),
        "version_text": c_string(app.version),
        "id_bytes": c_bytes(app.protocol_id),
        "core_part": "".join(_between_markers(header) for header in headers),
    }

    def text(template: str) -> str:
        return _environment().get_template(template).render(values)

    base = app.prefix
    return Files(
        c_files={
            f"{base}_app.h": text("app.h.j2"),
            f"{base}_types.c": text("types.c.j2"),
            f"{base}_methods.c": text("methods.c.j2"),
            f"{base}_app.c": text("app.c.j2"),
        },
        cdef=text("cdef.j2"),
        preamble=text("preamble.c.j2"),
        package={
            "__init__.py": text("package.py.j2").encode(),
            "__init__.pyi": text("package.pyi.j2").encode(),
            "_arguments.py": text("arguments.py.j2").encode(),
            "py.typed": b"",
            "plan.json": app.plan.encode(),
        },
    )


def c_block(stmts: Sequence[CStmt], depth: int = 1) -> str:
    """Statements as lines, indented; without a newline at the end."""
    return "\n".join(_lines(stmts, depth))


def _lines(stmts: Sequence[CStmt], depth: int) -> Iterator[str]:
    pad = _INDENT * depth
    for number, stmt in enumerate(stmts):
        match stmt:
            case Line(text):
                yield pad + text
            case Note(text):
                if number or depth == 1:
                    yield ""
                yield f"{pad}/* {text} */"
            case Braced(head, body):
                yield f"{pad}{head} {{" if head else f"{pad}{{"
                yield from _lines(body, depth + 1)
                yield f"{pad}}}"
            case Chained(head, then, orelse):
                yield f"{pad}{head} {{"
                yield from _lines(then, depth + 1)
                yield f"{pad}}} else {{"
                yield from _lines(orelse, depth + 1)
                yield f"{pad}}}"
            case Case(label, body):
                yield f"{_INDENT * (depth - 1)}{label}:"
                yield from _lines(body, depth)


def _between_markers(header: str) -> str:
    """The part of glas_core.h that cffi reads. ValueError where the markers are missing."""
    start, end = header.index(_BEGIN) + len(_BEGIN), header.index(_END)
    return header[start:end].strip() + "\n"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("glasc.emit"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    filters: dict[str, Any] = environment.filters
    filters["c_block"] = c_block
    return environment
