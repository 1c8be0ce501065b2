"""Journal and snapshots of one mirror in one SQLite file.

Owns the file, its lock, its tables and that nothing is dropped silently. Does not know what the bytes mean,
who calls it (one at a time) or what is done after an error.

Positions count journal bytes. A batch is one transaction in a write-ahead log with synchronous=FULL: when
`commit` returns, it is on disk. The file is locked against other processes for as long as it is open.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glasrt import wal
from glasrt.core import Journal, Snapshot
from glasrt.errors import StoreError

FORMAT = "1"

_SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE journal(position INTEGER PRIMARY KEY,
  start INTEGER NOT NULL, crc INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE snapshot(position INTEGER PRIMARY KEY, crc INTEGER NOT NULL, bytes BLOB NOT NULL);
"""
_TABLES = {"meta", "journal", "snapshot"}
_PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_PATIENCE = 2.0  # seconds for the process of a mirror that was killed to end
_SETTLED = 0.1  # seconds without a change after which nobody seems to write
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True)
class Identity:
    """Whose store it is."""

    app: str
    mirror: str
    protocol_id: str


@dataclass(frozen=True)
class Sizes:
    """Bytes of the newest snapshot, of the journal behind it, and the position where the journal ends."""

    snapshot: int
    journal: int
    position: int


class Store:
    """An open store. Every method raises StoreError."""

    def __init__(self, path: Path, identity: Identity) -> None:
        """Opens or creates the file at `path` (its folder too) for `identity` and locks it."""
        self.path = path
        self.identity = identity
        self.snapshot_size = 0
        self.journal_size = 0
        self.position = 0
        self._check_files()
        self._db = self._connect()
        try:
            with self._named("open"):
                self._prepare()
                self._measure()
        except BaseException:
            self._db.close()
            raise

    def _check_files(self) -> None:
        """What SQLite reports late and dimly, or not at all."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.path.parent}: cannot make the folder of the store: {error.strerror}; "
                "name another data folder"
            ) from error
        except ValueError as error:
            raise StoreError(
                f"{str(self.path.parent)!r} cannot be the folder of the store: {error}; "
                "name another data folder"
            ) from error
        try:
            self._check_writable()
            self._check_log()
        except OSError as error:
            raise StoreError(
                f"{self.path}: the store cannot be read: {error.strerror}; give this user the right to it, "
                "or name another data folder"
            ) from error

    def _check_writable(self) -> None:
        self._check_access(self.path.parent, os.W_OK | os.X_OK)
        if self.path.is_dir():
            raise StoreError(f"{self.path}: the store is a folder, but must be a file; move it away")
        for file in (self.path, wal.beside(self.path)):
            if file.exists():
                self._check_access(file, os.R_OK | os.W_OK)

    def _check_access(self, part: Path, how: int) -> None:
        if not os.access(part, how):
            raise StoreError(
                f"{part}: the store cannot be written: {os.strerror(errno.EACCES)}; give this user the right "
                "to it, or name another data folder"
            )

    def _check_log(self) -> None:
        """Refuses a log that SQLite would read in part.

        One that another process writes at the same time may look so, hence the second look.
        """
        until = time.monotonic() + _PATIENCE
        while (why := wal.problem(self.path)) is not None:
            before = wal.stamp(self.path)
            time.sleep(_SETTLED)
            if wal.problem(self.path) == why and wal.stamp(self.path) == before:
                raise self._damaged(why)
            if time.monotonic() > until:
                raise self._in_use()

    def _connect(self) -> sqlite3.Connection:
        try:
            return sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._error("open", error) from error

    def _prepare(self) -> None:
        execute = self._db.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")
        mode = execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(f"{self.path}: the file system of the store does not allow a write-ahead log")
        execute("PRAGMA synchronous=FULL")
        execute("PRAGMA wal_autocheckpoint=4000")  # pages: a checkpoint costs a second sync, so not too often
        execute("PRAGMA journal_size_limit=16777216")
        execute("BEGIN IMMEDIATE")  # takes the lock, which the exclusive mode keeps
        tables = {row[0] for row in execute("SELECT name FROM sqlite_master WHERE type='table'")}
        if not tables:
            self._create()
        execute("COMMIT")
        if tables and not tables >= _TABLES:
            raise StoreError(f"{self.path}: a database, but not the store of a mirror; name another folder")
        verdict = execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise self._damaged(" ".join(str(verdict).split()))
        self._check_identity()

    def _create(self) -> None:
        for statement in _SCHEMA.strip().split(";\n"):
            self._db.execute(statement)
        self._db.executemany("INSERT INTO meta VALUES(?, ?)", _meta(self.identity).items())

    def _check_identity(self) -> None:
        found = dict(self._db.execute("SELECT name, value FROM meta"))
        for name, mine in _meta(self.identity).items():
            other = found.get(name)
            if other == mine:
                continue
            what = {"protocol_id": "version", "format": "format"}.get(name, name)
            raise StoreError(
                f"{self.path}: the store belongs to another {what}: it is of "
                f"{what} {other!r}, this is {mine!r}; give this mirror a data folder of its own"
            )

    def _measure(self) -> None:
        """Sizes, and that positions follow each other without a gap."""
        row = self._db.execute(
            "SELECT position, length(bytes) FROM snapshot ORDER BY position DESC"
        ).fetchone()
        end, self.snapshot_size = row or (0, 0)
        first = True
        for position, start, size in self._db.execute(
            "SELECT position, start, length(bytes) FROM journal ORDER BY position"
        ):
            joins = start == end or (first and row is not None and start < end < position)
            if not joins or position - start != size:
                raise self._damaged(f"the journal goes from position {end} to {start}..{position}")
            self.journal_size += size
            end, first = position, False
        self.position = end

    # ---------------------------------------------------------------- reading

    def snapshot(self) -> Snapshot | None:
        """The newest snapshot."""
        with self._named("read"):
            row = self._db.execute(
                "SELECT position, crc, bytes FROM snapshot ORDER BY position DESC LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            position, crc, data = row
            self._check_sum(data, crc, f"the snapshot at {position}")
            return Snapshot(position, data)

    def journal(self) -> Iterator[Journal]:
        """What was written after the newest snapshot, in order."""
        with self._named("read"):
            row = self._db.execute("SELECT max(position) FROM snapshot").fetchone()
            done = row[0] or 0
            for position, start, crc, data in self._db.execute(
                "SELECT position, start, crc, bytes FROM journal WHERE position > ? ORDER BY position",
                (done,),
            ):
                self._check_sum(data, crc, f"the journal at {start}..{position}")
                yield Journal(position, data[done - start :] if start < done else data)

    # ---------------------------------------------------------------- writing

    def commit(self, items: Sequence[Journal | Snapshot]) -> int:
        """Writes all of it in one transaction, in order, and returns the position that is on disk now.

        A snapshot replaces older ones and what the journal held up to its position. After an error nothing
        of it is there, and the same items may be given again.
        """
        assert items
        parts: list[bytes] = []
        snapshot: Snapshot | None = None
        end = self.position
        for item in items:
            if isinstance(item, Snapshot):
                snapshot = item
                continue
            if item.position - end != len(item.data):
                raise StoreError(
                    f"{self.path}: internal error: journal bytes to {item.position} do not follow {end}"
                )
            parts.append(item.data)
            end = item.position
        data = b"".join(parts)
        with self._named("write"):
            self._write(data, end, snapshot)
        self.position = end
        self.journal_size += len(data)
        if snapshot is not None:
            self.snapshot_size = len(snapshot.data)
            self.journal_size = end - snapshot.position
        return end

    def _write(self, data: bytes, end: int, snapshot: Snapshot | None) -> None:
        """One row a batch, and mostly one statement."""
        execute = self._db.execute
        if snapshot is None:
            self._append(data, end)
            return
        execute("BEGIN IMMEDIATE")
        try:
            self._append(data, end)
            values = (snapshot.position, zlib.crc32(snapshot.data), snapshot.data)
            execute("INSERT OR REPLACE INTO snapshot VALUES(?, ?, ?)", values)
            execute("DELETE FROM snapshot WHERE position < ?", (snapshot.position,))
            execute("DELETE FROM journal WHERE position <= ?", (snapshot.position,))
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise

    def _append(self, data: bytes, end: int) -> None:
        if data:
            row = (end, end - len(data), zlib.crc32(data), data)
            self._db.execute("INSERT INTO journal VALUES(?, ?, ?, ?)", row)

    def sizes(self) -> Sizes:
        """What the store holds now."""
        return Sizes(self.snapshot_size, self.journal_size, self.position)

    def close(self) -> None:
        """Gives the file and its lock back. Closing twice does nothing."""
        with self._named("close"):
            self._db.close()

    # ---------------------------------------------------------------- errors

    @contextlib.contextmanager
    def _named(self, action: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(action, error) from error

    def _error(self, action: str, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return self._in_use()
        if code in _DAMAGED:
            return self._damaged(str(error))
        if code == sqlite3.SQLITE_FULL:
            return StoreError(
                f"{self.path}: cannot {action} the store: the disk is full; make room", passing=True
            )
        return StoreError(
            f"{self.path}: cannot {action} the store: {error}; check the disk", passing=code in _PASSING
        )

    def _in_use(self) -> StoreError:
        return StoreError(
            f"{self.path}: another process uses this store; stop it, or name another data folder"
        )

    def _check_sum(self, data: bytes, crc: int, what: str) -> None:
        if zlib.crc32(data) != crc:
            raise self._damaged(f"{what} does not match its checksum")

    def _damaged(self, why: str) -> StoreError:
        return StoreError(
            f"{self.path}: the store is damaged ({why}); keep its files for repair, and start this mirror "
            "from a copy"
        )


def _meta(identity: Identity) -> dict[str, str]:
    return {
        "format": FORMAT,
        "app": identity.app,
        "mirror": identity.mirror,
        "protocol_id": identity.protocol_id,
    }
