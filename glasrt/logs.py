"""One line per event on stderr, as text or JSON.

Owns the shape of a log line. Does not know which events there are.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TextIO

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
_NAMES = {DEBUG: "debug", INFO: "info", WARNING: "warning", ERROR: "error"}

Value = str | int | float | bool | None


class Log:
    """Writes events of one mirror to a stream. A stream that cannot be written any more is left alone."""

    def __init__(
        self, mirror: str, style: str = "text", level: int = INFO, stream: TextIO | None = None
    ) -> None:
        """`style` is `text` or `json`; events below `level` are not written."""
        self.mirror = mirror
        self.style = style
        self.level = level
        self._stream = stream or sys.stderr

    def event(self, level: int, message: str, **fields: Value) -> None:
        """Writes one line: time, level, mirror, message, fields in the order given."""
        if level < self.level:
            return
        name = _NAMES.get(level, str(level))
        at = (
            datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
        if self.style == "json":
            line = json.dumps({"at": at, "level": name, "mirror": self.mirror, "message": message, **fields})
        else:
            pairs = "".join(f" {key}={_text(value)}" for key, value in fields.items())
            line = f"{at} {name} {self.mirror}: {_one_line(message)}{pairs}"
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.level = ERROR + 1

    def info(self, message: str, **fields: Value) -> None:
        """An event of the normal course."""
        self.event(INFO, message, **fields)

    def warning(self, message: str, **fields: Value) -> None:
        """Something to look at."""
        self.event(WARNING, message, **fields)

    def error(self, message: str, **fields: Value) -> None:
        """Something that does not work."""
        self.event(ERROR, message, **fields)


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r")


def _text(value: Value) -> str:
    plain = isinstance(value, str) and value and not any(c.isspace() or c in '"=' for c in value)
    return str(value) if plain else json.dumps(value)
