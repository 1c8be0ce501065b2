"""The store: what survives, what is refused, and that an error is one clear line."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from glasrt import wal
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


@pytest.fixture(scope="module")
def unmerged(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, list[Journal]]:
    """A store whose process was killed: file, log, content. Some transactions take several pages."""
    path = tmp_path_factory.mktemp("unmerged") / "hq.glas"
    store = Store(path, ME)
    position = 0
    for number in range(40):
        size = 10_000 if number % 10 == 0 else 500
        position += size
        store.commit([Journal(position, bytes([number]) * size)])
    found = path.read_bytes(), wal.beside(path).read_bytes()
    rows = list(store.journal())
    store.close()
    assert len(rows) == 40
    return *found, rows


def frames_of(log: bytes) -> range:
    """Where its frames begin."""
    return range(32, len(log), 24 + int.from_bytes(log[8:12], "big"))


def opened(folder: Path, base: bytes | None, log: bytes) -> list[Journal] | str:
    """What a store of these files holds, or how it is refused, which leaves the files as they are."""
    path = folder / "x.glas"
    if base is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(base)
    wal.beside(path).write_bytes(log)
    try:
        return content(path)[1]
    except StoreError as error:
        assert wal.beside(path).read_bytes() == log
        assert base is None or path.read_bytes() == base
        return str(error)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasrt.store._SETTLED", 0.0)


@pytest.mark.usefixtures("no_pause")
def test_a_flip_in_the_log_loses_nothing_in_silence(
    tmp_path: Path, unmerged: tuple[bytes, bytes, list[Journal]]
) -> None:
    """In each head bit by bit, in the pages here and there: refused, or the last transaction at most."""
    base, log, rows = unmerged
    assert opened(tmp_path, base, log) == rows
    source = random.Random(1)
    frames = frames_of(log)
    some = [*frames[:3], *source.sample(frames, 6), *frames[-3:]]
    offsets = [*range(32), *(at + i for at in some for i in range(24))]
    offsets += [source.randrange(len(log)) for _ in range(150)]
    silent = 0
    for at in offsets:
        flipped = bytearray(log)
        flipped[at] ^= 1 << source.randrange(8)
        found = opened(tmp_path, base, bytes(flipped))
        if isinstance(found, str):
            assert "the store is damaged (" in found
            assert "write-ahead log is broken" in found
        else:
            silent += found != rows
            assert found in (rows, rows[:-1]), f"byte {at}"
    assert silent < len(offsets) // 2


@pytest.mark.usefixtures("no_pause")
def test_a_lost_mark_of_a_commit_is_seen(
    tmp_path: Path, unmerged: tuple[bytes, bytes, list[Journal]]
) -> None:
    """The last transaction but one loses its mark: what is left looks like one transaction that is torn."""
    base, log, _rows = unmerged
    ends = [at for at in frames_of(log) if log[at + 4 : at + 8] != bytes(4)]
    wiped = bytearray(log)
    wiped[ends[-2] + 4 : ends[-2] + 8] = bytes(4)
    assert f"broken at byte {ends[-2]}, before 2 commits" in str(opened(tmp_path, base, bytes(wiped)))


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("zeroed", [range(4), range(8, 12), range(32), range(4096)])
def test_log_with_a_broken_head(
    tmp_path: Path, unmerged: tuple[bytes, bytes, list[Journal]], zeroed: range
) -> None:
    base, log, _rows = unmerged
    wiped = bytearray(log)
    wiped[zeroed.start : zeroed.stop] = bytes(len(zeroed))
    assert "damaged (the head of its write-ahead log is broken)" in str(opened(tmp_path, base, bytes(wiped)))


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("base", [None, b""])
def test_log_without_its_file(
    tmp_path: Path, unmerged: tuple[bytes, bytes, list[Journal]], base: bytes | None
) -> None:
    found = opened(tmp_path, base, unmerged[1])
    assert "damaged (it is empty or missing, but its write-ahead log holds transactions)" in str(found)
    assert opened(tmp_path, base, b"") == []


@pytest.mark.usefixtures("no_pause")
def test_frames_from_before_the_log_began_anew_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "hq.glas"
    store = Store(path, ME)
    for number in range(20):
        store.commit([Journal(500 * (number + 1), bytes(500))])
    store._db.execute("PRAGMA wal_checkpoint(RESTART)")
    store.commit([Journal(10_500, bytes(500))])
    base, log = path.read_bytes(), wal.beside(path).read_bytes()
    store.close()
    assert len({log[at + 8 : at + 16] for at in frames_of(log)}) == 2
    assert len(opened(tmp_path, base, log)) == 21
    torn = bytearray(log)
    torn[32 + 100] ^= 1
    assert len(opened(tmp_path, base, bytes(torn))) == 20


def test_log_that_somebody_writes_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unmerged: tuple[bytes, bytes, list[Journal]]
) -> None:
    """It may look broken between two reads, which says nothing."""
    stamps = itertools.count()
    monkeypatch.setattr("glasrt.store._PATIENCE", 0.2)
    monkeypatch.setattr("glasrt.wal.stamp", lambda _path: (next(stamps) + 100, 0))
    assert "another process uses this store" in str(opened(tmp_path, b"", unmerged[1]))


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


def test_folder_that_is_no_path(tmp_path: Path) -> None:
    said = refused(tmp_path / "a\0b" / "hq.glas")
    assert "a\\x00b' cannot be the folder of the store: embedded null byte; name another data folder" in said


@pytest.mark.parametrize("mode", [0o555, 0o666])
def test_folder_that_cannot_be_written_or_searched(mode: int) -> None:
    """As somebody else where root runs the tests: root may write everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(mode)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if os.geteuid() == 0:
                    os.setresuid(65534, 65534, 65534)
                said = refused(Path(folder) / "hq.glas")
                code = int(f"{folder}: the store cannot be written: Permission denied; give" not in said)
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
