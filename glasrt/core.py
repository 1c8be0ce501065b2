"""The thin binding of the C core: one method per input, outputs as small immutable values.

Owns how `glas_core.h` is called from Python and that no pointer leaves this file. Does not know where
inputs come from, when outputs may leave (their barriers say it) or what any bytes mean.

Times are microseconds since 1970; positions count journal bytes. One core is used by one thread at a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from glasrt.errors import COMMITTED, BundleError, CoreError

HAS_OUTPUT = 1
MORE = 2

_IN_SNAPSHOT_LOADED, _IN_JOURNAL_LOADED, _IN_START, _IN_TURN = 1, 2, 3, 4
_IN_LINK_UP, _IN_LINK_DOWN, _IN_LINK_BYTES, _IN_DISK_DONE = 5, 6, 7, 8
_IN_HTTP, _IN_RPC, _IN_INSPECT, _IN_CANCEL, _IN_SNAPSHOT = 10, 11, 12, 13, 14

OUT_JOURNAL, OUT_SNAPSHOT, OUT_LINK_BYTES, OUT_LINK_CLOSE = 1, 2, 3, 4
OUT_REPLY, OUT_LOG, OUT_TRACE, OUT_WAKE = 5, 6, 7, 8

_ERROR_SIZE = 512
_INTERFACE = 2  # GLAS_MODULE_INTERFACE of the modules that this host works with
_FIELDS = 8  # of glas_module_fields


@dataclass(frozen=True)
class Limits:
    """Bounds of one core, in bytes, and counts; see `glas_config`."""

    max_heap: int = 1 << 30
    max_text: int = 1 << 20
    max_log: int = 256 << 20
    max_link_buffer: int = 16 << 20
    max_waiting: int = 10_000


@dataclass(frozen=True)
class Timing:
    """How often a link is probed and after how long a silence it is closed, in microseconds."""

    ping_us: int = 2_000_000
    silent_us: int = 10_000_000


MIRROR_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
"""What a mirror may be called: stores and peers are named after it, and lines of the log show it."""


@dataclass(frozen=True)
class RosterMirror:
    """One mirror: bit i of `places` is set where it stands at the app's place number i."""

    name: str
    places: int


@dataclass(frozen=True)
class Roster:
    """All mirrors of the app in an order that all of them share, and the index of the origin."""

    mirrors: tuple[RosterMirror, ...]
    origin: int


class Reply(NamedTuple):
    """The answer to a call, copied; it may leave when `barrier` is on disk."""

    call: int
    barrier: int
    outcome: int
    reason: int
    status: int
    content_type: bytes
    body: bytes
    message: str


class Journal(NamedTuple):
    """Bytes to append; they end at `position`."""

    position: int
    data: bytes


class Snapshot(NamedTuple):
    """The whole state at `position`."""

    position: int
    data: bytes


class LinkBytes(NamedTuple):
    """Bytes for a link, in order, not before `barrier` is on disk."""

    link: int
    barrier: int
    data: bytes


class LinkClose(NamedTuple):
    """The core is done with a link."""

    link: int
    reason: str


class LogLine(NamedTuple):
    """A line for the operator, not before `barrier` is on disk."""

    level: int
    barrier: int
    text: str


class TraceLine(NamedTuple):
    """What happened and why."""

    text: str


class Wake(NamedTuple):
    """Give a turn by `at`; replaces earlier ones."""

    at: int


Output = Journal | Snapshot | LinkBytes | LinkClose | Reply | LogLine | TraceLine | Wake


def _check_interface(app_module: Any) -> None:
    found = getattr(app_module._core.lib, "GLAS_MODULE_INTERFACE", 0)
    if found != _INTERFACE:
        raise BundleError(
            f"{app_module.__name__}: the bundle was built for another glasrt (its interface is {found}, this "
            f"one's {_INTERFACE}): build it again, or install the glasrt that `glasc build` put beside it"
        )


class Core:
    """One mirror's core. `has_output` says that `poll` has something, `more` that a turn would find work."""

    def __init__(
        self,
        app_module: Any,
        roster: Roster,
        self_index: int,
        *,
        limits: Limits | None = None,
        timing: Timing | None = None,
        durable: bool = True,
        trace: bool = False,
        seed: int = 0,
    ) -> None:
        """Opens a core of the app `app_module` (a package with `_core`). Raises CoreError, BundleError."""
        self.lib: Any = app_module._core.lib
        self.ffi: Any = app_module._core.ffi
        _check_interface(app_module)
        self.has_output = False
        self.more = False
        self._step = self.lib.glas_step
        self._from_buffer = self.ffi.from_buffer
        self._in = self.ffi.new("glas_input *")
        self._out = self.ffi.new("glas_output *")
        self._held: Output | None = None  # what `next_output` has given and nobody has dropped
        self._reply = self.ffi.new("glas_reply *")
        self._in.reply = self._reply
        self._fields = self.ffi.new("int64_t[]", _FIELDS)
        self._unpack = self.ffi.unpack
        self._address_of = self.ffi.addressof
        self._module_call = self.lib.glas_module_call
        self._module_fields = self.lib.glas_module_fields
        config, _keep = self._config(roster, self_index, limits or Limits(), timing or Timing())
        config.durable = int(durable)
        config.trace = int(trace)
        config.seed = seed & (2**64 - 1)
        error = self.ffi.new("char[]", _ERROR_SIZE)
        handle = self.lib.glas_open(
            self.lib.glas_module_app(), config, self.lib.glas_module_allocator(), error, _ERROR_SIZE
        )
        if handle == self.ffi.NULL:
            raise CoreError(self.ffi.string(error).decode(errors="replace"))
        self.handle: Any = handle

    def _config(
        self, roster: Roster, self_index: int, limits: Limits, timing: Timing
    ) -> tuple[Any, list[Any]]:
        """The C configuration and what must stay alive until it was read."""
        config = self.ffi.new("glas_config *")
        mirrors = self.ffi.new("glas_mirror[]", len(roster.mirrors))
        keep: list[Any] = [mirrors]
        for item, mirror in zip(mirrors, roster.mirrors, strict=True):
            name = self._from_buffer(mirror.name.encode())
            keep.append(name)
            item.name.p = name
            item.name.n = len(name)
            item.places = mirror.places
        config.mirrors = mirrors
        config.mirror_count = len(roster.mirrors)
        config.self = self_index
        config.origin = roster.origin
        for part in (limits, timing):
            for name, value in vars(part).items():
                setattr(config, name, value)
        return config, keep

    def close(self) -> None:
        """Gives the core's memory back; nothing may be called afterwards. Closing twice does nothing."""
        handle, self.handle = self.handle, None
        self.has_output = self.more = False
        if handle is not None:
            self.lib.glas_close(handle)

    # ---------------------------------------------------------------- inputs

    def load_snapshot(self, data: bytes, position: int, now: int) -> None:
        """The first thing, if there is a snapshot, taken at `position`. Raises CoreError where unsound."""
        self._load(_IN_SNAPSHOT_LOADED, data, position, now)

    def load_journal(self, data: bytes, position: int, now: int) -> None:
        """Journal bytes in the order in which they came out, ending at `position`. Raises CoreError."""
        self._load(_IN_JOURNAL_LOADED, data, position, now)

    def start(self, now: int) -> None:
        """Recovery is over. Raises CoreError where what was loaded does not fit together."""
        self._load(_IN_START, b"", 0, now)

    def turn(self, now: int) -> None:
        """Time has passed, or there is more to do."""
        self._plain(_IN_TURN, 0, now)

    def link_up(self, link: int, peer: str, now: int) -> None:
        """A connection: `peer` is the mirror that was dialled, empty if it dialled us."""
        name = self._from_buffer(peer.encode())
        self._in.a.p = name
        self._in.a.n = len(name)
        self._plain(_IN_LINK_UP, link, now)

    def link_down(self, link: int, now: int) -> None:
        """The connection is gone."""
        self._plain(_IN_LINK_DOWN, link, now)

    def link_bytes(self, link: int, data: bytes | bytearray | memoryview, now: int) -> None:
        """Bytes received, any cut of the stream."""
        buffer = self._from_buffer(data)
        self._in.a.p = buffer
        self._in.a.n = len(buffer)
        self._plain(_IN_LINK_BYTES, link, now)

    def disk_done(self, position: int, now: int) -> None:
        """The journal is on disk up to `position`."""
        self._in.position = position
        self._plain(_IN_DISK_DONE, 0, now)

    def snapshot(self, now: int) -> None:
        """Asks for a snapshot among the outputs."""
        self._plain(_IN_SNAPSHOT, 0, now)

    def cancel(self, call: int, now: int) -> None:
        """Nobody waits for the call any longer."""
        self._in.call = call
        self._plain(_IN_CANCEL, 0, now)

    def http(self, call: int, verb: bytes, path: bytes, body: bytes, timeout_us: int, now: int) -> Reply:
        """An HTTP request; `path` as it came, with its query. The reply may be PENDING."""
        return self._call(_IN_HTTP, call, timeout_us, now, verb, path, body)

    def rpc(self, call: int, method: str, arguments: bytes, timeout_us: int, now: int) -> Reply:
        """An rpc method by name, its arguments as a JSON object. The reply may be PENDING."""
        return self._call(_IN_RPC, call, timeout_us, now, method.encode(), arguments, b"")

    def inspect(self, call: int, what: str, now: int) -> Reply:
        """`status`, `state NAME`, `invariants` or `plan`; the body is JSON."""
        return self._call(_IN_INSPECT, call, 0, now, what.encode(), b"", b"")

    # ---------------------------------------------------------------- outputs

    def poll(self) -> Sequence[Output]:
        """All outputs there are now, in order, copied."""
        self.has_output = False
        out, handle, poll = self._out, self.handle, self.lib.glas_poll
        found: list[Output] = []
        while poll(handle, out):
            kind = out.kind
            found.append(self.reply_of(out.reply) if kind == OUT_REPLY else self._output(kind, out))
        return found

    def next_output(self) -> Output | None:
        """The first output that was not dropped, copied; None where there is none. For callers that a signal
        may interrupt anywhere: asked again before the next input, this gives the very same output.
        """
        out = self._out
        if self._held is None and (out.kind or self.lib.glas_poll(self.handle, out)):
            kind = out.kind
            self._held = self.reply_of(out.reply) if kind == OUT_REPLY else self._output(kind, out)
        return self._held

    def drop_output(self) -> None:
        """What `next_output` gave is safe. If it was a reply, `last_reply` is its C form until the next input
        or output.
        """
        self._out.kind = 0  # in this order: an interruption in between leaves the same object to be dropped
        self._held = None

    @property
    def last_reply(self) -> Any:
        """The C reply among the outputs that came last, with its result."""
        return self._out.reply

    def _output(self, kind: int, out: Any) -> Output:
        if kind == OUT_WAKE:
            return Wake(out.at)
        data: bytes = self.ffi.buffer(out.bytes.p, out.bytes.n)[:] if out.bytes.n else b""
        if kind == OUT_LINK_BYTES:
            return LinkBytes(out.link, out.barrier, data)
        if kind == OUT_JOURNAL:
            return Journal(out.position, data)
        if kind == OUT_TRACE:
            return TraceLine(data.decode(errors="replace"))
        if kind == OUT_LOG:
            return LogLine(out.level, out.barrier, data.decode(errors="replace"))
        if kind == OUT_LINK_CLOSE:
            return LinkClose(out.link, data.decode(errors="replace"))
        assert kind == OUT_SNAPSHOT, kind
        return Snapshot(out.position, data)

    def reply_of(self, reply: Any) -> Reply:
        """A copy of a C reply, which is valid until the next input only."""
        self._module_fields(self._address_of(reply), self._fields)
        return self._copied(reply)

    def _copied(self, reply: Any) -> Reply:
        """The reply whose fields stand in `_fields`."""
        unpack = self._unpack
        call, barrier, outcome, reason, status, kind_n, body_n, message_n = unpack(self._fields, _FIELDS)
        return Reply(
            call,
            barrier,
            outcome,
            reason,
            status,
            unpack(reply.content_type.p, kind_n) if kind_n else b"",
            unpack(reply.body.p, body_n) if body_n else b"",
            unpack(reply.message.p, message_n).decode(errors="replace") if message_n else "",
        )

    # ---------------------------------------------------------------- common parts

    def _plain(self, kind: int, link: int, now: int) -> None:
        given = self._in
        given.kind = kind
        given.link = link
        given.now = now
        bits = self._step(self.handle, given)
        if bits & HAS_OUTPUT:
            self.has_output = True
        self.more = bits & MORE != 0

    def _call(self, kind: int, call: int, timeout_us: int, now: int, a: bytes, b: bytes, c: bytes) -> Reply:
        reply = self._reply
        bits = self._module_call(
            self.handle, kind, call, timeout_us, now, a, len(a), b, len(b), c, len(c), reply, self._fields
        )
        if bits & HAS_OUTPUT:
            self.has_output = True
        self.more = bits & MORE != 0
        return self._copied(reply)

    def _load(self, kind: int, data: bytes, position: int, now: int) -> None:
        buffer = self._from_buffer(data)
        self._in.a.p, self._in.a.n = buffer, len(buffer)
        self._in.position = position
        self._reply.outcome = COMMITTED
        self._plain(kind, 0, now)
        reply = self.reply_of(self._reply[0])
        if reply.outcome != COMMITTED:
            raise CoreError(reply.message or "the bytes are unsound")
