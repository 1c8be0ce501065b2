"""HTTP connections: how answers become system calls, and how much and how long a request may take to come.

Owns the wrapper of a connection's transport, the bounds on requests that are not whole yet, and which of
uvicorn's protocols is used. Does not know what is asked or answered. uvicorn writes the head of a response
and its body apart; a system call, and a packet of its own for the head, cost as much as a transaction. And it
waits for the rest of a request for ever.
"""

from __future__ import annotations

import asyncio
import importlib.util
from enum import Enum
from typing import Any, cast

HEAD_MOST = 64 << 10
"""Bytes of a request's head that are always taken; with a slice more it may be refused."""

_SLICE = 8 << 10  # bytes that the parser is given at once
_WHOLE_WITHIN = 30.0  # seconds from the first byte of a request to its last
_REFUSED = (
    b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
)
_TOO_SLOW = (b"408 Request Timeout", b"timeout", b"the request did not come in time")
_STOPPING = (b"503 Service Unavailable", b"busy", b"this mirror is stopping")
_TOO_LARGE = (b"431 Request Header Fields Too Large", b"bad_input", b"the head of a request may have 64 KiB")


class _Stage(Enum):
    """How much of the newest request there is."""

    NOTHING = 0
    HEAD = 1  # a part of it
    BODY = 2  # the head, and a part of the body or nothing of it
    WHOLE = 3


class OneWrite:
    """A transport that joins what is written until the loop comes round. Anything else goes straight on."""

    __slots__ = ("_loop", "_parts", "_transport", "get_extra_info", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing  # asked once a request

    def __getattr__(self, name: str) -> Any:
        """All that a transport has beside what is written here."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sends bytes in order, not before the loop comes round."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def close(self) -> None:
        """Ends the connection after what was written."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Sends what was written now."""
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(b"".join(parts))


class _Wire:
    """Put before a protocol of uvicorn. What costs time for each request is left to the classes below."""

    cycle: Any
    loop: asyncio.AbstractEventLoop
    timeout_keep_alive: float
    timeout_keep_alive_task: asyncio.TimerHandle | None
    timeout_keep_alive_handler: Any
    _unset_keepalive_if_required: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A new connection. One on which nothing comes ends as one on which nothing more comes."""
        self._one_write = OneWrite(cast(asyncio.Transport, transport))
        self._half_timer: asyncio.TimerHandle | None = None
        self._half: object = None  # the request that the timer is for
        self._head_size = 0
        super().connection_made(self._one_write)  # type: ignore[misc]
        self._expect_a_request()

    def connection_lost(self, error: Exception | None) -> None:
        """The end, whoever ended it."""
        self._stop_timer()
        super().connection_lost(error)  # type: ignore[misc]

    def eof_received(self) -> None:
        """The client says no more, and the loop closes the transport next: what was answered still goes."""
        self._one_write.flush()
        super().eof_received()  # type: ignore[misc]

    def shutdown(self) -> None:
        """The mirror stops. Half a request is not waited for: nothing of it has happened."""
        half = self._half_timer is not None and self._stage() in (_Stage.HEAD, _Stage.BODY)
        if half and not self._is_behind():
            self._refuse(_STOPPING)
        else:
            super().shutdown()  # type: ignore[misc]

    def _expect_a_request(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _in_slices(self, data: bytes) -> None:
        """A large piece bit by bit, so that a head beyond the bound is seen before it is whole."""
        for at in range(0, len(data), _SLICE):
            if not self._one_write.is_closing():
                self.data_received(data[at : at + _SLICE])  # type: ignore[attr-defined]

    def _stage(self) -> _Stage:
        raise NotImplementedError

    def _newest(self) -> object:
        """What stands for the newest request, another one for each on a connection."""
        raise NotImplementedError

    def _is_behind(self) -> bool:
        """Whether an earlier request is still to be answered."""
        raise NotImplementedError

    def _look(self, size: int) -> None:
        """After `size` bytes that may have left a request half."""
        stage = self._stage()
        if self._one_write.is_closing():
            self._stop_timer()
        elif stage in (_Stage.NOTHING, _Stage.WHOLE):
            self._stop_timer()
            if stage is _Stage.NOTHING and self.timeout_keep_alive_task is None:
                self._expect_a_request()
        else:
            self._take_half(stage, size)

    def _take_half(self, stage: _Stage, size: int) -> None:
        newest = self._newest()
        if self._half_timer is None or newest is not self._half:
            self._stop_timer()
            self._unset_keepalive_if_required()
            self._half, self._head_size = newest, 0
            self._half_timer = self.loop.call_later(_WHOLE_WITHIN, self._too_slow)
        elif stage is _Stage.HEAD:
            self._head_size += size
            if self._head_size > HEAD_MOST:
                self._refuse(_TOO_LARGE)

    def _stop_timer(self) -> None:
        self._half = None
        if self._half_timer is not None:
            self._half_timer.cancel()
            self._half_timer = None

    def _too_slow(self) -> None:
        """While an earlier answer is to come, reading may stand still, which is not the client's fault."""
        self._half_timer = None
        if self._is_behind():
            self._half_timer = self.loop.call_later(_WHOLE_WITHIN, self._too_slow)
        else:
            self._refuse(_TOO_SLOW)

    def _refuse(self, why: tuple[bytes, bytes, bytes]) -> None:
        """Says so where it is this request's turn, and ends the connection."""
        status, reason, message = why
        begun = self._stage() is _Stage.BODY and self.cycle.response_started
        if not self._is_behind() and not begun:
            said = b'{"outcome": "aborted", "reason": "%s", "message": "%s"}' % (reason, message)
            self._one_write.write(_REFUSED % (status, len(said), said))
        self._one_write.close()


class _Fast(_Wire):
    """With httptools. `_feed` is uvicorn's `data_received`, found without `super` for its cost."""

    scope: Any
    pipeline: Any
    _feed: Any

    def data_received(self, data: bytes) -> None:
        """Bytes of requests. One that is whole costs no more than this."""
        if len(data) > _SLICE:
            self._in_slices(data)
            return
        self._feed(data)
        cycle = self.cycle
        if (
            cycle is None
            or cycle.more_body
            or cycle.response_complete
            or cycle.scope is not self.scope
            or self._half_timer is not None
        ):
            self._look(len(data))

    def _stage(self) -> _Stage:
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return _Stage.HEAD
        if cycle.response_complete:
            return _Stage.NOTHING
        return _Stage.BODY if cycle.more_body else _Stage.WHOLE

    def _newest(self) -> object:
        return self.scope

    def _is_behind(self) -> bool:
        cycle = self.cycle
        waits = cycle is not None and cycle.scope is not self.scope and not cycle.response_complete
        return waits or bool(self.pipeline)


class _Plain(_Wire):
    """With h11, which looks at no request before the one before it was answered."""

    conn: Any
    _came = 0  # bytes since the last look

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if len(data) > _SLICE:
            self._in_slices(data)
            return
        self._came = len(data)
        super().data_received(data)  # type: ignore[misc]

    def handle_events(self) -> None:
        """Part of uvicorn's: called for new bytes, and for those behind a request that was answered now."""
        super().handle_events()  # type: ignore[misc]
        self._look(self._came)
        self._came = 0

    def _stage(self) -> _Stage:
        state = str(self.conn.their_state)
        if state == "IDLE":
            return _Stage.HEAD if self.conn.trailing_data[0] else _Stage.NOTHING
        return _Stage.BODY if state == "SEND_BODY" else _Stage.WHOLE

    def _newest(self) -> object:
        return None

    def _is_behind(self) -> bool:
        return False


def protocol(*, fast: bool | None = None) -> type[asyncio.Protocol]:
    """What to give uvicorn as `http`: its faster parser where that is installed, or as told."""
    if importlib.util.find_spec("httptools") is not None if fast is None else fast:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        parts = {"_feed": HttpToolsProtocol.data_received}
        return cast(type[asyncio.Protocol], type("FastProtocol", (_Fast, HttpToolsProtocol), parts))
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return cast(type[asyncio.Protocol], type("PlainProtocol", (_Plain, H11Protocol), {}))
