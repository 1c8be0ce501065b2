"""One mirror on a real machine: drives the core with sockets, clock and disk.

Owns the order of things: inputs as they come, one drain of outputs a loop turn, one group commit at a time
off the loop, and that nothing leaves before its barrier is on disk. Does not know what any bytes mean, HTTP
(asgi.py) or how a connection is made (link.py).

What is held back is bounded: beyond `max_held` bytes new calls are refused and links are not read until the
disk has caught up. A failing disk is tried again until it works; meanwhile nothing is acknowledged and new
calls are refused. What was held back for longer than a call may wait is told that it is not known.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from glasrt.config import Address
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
    Snapshot,
    Timing,
    TraceLine,
    Wake,
)
from glasrt.errors import ABORTED, PENDING, UNKNOWN, WHY_BUSY, WHY_TIMEOUT, CoreError, StoreError
from glasrt.link import LinkConnection, Links
from glasrt.logs import DEBUG, Log
from glasrt.store_process import StoreProcess

_MAX_HELD = 64 << 20
_MAX_HELD_ITEMS = 200_000
_SNAPSHOT_LEAST = 4 << 20
_RETRY_LEAST, _RETRY_MOST = 0.1, 5.0
_FINISH_WITHIN = 5.0
_MAX_DRAINS = 64
_LONGEST_SLEEP_US = 3600 * 10**6
_SLOW_COMMIT = 5.0  # seconds after which a write counts as a disk that does not work
_LOOK_AGAIN = 0.05
_TAKE_BACK_WITHIN = 0.5  # seconds for asking the core about calls that are given up


@dataclass(frozen=True)
class NodeSettings:
    """What one mirror is: its name, its place in the roster, its bounds."""

    mirror: str
    roster: Roster
    limits: Limits
    timing: Timing
    call_timeout_us: int
    max_held: int = _MAX_HELD


def now_us() -> int:
    """The clock, in microseconds since 1970."""
    return time.time_ns() // 1000


class Waiting(asyncio.Future[Reply]):
    """The reply to a call that waits for more than the disk; cancelling it cancels the call."""

    since = 0  # when the call came


class Reading(asyncio.Future[Reply]):
    """What is to be shown when it is on disk. It changes nothing."""


_Held = tuple[int, int, asyncio.Future[Reply] | None, Reply | LogLine]
"""Barrier, when the call came, who waits, what for."""


class _Link:
    """A connection and what waits for the disk before it may be sent there."""

    __slots__ = ("closing", "connection", "held", "held_bytes")

    def __init__(self, connection: LinkConnection) -> None:
        self.connection = connection
        self.held: deque[tuple[int, bytes]] = deque()
        self.held_bytes = 0
        self.closing = False


class Node:
    """A running mirror. All methods belong to one event loop."""

    def __init__(self, app_module: Any, settings: NodeSettings, store: StoreProcess, log: Log) -> None:
        """Opens the core and recovers from the store. Raises CoreError, StoreError."""
        self.settings = settings
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.started_at = time.time()
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._log = log
        self._core = Core(
            app_module,
            settings.roster,
            [mirror.name for mirror in settings.roster.mirrors].index(settings.mirror),
            limits=settings.limits,
            timing=settings.timing,
            seed=secrets.randbits(64),  # so that nobody can aim keys at one place of a hash table
        )
        self.links = Links(self, log, max_accepted=4 * len(settings.roster.mirrors) + 16)
        self._links: dict[int, _Link] = {}
        self._waiting: dict[int, Waiting] = {}
        self._held: deque[_Held] = deque()
        self._late_handle: asyncio.TimerHandle | None = None
        self._late_since = 0  # of the answer that it is for
        self._last_call = 0
        self._drain_planned = False
        self._stopping = False
        self._refusal: Reply | None = None  # the answer to all new calls, where there is one
        self._calls_ended = asyncio.Event()  # this one and the next: since it is stopping
        self._quiet = asyncio.Event()
        self._wake_at = 0
        self._wake_handle: asyncio.TimerHandle | None = None
        self._to_commit: list[Journal | Snapshot] = []
        self._committing: list[Journal | Snapshot] = []
        self._held_bytes = 0
        self._full = False
        self._retry = _RETRY_LEAST
        self._retry_handle: asyncio.TimerHandle | None = None
        self._disk_problem = ""
        self._commit_began = 0.0
        self._slow_handle: asyncio.TimerHandle | None = None
        sizes = store.sizes()
        self._since_snapshot = sizes.journal
        self._snapshot_at = self._snapshot_step = max(_SNAPSHOT_LEAST, 2 * sizes.snapshot)
        self.durable = store.position
        self._recover()

    # ---------------------------------------------------------------- life

    def _recover(self) -> None:
        now = now_us()
        try:
            for part in self._store.recover():
                load = self._core.load_snapshot if isinstance(part, Snapshot) else self._core.load_journal
                load(part.data, part.position, now)
            self._core.start(now)
        except CoreError as error:
            self._core.close()
            raise CoreError(
                f"{self._store.path}: cannot recover: {error}; keep the file for repair"
            ) from error
        self._store.attach(self._committed)
        self._soon()

    async def connect(self, listen: Address | None, dial: dict[str, Address]) -> None:
        """Listens for later mirrors of the roster and dials earlier ones. Raises PortError."""
        if listen is not None:
            await self.links.listen(listen)
        for peer, address in dial.items():
            self.links.dial(peer, address)

    async def finish_calls(self, within: float) -> None:
        """Refuses new calls and lets open ones end; those that have not `within` seconds are settled."""
        self._stopping = True
        self._choose_refusal()
        self._soon()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._calls_ended.wait(), within)
        self._drain()
        self._settle_all()

    async def stop(self) -> None:
        """Lets pending calls finish for some seconds, commits what there is and closes everything."""
        self._stopping = True
        self._choose_refusal()
        self.links.stop()
        if not self.failed.done():
            self._quiet.clear()
        self._soon()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), _FINISH_WITHIN)
        if self._busy() and not self.failed.done():
            self._log.error("stopped with the disk behind: what was not acknowledged may be lost")
        await self.links.close()
        for handle in (self._wake_handle, self._retry_handle, self._slow_handle, self._late_handle):
            if handle is not None:
                handle.cancel()
        self._settle_all()
        self._core.close()
        self._store.close()

    def _busy(self) -> bool:
        return bool(self._committing or self._to_commit or self._held or self._drain_planned)

    # ---------------------------------------------------------------- calls

    def http(self, verb: bytes, path: bytes, body: bytes) -> Reply | asyncio.Future[Reply]:
        """A request: its reply where it may leave at once, else a future of it."""
        if self._refusal is not None:
            return self._refusal
        self._last_call = call = self._last_call + 1
        now = now_us()
        reply = self._core.http(call, verb, path, body, self.settings.call_timeout_us, now)
        return self._answer(call, reply, now)

    def rpc(self, method: str, arguments: bytes) -> Reply | asyncio.Future[Reply]:
        """An rpc method with its arguments as a JSON object; the reply as in `http`."""
        if self._refusal is not None:
            return self._refusal
        self._last_call = call = self._last_call + 1
        now = now_us()
        reply = self._core.rpc(call, method, arguments, self.settings.call_timeout_us, now)
        return self._answer(call, reply, now)

    async def call(self, method: str, arguments: bytes) -> Reply:
        """The same as `rpc`, waited for."""
        reply = self.rpc(method, arguments)
        return reply if isinstance(reply, Reply) else await reply

    def inspect(self, what: str) -> Reply | asyncio.Future[Reply]:
        """`state NAME` or `invariants` of the core; only what is on disk is shown."""
        if self._disk_problem and self._refusal is not None:
            return self._refusal
        reply = self.look(what)
        if reply.barrier <= self.durable:
            return reply
        future = Reading(loop=self._loop)
        self._hold(reply.barrier, now_us(), future, reply)
        return future

    def look(self, what: str) -> Reply:
        """`status` or `plan` of the core, at once: they tell no state."""
        self._last_call += 1
        reply = self._core.inspect(self._last_call, what, now_us())
        if self._core.has_output or self._core.more:
            self._soon()
        return reply

    def _answer(self, call: int, reply: Reply, now: int) -> Reply | asyncio.Future[Reply]:
        if self._core.has_output or self._core.more:
            self._soon()
        if reply.outcome != PENDING and reply.barrier <= self.durable:
            return reply
        if reply.outcome == PENDING:
            waiting = Waiting(loop=self._loop)
            waiting.since = now
            self._waiting[call] = waiting
            waiting.add_done_callback(lambda done: self._given_up(call, done))
            return waiting
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._hold(reply.barrier, now, future, reply)
        return future

    def _given_up(self, call: int, future: asyncio.Future[Reply]) -> None:
        if self._waiting.pop(call, None) is not None and future.cancelled():
            self._core.cancel(call, now_us())
            self._soon()

    def _choose_refusal(self) -> None:
        if self._stopping:
            self._refusal = _busy("this mirror is stopping")
        elif self._disk_problem:
            self._refusal = _busy(f"the disk does not work: {self._disk_problem}")
        else:
            self._refusal = _busy("the disk is behind: try again later") if self._full else None

    # ---------------------------------------------------------------- calls that get no answer in time

    def _hold(
        self, barrier: int, since: int, future: asyncio.Future[Reply] | None, what: Reply | LogLine
    ) -> None:
        """Keeps an answer until its barrier is on disk, but nobody waits longer than a call may."""
        self._held.append((barrier, since, future, what))
        if self._late_handle is not None and since >= self._late_since:
            return
        if self._late_handle is not None:
            self._late_handle.cancel()
        self._late_since = since
        left = (since + self.settings.call_timeout_us - now_us()) / 1e6
        self._late_handle = self._loop.call_later(max(left, _LOOK_AGAIN), self._settle_late)

    def _settle_late(self) -> None:
        """One timer: it looks again when the next one is due."""
        self._late_handle = None
        due = now_us() - self.settings.call_timeout_us
        kept: deque[_Held] = deque()
        first = None
        for held in self._held:
            _barrier, since, future, what = held
            if isinstance(what, Reply) and since <= due:
                _settle_held(future, what, "the disk did not work in time")
            elif isinstance(what, LogLine) or (future is not None and not future.done()):
                kept.append(held)
                first = since if first is None else min(first, since)
        self._held = kept
        if first is not None:
            self._late_since = first
            delay = max((first - due) / 1e6, _LOOK_AGAIN)
            self._late_handle = self._loop.call_later(delay, self._settle_late)

    def _settle_all(self) -> None:
        """The mirror stops: every open call is told what is known of it."""
        for _barrier, _since, future, what in self._held:
            if isinstance(what, Reply):
                _settle_held(future, what, "the mirror stopped")
        until = self._loop.time() + _TAKE_BACK_WITHIN
        for call, waiting in list(self._waiting.items()):
            del self._waiting[call]
            if self._loop.time() < until and self._take_back(call):
                _settle(waiting, _busy("this mirror is stopping; nothing happened"))
            else:
                _settle(waiting, _unknown("the mirror stopped before the answer came"))

    def _take_back(self, call: int) -> bool:
        """Cancels a call; True: it waited here only, so nothing happened and nothing will. The core does not
        say which calls were sent to another mirror or have ended, but its counts do.
        """
        waiting, shipped = self._counts()
        self._core.cancel(call, now_us())
        return self._counts() == (waiting - 1, shipped)

    def _counts(self) -> tuple[int, int]:
        status = json.loads(self._core.inspect(0, "status", now_us()).body)
        return status["waiting"], status["shipped"]

    # ---------------------------------------------------------------- links

    def link_is_up(self, connection: LinkConnection) -> None:
        """Part of LinkUser."""
        self._links[connection.number] = _Link(connection)
        if self._full:
            connection.pause()
        self._core.link_up(connection.number, connection.peer, now_us())
        self._soon()

    def link_received(self, number: int, data: bytes) -> None:
        """Part of LinkUser."""
        link = self._links.get(number)
        if link is not None and not link.closing:
            self._core.link_bytes(number, data, now_us())
            self._soon()

    def link_is_down(self, number: int) -> None:
        """Part of LinkUser."""
        link = self._links.pop(number, None)
        if link is not None and not link.closing:
            self._core.link_down(number, now_us())
            self._soon()

    def _send(self, output: LinkBytes) -> None:
        link = self._links.get(output.link)
        if link is None or link.closing:
            return
        if link.held or output.barrier > self.durable:
            link.held.append((output.barrier, output.data))
            link.held_bytes += len(output.data)
        else:
            link.connection.write(output.data)
        if link.held_bytes + link.connection.waiting() > self.settings.limits.max_link_buffer:
            self._log.warning("a link takes too little, closed", peer=link.connection.peer, link=output.link)
            link.connection.abort()

    def _close_link(self, output: LinkClose) -> None:
        """What is held back must not leave any more; what was sent does."""
        link = self._links.get(output.link)
        if link is None or link.closing:
            return
        link.closing = True
        self._log.event(DEBUG, "link closed: " + output.reason, peer=link.connection.peer, link=output.link)
        if link.held:
            link.held.append((link.held[-1][0], b""))
        else:
            link.connection.close()

    def _flush(self, link: _Link) -> None:
        held, durable = link.held, self.durable
        while held and held[0][0] <= durable:
            data = held.popleft()[1]
            link.held_bytes -= len(data)
            link.connection.write(data)
        if link.closing and not held:
            link.connection.close()

    # ---------------------------------------------------------------- turns

    def _soon(self) -> None:
        """Plans one drain (with a turn where steps can run) behind what the loop has now."""
        if not self._drain_planned:
            self._drain_planned = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._drain_planned = False
        if self.failed.done():
            return
        core = self._core
        if core.more and not self._full:
            core.turn(now_us())
        for _ in range(_MAX_DRAINS):
            if not core.has_output:
                break
            for output in core.poll():
                self._take(output)
        if core.has_output or (core.more and not self._full):
            self._soon()
        self._ask_snapshot()
        if self._to_commit and not self._committing and self._retry_handle is None:
            self._commit()
        self._check_held()
        if self._stopping and not self._waiting:
            if not self._held:
                self._calls_ended.set()
            if not self._busy():
                self._quiet.set()

    def _take(self, output: Output) -> None:
        if isinstance(output, LinkBytes):
            self._send(output)
        elif isinstance(output, Journal):
            self._to_commit.append(output)
            self._held_bytes += len(output.data)
            self._since_snapshot += len(output.data)
        elif isinstance(output, Reply):
            future = self._waiting.pop(output.call, None)
            if future is not None:
                self._release_or_hold(output.barrier, future.since, future, output)
        elif isinstance(output, Wake):
            self._wake(output.at)
        elif isinstance(output, LogLine):
            self._release_or_hold(output.barrier, now_us(), None, output)
        elif isinstance(output, LinkClose):
            self._close_link(output)
        elif isinstance(output, Snapshot):
            self._take_snapshot(output)
        else:
            assert isinstance(output, TraceLine)
            self._log.event(DEBUG, output.text)

    def _release_or_hold(
        self, barrier: int, since: int, future: asyncio.Future[Reply] | None, what: Reply | LogLine
    ) -> None:
        if barrier <= self.durable:
            self._release(future, what)
        elif self._disk_problem and isinstance(what, Reply) and what.reason == WHY_TIMEOUT:
            self._release(future, what)  # it tells nothing that has to be on disk
        else:
            self._hold(barrier, since, future, what)

    def _release(self, future: asyncio.Future[Reply] | None, what: Reply | LogLine) -> None:
        if isinstance(what, LogLine):
            self._log.event(what.level, what.text)
        elif future is not None:
            _settle(future, what)

    def _wake(self, at: int) -> None:
        """One timer: an earlier one that is still to come checks again when it is due."""
        due = self._wake_at
        self._wake_at = at
        if self._wake_handle is not None:
            if due <= at:
                return
            self._wake_handle.cancel()
        self._arm()

    def _arm(self) -> None:
        delay = min(max(self._wake_at - now_us(), 0), _LONGEST_SLEEP_US)
        self._wake_handle = self._loop.call_later(delay / 1e6, self._woken)

    def _woken(self) -> None:
        """The core has its turn even where its time has not come: the clock may have been set back, and the
        core has to hear of that.
        """
        self._wake_handle = None
        if self.failed.done():
            return
        now = now_us()
        if now < self._wake_at:
            self._arm()
        self._core.turn(now)
        self._soon()

    # ---------------------------------------------------------------- disk

    def _ask_snapshot(self) -> None:
        """Asks when the journal has grown enough; where memory lacked, again after as much growth."""
        if self._since_snapshot <= self._snapshot_at:
            return
        self._snapshot_at = self._since_snapshot + self._snapshot_step
        self._core.snapshot(now_us())
        for output in self._core.poll():
            self._take(output)

    def _take_snapshot(self, output: Snapshot) -> None:
        self._to_commit.append(output)  # not counted as held back: no call waits for it
        self._since_snapshot = 0
        self._snapshot_at = self._snapshot_step = max(_SNAPSHOT_LEAST, 2 * len(output.data))

    def _commit(self) -> None:
        """Everything that has come together, in one transaction, off the loop."""
        self._retry_handle = None
        self._committing, self._to_commit = self._to_commit, []
        self._commit_began = self._loop.time()
        if self._slow_handle is None:
            self._slow_handle = self._loop.call_later(_SLOW_COMMIT, self._check_commit)
        self._store.commit(self._committing)

    def _check_commit(self) -> None:
        """One timer: a later commit than the one that it was meant for gets its time too."""
        self._slow_handle = None
        left = self._commit_began + _SLOW_COMMIT - self._loop.time()
        if self._committing and left > 0:
            self._slow_handle = self._loop.call_later(left, self._check_commit)
        elif self._committing:
            self._disk_fails(f"a write has been under way for more than {_SLOW_COMMIT:.0f} s")

    def _disk_fails(self, why: str) -> None:
        if not self._disk_problem:
            self._log.error(f"{why}; nothing is acknowledged until the disk works again")
        self._disk_problem = why
        self._choose_refusal()

    def _committed(self, result: int | StoreError) -> None:
        items, self._committing = self._committing, []
        if isinstance(result, StoreError):
            self._commit_failed(items, result)
            return
        if self._disk_problem:
            self._disk_problem = ""
            self._choose_refusal()
            self._retry = _RETRY_LEAST
            self._log.info("the disk works again")
        self.durable = result
        self._held_bytes -= sum(len(item.data) for item in items if isinstance(item, Journal))
        self._core.disk_done(self.durable, now_us())
        self._release_durable()
        self._soon()

    def _release_durable(self) -> None:
        held, durable = self._held, self.durable
        while held and held[0][0] <= durable:
            _barrier, _since, future, what = held.popleft()
            self._release(future, what)
        for link in self._links.values():
            if link.held:
                self._flush(link)

    def _commit_failed(self, items: list[Journal | Snapshot], error: StoreError) -> None:
        """Nothing was written: the same again later, with what has come meanwhile."""
        self._to_commit = items + self._to_commit
        if not error.passing:
            self.fail(str(error))
            return
        self._disk_fails(str(error))
        self._retry_handle = self._loop.call_later(self._retry, self._commit)
        self._retry = min(2 * self._retry, _RETRY_MOST)

    def _check_held(self) -> None:
        """Takes less in when too much waits for the disk, and more again when half of it is gone."""
        held = self._held_bytes + sum(link.held_bytes for link in self._links.values())
        over = held > self.settings.max_held or len(self._held) > _MAX_HELD_ITEMS
        under = held < self.settings.max_held // 2 and len(self._held) < _MAX_HELD_ITEMS // 2
        if over and not self._full:
            self._full = True
            self._choose_refusal()
            self._each_link(LinkConnection.pause)
        elif self._full and under:
            self._full = False
            self._choose_refusal()
            self._each_link(LinkConnection.resume)
            self._soon()

    def _each_link(self, do: Callable[[LinkConnection], None]) -> None:
        for link in list(self._links.values()):
            do(link.connection)

    def fail(self, why: str) -> None:
        """The mirror cannot go on; whoever runs it sees `failed`."""
        if not self.failed.done():
            self._log.error(why)
            self.failed.set_result(why)
            self._calls_ended.set()
            self._quiet.set()

    # ---------------------------------------------------------------- for people

    @property
    def disk_works(self) -> bool:
        """Whether the last commit succeeded, and none takes long."""
        return not self._disk_problem

    def facts(self) -> dict[str, Any]:
        """What the host knows about this mirror, for /sys/status."""
        sizes = self._store.sizes()
        return {
            "mirror": self.settings.mirror,
            "processor": platform.machine(),
            "uptime_s": round(time.time() - self.started_at, 3),
            "durable": self.durable,
            "disk_works": self.disk_works,
            "held_bytes": self._held_bytes,
            "waiting_calls": len(self._waiting),
            "open_links": [
                {"link": number, "dialled": link.connection.peer, "held_bytes": link.held_bytes}
                for number, link in self._links.items()
            ],
            "store": {
                "path": str(self._store.path),
                "snapshot_bytes": sizes.snapshot,
                "journal_bytes": sizes.journal,
                "position": sizes.position,
            },
        }


def _settle(future: asyncio.Future[Reply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)


def _settle_held(future: asyncio.Future[Reply] | None, reply: Reply, why: str) -> None:
    """Instead of `reply`, which must not leave as it tells what is not on disk."""
    if future is None:
        return
    if isinstance(future, Reading) or reply.outcome == ABORTED:
        _settle(future, _busy(f"{why}; nothing happened"))
    else:
        _settle(future, _unknown(f"{why}: it may or may not have happened"))


def _busy(why: str) -> Reply:
    return Reply(0, 0, ABORTED, WHY_BUSY, 503, b"", b"", why)


def _unknown(why: str) -> Reply:
    return Reply(0, 0, UNKNOWN, 0, 504, b"", b"", why)
