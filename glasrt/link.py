"""TCP connections between mirrors: who dials whom, and again when it fails.

Owns sockets, the pauses between attempts and the bound on what waits in a socket. Does not know what the
bytes mean, nor which bytes must wait for the disk (node.py holds those back).

Of two mirrors the one later in the roster dials the earlier one. Links carry numbers that are never reused.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Sequence
from typing import Protocol, cast

from glasrt.config import Address, parse_address
from glasrt.errors import GlasError
from glasrt.logs import Log

_PAUSE_LEAST, _PAUSE_MOST = 0.05, 2.0
_LASTED = 5.0
_CONNECT_TIMEOUT = 5.0
_CLOSE_WITHIN = 1.0  # seconds for what was written to leave; one that fell silent may never take it


class PortError(GlasError):
    """An address that cannot be listened on."""


class LinkUser(Protocol):
    """Who is told about links."""

    def link_is_up(self, connection: LinkConnection) -> None:
        """A new connection; `connection.peer` is the mirror dialled, empty if it dialled us."""

    def link_received(self, number: int, data: bytes) -> None:
        """Bytes from a link, any cut of its stream."""

    def link_is_down(self, number: int) -> None:
        """The other side closed, or the connection broke, or `abort` ended it."""


class LinkConnection(asyncio.Protocol):
    """One connection. After `close` or `abort` its user hears of it once more at most."""

    def __init__(self, links: Links, peer: str) -> None:
        self.peer = peer
        self.number = 0
        self.lost = asyncio.get_running_loop().create_future()
        self._links = links
        self._transport: asyncio.Transport | None = None
        self._abort_handle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection from outside beyond the bound is closed at once."""
        self._transport = cast(asyncio.Transport, transport)
        made = transport.get_extra_info("socket")
        if made is not None:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links.made(self)

    def data_received(self, data: bytes) -> None:
        """Passes on what came."""
        self._links.user.link_received(self.number, data)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The end, whoever ended it."""
        if self._abort_handle is not None:
            self._abort_handle.cancel()
        if not self.lost.done():
            self.lost.set_result(None)
        self._links.gone(self)

    def write(self, data: bytes) -> None:
        """Sends bytes in order."""
        assert self._transport is not None
        self._transport.write(data)

    def waiting(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        """Ends the connection after what was written, or soon if the other side does not take it."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            loop = asyncio.get_running_loop()
            self._abort_handle = loop.call_later(_CLOSE_WITHIN, self._transport.abort)

    def abort(self) -> None:
        """Ends the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Stops reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


class Links:
    """All connections of one mirror."""

    def __init__(self, user: LinkUser, log: Log, max_accepted: int) -> None:
        """`max_accepted` bounds the connections from outside that are open at once."""
        self.user = user
        self.open: dict[int, LinkConnection] = {}
        self._log = log
        self._max_accepted = max_accepted
        self._accepted = 0
        self._last_number = 0
        self._server: asyncio.Server | None = None
        self._dialers: list[asyncio.Task[None]] = []
        self._random = random.Random()

    async def listen(self, address: Address) -> None:
        """Accepts connections. Raises PortError."""
        loop = asyncio.get_running_loop()
        listener = bind(address)
        self._server = await loop.create_server(lambda: LinkConnection(self, ""), sock=listener)

    def dial(self, peer: str, address: Address) -> None:
        """Connects to `peer`, and again for as long as this mirror runs."""
        self._dialers.append(asyncio.get_running_loop().create_task(self._keep_dialing(peer, address)))

    async def _keep_dialing(self, peer: str, address: Address) -> None:
        pause, refused = _PAUSE_LEAST, False
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            connection = await self._connect(peer, address)
            if connection is not None:
                refused = False
                await connection.lost
                if loop.time() - begun > _LASTED:
                    pause = _PAUSE_LEAST
            elif not refused:
                refused = True
                self._log.info("cannot reach a mirror, will keep trying", peer=peer, address=str(address))
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
            pause = min(2 * pause, _PAUSE_MOST)

    async def _connect(self, peer: str, address: Address) -> LinkConnection | None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                _transport, connection = await loop.create_connection(
                    lambda: LinkConnection(self, peer), address.host, address.port
                )
                return connection
        return None

    def made(self, connection: LinkConnection) -> None:
        """A connection tells that it is there."""
        if not connection.peer:
            if self._accepted >= self._max_accepted:
                connection.abort()
                return
            self._accepted += 1
        self._last_number += 1
        connection.number = self._last_number
        self.open[connection.number] = connection
        self.user.link_is_up(connection)

    def gone(self, connection: LinkConnection) -> None:
        """A connection tells that it has ended."""
        if self.open.pop(connection.number, None) is None:
            return
        if not connection.peer:
            self._accepted -= 1
        self.user.link_is_down(connection.number)

    def stop(self) -> None:
        """No new connections; open ones stay."""
        if self._server is not None:
            self._server.close()
        for task in self._dialers:
            task.cancel()

    async def close(self) -> None:
        """Ends all; nobody is told any more."""
        self.stop()
        await asyncio.gather(*self._dialers, return_exceptions=True)
        for connection in list(self.open.values()):
            self.open.pop(connection.number, None)
            connection.close()


def bind(address: Address) -> socket.socket:
    """A listening socket. Raises PortError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise PortError(
            f"cannot listen on {address}: {error.strerror}; is another mirror running?"
        ) from error
    return listener


def parse_via(values: Sequence[str]) -> dict[str, Address]:
    """`PEER=ADDRESS` pairs of the command line, by peer. Raises ValueError with a line for people."""
    found: dict[str, Address] = {}
    for value in values:
        peer, sign, text = value.partition("=")
        if not sign or not peer or not text:
            raise ValueError(f"{value!r} is not PEER=ADDRESS")
        address = parse_address(text)
        if address is None or address.port == 0:
            raise ValueError(f"{text!r} is not an address such as 127.0.0.1:7100")
        if peer in found:
            raise ValueError(f"{peer!r} is there twice")
        found[peer] = address
    return found
