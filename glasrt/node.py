"""One mirror on a real machine: drives the core with sockets, clock and disk.

Owns the order of things: inputs as they come, one drain of outputs a loop turn, one group commit at a time
off the loop, and that nothing leaves before its barrier is on disk. Does not know what any bytes mean, HTTP
(asgi.py) or how a connection is made (link.py).

What is held back is bounded: beyond `max_held` bytes new calls are refused and links are not read until the
disk has caught up. A failing disk is tried again until it works; meanwhile nothing is acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from glasrt.errors import ABORTED, PENDING, UNKNOWN, WHY_BUSY, CoreError, StoreError
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
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._held: deque[tuple[int, asyncio.Future[Reply] | None, Reply | LogLine]] = deque()
        self._last_call = 0
        self._drain_planned = False
        self._stopping = False
        self._quiet = asyncio.Event()
        self._wake_at = 0
        self._wake_handle: asyncio.TimerHandle | None = None
        self._to_commit: list[Journal | Snapshot] = []
        self._committing: list[Journal | Snapshot] = []
        self._held_bytes = 0
        self._full = False
        self._retry = _RETRY_LEAST
        self._retry_handle: asyncio.TimerHandle | None = None
        self._disk_works = True
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

    async def stop(self) -> None:
        """Lets pending calls finish for some seconds, commits what there is and closes everything."""
        self._stopping = True
        self.links.stop()
        self._soon()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), _FINISH_WITHIN)
        if self._busy() and not self.failed.done():
            self._log.error("stopped with the disk behind: what was not acknowledged may be lost")
        await self.links.close()
        for handle in (self._wake_handle, self._retry_handle):
            if handle is not None:
                handle.cancel()
        for future in self._waiting.values():
            _settle(
                future, Reply(0, 0, UNKNOWN, 0, 504, b"", b"", "the mirror stopped before the answer came")
            )
        self._waiting.clear()
        self._core.close()
        self._store.close()

    def _busy(self) -> bool:
        return bool(self._committing or self._to_commit or self._held or self._drain_planned)

    # ---------------------------------------------------------------- calls

    def http(self, verb: bytes, path: bytes, body: bytes) -> Reply | asyncio.Future[Reply]:
        """A request: its reply where it may leave at once, else a future of it."""
        if self._full or self._stopping:
            return self._refusal()
        self._last_call = call = self._last_call + 1
        reply = self._core.http(call, verb, path, body, self.settings.call_timeout_us, now_us())
        return self._answer(call, reply)

    def rpc(self, method: str, arguments: bytes) -> Reply | asyncio.Future[Reply]:
        """An rpc method with its arguments as a JSON object; the reply as in `http`."""
        if self._full or self._stopping:
            return self._refusal()
        self._last_call = call = self._last_call + 1
        reply = self._core.rpc(call, method, arguments, self.settings.call_timeout_us, now_us())
        return self._answer(call, reply)

    async def call(self, method: str, arguments: bytes) -> Reply:
        """The same as `rpc`, waited for."""
        reply = self.rpc(method, arguments)
        return reply if isinstance(reply, Reply) else await reply

    def inspect(self, what: str) -> Reply | asyncio.Future[Reply]:
        """`status`, `state NAME`, `invariants` or `plan` of the core; only what is on disk is shown."""
        self._last_call = call = self._last_call + 1
        return self._answer(call, self._core.inspect(call, what, now_us()))

    def _answer(self, call: int, reply: Reply) -> Reply | asyncio.Future[Reply]:
        if self._core.has_output or self._core.more:
            self._soon()
        if reply.outcome != PENDING and reply.barrier <= self.durable:
            return reply
        if reply.outcome == PENDING:
            waiting = Waiting(loop=self._loop)
            self._waiting[call] = waiting
            waiting.add_done_callback(lambda done: self._given_up(call, done))
            return waiting
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._held.append((reply.barrier, future, reply))
        return future

    def _given_up(self, call: int, future: asyncio.Future[Reply]) -> None:
        if self._waiting.pop(call, None) is not None and future.cancelled():
            self._core.cancel(call, now_us())
            self._soon()

    def _refusal(self) -> Reply:
        why = "this mirror is stopping" if self._stopping else "the disk is behind: try again later"
        return Reply(0, 0, ABORTED, WHY_BUSY, 503, b"", b"", why)

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
        if self._stopping and not self._waiting and not self._busy():
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
                self._release_or_hold(output.barrier, future, output)
        elif isinstance(output, Wake):
            self._wake(output.at)
        elif isinstance(output, LogLine):
            self._release_or_hold(output.barrier, None, output)
        elif isinstance(output, LinkClose):
            self._close_link(output)
        elif isinstance(output, Snapshot):
            self._take_snapshot(output)
        else:
            assert isinstance(output, TraceLine)
            self._log.event(DEBUG, output.text)

    def _release_or_hold(
        self, barrier: int, future: asyncio.Future[Reply] | None, what: Reply | LogLine
    ) -> None:
        if barrier <= self.durable:
            self._release(future, what)
        else:
            self._held.append((barrier, future, what))

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
        self._to_commit.append(output)
        self._held_bytes += len(output.data)
        self._since_snapshot = 0
        self._snapshot_at = self._snapshot_step = max(_SNAPSHOT_LEAST, 2 * len(output.data))

    def _commit(self) -> None:
        """Everything that has come together, in one transaction, off the loop."""
        self._retry_handle = None
        self._committing, self._to_commit = self._to_commit, []
        self._store.commit(self._committing)

    def _committed(self, result: int | StoreError) -> None:
        items, self._committing = self._committing, []
        if isinstance(result, StoreError):
            self._commit_failed(items, result)
            return
        if not self._disk_works:
            self._disk_works = True
            self._retry = _RETRY_LEAST
            self._log.info("the disk works again")
        self.durable = result
        self._held_bytes -= sum(len(item.data) for item in items)
        self._core.disk_done(self.durable, now_us())
        self._release_durable()
        self._soon()

    def _release_durable(self) -> None:
        held, durable = self._held, self.durable
        while held and held[0][0] <= durable:
            _barrier, future, what = held.popleft()
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
        if self._disk_works:
            self._disk_works = False
            self._log.error(f"{error}; nothing is acknowledged until it works again")
        self._retry_handle = self._loop.call_later(self._retry, self._commit)
        self._retry = min(2 * self._retry, _RETRY_MOST)

    def _check_held(self) -> None:
        """Takes less in when too much waits for the disk, and more again when half of it is gone."""
        held = self._held_bytes + sum(link.held_bytes for link in self._links.values())
        over = held > self.settings.max_held or len(self._held) > _MAX_HELD_ITEMS
        under = held < self.settings.max_held // 2 and len(self._held) < _MAX_HELD_ITEMS // 2
        if over and not self._full:
            self._full = True
            self._each_link(LinkConnection.pause)
        elif self._full and under:
            self._full = False
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
            self._quiet.set()

    # ---------------------------------------------------------------- for people

    @property
    def disk_works(self) -> bool:
        """Whether the last commit succeeded."""
        return self._disk_works

    def facts(self) -> dict[str, Any]:
        """What the host knows about this mirror, for /sys/status."""
        sizes = self._store.sizes()
        return {
            "mirror": self.settings.mirror,
            "uptime_s": round(time.time() - self.started_at, 3),
            "durable": self.durable,
            "disk_works": self._disk_works,
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
