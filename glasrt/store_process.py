"""The store of one mirror in a process of its own: it is handed batches and tells when they are on disk.

Owns that process, the socket to it and the frames on it. Does not know SQLite (store.py), what the bytes
mean, or when to commit (node.py).

Why not a thread: whenever one waits for the interpreter's lock, the loop wakes it each time that it lets go
of the lock for a moment, dozens of times a commit, mostly in vain. That cost more than the commits.

When the mirror is killed, the process sees its socket close, finishes the batch that it has whole, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from glasrt.core import Journal, Snapshot
from glasrt.errors import StoreError
from glasrt.store import Identity, Sizes, Store

_HEAD = struct.Struct("<BQQ")  # kind, a number that the kind gives a meaning, length of what follows
_SIZES = struct.Struct("<QQ")  # of the newest snapshot, of the journal behind it
_JOURNAL, _SNAPSHOT = 1, 2  # both ways; number: position
_COMMIT = 3  # to the store: what came since the last one is a batch
_DONE = 4  # from the store; number: the position that is on disk; then sizes
_FAILED = 5  # from the store; number: 1 where it may pass; then a line for people
_RECEIVE = 1 << 16
_END_WITHIN = 10.0
_KILL_WITHIN = 1.0

Done = Callable[[int | StoreError], None]
"""Told of each batch, in order: the position that is on disk now, or why nothing of the batch is."""


class _Frame(NamedTuple):
    kind: int
    number: int
    content: bytes


class StoreProcess:
    """The mirror's side. `position` is what is on disk; every method but `commit` may raise StoreError."""

    def __init__(self, path: Path, identity: Identity, kind: type[Store] = Store) -> None:
        """Starts the process, which opens the store, and waits until it is open. Forks: best done before
        there are other threads.
        """
        self.path = path
        self._socket, other = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            _run(path, lambda: kind(path, identity), other)
        other.close()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: Done = _nobody
        self._unsent = bytearray()
        self._received = bytearray()
        self.position = 0
        self._sizes = Sizes(0, 0, 0)
        try:
            self._take_done(self._expect())
        except BaseException:
            self.close()
            raise

    # ---------------------------------------------------------------- recovery: the caller waits

    def recover(self) -> Iterator[Snapshot | Journal]:
        """The newest snapshot, if there is one, and the journal behind it, in order. Once, and before
        `attach`.
        """
        while True:
            frame = self._expect()
            if frame.kind == _DONE:
                return
            yield _item(frame)

    def _expect(self) -> _Frame:
        frame = _receive_frame(self._socket)
        if frame is None:
            raise self._ended()
        if frame.kind == _FAILED:
            raise _failure(frame)
        return frame

    # ---------------------------------------------------------------- work: nobody waits

    def attach(self, done: Done) -> None:
        """From now on `commit` may be called, by the running loop, and `done` is called in it."""
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._readable)

    def commit(self, items: Sequence[Journal | Snapshot]) -> None:
        """Writes all of it in one transaction, as `Store.commit` does; `done` will be told."""
        waits = bool(self._unsent)
        for item in items:  # a snapshot may be large: no copy more than this one
            kind = _SNAPSHOT if isinstance(item, Snapshot) else _JOURNAL
            self._unsent += _HEAD.pack(kind, item.position, len(item.data))
            self._unsent += item.data
        self._unsent += _frame(_COMMIT, 0, b"")
        if not waits:
            self._send()

    def _send(self) -> None:
        assert self._loop is not None
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:  # it has ended: the reader hears of that
            self._unsent.clear()
            sent = 0
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._socket, self._send)
        else:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._detach()
            self._done(self._ended())
            return
        self._received += data
        while (frame := _next_frame(self._received)) is not None:
            if frame.kind == _FAILED:
                self._done(_failure(frame))
            else:
                self._take_done(frame)
                self._done(self.position)

    def _take_done(self, frame: _Frame) -> None:
        self.position = frame.number
        snapshot, journal = _SIZES.unpack(frame.content)
        self._sizes = Sizes(snapshot, journal, frame.number)

    def sizes(self) -> Sizes:
        """What the store holds now."""
        return self._sizes

    # ---------------------------------------------------------------- the end

    def close(self) -> None:
        """Waits until what was committed is on disk and the process has ended, but not for ever: a disk may
        hang. Closing twice does nothing.
        """
        if self._socket.fileno() < 0:
            return
        self._detach()
        self._socket.settimeout(_END_WITHIN)
        try:
            self._socket.sendall(self._unsent)
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(_RECEIVE):
                pass
        except TimeoutError:  # what it has not done yet, nobody was told of
            self._kill()
        except OSError:
            pass
        self._socket.close()
        self._reap()

    def _kill(self) -> None:
        """Ends the process; one that hangs in the kernel is left to whoever inherits it."""
        os.kill(self._pid, signal.SIGKILL)
        late = time.monotonic() + _KILL_WITHIN
        while time.monotonic() < late:
            if os.waitpid(self._pid, os.WNOHANG)[0] != 0:
                break
            time.sleep(0.02)
        self._pid = 0

    def _detach(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._loop = None

    def _ended(self) -> StoreError:
        status = self._reap()
        how = f"signal {-status}" if status < 0 else f"exit code {status}"
        return StoreError(
            f"{self.path}: the process that writes the store has ended ({how}); start the mirror again"
        )

    def _reap(self) -> int:
        pid, self._pid = self._pid, 0
        if pid == 0:
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _nobody(_result: int | StoreError) -> None:
    raise AssertionError("a batch was done that nobody gave")


def _failure(frame: _Frame) -> StoreError:
    return StoreError(frame.content.decode(), passing=bool(frame.number))


def _item(frame: _Frame) -> Journal | Snapshot:
    of = Snapshot if frame.kind == _SNAPSHOT else Journal
    return of(frame.number, frame.content)


# ---------------------------------------------------------------- frames


def _frame(kind: int, number: int, content: bytes) -> bytes:
    return _HEAD.pack(kind, number, len(content)) + content


def _next_frame(received: bytearray) -> _Frame | None:
    """Takes one whole frame from the front."""
    if len(received) < _HEAD.size:
        return None
    kind, number, length = _HEAD.unpack_from(received)
    end = _HEAD.size + length
    if len(received) < end:
        return None
    content = bytes(received[_HEAD.size : end])
    del received[:end]
    return _Frame(kind, number, content)


def _receive_frame(connection: socket.socket) -> _Frame | None:
    """Waits for one frame; None: the other side has ended."""
    head = _receive_exactly(connection, _HEAD.size)
    if head is None:
        return None
    kind, number, length = _HEAD.unpack(head)
    content = _receive_exactly(connection, length)
    return None if content is None else _Frame(kind, number, content)


def _receive_exactly(connection: socket.socket, size: int) -> bytes | None:
    found = bytearray(size)
    view, at = memoryview(found), 0
    while at < size:
        try:
            n = connection.recv_into(view[at:])
        except ConnectionError:
            n = 0
        if n == 0:
            return None
        at += n
    return bytes(found)


# ---------------------------------------------------------------- the store's side


def _run(path: Path, open_store: Callable[[], Store], connection: socket.socket) -> NoReturn:
    """All that the new process ever does. The interpreter's own end belongs to its parent, so it leaves
    without.
    """
    code = 1
    try:
        _alone(connection)
        with _saying_why(path, connection):
            _serve(open_store, connection)
        code = 0
    except OSError:  # the mirror is gone
        code = 0
    finally:
        os._exit(code)


@contextlib.contextmanager
def _saying_why(path: Path, connection: socket.socket) -> Iterator[None]:
    """The mirror is told of everything that ends this process, but that the mirror itself has ended."""
    try:
        yield
    except StoreError as error:
        _tell_failed(connection, error)
    except (ConnectionError, TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001
        said = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        _tell_failed(
            connection,
            StoreError(f"{path}: the store cannot be used: {said}; see to that, and start the mirror again"),
        )


def _alone(connection: socket.socket) -> None:
    """Lets go of what belongs to the mirror: its files, and its signals, as the end of the socket is the
    sign to end here.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(null, standard)
    for open_file in list(Path("/proc/self/fd").iterdir()):
        if int(open_file.name) not in (0, 1, 2, connection.fileno()):
            with contextlib.suppress(OSError):
                os.close(int(open_file.name))


def _serve(open_store: Callable[[], Store], connection: socket.socket) -> None:
    store = open_store()
    _tell_done(connection, store)
    snapshot = store.snapshot()
    if snapshot is not None:
        connection.sendall(_frame(_SNAPSHOT, snapshot.position, snapshot.data))
    for journal in store.journal():
        connection.sendall(_frame(_JOURNAL, journal.position, journal.data))
    _tell_done(connection, store)
    items: list[Journal | Snapshot] = []
    while (frame := _receive_frame(connection)) is not None:
        if frame.kind == _COMMIT:
            _commit(connection, store, items)
            items = []
        else:
            items.append(_item(frame))
    store.close()


def _commit(connection: socket.socket, store: Store, items: Sequence[Journal | Snapshot]) -> None:
    try:
        store.commit(items)
    except StoreError as error:
        _tell_failed(connection, error)
    else:
        _tell_done(connection, store)


def _tell_done(connection: socket.socket, store: Store) -> None:
    sizes = _SIZES.pack(store.snapshot_size, store.journal_size)
    connection.sendall(_frame(_DONE, store.position, sizes))


def _tell_failed(connection: socket.socket, error: StoreError) -> None:
    connection.sendall(_frame(_FAILED, error.passing, str(error).encode()))
