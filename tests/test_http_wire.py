"""What a connection writes in one turn of the loop leaves in one write, in order, and before it is closed."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from glasrt.http_wire import OneWrite, protocol


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
