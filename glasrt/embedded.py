"""A mirror inside a Python process: alone, at every place, called directly.

Owns what happens around a direct call of the core when more is to do than to give its result: the journal,
steps that can run, calls that wait, errors. Does not know the app's methods: a compiled app has a class of
its own above this one, which calls its C entries and comes here only then.

One mirror belongs to one thread at a time: there is no lock on the way of a call. Programs with threads
hold one of their own around a mirror, or open one mirror a thread. Times are microseconds since 1970.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from glasrt.bundle import plan_of
from glasrt.core import (
    HAS_OUTPUT,
    MORE,
    Core,
    Journal,
    Limits,
    LogLine,
    Output,
    Reply,
    Roster,
    RosterMirror,
    Snapshot,
    Wake,
)
from glasrt.errors import ABORTED, COMMITTED, PENDING, WHY_TIMEOUT, CoreError, GlasError, error_for
from glasrt.logs import Log
from glasrt.store import Identity, Store

_MAX_TURNS = 1000
_TURNS_A_COMMIT = 16
_SNAPSHOT_LEAST = 4 << 20
_TIMEOUT_US = 30 * 10**6
_SLEEP_MOST = 0.05


def now_us() -> int:
    """The clock, in microseconds since 1970."""
    return time.time_ns() // 1000


class EmbeddedMirror:
    """A lone mirror. Without a store its state lives as long as it does; with one, what a call did is on
    disk when it returns.
    """

    def __init__(
        self,
        app_module: Any,
        name: str = "main",
        store: Path | str | None = None,
        *,
        timeout_us: int = _TIMEOUT_US,
        limits: Limits | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """Opens, recovers and starts. `clock` gives the time in microseconds. Raises GlasError."""
        plan = plan_of(app_module)
        roster = Roster((RosterMirror(name, (1 << len(plan.places)) - 1),), 0)
        self.name = name
        self._now = clock
        self._timeout_us = timeout_us
        self._wake_at = 0
        self._reported = 0  # the position that the core was told last
        self._next_call = 1
        self._ended: dict[int, Reply] = {}
        self._failed: GlasError | None = None
        self._log = Log(name)
        self._store: Store | None = None
        if store is not None:
            self._store = Store(Path(store), Identity(plan.app, name, plan.protocol_id))
            self._reported = self._store.position
        try:
            durable, seed = store is not None, secrets.randbits(64)  # a seed, so that keys cannot be aimed
            self._binding = Core(app_module, roster, 0, limits=limits, durable=durable, seed=seed)
        except BaseException:
            self._close_store()
            raise
        self._lib, self._ffi, self._core = self._binding.lib, self._binding.ffi, self._binding.handle
        try:
            self._recover()
        except BaseException:
            self.close()
            raise

    def _recover(self) -> None:
        core, now = self._binding, self._now()
        if self._store is not None:
            try:
                snapshot = self._store.snapshot()
                if snapshot is not None:
                    core.load_snapshot(snapshot.data, snapshot.position, now)
                for journal in self._store.journal():
                    core.load_journal(journal.data, journal.position, now)
            except CoreError as error:
                raise CoreError(f"{self._store.path}: cannot recover: {error}") from error
        core.start(now)
        self._settle()

    def close(self) -> None:
        """Closes core and store. Closing twice does nothing; a closed mirror cannot be called."""
        self._core = None
        self._failed = self._failed or GlasError(f"the mirror {self.name!r} is closed")
        self._binding.close()
        self._close_store()

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()

    def __enter__(self) -> Self:
        """The mirror itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    # ---------------------------------------------------------------- calls in JSON form

    def http(self, verb: str, path: str, body: bytes = b"") -> tuple[int, str, bytes]:
        """A request of the app's own: status, content type and body. Raises CallError."""
        self._check_open()
        call = self._new_call()
        reply = self._binding.http(call, verb.encode(), path.encode(), body, self._timeout_us, self._now())
        reply = self._end(call, reply)
        return reply.status, reply.content_type.decode(), reply.body

    def rpc(self, name: str, /, **args: Any) -> Any:
        """An rpc method with its arguments by name, values as JSON has them. Raises CallError."""
        self._check_open()
        call = self._new_call()
        arguments = json.dumps(args).encode()
        reply = self._binding.rpc(call, name, arguments, self._timeout_us, self._now())
        return json.loads(self._end(call, reply).body)

    def inspect(self, what: str) -> Any:
        """`status`, `state NAME`, `invariants` or `plan`. Raises BadArgument."""
        self._check_open()
        reply = self._binding.inspect(self._new_call(), what, self._now())
        self._settle()
        if reply.outcome != COMMITTED:
            raise error_for(reply.outcome, reply.reason, reply.message)
        return json.loads(reply.body)

    def _new_call(self) -> int:
        self._next_call += 1
        return self._next_call

    def _check_open(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _end(self, call: int, reply: Reply) -> Reply:
        """The final reply of a call, with everything done that it brought about."""
        self._settle()
        if reply.outcome == PENDING:
            reply = self._wait(call)
            self._settle()
        if reply.outcome != COMMITTED:
            raise error_for(reply.outcome, reply.reason, reply.message)
        return reply

    def _wait(self, call: int) -> Reply:
        """Lets time pass until the call has ended, which its timeout bounds; takes no output behind its
        reply.
        """
        give_up = time.monotonic() + self._timeout_us / 1e6 + 1
        while call not in self._ended:
            if time.monotonic() > give_up:
                self._binding.cancel(call, self._now())
                self._settle()
                raise error_for(ABORTED, WHY_TIMEOUT, "waited until its time was over")
            wait = max(self._wake_at - self._now(), 0) / 1e6 if self._wake_at else _SLEEP_MOST
            time.sleep(min(wait, _SLEEP_MOST))
            self._binding.turn(self._now())
            self._settle(stop_at=call)
        return self._ended.pop(call)

    # ---------------------------------------------------------------- for generated code

    def _after(self, out: Any, outcome: int) -> None:
        """What a direct call leaves to be done. `out` is its C result, which begins with a `reply`.

        With COMMITTED: everything that `reply.more` announces; what `out` points at is gone then. With
        another outcome: waits for the call where it is pending, and raises CallError where it did not commit;
        otherwise `out.reply` is the answer, and `reply.more` says that this must be called again.
        """
        core = self._binding
        more = out.reply.more
        core.has_output = core.has_output or bool(more & HAS_OUTPUT)
        core.more = bool(more & MORE)
        if outcome == COMMITTED:
            self._settle()
            return
        ended = core.reply_of(out.reply)
        if outcome == PENDING:
            self._settle(stop_at=ended.call)
            ended = self._wait(ended.call)
            if ended.outcome == COMMITTED:
                out.reply = core.last_reply
                out.reply.more = HAS_OUTPUT | MORE
                return
        self._settle()
        raise error_for(ended.outcome, ended.reason, ended.message)

    # ---------------------------------------------------------------- what follows an input

    def _settle(self, stop_at: int | None = None) -> None:
        """Takes all outputs, writes what is to be durable, runs steps until none can (or a bound).

        With `stop_at` it ends as soon as that call has: what is behind its reply waits for the next time.
        """
        core = self._binding
        items: list[Journal | Snapshot] = []
        turns = 0
        for _ in range(_MAX_TURNS):
            while core.has_output:
                for output in core.poll(stop_at):
                    self._take(output, items)
                if stop_at in self._ended:
                    if items:
                        self._commit(items)
                    return
            if items and (not core.more or turns >= _TURNS_A_COMMIT):
                self._commit(items)
                items.clear()
                turns = 0
            if self._store is not None and self._store.position > self._reported:
                self._reported = self._store.position
                core.disk_done(self._reported, self._now())
            elif core.more:
                core.turn(self._now())
                turns += 1
            else:
                break
        if items:
            self._commit(items)
        self._snapshot_if_due()

    def _take(self, output: Output, items: list[Journal | Snapshot]) -> None:
        if isinstance(output, Journal | Snapshot):
            items.append(output)
        elif isinstance(output, Reply):
            self._ended[output.call] = output
        elif isinstance(output, Wake):
            self._wake_at = output.at
        elif isinstance(output, LogLine):
            self._log.event(output.level, output.text)

    def _commit(self, items: list[Journal | Snapshot]) -> None:
        """A store that fails ends the mirror: its state would be ahead of the disk."""
        assert self._store is not None, "a core in memory writes no journal"
        try:
            self._store.commit(items)
        except GlasError as error:
            self._failed = error
            with contextlib.suppress(GlasError):
                self.close()
            raise

    def _snapshot_if_due(self) -> None:
        store = self._store
        if store is None or store.journal_size <= max(_SNAPSHOT_LEAST, 2 * store.snapshot_size):
            return
        self._binding.snapshot(self._now())
        items: list[Journal | Snapshot] = []
        for output in self._binding.poll():
            self._take(output, items)
        if items:
            self._commit(items)
