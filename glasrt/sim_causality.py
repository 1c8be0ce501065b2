"""Causal delivery, watched while a simulation runs: nothing is applied before what its author had seen.

Owns the rule (of docs/consistency.md, "Everything else is transactionally causal") for any app. Knows the
trace lines of the core, and nothing else of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_COMMIT = re.compile(r"commit (\d+) ")
_APPLY = re.compile(r"(apply|pass) (\S+) (\d+) \(\d+\)")


class Causality:
    """What each mirror has applied, and what had been applied where each entry was made."""

    def __init__(self, names: Sequence[str]) -> None:
        self._frontiers = {name: dict.fromkeys(names, 0) for name in names}
        self._causes: dict[tuple[str, int], dict[str, int]] = {}

    def starts(self, mirror: str, frontier: Mapping[str, int]) -> None:
        """A mirror has recovered, to this frontier."""
        self._frontiers[mirror] = dict(frontier)

    def sees(self, mirror: str, line: str) -> str | None:
        """A trace line of a mirror; the violation that it shows, if any."""
        mine = self._frontiers[mirror]
        if (commit := _COMMIT.match(line)) is not None:
            number = int(commit[1])
            self._causes[mirror, number] = dict(mine)
            mine[mirror] = number
        elif (apply := _APPLY.match(line)) is not None:
            author, number = apply[2], int(apply[3])
            causes = self._causes.get((author, number), {}) if apply[1] == "apply" else {}
            mine[author] = number
            for other, seen in causes.items():
                if other not in (author, mirror) and mine[other] < seen:
                    entry = f"entry {number} of {author}"
                    return f"{entry} is applied before entry {seen} of {other}, which {author} had applied"
        return None
