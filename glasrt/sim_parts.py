"""What a simulated machine is made of: a disk with group commit, and streams that can be cut.

Owns which bytes survive a crash and which arrive. Does not know cores, time or when faults strike (sim.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from glasrt.core import Journal, Snapshot

KINDS = (
    "cut",  # both directions of a link stop
    "one_way",  # one direction stops
    "isolate",  # one mirror loses all its links
    "silent",  # a cut is not noticed at either end: the connection hangs until someone gives up
    "crash",  # a mirror dies and starts again from its disk
    "keep_prefix",  # a part of what was being written survives a crash
    "long_down",  # a mirror stays away for long
    "slow_disk",  # commits take long
    "slow_net",  # bytes take long
    "snapshot",  # snapshots are written
    "clock",  # clocks stand apart and jump when a mirror starts again
    "pause",  # a mirror stands still, its connections open
    "tiny_reads",  # streams arrive in small pieces
)
"""The faults there are."""


@dataclass(frozen=True)
class Faults:
    """Which faults may strike and how often; each seed draws its own part of `kinds`.

    Durations are virtual microseconds. `every_us` is the mean time between two strikes. `ignore_barrier`
    plants a bug: replies do not wait for the disk.
    """

    kinds: frozenset[str] = frozenset(KINDS)
    every_us: int = 400_000
    longest_us: int = 1_000_000
    ignore_barrier: bool = False

    def __post_init__(self) -> None:
        unknown = self.kinds - set(KINDS)
        if unknown:
            raise ValueError(f"no such faults: {', '.join(sorted(unknown))}")

    def draw(self, random: Random) -> frozenset[str]:
        """A part of the kinds; about half, in a stable order of drawing."""
        return frozenset(kind for kind in KINDS if kind in self.kinds and random.random() < 0.5)


NO_FAULTS = Faults(kinds=frozenset())


class SimDisk:
    """The disk of one mirror: what is safe, and what is being written or waits for it."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.journal: list[Journal] = []
        self.writing: list[Journal | Snapshot] = []
        self.waiting: list[Journal | Snapshot] = []
        self.position = 0

    def begin(self) -> None:
        """Starts to write all that waits."""
        assert not self.writing
        self.writing, self.waiting = self.waiting, []

    def done(self) -> int:
        """What was being written is safe; returns the position up to which."""
        self._keep(self.writing)
        self.writing = []
        return self.position

    def crash(self, kept: int) -> None:
        """Everything that is not safe is lost, but for the first `kept` items."""
        self._keep((self.writing + self.waiting)[:kept])
        self.writing, self.waiting = [], []

    def _keep(self, items: Sequence[Journal | Snapshot]) -> None:
        for item in items:
            if isinstance(item, Snapshot):
                self.snapshot = item
                self.journal = [row for row in self.journal if row.position > item.position]
            else:
                self.journal.append(item)
            self.position = max(self.position, item.position)


@dataclass
class Direction:
    """Bytes from one mirror to another over one connection, in order."""

    sender: int
    receiver: int
    queue: deque[bytes] = field(default_factory=deque)
    arriving: bool = False  # an arrival is planned
    closed: bool = False  # the sender has ended the connection: the receiver hears of it behind the bytes


class Connection:
    """One connection: each end has its own number for it, and loses it on its own."""

    def __init__(self, number: int, dialler: int, listener: int) -> None:
        self.number = number
        self.ends: dict[int, int] = {}  # mirror -> its link number, while its end is open
        self.dialler = dialler
        self.listener = listener
        self.directions = {
            dialler: Direction(dialler, listener),
            listener: Direction(listener, dialler),
        }

    def other(self, mirror: int) -> int:
        """The mirror at the other end."""
        return self.listener if mirror == self.dialler else self.dialler
