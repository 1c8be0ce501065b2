"""One line per event on stderr, as text or JSON.

Owns the shape of a log line, and that a warning which comes again and again is written once a minute. Does
not know which events there are.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TextIO

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
_ONCE_IN_S = 60.0
_MAX_REMEMBERED = 256
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {10: "\\n", 13: "\\r", 9: "\\t"}
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
        # by message and peer: when written last, and how often kept back since
        self._warned: dict[tuple[str, Value], tuple[float, int]] = {}

    def event(self, level: int, message: str, **fields: Value) -> None:
        """Writes one line: time, level, mirror, message, fields in the order given."""
        if level < self.level:
            return
        if level == WARNING:
            about = (message, fields.get("peer"))
            if self._kept_back(about):
                return
            again = self._warned[about][1]
            if again:
                fields["times"] = again + 1
            self._warned[about] = (time.monotonic(), 0)
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

    def _kept_back(self, about: tuple[str, Value]) -> bool:
        """Whether the same warning was written just now: a mirror that is refused tries again for ever."""
        now = time.monotonic()
        at, count = self._warned.get(about, (now - _ONCE_IN_S, 0))
        kept = now - at < _ONCE_IN_S
        if about not in self._warned and len(self._warned) >= _MAX_REMEMBERED:
            self._warned.clear()
        self._warned[about] = (at, count + kept)
        return kept

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
    return text.translate(_CONTROLS)


def _text(value: Value) -> str:
    plain = isinstance(value, str) and value and not any(c.isspace() or c in '"=' for c in value)
    return str(value) if plain else json.dumps(value)
