"""What can go wrong when a bundle is built. Owns the exceptions; does not know who raises them or how they
are shown.
"""

from __future__ import annotations

from collections.abc import Sequence


class BuildError(Exception):
    """A bundle could not be built; the text is one message for the person who asked for it."""


class CompileFailed(BuildError):
    """The C compiler refused C that glasc wrote or ships: a fault of glasc, not of the program that is
    compiled.
    """

    def __init__(self, command: Sequence[str], stderr: str) -> None:
        self.command = tuple(command)
        self.stderr = stderr
        super().__init__(
            "internal error: the C compiler refused what glasc wrote; please report it\n"
            f"command: {' '.join(self.command)}\n{stderr.rstrip()}"
        )


def disk_error(action: str, error: OSError) -> BuildError:
    """The BuildError for an OSError; `action` says what was tried, as in "write the bundle out/x.whl"."""
    return BuildError(f"cannot {action}: {error.strerror or error}")
