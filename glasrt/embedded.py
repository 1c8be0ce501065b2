"""A mirror inside a Python process: alone, at every place, called directly.

Owns what happens around a direct call of the core when more is to do than to give its result: the journal,
steps that can run, calls that wait, errors. Does not know the app's methods: a compiled app has a class of
its own above this one, which calls its C entries and comes here only then.

One call at a time: there is no lock on the way of a call, but one that finds another under way is refused.
Programs with threads hold a lock around a mirror, or open one mirror a thread.

A call may end anywhere by an exception of a signal handler, such as KeyboardInterrupt. So whatever has left
the core is kept here, not in variables of a call, each step can be done twice, and the next call first
finishes what such a call left behind. Times are microseconds since 1970.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from glasrt.bundle import plan_of
from glasrt.core import (
    HAS_OUTPUT,
    MIRROR_NAME,
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
from glasrt.errors import (
    ABORTED,
    COMMITTED,
    PENDING,
    WHY_TIMEOUT,
    BadArgument,
    CoreError,
    GlasError,
    error_for,
)
from glasrt.logs import Log
from glasrt.store import Identity, Store

_MAX_TURNS = 1000
_TURNS_A_COMMIT = 16
_SNAPSHOT_LEAST = 4 << 20
_TIMEOUT_US = 30 * 10**6
_SLEEP_MOST = 0.05

_CALL = 0  # one call at a time, and an interrupted one is cancelled before the next: one number does for all
_IDLE, _IN_CALL, _LEFT = 0, 1, 2  # what `_busy` says; generated code has the same numbers


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
        _check_opening(name, store, timeout_us)
        plan = plan_of(app_module)
        roster = Roster((RosterMirror(name, (1 << len(plan.places)) - 1),), 0)
        self.name = name
        self._now = clock
        self._timeout_us = timeout_us
        self._busy = _IDLE
        self._settled = False  # a call that ended with an exception left nothing to be finished
        self._wake_at = 0
        self._reported = 0  # the position that the core was told last
        self._items: list[Journal | Snapshot] = []  # taken from the core, not on disk yet
        self._committing = False  # some of `_items` may be on disk
        self._lines: deque[LogLine] = deque()  # each waits for its barrier
        self._ended: Reply | None = None  # of the call under way, where it was pending
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
            self._shut()
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
        """Closes core and store. Closing twice does nothing; a closed mirror cannot be called. Raises
        GlasError while a call is under way.
        """
        if self._busy == _IN_CALL:
            raise self._in_use()
        self._shut()

    def _shut(self) -> None:
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
        if not isinstance(body, bytes | bytearray | memoryview):
            raise BadArgument(f"http: body must be bytes, not {_shown(body)}")
        what, where, data = _utf8("http: verb", verb), _utf8("http: path", path), bytes(body)
        core = self._binding
        reply = self._run(lambda: core.http(_CALL, what, where, data, self._timeout_us, self._now()))
        return reply.status, reply.content_type.decode(), reply.body

    def rpc(self, name: str, /, **args: Any) -> Any:
        """An rpc method with its arguments by name, values as JSON has them. Raises CallError."""
        _utf8("rpc: the name of the method", name)
        try:
            given = json.dumps(args).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise BadArgument(f"{name}: arguments must be what JSON can hold: {error}") from None
        core = self._binding
        return json.loads(self._run(lambda: core.rpc(_CALL, name, given, self._timeout_us, self._now())).body)

    def inspect(self, what: str) -> Any:
        """`status`, `state NAME`, `invariants` or `plan`. Raises BadArgument."""
        _utf8("inspect: what to show", what)
        return json.loads(self._run(lambda: self._binding.inspect(_CALL, what, self._now())).body)

    def _run(self, start: Callable[[], Reply]) -> Reply:
        """The final reply of a call, with everything done that it brought about."""
        if self._busy:
            self._enter()
        try:
            self._busy = _IN_CALL
            self._check_open()
            reply = start()
            self._settle()
            if reply.outcome == PENDING:
                reply = self._wait()
                self._settle()
            if reply.outcome != COMMITTED:
                self._settled = True
                raise error_for(reply.outcome, reply.reason, reply.message)
            self._busy = _IDLE
        except BaseException:
            self._busy = _LEFT
            raise
        return reply

    def _check_open(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _wait(self) -> Reply:
        """Lets time pass until the call has ended, which its timeout bounds; takes no output behind its
        reply.
        """
        give_up = time.monotonic() + self._timeout_us / 1e6 + 1
        while self._ended is None:
            if time.monotonic() > give_up:
                self._binding.cancel(_CALL, self._now())
                self._settle()
                self._settled = True
                raise error_for(ABORTED, WHY_TIMEOUT, "waited until its time was over")
            wait = max(self._wake_at - self._now(), 0) / 1e6 if self._wake_at else _SLEEP_MOST
            time.sleep(min(wait, _SLEEP_MOST))
            self._binding.turn(self._now())
            self._settle(stop=True)
        ended, self._ended = self._ended, None
        return ended

    # ---------------------------------------------------------------- calls that meet

    def _enter(self) -> None:
        """For a call that finds `_busy` set: refuses it where another is under way, and finishes what an
        interrupted one left behind.
        """
        if self._busy == _IN_CALL:
            raise self._in_use()
        try:
            self._busy = _IN_CALL
            self._check_open()
            if not self._settled:
                self._finish_interrupted()
            self._settled = False
            self._busy = _IDLE  # nothing comes between this and the caller's own mark
        except BaseException:
            self._busy = _LEFT
            raise

    def _in_use(self) -> GlasError:
        return GlasError(
            f"the mirror {self.name!r} is in a call of another thread, or in the call that a signal handler "
            "interrupted: it takes one call at a time, so threads need a lock around it or a mirror each"
        )

    def _finish_interrupted(self) -> None:
        """What came out of the core is made durable, and the call that nobody waits for never runs."""
        core = self._binding
        self._poll()  # before any input: an output half taken is gone with the next one
        if self._committing:
            self._open_store_again()
        core.cancel(_CALL, self._now())
        core.has_output = core.more = True  # what the core said last may have been lost
        self._settle()
        self._ended = None

    def _open_store_again(self) -> None:
        """Whether an interrupted commit is on disk, only the disk knows."""
        store = self._store
        assert store is not None, "a core in memory writes no journal"
        try:
            store.close()
            self._store = store = Store(store.path, store.identity)
        except GlasError as error:
            self._fail(error)
            raise
        self._items[:] = [
            item for item in self._items if isinstance(item, Snapshot) or item.position > store.position
        ]
        self._committing = False

    # ---------------------------------------------------------------- for generated code

    def _unfit(self, trouble: str | None) -> None:
        """Raises what is to be said of a direct call that Python refused; `trouble` is what is wrong with its
        arguments, None where nothing is.
        """
        self._check_open()
        if trouble is not None:
            self._settled = True  # it never reached the core
            raise BadArgument(trouble) from None

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
            self._settle(stop=True)
            ended = self._wait()
            if ended.outcome == COMMITTED:
                out.reply = core.last_reply
                out.reply.more = HAS_OUTPUT | MORE
                return
        self._settle()
        self._settled = True
        raise error_for(ended.outcome, ended.reason, ended.message)

    # ---------------------------------------------------------------- what follows an input

    def _settle(self, stop: bool = False) -> None:
        """Takes all outputs, writes what is to be durable, runs steps until none can (or a bound).

        With `stop` it ends as soon as the call that waits has: what is behind its reply waits for the next
        time.
        """
        core = self._binding
        turns = 0
        for _ in range(_MAX_TURNS):
            if core.has_output:
                self._poll(stop)
                if stop and self._ended is not None:
                    self._commit()
                    return
            if not core.more or turns >= _TURNS_A_COMMIT:
                self._commit()
                turns = 0
            if self._store is not None and self._store.position > self._reported:
                core.disk_done(self._store.position, self._now())
                self._reported = self._store.position
            elif core.more:
                core.turn(self._now())
                turns += 1
            else:
                break
        self._commit()
        self._snapshot_if_due()

    def _poll(self, stop: bool = False) -> None:
        """Takes what the core gives. With `stop`, nothing behind the reply to the call under way."""
        core = self._binding
        while (output := core.next_output()) is not None:
            self._take(output)
            core.drop_output()
            if stop and self._ended is not None:
                return
        core.has_output = False

    def _take(self, output: Output) -> None:
        """Taking the same object twice in a row is taking it once."""
        if isinstance(output, Journal | Snapshot):
            if not self._items or self._items[-1] is not output:
                self._items.append(output)
        elif isinstance(output, Reply):
            self._ended = output
        elif isinstance(output, Wake):
            self._wake_at = output.at
        elif isinstance(output, LogLine) and (not self._lines or self._lines[-1] is not output):
            self._lines.append(output)

    def _commit(self) -> None:
        """Writes what was taken, then the log's lines that waited for it."""
        if self._items:
            assert self._store is not None, "a core in memory writes no journal"
            self._committing = True
            try:
                self._store.commit(self._items)
            except GlasError as error:
                self._fail(error)
                raise
            self._items.clear()
            self._committing = False
        durable = self._store.position if self._store is not None else 0
        while self._lines and self._lines[0].barrier <= durable:
            self._log.event(self._lines[0].level, self._lines[0].text)
            self._lines.popleft()

    def _fail(self, error: GlasError) -> None:
        """A store that fails ends the mirror: its state would be ahead of the disk."""
        self._failed = error
        with contextlib.suppress(GlasError):
            self._shut()

    def _snapshot_if_due(self) -> None:
        store = self._store
        if store is None or store.journal_size <= max(_SNAPSHOT_LEAST, 2 * store.snapshot_size):
            return
        self._binding.snapshot(self._now())
        self._poll()
        self._commit()


# -------------------------------------------------------------------- arguments


def _check_opening(name: str, store: Path | str | None, timeout_us: int) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a mirror must be a str, not {_shown(name)}")
    if not MIRROR_NAME.fullmatch(name):
        raise GlasError(f"{_shown(name)} cannot name a mirror: up to 63 letters, digits, `_`, `-` and `.`")
    if store is not None and not isinstance(store, Path | str):
        raise TypeError(f"store must be a path, not {_shown(store)}")
    if store is not None and (not str(store) or "\0" in str(store)):
        raise GlasError(f"{_shown(store)} cannot be the path of a store")
    if not isinstance(timeout_us, int):
        raise TypeError(f"timeout_us must be an int, not {_shown(timeout_us)}")


def _utf8(what: str, text: str) -> bytes:
    """The bytes of a text that a caller gave."""
    if not isinstance(text, str):
        raise BadArgument(f"{what} must be a str, not {_shown(text)}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadArgument(f"{what} must be a text that UTF-8 can hold, not {_shown(text)}") from None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
