"""The processors that glasc builds for.

Owns the table of targets and what each is called by the C compiler and by Python's wheels. Does not know
how anything is built.
"""

from __future__ import annotations

import difflib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Target:
    """One processor (with Linux and glibc 2.17 or later, which is what a manylinux wheel may assume)."""

    name: str
    zig_triple: str
    wheel_platform: str


class UnknownTarget(Exception):
    """No target is called `name`; `suggestion` is the nearest that exists, or None."""

    def __init__(self, name: str, known: tuple[str, ...], suggestion: str | None) -> None:
        self.name = name
        self.known = known
        self.suggestion = suggestion
        hint = f"; did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(f"unknown target {name!r}; glasc builds for {', '.join(known)}{hint}")


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        target.name: target
        for target in (
            Target("aarch64", "aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64"),
            Target("x86_64", "x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64"),
        )
    }
)

# What others call the same processors; used for suggestions and for the name that the machine gives itself.
_OTHER_NAMES = MappingProxyType({"amd64": "x86_64", "x64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"})


def lookup(name: str) -> Target:
    """The target called `name`. Raises UnknownTarget, with a suggestion where one is near."""
    found = TARGETS.get(name)
    if found is not None:
        return found
    known = tuple(sorted(TARGETS))
    near = difflib.get_close_matches(name.lower(), known, n=1)
    raise UnknownTarget(name, known, _OTHER_NAMES.get(name.lower()) or (near[0] if near else None))


def host() -> Target:
    """The target of the machine that this runs on. Raises UnknownTarget where glasc does not build for it."""
    machine = platform.machine().lower()
    return lookup(_OTHER_NAMES.get(machine, machine))
