"""Deterministic simulation: N mirrors of an app in one process, in virtual time, with seeded faults.

Owns the order of events and that everything follows from the seed: the same seed gives the same trace.
Drives the same cores as node.py does, and holds outputs back in the same way. Does not know what is right
for an app (checks.py and the app's own checks judge the result).

A run has two parts: while calls are made, faults strike; then everything is healed and the mirrors have to
come to rest within a bound. Times are virtual microseconds from 0; clocks of mirrors start at `_EPOCH`.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from glasrt.bundle import plan_of
from glasrt.core import (
    Core,
    Journal,
    Limits,
    LinkBytes,
    LinkClose,
    LogLine,
    Output,
    Reply,
    Roster,
    RosterMirror,
    Snapshot,
    Timing,
    TraceLine,
    Wake,
)
from glasrt.errors import COMMITTED, OUTCOMES, PENDING, CoreError, reason_name
from glasrt.sim_causality import Causality
from glasrt.sim_parts import NO_FAULTS, Connection, Direction, Faults, SimDisk

_EPOCH = 1_700_000_000_000_000
_SKEW_US = 2_000_000
_DIAL_US = 50_000
_QUIET_US = 1_500_000
_TRACE_KEPT = 100_000
_MAX_EVENTS = 3_000_000
_MAX_VIOLATIONS = 100


@dataclass(frozen=True)
class SimMirror:
    """One mirror and the places where it stands."""

    name: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class SimCall:
    """A call that the workload makes at a mirror."""

    mirror: str
    method: str
    args: dict[str, Any]
    timeout_us: int = 5_000_000


Workload = Callable[[Random, int, Sequence[str]], SimCall]
"""From a random source, the number of the call and the names of the mirrors to the call."""


@dataclass
class CallRecord:
    """What a client knows of its call; `outcome`: committed, aborted or unknown; `result` where committed."""

    number: int
    mirror: str
    incarnation: int
    method: str
    args: dict[str, Any]
    invoked_us: int
    ended_us: int = -1
    outcome: str = "unknown"
    reason: str = ""
    message: str = ""
    result: Any = None


@dataclass(frozen=True)
class Settings:
    """The size of a run."""

    calls: int = 80
    call_every_us: int = 80_000
    rest_within_us: int = 120_000_000
    limits: Limits = field(default_factory=lambda: Limits(max_heap=64 << 20, max_log=8 << 20))
    timing: Timing = field(default_factory=lambda: Timing(ping_us=300_000, silent_us=1_200_000))


@dataclass(frozen=True)
class Result:
    """What came of a run. `states` and `status` hold, by mirror, what each core says at the end."""

    seed: int
    trace_hash: str
    faults: frozenset[str]
    fired: dict[str, int]
    history: tuple[CallRecord, ...]
    status: dict[str, Any]
    states: dict[str, dict[str, Any]]
    violations: tuple[str, ...]
    trace: tuple[str, ...]
    virtual_us: int

    def history_lines(self) -> Iterable[str]:
        """The history as JSON lines."""
        return (json.dumps(vars(record), sort_keys=True) for record in self.history)


class _Mirror:
    """One simulated machine; `core` is None while it is down."""

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.name = name
        self.core: Core | None = None
        self.disk = SimDisk()
        self.incarnation = 0
        self.offset = _EPOCH
        self.links: dict[int, Connection] = {}
        self.last_link = 0
        self.held: deque[tuple[int, Output]] = deque()
        self.held_links: dict[int, deque[tuple[int, bytes]]] = {}
        self.pending: dict[int, CallRecord] = {}
        self.turn_planned = False
        self.wake = 0  # number of the newest wake
        self.paused_until = 0
        self.changed_us = 0  # when it last journalled, answered or was linked


class Simulation:
    """One run. `run` may be called once."""

    def __init__(
        self,
        app_module: Any,
        roster: Sequence[SimMirror],
        seed: int,
        faults: Faults,
        workload: Workload,
        *,
        settings: Settings | None = None,
        origin: str | None = None,
    ) -> None:
        """The origin is the first mirror, unless named. Raises BundleError without a plan."""
        plan = plan_of(app_module)
        self.settings = settings or Settings()
        self._app = app_module
        self._random = Random(seed)
        self._seed = seed
        self._planted = faults.ignore_barrier
        self._faults = faults
        self._kinds = faults.draw(self._random)
        self._fired: dict[str, int] = {}
        self._workload = workload
        self._invariants = plan.invariants > 0
        self._state_names = [state.name for state in plan.states]
        names = [mirror.name for mirror in roster]
        self._roster = Roster(
            tuple(RosterMirror(m.name, plan.place_bits(m.places)) for m in roster),
            names.index(origin) if origin is not None else 0,
        )
        self._mirrors = [_Mirror(index, name) for index, name in enumerate(names)]
        self._names = names
        self._now = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = 0
        self._connections = 0
        self._dialled_us = 0
        self._connected: dict[tuple[int, int], Connection] = {}
        self._cut: dict[tuple[int, int], int] = {}  # direction -> how many cuts lie on it
        self._healed = False
        self._history: list[CallRecord] = []
        self._violations: list[str] = []
        self._hash = hashlib.sha256()
        self._trace: deque[str] = deque(maxlen=_TRACE_KEPT)
        self._causality = Causality(self._names)

    # ---------------------------------------------------------------- the run

    def run(self) -> Result:
        """Runs everything and says what came of it."""
        try:
            self._run()
            status, states = self._final()
        finally:
            for mirror in self._mirrors:
                if mirror.core is not None:
                    mirror.core.close()
        return Result(
            seed=self._seed,
            trace_hash=self._hash.hexdigest(),
            faults=self._kinds,
            fired=dict(sorted(self._fired.items())),
            history=tuple(self._history),
            status=status,
            states=states,
            violations=tuple(self._violations),
            trace=tuple(self._trace),
            virtual_us=self._now,
        )

    def _run(self) -> None:
        for mirror in self._mirrors:
            self._start(mirror)
        for dialler in range(len(self._mirrors)):
            for listener in range(dialler):
                self._plan_dial(dialler, listener, self._random.randrange(_DIAL_US))
        self._at(self._random.randrange(200_000), lambda: self._next_call(0))
        if self._kinds:
            self._at(self._delay(self._faults.every_us), self._strike)
        self._until(lambda: len(self._history) >= self.settings.calls)
        self._healed = True
        self._say("heal")
        deadline = self._now + self.settings.rest_within_us
        self._until(lambda: self._now >= deadline or self._at_rest())
        if self._now >= deadline:
            self._violations.append("not at rest within the bound: " + self._restless())

    def _until(self, done: Callable[[], bool]) -> None:
        """Runs events until `done`, which is asked at each new time."""
        for _ in range(_MAX_EVENTS):
            if not self._events or done():
                return
            at, _serial, act = heapq.heappop(self._events)
            self._now = at
            act()
        self._violations.append(f"more than {_MAX_EVENTS} events")

    def _at_rest(self) -> bool:
        quiet_since = self._now - _QUIET_US
        return (
            all(
                mirror.core is not None
                and not mirror.pending
                and not mirror.core.more
                and mirror.changed_us < quiet_since
                for mirror in self._mirrors
            )
            and len(self._connected) == len(self._mirrors) * (len(self._mirrors) - 1) // 2
            and self._dialled_us < quiet_since
        )

    def _restless(self) -> str:
        reasons = [f"{len(self._connected)} connections"]
        for mirror in self._mirrors:
            if mirror.core is None:
                reasons.append(f"{mirror.name} is down")
            elif mirror.pending:
                reasons.append(f"{mirror.name} has {len(mirror.pending)} calls")
            elif mirror.core.more or mirror.changed_us >= self._now - _QUIET_US:
                reasons.append(f"{mirror.name} still changes")
        return ", ".join(reasons)

    def _final(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        status: dict[str, Any] = {}
        states: dict[str, dict[str, Any]] = {}
        for mirror in self._mirrors:
            if mirror.core is None:
                continue
            status[mirror.name] = self._inspect(mirror, "status")
            states[mirror.name] = {name: self._inspect(mirror, f"state {name}") for name in self._state_names}
        return status, states

    def _inspect(self, mirror: _Mirror, what: str) -> Any:
        assert mirror.core is not None
        reply = mirror.core.inspect(0, what, self._clock(mirror))
        if reply.outcome != COMMITTED:
            self._violations.append(f"{mirror.name} cannot show {what}: {reply.message}")
            return None
        return json.loads(reply.body)

    # ---------------------------------------------------------------- events and trace

    def _at(self, delay_us: int, act: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._events, (self._now + max(delay_us, 0), self._serial, act))

    def _delay(self, mean_us: int) -> int:
        """Exponential with a heavy tail now and then."""
        value = self._random.expovariate(1 / mean_us)
        if self._random.random() < 0.02:
            value *= 10
        return int(value) + 1

    def _say(self, line: str) -> None:
        line = f"{self._now} {line}"
        self._hash.update(line.encode())
        self._trace.append(line)

    def _clock(self, mirror: _Mirror) -> int:
        return self._now + mirror.offset

    # ---------------------------------------------------------------- mirrors

    def _start(self, mirror: _Mirror) -> None:
        if mirror.core is not None:
            return
        mirror.incarnation += 1
        if "clock" in self._kinds:
            mirror.offset = _EPOCH + self._random.randint(-_SKEW_US, _SKEW_US)
        self._say(f"{mirror.name} starts, journal to {mirror.disk.position}")
        core = Core(
            self._app,
            self._roster,
            mirror.index,
            limits=self.settings.limits,
            timing=self.settings.timing,
            trace=True,
            seed=self._seed,
        )
        now = self._clock(mirror)
        try:
            if mirror.disk.snapshot is not None:
                core.load_snapshot(mirror.disk.snapshot.data, mirror.disk.snapshot.position, now)
            for row in mirror.disk.journal:
                core.load_journal(row.data, row.position, now)
            core.start(now)
        except CoreError as error:
            core.close()
            self._violations.append(f"{mirror.name} cannot recover: {error}")
            return
        mirror.core = core
        known = (self._inspect(mirror, "status") or {}).get("mirrors", {})
        applied = {name: known.get(name, {}).get("applied", 0) for name in self._names}
        self._causality.starts(mirror.name, applied)
        mirror.turn_planned = False
        mirror.changed_us = self._now
        self._after(mirror)

    def _crash(self, mirror: _Mirror) -> None:
        if mirror.core is None:
            return
        unsafe = len(mirror.disk.writing) + len(mirror.disk.waiting)
        kept = self._random.randint(0, unsafe) if "keep_prefix" in self._kinds else 0
        self._say(f"{mirror.name} crashes, {unsafe - kept} of {unsafe} writes lost")
        mirror.disk.crash(kept)
        mirror.core.close()
        mirror.core = None
        for record in mirror.pending.values():
            record.ended_us = self._now
            record.message = "the mirror crashed"
        mirror.pending.clear()
        mirror.held.clear()
        mirror.held_links.clear()
        mirror.wake += 1
        silent = "silent" in self._kinds and self._random.random() < 0.5
        for connection in list(mirror.links.values()):
            self._drop_end(connection, mirror, tell=not silent)
        mirror.links.clear()

    def _after(self, mirror: _Mirror) -> None:
        """What follows each input: outputs go their ways, and a turn is planned where steps can run."""
        core = mirror.core
        assert core is not None
        while core.has_output:
            for output in core.poll():
                self._take(mirror, output)
        if self._invariants and mirror.changed_us == self._now:
            self._check_invariants(mirror)
        if mirror.disk.waiting and not mirror.disk.writing:
            self._begin_write(mirror)
        if core.more and not mirror.turn_planned:
            mirror.turn_planned = True
            incarnation = mirror.incarnation
            self._at(self._random.randint(1, 50), lambda: self._turn(mirror, incarnation))

    def _check_invariants(self, mirror: _Mirror) -> None:
        broken = self._inspect(mirror, "invariants")
        if broken and len(self._violations) < _MAX_VIOLATIONS:
            self._violations.append(f"{self._now} {mirror.name}: invariant broken: {'; '.join(broken)}")

    def _turn(self, mirror: _Mirror, incarnation: int) -> None:
        if mirror.core is None or mirror.incarnation != incarnation:
            return
        if self._now < mirror.paused_until:
            self._at(mirror.paused_until - self._now, lambda: self._turn(mirror, incarnation))
            return
        mirror.turn_planned = False
        mirror.core.turn(self._clock(mirror))
        self._after(mirror)

    def _take(self, mirror: _Mirror, output: Output) -> None:
        if isinstance(output, TraceLine):
            self._say(f"{mirror.name}: {output.text}")
            if output.text.endswith(" commits"):  # a step, which may have changed only `mem.`
                mirror.changed_us = self._now
            wrong = self._causality.sees(mirror.name, output.text)
            if wrong is not None and len(self._violations) < _MAX_VIOLATIONS:
                self._violations.append(f"{self._now} {mirror.name}: {wrong}")
        elif isinstance(output, LinkBytes):
            self._send(mirror, output)
        elif isinstance(output, Journal | Snapshot):
            mirror.disk.waiting.append(output)
            mirror.changed_us = self._now
        elif isinstance(output, Wake):
            mirror.wake += 1
            number = mirror.wake
            self._at(output.at - self._clock(mirror), lambda: self._wake(mirror, number))
        elif isinstance(output, Reply | LogLine):
            if output.barrier <= mirror.disk.position or (self._planted and isinstance(output, Reply)):
                self._release(mirror, output)
            else:
                mirror.held.append((output.barrier, output))
        else:
            assert isinstance(output, LinkClose)
            self._say(f"{mirror.name} closes link {output.link}: {output.reason}")
            connection = mirror.links.get(output.link)
            if connection is not None:
                self._drop_end(connection, mirror, tell=True)

    def _wake(self, mirror: _Mirror, number: int) -> None:
        if mirror.core is None or mirror.wake != number:
            return
        if self._now < mirror.paused_until:
            self._at(mirror.paused_until - self._now, lambda: self._wake(mirror, number))
            return
        mirror.core.turn(self._clock(mirror))
        self._after(mirror)

    def _release(self, mirror: _Mirror, output: Output) -> None:
        if isinstance(output, LogLine):
            self._say(f"{mirror.name} logs: {output.text}")
        elif isinstance(output, Reply):
            record = mirror.pending.pop(output.call, None)
            if record is not None:
                self._answer(mirror, record, output)

    # ---------------------------------------------------------------- disks

    def _begin_write(self, mirror: _Mirror) -> None:
        mirror.disk.begin()
        mean = 80_000 if "slow_disk" in self._kinds and not self._healed else 1_500
        incarnation = mirror.incarnation
        self._at(self._delay(mean), lambda: self._written(mirror, incarnation))

    def _written(self, mirror: _Mirror, incarnation: int) -> None:
        if mirror.core is None or mirror.incarnation != incarnation:
            return
        position = mirror.disk.done()
        while mirror.held and mirror.held[0][0] <= position:
            self._release(mirror, mirror.held.popleft()[1])
        for link, held in list(mirror.held_links.items()):
            while held and held[0][0] <= position:
                self._transmit(mirror, link, held.popleft()[1])
        mirror.core.disk_done(position, self._clock(mirror))
        self._after(mirror)

    # ---------------------------------------------------------------- links

    def _plan_dial(self, dialler: int, listener: int, delay_us: int) -> None:
        self._at(delay_us, lambda: self._dial(dialler, listener))

    def _dial(self, dialler: int, listener: int) -> None:
        """The later mirror dials the earlier one, again and again."""
        pair = (dialler, listener)
        self._plan_dial(dialler, listener, self._delay(_DIAL_US))
        one, other = self._mirrors[dialler], self._mirrors[listener]
        blocked = self._cut.get(pair, 0) or self._cut.get((listener, dialler), 0)
        if pair in self._connected or one.core is None or other.core is None or blocked:
            return
        if self._now < max(one.paused_until, other.paused_until):
            return
        self._connections += 1
        self._dialled_us = self._now
        connection = Connection(self._connections, dialler, listener)
        self._connected[pair] = connection
        self._say(f"connection {connection.number}: {one.name} dials {other.name}")
        for mirror in (one, other):
            mirror.last_link += 1
            connection.ends[mirror.index] = mirror.last_link
            mirror.links[mirror.last_link] = connection
            mirror.changed_us = self._now
        for mirror, peer in ((one, other.name), (other, "")):
            number = connection.ends.get(mirror.index)
            if number is not None and mirror.core is not None:
                mirror.core.link_up(number, peer, self._clock(mirror))
                self._after(mirror)

    def _send(self, mirror: _Mirror, output: LinkBytes) -> None:
        if output.link not in mirror.links:
            return
        held = mirror.held_links.get(output.link)
        if held or output.barrier > mirror.disk.position:
            mirror.held_links.setdefault(output.link, deque()).append((output.barrier, output.data))
        else:
            self._transmit(mirror, output.link, output.data)

    def _transmit(self, mirror: _Mirror, link: int, data: bytes) -> None:
        connection = mirror.links.get(link)
        if connection is None:
            return
        direction = connection.directions[mirror.index]
        direction.queue.append(data)
        self._plan_arrival(connection, direction)

    def _plan_arrival(self, connection: Connection, direction: Direction) -> None:
        if not direction.arriving:
            direction.arriving = True
            mean = 40_000 if "slow_net" in self._kinds and not self._healed else 800
            self._at(self._delay(mean), lambda: self._arrive(connection, direction))

    def _arrive(self, connection: Connection, direction: Direction) -> None:
        """A random piece of what is under way arrives; a stream loses nothing but by ending."""
        direction.arriving = False
        receiver = self._mirrors[direction.receiver]
        number = connection.ends.get(receiver.index)
        if number is None or receiver.core is None:
            return
        blocked = self._cut.get((direction.sender, direction.receiver), 0)
        if blocked or self._now < receiver.paused_until:
            direction.arriving = True
            self._at(self._delay(100_000), lambda: self._arrive(connection, direction))
            return
        if direction.queue:
            data = self._piece(direction)
            receiver.core.link_bytes(number, data, self._clock(receiver))
            self._after(receiver)
        if direction.queue or (direction.closed and receiver.index in connection.ends):
            if not direction.queue:
                self._lose(connection, receiver)
            else:
                self._plan_arrival(connection, direction)

    def _piece(self, direction: Direction) -> bytes:
        data = b"".join(direction.queue)
        direction.queue.clear()
        most = 7 if "tiny_reads" in self._kinds and not self._healed else len(data)
        size = (
            len(data)
            if self._random.random() < 0.6
            else self._random.randint(1, max(1, min(most, len(data))))
        )
        if size < len(data):
            direction.queue.append(data[size:])
        return data[:size]

    def _drop_end(self, connection: Connection, mirror: _Mirror, *, tell: bool) -> None:
        """`mirror` ends the connection on its side; if `tell`, the other hears of it behind the bytes."""
        number = connection.ends.pop(mirror.index, None)
        if number is None:
            return
        mirror.links.pop(number, None)
        mirror.held_links.pop(number, None)
        direction = connection.directions[mirror.index]
        if tell:
            direction.closed = True
            self._plan_arrival(connection, direction)
        pair = (connection.dialler, connection.listener)
        if self._connected.get(pair) is connection:
            del self._connected[pair]

    def _lose(self, connection: Connection, mirror: _Mirror) -> None:
        """`mirror` hears that the connection has ended."""
        number = connection.ends.get(mirror.index)
        self._drop_end(connection, mirror, tell=False)
        if number is not None and mirror.core is not None:
            self._say(f"{mirror.name} loses connection {connection.number}")
            mirror.core.link_down(number, self._clock(mirror))
            self._after(mirror)

    # ---------------------------------------------------------------- calls

    def _next_call(self, number: int) -> None:
        if number >= self.settings.calls:
            return
        call = self._workload(self._random, number, self._names)
        mirror = self._mirrors[self._names.index(call.mirror)]
        record = CallRecord(number, mirror.name, mirror.incarnation, call.method, call.args, self._now)
        self._history.append(record)
        self._say(f"call {number} at {mirror.name}: {call.method} {json.dumps(call.args, sort_keys=True)}")
        if mirror.core is None or self._now < mirror.paused_until:
            record.ended_us = self._now
            record.outcome, record.reason = "aborted", "down"
        else:
            mirror.pending[number + 1] = record
            arguments = json.dumps(call.args).encode()
            now = self._clock(mirror)
            reply = mirror.core.rpc(number + 1, call.method, arguments, call.timeout_us, now)
            if reply.outcome != PENDING:
                self._take(mirror, reply)
            self._after(mirror)
        self._at(self._delay(self.settings.call_every_us), lambda: self._next_call(number + 1))

    def _answer(self, mirror: _Mirror, record: CallRecord, reply: Reply) -> None:
        record.ended_us = self._now
        record.outcome = OUTCOMES[reply.outcome]
        record.reason = reason_name(reply.reason) if reply.outcome != COMMITTED else ""
        record.message = reply.message
        if reply.outcome == COMMITTED:
            record.result = json.loads(reply.body) if reply.body else None
        mirror.changed_us = self._now
        self._say(f"call {record.number} {record.outcome} {record.reason}".rstrip())

    # ---------------------------------------------------------------- faults

    def _strike(self) -> None:
        """One fault among those that this seed drew; each ends by itself, at healing at the latest."""
        if self._healed:
            return
        self._at(self._delay(self._faults.every_us), self._strike)
        strikes = [
            kind
            for kind in ("cut", "one_way", "isolate", "crash", "snapshot", "pause")
            if kind in self._kinds
        ]
        if not strikes:
            return
        kind = self._random.choice(strikes)
        self._fired[kind] = self._fired.get(kind, 0) + 1
        lasts = self._random.randint(1_000, self._faults.longest_us)
        mirror = self._random.choice(self._mirrors)
        if kind == "crash":
            self._crash(mirror)
            lasts = lasts * 3 if "long_down" in self._kinds else lasts // 3
            self._later_or_healed(lasts, lambda: self._start(mirror))
        elif kind == "snapshot":
            if mirror.core is not None:
                mirror.core.snapshot(self._clock(mirror))
                self._after(mirror)
        elif kind == "pause":
            mirror.paused_until = max(mirror.paused_until, self._now + lasts)
            self._say(f"{mirror.name} stands still for {lasts}")
        else:
            self._strike_link(kind, mirror, lasts)

    def _strike_link(self, kind: str, mirror: _Mirror, lasts: int) -> None:
        others = [other.index for other in self._mirrors if other is not mirror]
        if not others:
            return
        cut: list[tuple[int, int]] = []
        for other in others if kind == "isolate" else [self._random.choice(others)]:
            cut.append((mirror.index, other))
            if kind != "one_way":
                cut.append((other, mirror.index))
        for pair in cut:
            self._cut[pair] = self._cut.get(pair, 0) + 1
            self._say(f"cut {self._names[pair[0]]} -> {self._names[pair[1]]} for {lasts}")
        if "silent" not in self._kinds or self._random.random() < 0.5:
            for pair in cut:
                connection = self._connected.get((max(pair), min(pair)))
                if connection is not None:
                    self._lose(connection, self._mirrors[pair[0]])
                    self._lose(connection, self._mirrors[pair[1]])
        self._later_or_healed(lasts, lambda: self._mend(cut))

    def _mend(self, cut: list[tuple[int, int]]) -> None:
        for pair in cut:
            self._cut[pair] -= 1

    def _later_or_healed(self, delay_us: int, act: Callable[[], None]) -> None:
        """Undoes a fault after its time, or soon after everything is healed."""
        step = min(delay_us, 50_000)

        def check(left: int) -> None:
            if left <= 0 or self._healed:
                act()
            else:
                self._at(min(left, 50_000), lambda: check(left - 50_000))

        self._at(step, lambda: check(delay_us - step))


__all__ = [
    "NO_FAULTS",
    "CallRecord",
    "Faults",
    "Result",
    "Settings",
    "SimCall",
    "SimMirror",
    "Simulation",
    "Workload",
]
