"""Whether SQLite would read a write-ahead log to its end: it takes the first frame that does not verify for
the end, and drops what follows in silence.

Owns the format of the `-wal` file (https://www.sqlite.org/fileformat2.html#walformat) as far as that takes.
Reads that file only, never the database itself: closing it would give up the locks that this process has on
it. Does not know what the pages mean or what is said of damage.

A commit is on disk before the next one begins, as the store uses synchronous=FULL. So a power cut can leave
only the last transaction torn: a frame that does not verify before the ends of two transactions is damage.
"""

from __future__ import annotations

import array
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_HEAD = struct.Struct(">8I")  # magic, version, page size, checkpoints, two salts, two sums of what is before
_FRAME = struct.Struct(">6I")  # page number, pages of the database (commit) or 0, two salts, two sums
_MAGIC = 0x377F0682  # its lowest bit: the sums are over words with their high byte first
_PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))
_WORD = 0xFFFFFFFF
_BLOCK = 2 << 20  # bytes of frames whose sums are made together
_CARRY = 32  # words that two lanes of 64 bits can add up before they have to be cut to 32 again

_Sums = tuple[int, int]
_Matrix = tuple[int, int, int, int]  # what words that are 0 do to the sums


class _Log(NamedTuple):
    """A log whose head is sound."""

    file: BinaryIO
    high_first: bool
    page_size: int
    salts: _Sums
    sums: _Sums


class _Frame(NamedTuple):
    page: int
    size: int  # of the database in pages where a transaction ends, else 0
    salts: _Sums
    sums: _Sums  # over the head of the log and all frames up to here


def beside(database: Path) -> Path:
    """Where SQLite keeps the log of `database`."""
    return database.with_name(database.name + "-wal")


def stamp(database: Path) -> tuple[int, int]:
    """Size of the log and when it was changed, zeros where there is none. Raises OSError."""
    try:
        found = beside(database).stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def problem(database: Path) -> str | None:
    """What is wrong with the `-wal` file beside `database`, or None. Raises OSError."""
    if stamp(database)[0] <= _HEAD.size:
        return None
    without = not database.exists() or database.stat().st_size == 0
    with beside(database).open("rb") as file:
        log = _open(file)
        if log is None:  # the head is on disk before the first frame is written
            broken = any(_ends_anything(file, size) for size in _PAGE_SIZES)
            return "the head of its write-ahead log is broken" if broken else None
        if without and _ends_anything(file, log.page_size):
            return "it is empty or missing, but its write-ahead log holds transactions"
        return _first_break(log)


def _open(file: BinaryIO) -> _Log | None:
    data = file.read(_HEAD.size)
    magic, _version, page_size, _checkpoints, salt1, salt2, sum1, sum2 = _HEAD.unpack(data)
    high_first = bool(magic & 1)
    a = b = 0
    for p, q in struct.iter_unpack(">2I" if high_first else "<2I", data[:24]):
        a = (a + p + b) & _WORD
        b = (b + q + a) & _WORD
    if magic & ~1 != _MAGIC or page_size not in _PAGE_SIZES or (a, b) != (sum1, sum2):
        return None
    return _Log(file, high_first, page_size, (salt1, salt2), (a, b))


def _frame_at(data: bytes, at: int) -> _Frame:
    page, size, salt1, salt2, sum1, sum2 = _FRAME.unpack_from(data, at)
    return _Frame(page, size, (salt1, salt2), (sum1, sum2))


def _frames(file: BinaryIO, page_size: int, at: int) -> Iterator[_Frame]:
    """Those that begin at byte `at` and behind, without their pages."""
    end = file.seek(0, 2) - _FRAME.size - page_size
    while at <= end:
        file.seek(at)
        yield _frame_at(file.read(_FRAME.size), 0)
        at += _FRAME.size + page_size


def _ends_anything(file: BinaryIO, page_size: int) -> bool:
    """Whether there is a frame that ends a transaction, of whatever salts."""
    return any(frame.page and frame.size for frame in _frames(file, page_size, _HEAD.size))


def _first_break(log: _Log) -> str | None:
    """Goes through the log as SQLite does, up to the first frame that it would not take."""
    stride = _FRAME.size + log.page_size
    over_page = _power(log.page_size // 8 + 1)  # a frame's first two words and its page, in pairs
    at, before = _HEAD.size, log.sums
    while True:
        log.file.seek(at)
        block = log.file.read(_BLOCK // stride * stride)
        count = len(block) // stride
        if count == 0:
            return None
        for i, own in enumerate(_own_sums(block[: count * stride], stride, log.high_first)):
            frame = _frame_at(block, i * stride)
            found = _plus(_times(over_page, before), own)
            if frame.salts != log.salts or frame.page == 0 or found != frame.sums:
                return _judge(log, at, frame, found)
            before = found
            at += stride


def _judge(log: _Log, at: int, broken: _Frame, found: _Sums) -> str | None:
    """Whether the frame at byte `at`, whose sums should be as `found`, is more than the end of the log."""
    behind = _frames(log.file, log.page_size, at + _FRAME.size + log.page_size)
    ends = sum(1 for frame in behind if _ends(log, frame))
    ends += _ends(log, broken) or _ended(log, broken, found)
    return f"its write-ahead log is broken at byte {at}, before {ends} commits" if ends > 1 else None


def _ends(log: _Log, frame: _Frame) -> bool:
    """Whether the frame says that it ends a transaction, though it may be broken.

    Frames from before the log was begun anew have other salts, both of them.
    """
    mine = any(salt == other for salt, other in zip(frame.salts, log.salts, strict=True))
    return mine and frame.size != 0


def _ended(log: _Log, frame: _Frame, found: _Sums) -> bool:
    """Whether only the mark that it ends a transaction is broken: with some other size it would verify.

    The sums are linear in the size, and one of them grows by an odd number with it, which has an inverse.
    """
    growth = _times(_power(log.page_size // 8), (0, 1))
    odd = 0 if growth[0] & 1 else 1
    size = (frame.sums[odd] - found[odd]) * pow(growth[odd], -1, _WORD + 1)
    return frame.size == 0 and _plus(found, (size * growth[0], size * growth[1])) == frame.sums


# ---------------------------------------------------------------- sums


def _own_sums(frames: bytes, stride: int, high_first: bool) -> Iterator[_Sums]:
    """By frame, what its first two words and its page come to with nothing before them.

    For all frames at once, each in its lane of two long ints: word by word it would take seconds. Machines
    that we know have the low byte of a word first.
    """
    words = array.array("I", frames)
    if high_first:
        words.byteswap()
    count, each = len(frames) // stride, stride // 4
    column = bytearray(8 * count)
    lanes = memoryview(column).cast("I")[::2]
    cut = int.from_bytes(_WORD.to_bytes(8, "little") * count, "little")
    a = b = 0
    for number, word in enumerate((0, 1, *range(_FRAME.size // 4, each)), 1):
        lanes[:] = memoryview(words)[word::each]
        if number % 2:
            a += b + int.from_bytes(column, "little")
        else:
            b += a + int.from_bytes(column, "little")
        if number % _CARRY == 0:
            a &= cut
            b &= cut
    own = ((a & cut).to_bytes(8 * count, "little"), (b & cut).to_bytes(8 * count, "little"))
    return zip(*(memoryview(lane).cast("Q") for lane in own), strict=True)


def _plus(one: _Sums, other: _Sums) -> _Sums:
    return (one[0] + other[0]) & _WORD, (one[1] + other[1]) & _WORD


def _times(matrix: _Matrix, sums: _Sums) -> _Sums:
    a, b, c, d = matrix
    return (a * sums[0] + b * sums[1]) & _WORD, (c * sums[0] + d * sums[1]) & _WORD


def _power(pairs: int) -> _Matrix:
    """What so many pairs of words that are 0 do to the sums."""
    a, b, c, d = 1, 0, 0, 1
    for _ in range(pairs):
        a, b = (a + c) & _WORD, (b + d) & _WORD
        c, d = (c + a) & _WORD, (d + b) & _WORD
    return a, b, c, d
