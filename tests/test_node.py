"""Mirrors as they run: processes and sockets, kills, stores that fail, and what the command line says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from glasrt.config import Address
from glasrt.core import Journal, Limits, Reply, Roster, RosterMirror, Snapshot, Timing
from glasrt.errors import ABORTED, UNKNOWN, StoreError
from glasrt.link import LinkConnection, Links
from glasrt.logs import Log
from glasrt.node import Node, NodeSettings
from glasrt.store import Identity, Store
from glasrt.store_process import StoreProcess
from tests.fake_app import fake_module, fake_wheel
from tests.mirrors import Cluster, eventually


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, fake_wheel(), "fake", ["hq", "shop1"])
    yield cluster
    cluster.stop_all()


# ---------------------------------------------------------------- processes


def test_two_mirrors_meet(pair: Cluster) -> None:
    pair.start("shop1")
    assert pair.rpc("shop1", "add", n=2) == 2
    pair.start("hq")
    pair.rpc("hq", "add", n=1)
    eventually(lambda: pair.state("hq", "db.total") == 3 == pair.state("shop1", "db.total"))


def test_killed_mirror_keeps_what_it_acknowledged(pair: Cluster) -> None:
    pair.start("hq")
    pair.start("shop1")
    total = 0
    for _ in range(3):
        for _ in range(20):
            total = pair.rpc("hq", "add", n=1)
        pair.kill("hq")
        pair.start("hq")
        assert pair.state("hq", "db.total") == total
    eventually(lambda: pair.state("shop1", "db.total") == total)
    pair.kill("shop1")
    pair.rpc("hq", "add", n=1)
    pair.start("shop1")
    eventually(lambda: pair.state("shop1", "db.total") == total + 1)


def test_stop_is_clean(pair: Cluster) -> None:
    pair.start("hq")
    pair.rpc("hq", "add", n=1)
    assert pair.kill("hq", signal.SIGTERM) == 0
    pair.start("hq")
    assert pair.kill("hq", signal.SIGINT) == 0
    assert not list((pair.folder / "data").glob("*-wal"))


def test_stop_lets_pending_calls_finish(pair: Cluster) -> None:
    pair.config.write_text(pair.config.read_text() + '[limits]\ncall_timeout = "800ms"\n')
    pair.start("hq")
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(pair.request("hq", "GET", "/never")[0]))
    thread.start()
    eventually(lambda: json.loads(pair.request("hq", "GET", "/sys/status")[2])["waiting"] == 1)
    assert pair.kill("hq", signal.SIGTERM) == 0
    thread.join()
    assert answers == [504]


def test_stop_answers_calls_that_wait(pair: Cluster) -> None:
    """Before uvicorn would, which says `500 Internal Server Error` of what did not happen."""
    pair.start("hq")
    answers: list[tuple[int, dict[str, str], bytes]] = []
    thread = threading.Thread(target=lambda: answers.append(pair.request("hq", "GET", "/never")))
    thread.start()
    eventually(lambda: json.loads(pair.request("hq", "GET", "/sys/status")[2])["waiting"] == 1)
    assert pair.kill("hq", signal.SIGTERM) == 0
    thread.join()
    ((status, _headers, body),) = answers
    assert (status, json.loads(body)) == (
        503,
        {
            "outcome": "aborted",
            "reason": "busy",
            "message": "this mirror is stopping; nothing happened",
        },
    )


def test_via(pair: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(10)
        pair.start("shop1", "--via", f"hq=127.0.0.1:{other.getsockname()[1]}")
        connection, _address = other.accept()
        with connection:
            assert connection.recv(1) == b"\x02"


def test_via_that_has_no_effect_is_mentioned(pair: Cluster) -> None:
    pair.start("hq", "--via", "shop1=127.0.0.1:9")
    assert (
        "--via has no effect: this mirror does not dial that one peer=shop1"
        in (pair.folder / "hq.log").read_text()
    )


def test_strangers_are_closed(pair: Cluster) -> None:
    pair.start("hq")
    for data in (b"\xff" * 1000, b"GET / HTTP/1.1\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", pair.link["hq"]), timeout=10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert pair.request("hq", "GET", "/p")[0] == 200


def test_link_that_takes_nothing_is_dialled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut in silence: what was written stays in the socket for ever, also after a close."""
    monkeypatch.setattr("glasrt.link._CLOSE_WITHIN", 0.2)

    class User:
        def __init__(self) -> None:
            self.up: asyncio.Queue[LinkConnection] = asyncio.Queue()

        def link_is_up(self, connection: LinkConnection) -> None:
            self.up.put_nowait(connection)

        def link_received(self, number: int, data: bytes) -> None:
            raise AssertionError(number, data)

        def link_is_down(self, number: int) -> None:
            pass

    async def story() -> None:
        user = User()
        links = Links(user, Log("shop1", stream=StringIO()), max_accepted=1)
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            links.dial("hq", Address("127.0.0.1", deaf.getsockname()[1]))
            first = await asyncio.wait_for(user.up.get(), 10)
            first.write(bytes(64 << 20))
            assert first.waiting() > 0
            first.close()
            second = await asyncio.wait_for(user.up.get(), 10)
            assert second.number == first.number + 1
            await links.close()

    asyncio.run(story())


def failed(cluster: Cluster, name: str, *more: str) -> tuple[int, str]:
    done = cluster.run(name, *more)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_what_stops_a_start_is_one_line(pair: Cluster, tmp_path: Path) -> None:
    pair.start("hq")
    code, line = failed(pair, "hq")
    assert code == 3
    assert f"cannot listen on 127.0.0.1:{pair.http['hq']}: Address already in use" in line
    assert line.count("\n") == 1
    with socket.create_server(("127.0.0.1", pair.link["shop1"])):
        pass
    other = Cluster(tmp_path / "data", fake_wheel(), "fake", ["hq"])
    code, line = failed(other, "hq", "--data", str(tmp_path / "data"))
    assert (code, line.count("\n")) == (3, 1)
    assert "another process uses this store" in line
    (tmp_path / "data" / "bad").mkdir()
    (tmp_path / "data" / "bad" / "hq.glas").write_bytes(b"rubbish" * 999)
    code, line = failed(other, "hq", "--data", str(tmp_path / "data" / "bad"))
    assert (code, line.count("\n")) == (3, 1)
    assert "the store is damaged" in line


def test_store_that_the_core_refuses_is_one_line(pair: Cluster, tmp_path: Path) -> None:
    identity = Identity("fake", "hq", json.loads(plan_bytes())["protocol_id"])
    store = Store(tmp_path / "data" / "hq.glas", identity)
    store.commit([Journal(7, b"rubbish")])
    store.close()
    code, line = failed(pair, "hq")
    assert (code, line.count("\n")) == (3, 1)
    assert "cannot recover: unsound at offset 0" in line


class OddStore(Store):
    """Fails in ways that nobody thought of."""

    def __init__(self, path: Path, identity: Identity) -> None:
        if identity.mirror == "open":
            raise PermissionError(13, "Permission denied")
        super().__init__(path, identity)

    def journal(self) -> Iterator[Journal]:
        raise MemoryError


def test_why_a_store_cannot_be_opened_is_said(tmp_path: Path) -> None:
    """Its process says it, also what nobody thought of."""
    with pytest.raises(StoreError, match="cannot be the folder of the store: embedded null byte"):
        StoreProcess(tmp_path / "a\0b" / "hq.glas", Identity("fake", "hq", "00"))
    path = tmp_path / "hq.glas"
    with pytest.raises(StoreError) as caught:
        StoreProcess(path, Identity("fake", "open", "00"), OddStore)
    assert str(caught.value) == (
        f"{path}: the store cannot be used: PermissionError: [Errno 13] Permission denied; "
        "see to that, and start the mirror again"
    )
    store = StoreProcess(path, Identity("fake", "hq", "00"), OddStore)
    with pytest.raises(StoreError, match="the store cannot be used: MemoryError; see to that"):
        list(store.recover())
    store.close()


def plan_bytes() -> bytes:
    return (Path(str(fake_module().__file__)).parent / "plan.json").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run"], 2, "Missing argument"),
        (["run", "{config}"], 2, "--mirror"),
        (["run", "{config}", "--mirror", "hq", "--via", "x"], 2, "'x' is not PEER=ADDRESS"),
        (["run", "{config}", "--mirror", "nobody"], 2, "no mirror 'nobody'; the mirrors are: hq, shop1"),
        (["run", "{config}", "--mirror", "hq", "--via", "hp=1:1"], 2, "no mirror 'hp'"),
        (["run", "{config}", "--mirror", "shop1", "--via", "hq=1"], 2, "'1' is not an address such as"),
        (["run", "{config}", "--mirror", "hq", "--via", "shop1=bad"], 2, "'bad' is not an address such as"),
        (["run", "{config}", "--mirror", "hq", "--via", "a=1:1", "--via", "a=1:2"], 2, "'a' is there twice"),
        (["run", "{config}", "--mirror", "hq", "--bundle", "/nowhere"], 3, "/nowhere: no such bundle"),
        (["run", "/nowhere/glas.toml", "--mirror", "hq"], 1, "cannot read the configuration"),
        (["dance"], 2, "No such command"),
    ],
)
def test_command_line(pair: Cluster, arguments: list[str], code: int, said: str) -> None:
    filled = [argument.format(config=pair.config) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "glasrt", *filled], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- a disk that fails


class FlakyStore(Store):
    """Fails as the file beside it says, which the test writes: this one is in another process."""

    def commit(self, items: Sequence[Journal | Snapshot]) -> int:
        fault = self.path.with_name("fault")
        said = fault.read_text() if fault.exists() else ""
        if said == "full":
            raise StoreError("store: cannot write the store: the disk is full; make room", passing=True)
        if said == "corrupt":
            raise StoreError("store: the store is damaged")
        while said == "hang" and fault.read_text() == "hang":
            time.sleep(0.02)
        if said == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        with self.path.with_name("batches").open("a") as batches:
            batches.write(".")
        return super().commit(items)


@dataclass(frozen=True)
class Disk:
    """The store's folder, and what happens to it."""

    folder: Path

    def fault(self, what: str) -> None:
        """From now on: `full`, `hang`, `corrupt`, `die`, or nothing."""
        (self.folder / "fault").write_text(what)

    def batches(self) -> int:
        """How many were written."""
        return len((self.folder / "batches").read_text())


@asynccontextmanager
async def node_on(
    path: Path, max_held: int = 1 << 20, call_timeout_us: int = 5_000_000
) -> AsyncIterator[tuple[Node, Disk, StringIO]]:
    store = StoreProcess(path / "hq.glas", Identity("fake", "hq", "00"), FlakyStore)
    lines = StringIO()
    roster = Roster((RosterMirror("hq", 1),), 0)
    settings = NodeSettings("hq", roster, Limits(), Timing(), call_timeout_us, max_held)
    node = Node(fake_module(), settings, store, Log("hq", stream=lines))
    try:
        yield node, Disk(path), lines
    finally:
        await node.stop()


async def turns(node: Node, *, works: bool) -> None:
    """Waits until the node says so of its disk."""
    for _ in range(1000):
        if node.disk_works == works:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not in time")


def test_full_disk_holds_answers_back_until_it_works(tmp_path: Path) -> None:
    async def story() -> None:
        async with node_on(tmp_path) as (node, disk, lines):
            assert (await node.call("add", b'{"n": 1}')).body == b"1"
            disk.fault("full")
            late = asyncio.ensure_future(node.call("add", b'{"n": 2}'))
            await asyncio.sleep(0.3)
            assert (late.done(), node.disk_works) == (False, False)
            disk.fault("")
            assert (await asyncio.wait_for(late, 10)).body == b"3"
            assert (late.done(), node.disk_works) == (True, True)
            text = lines.getvalue()
            assert text.count("the disk is full") == 1, "said once, not at each attempt"
            assert "the disk works again" in text

    asyncio.run(story())


def test_while_the_disk_fails_nobody_waits_for_it(tmp_path: Path) -> None:
    """New calls are refused, those held back end in time, and how things are can be seen."""

    async def story() -> None:
        async with node_on(tmp_path, call_timeout_us=400_000) as (node, disk, _lines):
            disk.fault("full")
            begun = time.monotonic()
            held = node.rpc("add", b'{"n": 2}')
            never = node.rpc("never", b"{}")
            read = node.inspect("state db.total")
            assert not isinstance(held, Reply)
            assert not isinstance(never, Reply)
            assert not isinstance(read, Reply)
            await turns(node, works=False)
            for refused in (
                node.rpc("sum", b"{}"),
                node.http(b"GET", b"/p", b""),
                node.inspect("state db.total"),
            ):
                assert isinstance(refused, Reply)
                assert (refused.outcome, refused.status) == (ABORTED, 503)
                assert refused.message.startswith("the disk does not work: store: cannot write the store: ")
            assert json.loads(node.look("status").body)["waiting"] == 1
            assert node.look("plan").body == b"{}"
            replies = await asyncio.wait_for(asyncio.gather(held, never, read), 3)
            assert time.monotonic() - begun > 0.35
            assert [(reply.outcome, reply.status) for reply in replies] == [
                (UNKNOWN, 504),
                (ABORTED, 504),
                (ABORTED, 503),
            ]
            assert "may or may not have happened" in replies[0].message
            assert "nothing happened" in replies[2].message
            disk.fault("")
            await turns(node, works=True)
            assert (await node.call("sum", b"{}")).body == b"2", "it did happen"

    asyncio.run(story())


def test_a_write_that_takes_long_is_a_disk_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glasrt.node._SLOW_COMMIT", 0.2)

    async def story() -> None:
        async with node_on(tmp_path) as (node, disk, lines):
            assert (await node.call("add", b'{"n": 1}')).body == b"1"
            disk.fault("hang")
            late = asyncio.ensure_future(node.call("add", b'{"n": 1}'))
            await asyncio.sleep(0.1)
            assert not late.done()
            assert node.facts()["disk_works"]
            await turns(node, works=False)
            refused = node.rpc("sum", b"{}")
            assert isinstance(refused, Reply)
            assert refused.status == 503
            assert "the disk does not work: a write has been under way for more than" in refused.message
            disk.fault("")
            assert (await asyncio.wait_for(late, 10)).body == b"2"
            assert (await node.call("sum", b"{}")).body == b"2"
            assert lines.getvalue().count("under way") == 1

    asyncio.run(story())


def test_calls_held_back_are_settled_when_it_stops(tmp_path: Path) -> None:
    async def story() -> None:
        async with node_on(tmp_path) as (node, disk, _lines):
            disk.fault("full")
            held = node.rpc("add", b'{"n": 2}')
            read = node.inspect("state db.total")
            assert not isinstance(held, Reply)
            assert not isinstance(read, Reply)
            await node.finish_calls(0.1)
            assert (held.result().status, read.result().status) == (504, 503)
            disk.fault("")
        async with node_on(tmp_path) as (node, _disk, _lines):
            assert (await node.call("sum", b"{}")).body == b"2", "it did happen"

    asyncio.run(story())


def test_memory_stays_bounded_while_the_disk_is_full(tmp_path: Path) -> None:
    async def story() -> None:
        async with node_on(tmp_path, max_held=10_000) as (node, disk, _lines):
            disk.fault("full")
            held = []
            for _ in range(1000):
                answer = node.rpc("add", b'{"n": 1}')
                await asyncio.sleep(0)
                if isinstance(answer, Reply):
                    break
                held.append(answer)
            assert isinstance(answer, Reply)
            assert (answer.status, len(held) < 300) == (503, True)
            disk.fault("")
            replies = await asyncio.wait_for(asyncio.gather(*held), 10)
            assert replies[-1].body == str(len(held)).encode()
            assert (await node.call("add", b'{"n": 1}')).outcome == 0

    asyncio.run(story())


def test_many_calls_share_a_commit(tmp_path: Path) -> None:
    async def story() -> None:
        async with node_on(tmp_path) as (node, disk, _lines):
            replies = await asyncio.gather(*(node.call("add", b'{"n": 1}') for _ in range(200)))
            assert {reply.outcome for reply in replies} == {0}
            assert disk.batches() < 20

    asyncio.run(story())


def test_damaged_store_fails_the_mirror(tmp_path: Path) -> None:
    async def story() -> None:
        async with node_on(tmp_path) as (node, disk, _lines):
            disk.fault("corrupt")
            late = asyncio.ensure_future(node.call("add", b'{"n": 1}'))
            assert await asyncio.wait_for(asyncio.shield(node.failed), 10) == "store: the store is damaged"
            assert not late.done()
            late.cancel()

    asyncio.run(story())


def test_store_whose_process_is_killed_fails_the_mirror(tmp_path: Path) -> None:
    async def story() -> None:
        async with node_on(tmp_path) as (node, disk, _lines):
            assert (await node.call("add", b'{"n": 1}')).body == b"1"
            disk.fault("die")
            late = asyncio.ensure_future(node.call("add", b'{"n": 1}'))
            why = await asyncio.wait_for(asyncio.shield(node.failed), 10)
            assert "the process that writes the store has ended (signal 9); start the mirror again" in why
            assert not late.done()
            late.cancel()
            disk.fault("")
        async with node_on(tmp_path) as (node, _disk, _lines):
            assert (await node.call("sum", b"{}")).body == b"1"

    asyncio.run(story())


def test_batch_larger_than_the_socket_takes_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        store = StoreProcess(tmp_path / "hq.glas", Identity("fake", "hq", "00"))
        assert not list(store.recover())
        told: asyncio.Future[int | StoreError] = asyncio.get_running_loop().create_future()
        store.attach(told.set_result)
        data = bytes(range(256)) * 40_000
        store.commit([Journal(len(data), data)])
        assert await asyncio.wait_for(told, 30) == len(data)
        store.close()
        again = StoreProcess(tmp_path / "hq.glas", Identity("fake", "hq", "00"))
        assert list(again.recover()) == [Journal(len(data), data)]
        again.close()

    asyncio.run(story())


def test_a_snapshot_that_failed_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the core has no memory for it: the next is tried once the journal has grown as much again."""
    monkeypatch.setattr("glasrt.node._SNAPSHOT_LEAST", 2000)

    async def story() -> None:
        async with node_on(tmp_path) as (node, _disk, _lines):
            asked: list[int] = []
            really = node._core.snapshot
            monkeypatch.setattr(node._core, "snapshot", asked.append)
            while len(asked) < 2:
                await node.call("add", b'{"n": 1}')
            assert 4000 < node.facts()["store"]["journal_bytes"] < 5000
            monkeypatch.setattr(node._core, "snapshot", really)
            for _ in range(100):
                await node.call("add", b'{"n": 1}')
            assert node.facts()["store"]["journal_bytes"] < 3000

    asyncio.run(story())


def test_journal_is_replaced_by_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasrt.node._SNAPSHOT_LEAST", 2000)

    async def story() -> None:
        async with node_on(tmp_path) as (node, _disk, _lines):
            for _ in range(200):
                await node.call("add", b'{"n": 1}')
            assert node.facts()["store"]["snapshot_bytes"] > 0
            assert node.facts()["store"]["journal_bytes"] < 3000
        async with node_on(tmp_path) as (node, _disk, _lines):
            assert (await node.call("sum", b"{}")).body == b"200"

    asyncio.run(story())
