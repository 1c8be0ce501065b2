"""How answers become system calls: what a connection writes in one turn of the loop leaves in one.

Owns the wrapper of a connection's transport, and which of uvicorn's protocols is used. Does not know what is
written. uvicorn writes the head of a response and its body apart; a system call, and a packet of its own for
the head, cost as much as a transaction.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any, cast


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


class _WritesOnce:
    """Put before a protocol of uvicorn."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A new connection."""
        one_write = OneWrite(cast(asyncio.Transport, transport))
        self._one_write = one_write
        super().connection_made(one_write)  # type: ignore[misc]

    def eof_received(self) -> None:
        """The client says no more, and the loop closes the transport next: what was answered still goes."""
        self._one_write.flush()
        super().eof_received()  # type: ignore[misc]


def protocol() -> type[asyncio.Protocol]:
    """What to give uvicorn as `http`: its faster parser where that is installed."""
    if importlib.util.find_spec("httptools") is not None:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        return cast(type[asyncio.Protocol], type("FastProtocol", (_WritesOnce, HttpToolsProtocol), {}))
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return cast(type[asyncio.Protocol], type("PlainProtocol", (_WritesOnce, H11Protocol), {}))
