"""Lines between mirrors that can be cut: small TCP proxies on this machine.

Owns what happens to connections on a line. Does not know what bytes on it mean, nor who speaks. All lines
live on one event loop in a thread of their own, so that the rest of the demo need not be asynchronous.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
_CHUNK = 65536
_WITHIN = 10.0


class Lines:
    """The lines of a demo or test, all of which end with it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lines", daemon=True)
        self._thread.start()
        self._lines: list[Line] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, host: str, port: int) -> Line:
        """A new line to an address, in order."""
        line = Line(self, host, port)
        self._lines.append(line)
        line.heal()
        return line

    def close(self) -> None:
        """Ends all lines for good."""
        if self._loop.is_closed():
            return
        for line in self._lines:
            line.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WITHIN)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Carries something out on the loop, from another thread."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_WITHIN)


class Line:
    """A TCP port that leads to another one while the line is in order.

    A second socket, bound but never listening, keeps the port while the line is cut: dialling is then
    refused, as where nobody is.
    """

    def __init__(self, lines: Lines, host: str, port: int) -> None:
        self._lines = lines
        self._target = (host, port)
        self._keeper = _bound_socket(0)
        self.port: int = self._keeper.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()

    @property
    def address(self) -> str:
        """Where to dial, as an address for `--via`."""
        return f"{HOST}:{self.port}"

    def cut(self) -> None:
        """Breaks every connection, and refuses new ones."""
        self._lines.run(self._cut())

    def hush(self) -> None:
        """Carries no byte any more, and tells nobody: connections stay, and new ones are taken."""
        self._lines.run(self._hush())

    def heal(self) -> None:
        """The line is in order again. What a silent line had swallowed is gone with its connections."""
        self._lines.run(self._heal())

    def close(self) -> None:
        """Gives the port back."""
        self.cut()
        self._keeper.close()

    async def _cut(self) -> None:
        self._open.clear()
        if self._server is not None:
            self._server.close()
            self._server = None
        self._break()

    async def _hush(self) -> None:
        self._open.clear()

    async def _heal(self) -> None:
        if not self._open.is_set():
            self._break()
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._carry, sock=_bound_socket(self.port))

    def _break(self) -> None:
        for task in self._tasks:
            task.cancel()
        for end in self._ends:
            end.transport.abort()
        self._tasks.clear()
        self._ends.clear()

    async def _carry(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        """One connection: two directions, until either ends."""
        self._ends.add(near)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            far_reader, far = await asyncio.open_connection(*self._target)
            self._ends.add(far)
            pumps = (self._pump(near_reader, far), self._pump(far_reader, near))
            ways = [asyncio.ensure_future(pump) for pump in pumps]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (near, far):
                if end is not None:
                    self._ends.discard(end)
                    end.transport.abort()
            if task is not None:
                self._tasks.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Bytes that arrive while the line is silent wait, and are dropped with the connection."""
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                await self._open.wait()
                sink.write(data)
                await sink.drain()


def _bound_socket(port: int) -> socket.socket:
    """A socket at the port (0: any that is free) that shares it with others of this kind."""
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((HOST, port))
    except OSError:
        made.close()
        raise
    return made
