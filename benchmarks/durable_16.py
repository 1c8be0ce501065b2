"""Durable transfers per second by 16 concurrent callers, against Redis with `appendfsync always`.

glas: 16 tasks call a lone mirror on glasrt's node, whose journal is a SQLite file with group commit. Redis:
16 clients of one compiled program over a unix socket, MULTI, DECRBY, INCRBY, EXEC. Each caller waits until
its transfer is on disk before the next. Both write to the same disk.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.common import Options, Result, Round, Target, calibrated, compare, main, scratch_folder
from benchmarks.programs import BANK, Missing, Program, imported, tool, with_library
from glasrt.bundle import plan_of
from glasrt.core import Limits, Roster, RosterMirror, Timing
from glasrt.errors import COMMITTED
from glasrt.logs import Log
from glasrt.node import Node, NodeSettings
from glasrt.store import Identity
from glasrt.store_process import StoreProcess

_ACCOUNTS = 1000
_CALLERS = 16
_TIMEOUT_US = 30 * 10**6
_PACKAGE = "redis-server"


def benchmark(options: Options) -> Sequence[Result]:
    """Measures."""
    peer: Round | None = None
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        glas = stack.enter_context(_mirror(folder))
        try:
            redis = stack.enter_context(_redis(folder))
            peer, note = calibrated(redis.run, options.seconds, 100), ""
        except Missing as missing:
            note = str(missing)
        rate = calibrated(glas, options.seconds, 100)
        name = "Redis, appendfsync always"
        return [compare("durable_16", "/s", rate, (name, peer), Target(1), options, note=note)]


# ---------------------------------------------------------------- glas


@contextmanager
def _mirror(folder: Path) -> Iterator[Callable[[int], float]]:
    """Transfers at a lone mirror with a store in `folder`."""
    runner = asyncio.Runner(loop_factory=_loop_factory())
    with runner:
        node = runner.run(_opened(folder))
        try:
            yield lambda count: runner.run(_transfers(node, count))
        finally:
            runner.run(node.stop())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop that `glasc run` takes."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _opened(folder: Path) -> Node:
    module = imported(BANK)
    plan = plan_of(module)
    store = StoreProcess(folder / "bank.glas", Identity(plan.app, "bank", plan.protocol_id))
    roster = Roster((RosterMirror("bank", 1),), 0)
    node = Node(module, NodeSettings("bank", roster, Limits(), Timing(), _TIMEOUT_US), store, Log("bank"))
    await asyncio.sleep(0)  # `start` runs in the first turn
    opened = [b'{"number": %d, "amount": 1000000000}' % number for number in range(_ACCOUNTS)]
    for reply in await asyncio.gather(*(node.call("open", arguments) for arguments in opened)):
        assert reply.outcome == COMMITTED, reply.message
    return node


async def _transfers(node: Node, count: int) -> float:
    """So many transfers by all callers together; the seconds that took."""
    draw = random.Random(1)
    pairs = [draw.sample(range(_ACCOUNTS), 2) for _ in range(4096)]
    calls = [b'{"from": %d, "to": %d, "amount": 1}' % (a, b) for a, b in pairs]
    left = count

    async def caller(number: int) -> None:
        nonlocal left
        at = number
        while left > 0:
            left -= 1
            at = (at + _CALLERS) % len(calls)
            reply = await node.call("transfer", calls[at])
            assert reply.outcome == COMMITTED, reply.message

    begin = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(_CALLERS)))
    return time.perf_counter() - begin


# ---------------------------------------------------------------- Redis


@contextmanager
def _redis(folder: Path) -> Iterator[Program]:
    """Transfers at a Redis server with its file in `folder`. Raises Missing."""
    client = with_library("transfer_redis.c", "stdio.h", "", "gcc libc6-dev")
    server = tool("redis-server", _PACKAGE)
    socket = folder / "redis.sock"
    settings = (
        "--port 0 --save",
        "",
        f"--unixsocket {socket} --dir {folder} --appendonly yes --appendfsync always",
    )
    command = [server, *settings[0].split(), settings[1], *settings[2].split()]
    with (folder / "redis.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(socket)
            _fill(socket)
            with Program(client, str(socket), str(_CALLERS)) as program:
                yield program
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError("redis-server does not start")
        time.sleep(0.02)


def _fill(path: Path) -> None:
    """Opens the accounts."""
    import socket

    pairs = "".join(f"$%d\r\na{n}\r\n$10\r\n1000000000\r\n" % len(f"a{n}") for n in range(_ACCOUNTS))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(f"*{2 * _ACCOUNTS + 1}\r\n$4\r\nMSET\r\n{pairs}".encode())
        answer = client.recv(64)
    if answer != b"+OK\r\n":
        raise RuntimeError(f"redis-server answers {answer!r}")


if __name__ == "__main__":
    main("durable_16", benchmark)
