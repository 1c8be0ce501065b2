"""What a connection writes in one turn of the loop leaves in one write, in order, and before it is closed.
Requests that are too large or too slow are refused, by both parsers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvicorn

from glasrt.http_wire import HEAD_MOST, OneWrite, protocol


class FakeTransport:
    """Notes what is done with it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def get_extra_info(self, _name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return "close" in self.done

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("close")

    def pause_reading(self) -> None:
        self.done.append("pause")


def noted(*steps: str) -> list[object]:
    """What reaches the transport: `tick` lets the loop come round, `close` closes, all else is written."""

    async def run() -> list[object]:
        fake = FakeTransport()
        wire = OneWrite(cast(asyncio.Transport, fake))
        for step in steps:
            if step == "tick":
                await asyncio.sleep(0)
            elif step == "close":
                wire.close()
            else:
                wire.write(step.encode())
        await asyncio.sleep(0)
        return fake.done

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("steps", "done"),
    [
        (["head", "body"], [b"headbody"]),
        (["a", "tick", "b"], [b"a", b"b"]),
        (["a", "b", "close"], [b"ab", "close"]),
        (["close"], ["close"]),
        ([], []),
    ],
)
def test_writes(steps: list[str], done: list[object]) -> None:
    assert noted(*steps) == done


def test_the_rest_goes_straight_on() -> None:
    async def run() -> None:
        fake = FakeTransport()
        wire = OneWrite(cast(asyncio.Transport, fake))
        wire.pause_reading()
        assert fake.done == ["pause"]
        assert not wire.is_closing()

    asyncio.run(run())


def test_protocol_is_one_of_uvicorn() -> None:
    assert issubclass(protocol(), asyncio.Protocol)


# ---------------------------------------------------------------- requests that are not whole

BOTH = pytest.mark.parametrize("fast", [True, False])
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n"
Ask = Callable[..., Awaitable[tuple[bytes, float]]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the length of the body; `/slow` takes its time."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(0.7)
    said = b"took %d" % size
    headers = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


@asynccontextmanager
async def serving(fast: bool, keep_alive: float = 20) -> AsyncIterator[Ask]:
    """A server, and how to send pieces (numbers: pauses) and get all that comes, and how long it took."""
    settings = uvicorn.Config(
        app,
        port=0,
        http=protocol(fast=fast),
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=cast(int, keep_alive),
        h11_max_incomplete_event_size=2 * HEAD_MOST,
    )
    server = uvicorn.Server(settings)
    settings.load()
    server.lifespan = settings.lifespan_class(settings)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]

    async def ask(*pieces: bytes | float) -> tuple[bytes, float]:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in pieces:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            else:
                await asyncio.sleep(piece)
        found = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return found, time.monotonic() - begun

    try:
        yield ask
    finally:
        server.force_exit = True
        await server.shutdown()


def answers(fast: bool, *pieces: bytes | float, keep_alive: float = 20) -> tuple[bytes, float]:
    async def run() -> tuple[bytes, float]:
        async with serving(fast, keep_alive) as ask:
            return await ask(*pieces)

    return asyncio.run(run())


def statuses(found: bytes) -> list[int]:
    return [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:]]


@BOTH
@pytest.mark.parametrize("half", [b"G", b"GET / HTTP/1.1\r\nHo", POST, POST + b"half"])
def test_half_a_request_is_ended_in_time(fast: bool, half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasrt.http_wire._WHOLE_WITHIN", 0.3)
    found, took = answers(fast, half)
    assert statuses(found) == [408], found
    assert b'"reason": "timeout"' in found
    assert 0.25 < took < 3
    found, took = answers(fast, GET, 0.1, half)
    assert statuses(found) == [200, 408], found


@BOTH
def test_trickling_does_not_help(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasrt.http_wire._WHOLE_WITHIN", 0.3)
    found, took = answers(fast, *[part for byte in range(4) for part in (POST[byte : byte + 1], 0.06)])
    assert (statuses(found), took < 1) == ([408], True)


@BOTH
def test_slow_but_whole_in_time(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasrt.http_wire._WHOLE_WITHIN", 0.4)
    found, _took = answers(fast, POST[:9], 0.1, POST[9:], 0.1, b"12345678", 0.5, GET, keep_alive=0.6)
    assert statuses(found) == [200, 200], found
    assert b"took 8" in found


@BOTH
@pytest.mark.parametrize("before", [b"", GET])
def test_idle_connection_is_closed(fast: bool, before: bytes) -> None:
    found, took = answers(fast, before, keep_alive=0.3)
    assert statuses(found) == [200] * bool(before)
    assert 0.25 < took < 3


@BOTH
def test_white_space_keeps_no_connection(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasrt.http_wire._WHOLE_WITHIN", 0.3)
    for pieces in ([b"\r\n"], [GET, 0.1, b"\r\n"]):
        _found, took = answers(fast, *pieces, keep_alive=0.3)
        assert took < 3


@BOTH
@pytest.mark.parametrize("piece", [1000, 1 << 20])
def test_head_is_bounded(fast: bool, piece: int) -> None:
    def head(size: int) -> list[bytes]:
        whole = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * size + b"\r\n\r\n"
        return [whole[at : at + piece] for at in range(0, len(whole), piece)]

    found, _took = answers(fast, *head(HEAD_MOST - 100), keep_alive=0.2)
    assert statuses(found) == [200], found
    found, _took = answers(fast, *head(HEAD_MOST + 20_000), keep_alive=0.2)
    assert statuses(found) == [431], found


@BOTH
def test_large_body_is_no_head(fast: bool) -> None:
    size = 10 * HEAD_MOST
    found, _took = answers(fast, POST.replace(b" 8", b" %d" % size) + b"x" * size, GET, keep_alive=0.5)
    assert statuses(found) == [200, 200], found
    assert b"took %d" % size in found


@BOTH
def test_answers_before_it_keep_their_turn(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a pipelined request may not be read before the one before it was answered."""
    monkeypatch.setattr("glasrt.http_wire._WHOLE_WITHIN", 0.2)
    slow = GET.replace(b"/ ", b"/slow ")
    for half in (b"GET / HT", POST + b"half"):
        found, _took = answers(fast, slow + half, keep_alive=0.3)
        assert statuses(found)[0] == 200, found
        assert found.count(b"took 0") == 1
