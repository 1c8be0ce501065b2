"""Mirrors of an app in memory and lines between them that a test can hold up; nothing happens by chance.

Owns in which order bytes arrive. There is no disk: nothing waits for one.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from glasrt.bundle import plan_of
from glasrt.core import Core, LinkBytes, LinkClose, Output, Reply, Roster, RosterMirror, Wake
from glasrt.errors import ABORTED

_START_US = 1_700_000_000_000_000
_MAX_ROUNDS = 1000


@dataclass(eq=False)
class Line:
    """A connection. `held`: mirrors at which nothing arrives for now. `closed`: by mirror, why it ended."""

    ends: tuple[int, int]
    number: int
    held: set[int] = field(default_factory=set)
    closed: dict[int, str] = field(default_factory=dict)
    coming: dict[int, deque[bytes | None]] = field(default_factory=dict)  # None: the end


class Mesh:
    """The mirrors by name, each at one place; the first is the origin. A method ends when all is quiet."""

    def __init__(self, app: Any, mirrors: Sequence[tuple[str, str]]) -> None:
        """`mirrors` are names with their places."""
        plan = plan_of(app)
        roster = Roster(tuple(RosterMirror(name, plan.place_bits([place])) for name, place in mirrors), 0)
        self.names = [name for name, _ in mirrors]
        self._now = _START_US
        self._cores = [Core(app, roster, index, durable=False) for index in range(len(mirrors))]
        self._lines: list[Line] = []
        self._replies: dict[int, Reply] = {}
        self._calls = 0
        for core in self._cores:
            core.start(self._now)
        self.run()

    def close(self) -> None:
        """Ends all mirrors."""
        for core in self._cores:
            core.close()

    def dial(self, dialler: str, listener: str, *, hold: Sequence[str] = ()) -> Line:
        """A new line, at whose ends named by `hold` nothing arrives before `release`."""
        here, there = self.names.index(dialler), self.names.index(listener)
        line = Line((here, there), len(self._lines) + 1, {self.names.index(name) for name in hold})
        line.coming = {here: deque(), there: deque()}
        self._lines.append(line)
        self._cores[there].link_up(line.number, "", self._now)
        self._cores[here].link_up(line.number, listener, self._now)
        self.run()
        return line

    def release(self, line: Line, mirror: str) -> None:
        """What was held up arrives."""
        line.held.discard(self.names.index(mirror))
        self.run()

    def cut(self, line: Line) -> None:
        """Both ends hear that the line is gone; what was on it is lost."""
        for index in line.ends:
            line.closed[index] = "cut"
            line.coming[index].clear()
            self._cores[index].link_down(line.number, self._now)
        self.run()

    def call(self, mirror: str, method: str, **args: Any) -> Any:
        """The result of a call, or the message with which it was aborted."""
        self._calls += 1
        core = self._cores[self.names.index(mirror)]
        reply = core.rpc(self._calls, method, json.dumps(args).encode(), 10**9, self._now)
        self.run()
        reply = self._replies.get(self._calls, reply)
        return reply.message if reply.outcome == ABORTED else json.loads(reply.body)

    def inspect(self, mirror: str, what: str) -> Any:
        """What `inspect` of the core says."""
        self._calls += 1
        return json.loads(self._cores[self.names.index(mirror)].inspect(self._calls, what, self._now).body)

    def applied(self, mirror: str, of: str) -> int:
        """How many entries of another mirror's log a mirror has applied."""
        return int(self.inspect(mirror, "status")["mirrors"][of]["applied"])

    def run(self) -> None:
        """Lets everything arrive that is not held up, until nothing more happens."""
        for _ in range(_MAX_ROUNDS):
            self._now += 1
            turns = [self._turn(index) for index in range(len(self._cores))]
            arrivals = [self._arrive(line, index) for line in self._lines for index in line.ends]
            if not any(turns) and not any(arrivals):
                return
        raise AssertionError("no rest")

    def _turn(self, index: int) -> bool:
        """Whether a core had something to say, or has more to do."""
        core = self._cores[index]
        core.turn(self._now)
        outputs = [output for output in core.poll() if not isinstance(output, Wake)]
        for output in outputs:
            self._take(index, output)
        return bool(outputs) or core.more

    def _take(self, index: int, output: Output) -> None:
        if isinstance(output, Reply):
            self._replies[output.call] = output
        elif isinstance(output, LinkBytes | LinkClose):
            line = self._lines[output.link - 1]
            (other,) = set(line.ends) - {index}
            if isinstance(output, LinkBytes):
                line.coming[other].append(output.data)
            else:
                line.closed[index] = output.reason
                line.coming[other].append(None)
                line.coming[index].clear()

    def _arrive(self, line: Line, index: int) -> bool:
        """Whether something arrived at an end of a line."""
        if index in line.held or index in line.closed or not line.coming[index]:
            return False
        data = line.coming[index].popleft()
        if data is not None:
            self._cores[index].link_bytes(line.number, data, self._now)
        else:
            line.closed[index] = ""
            self._cores[index].link_down(line.number, self._now)
        return True
