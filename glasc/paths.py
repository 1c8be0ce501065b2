"""Where the files that come with glasc are.

Owns the one place that knows that a checkout keeps `grammar/` and `runtime_c/` beside the package, and a
wheel inside it. Does not know what the files mean, nor any path outside the distribution.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


class MissingFiles(Exception):
    """The installation of glasc lacks one of its folders; the text says which and where it was looked for."""


def grammar() -> Path:
    """The folder of `glas.lark`. Raises MissingFiles."""
    return _data_folder("grammar")


def runtime_c() -> Path:
    """The folder of the C core, with `include/` and `core/`. Raises MissingFiles."""
    return _data_folder("runtime_c")


def python_abi() -> Path:
    """The folder of our own `Python.h`. Raises MissingFiles."""
    return _existing("python_abi", [_PACKAGE])


def _data_folder(name: str) -> Path:
    return _existing(name, [_PACKAGE, _PACKAGE.parent])


def _existing(name: str, parents: list[Path]) -> Path:
    for parent in parents:
        if (parent / name).is_dir():
            return parent / name
    places = " or ".join(str(parent) for parent in parents)
    raise MissingFiles(f"glasc is not installed completely: no folder {name!r} in {places}; install it again")
