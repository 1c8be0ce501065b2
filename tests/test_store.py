"""The store: what survives, what is refused, and that an error is one clear line."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from glasrt.core import Journal, Snapshot
from glasrt.errors import StoreError
from glasrt.store import Identity, Store

ME = Identity("pos", "hq", "abcd")


def content(path: Path) -> tuple[Snapshot | None, list[Journal]]:
    store = Store(path, ME)
    try:
        return store.snapshot(), list(store.journal())
    finally:
        store.close()


def refused(path: Path, identity: Identity = ME) -> str:
    with pytest.raises(StoreError) as caught:
        store = Store(path, identity)
        try:
            store.snapshot()
            list(store.journal())
        finally:
            store.close()
    message = str(caught.value)
    assert "\n" not in message
    assert not caught.value.passing
    return message


def filled(path: Path) -> None:
    store = Store(path, ME)
    assert store.commit([Journal(3, b"abc"), Journal(5, b"de")]) == 5
    assert store.commit([Journal(9, b"fghi")]) == 9
    store.close()


def test_what_was_committed_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "hq.glas"
    filled(path)
    assert content(path) == (None, [Journal(5, b"abcde"), Journal(9, b"fghi")])


def test_snapshot_replaces_the_journal_before_it(tmp_path: Path) -> None:
    path = tmp_path / "hq.glas"
    filled(path)
    store = Store(path, ME)
    assert store.commit([Snapshot(5, b"first")]) == 9
    assert store.commit([Journal(12, b"jkl"), Snapshot(12, b"second"), Journal(13, b"m")]) == 13
    sizes = store.sizes()
    store.close()
    assert (sizes.snapshot, sizes.journal, sizes.position) == (6, 1, 13)
    assert content(path) == (Snapshot(12, b"second"), [Journal(13, b"m")])


def test_snapshot_inside_a_row(tmp_path: Path) -> None:
    path = tmp_path / "hq.glas"
    filled(path)
    store = Store(path, ME)
    store.commit([Snapshot(7, b"s")])
    store.close()
    assert content(path) == (Snapshot(7, b"s"), [Journal(9, b"hi")])


def test_bytes_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "hq.glas", ME)
    with pytest.raises(StoreError, match="internal error: journal bytes to 7 do not follow 0"):
        store.commit([Journal(7, b"abc")])
    assert store.commit([Journal(3, b"abc")]) == 3
    store.close()


WRITER = """
import sys
from pathlib import Path
from glasrt.core import Journal
from glasrt.store import Identity, Store
store = Store(Path(sys.argv[1]), Identity("pos", "hq", "abcd"))
end = 0
while True:
    end = store.commit([Journal(end + 3, b"abc"), Journal(end + 5, b"de")])
    print(end, flush=True)
"""


def test_killed_while_writing_keeps_all_that_was_reported(tmp_path: Path) -> None:
    path = tmp_path / "hq.glas"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(50):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    reported = [int(line) for line in process.stdout.read().split()]
    process.wait()
    _snapshot, rows = content(path)
    assert rows[-1].position >= max(reported, default=250)
    assert rows[-1].position % 5 == 0, "a batch is one transaction"


def test_power_cut_at_any_byte_of_the_log(tmp_path: Path) -> None:
    """Whatever part of the last write is on disk, what was committed before it is there."""
    path = tmp_path / "hq.glas"
    store = Store(path, ME)
    store.commit([Journal(3, b"abc")])
    wal = path.with_name(path.name + "-wal")
    before = wal.stat().st_size
    store.commit([Journal(6, b"def")])
    base, log = path.read_bytes(), wal.read_bytes()
    store.close()
    cut = tmp_path / "cut.glas"
    for size in [*range(before, len(log), 509), len(log)]:
        cut.write_bytes(base)
        cut.with_name("cut.glas-wal").write_bytes(log[:size])
        rows = content(cut)[1]
        assert [row.data for row in rows] in ([b"abc"], [b"abc", b"def"])
    assert [row.data for row in rows] == [b"abc", b"def"]


def test_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hq.glas"
    store = Store(path, ME)
    program = (
        "import sys\nfrom pathlib import Path\nfrom glasrt.store import *\n"
        "try:\n    Store(Path(sys.argv[1]), Identity('pos', 'hq', 'abcd'))\n"
        "except StoreError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    store.close()
    assert done.stdout == f"{path}: another process uses this store; stop it, or name another data folder\n"


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (Identity("till", "hq", "abcd"), ("app", "'pos'", "'till'")),
        (Identity("pos", "shop1", "abcd"), ("mirror", "'hq'", "'shop1'")),
        (Identity("pos", "hq", "ef"), ("version", "'abcd'", "'ef'")),
    ],
)
def test_of_another(tmp_path: Path, other: Identity, names: tuple[str, ...]) -> None:
    path = tmp_path / "hq.glas"
    filled(path)
    message = refused(path, other)
    assert all(name in message for name in names), message


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "hq.glas"
    filled(path)
    good = path.read_bytes()
    path.write_bytes(b"no database" * 1000)
    assert "the store is damaged (file is not a database)" in refused(path)
    path.write_bytes(good[: len(good) // 2])
    assert "the store is damaged" in refused(path)
    at = good.index(b"fghi")
    path.write_bytes(good[:at] + b"FGHI" + good[at + 4 :])
    assert "the journal at 5..9 does not match its checksum" in refused(path)
    path.write_bytes(b"")
    assert content(path) == (None, [])


@pytest.mark.parametrize(
    "statement", ["DELETE FROM journal WHERE position = 5", "UPDATE journal SET start = 4 WHERE position = 5"]
)
def test_gap_is_found(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "hq.glas"
    filled(path)
    with sqlite3.connect(path) as db:
        db.execute(statement)
    db.close()
    assert "the store is damaged (the journal goes from position" in refused(path)


def test_database_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "hq.glas"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE songs(name TEXT)")
    db.close()
    assert "a database, but not the store of a mirror" in refused(path)


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot make the folder" in refused(tmp_path / "file" / "hq.glas")
    (tmp_path / "hq.glas").mkdir()
    assert "the store is a folder" in refused(tmp_path / "hq.glas")


def test_folder_that_cannot_be_written() -> None:
    """As somebody else where root runs the tests: root may write everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if os.geteuid() == 0:
                    os.setresuid(65534, 65534, 65534)
                said = refused(Path(folder) / "hq.glas")
                code = int(said != f"{folder}: the store cannot be written: Permission denied")
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_full_disk_passes(tmp_path: Path) -> None:
    path = tmp_path / "hq.glas"
    store = Store(path, ME)
    store.commit([Journal(3, b"abc")])
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages}")
    big = Journal(100_003, b"x" * 100_000)
    with pytest.raises(StoreError, match="the disk is full") as caught:
        store.commit([big])
    assert caught.value.passing
    assert store.position == 3
    store._db.execute("PRAGMA max_page_count=100000")
    assert store.commit([big]) == 100_003
    store.close()
    assert content(path)[1][-1] == big
