"""The parts of the demo of examples/pos, and a short run of its story with three real mirrors."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.pos.demo import fleet as fleets
from examples.pos.demo.fleet import FAR, HQ, NEAR, Fleet, Impossible, Second
from examples.pos.demo.mirrors import Client, Mirror, MirrorGone, NotSent
from examples.pos.demo.proxy import HOST, Line, Lines
from examples.pos.demo.screen import Broken, Screen
from examples.pos.demo.story import PRICE, Story
from examples.pos.demo.tables import mirror_table
from examples.pos.demo.watch import Look, Watch, broken_promises
from glasrt import bundle, config
from tests.mirrors import eventually, free_ports
from tools import arm64

# ---------------------------------------------------------------- lines


class Echo:
    """A server that says back what it is told."""

    def __init__(self) -> None:
        self.socket = socket.create_server((HOST, 0))
        self.port: int = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                return


@pytest.fixture
def line() -> Iterator[Line]:
    echo = Echo()
    with Lines() as lines:
        yield lines.add(HOST, echo.port)
    echo.socket.close()


def dial(line: Line) -> socket.socket:
    return socket.create_connection((HOST, line.port), timeout=5)


def test_line_carries_both_ways(line: Line) -> None:
    with dial(line) as one, dial(line) as other:
        one.sendall(b"tea")
        other.sendall(b"cake")
        assert one.recv(10) == b"tea"
        assert other.recv(10) == b"cake"


def test_cut_line_breaks_and_refuses(line: Line) -> None:
    with dial(line) as one:
        one.sendall(b"tea")
        one.recv(10)
        line.cut()
        with pytest.raises(ConnectionResetError):
            assert one.recv(10) == b""
            raise ConnectionResetError
    with pytest.raises(ConnectionRefusedError):
        dial(line)
    line.cut()
    line.heal()
    with dial(line) as again:
        again.sendall(b"more")
        assert again.recv(10) == b"more"


def test_silent_line_keeps_connections_and_carries_nothing(line: Line) -> None:
    with dial(line) as one:
        one.sendall(b"tea")
        one.recv(10)
        line.hush()
        one.sendall(b"lost")
        with dial(line) as other:
            other.sendall(b"lost too")
            for end in (one, other):
                end.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    end.recv(10)
            line.heal()
            for end in (one, other):
                end.settimeout(5)
                with pytest.raises(ConnectionResetError):
                    assert end.recv(10) == b""
                    raise ConnectionResetError
    with dial(line) as again:
        again.sendall(b"heard")
        assert again.recv(10) == b"heard"


# ---------------------------------------------------------------- looks and promises


def look(**changes: Any) -> Look:
    status = {"db.revenue": 900, "mem.booked": 1, "db.sales": 1} | changes
    state = {
        "db.revenue": {"value": status["db.revenue"]},
        "mem.booked": {"value": status["mem.booked"]},
        "db.sales": {"length": status["db.sales"]},
    }
    mirrors = {name: {"applied": 3, "linked": name != FAR} for name in (HQ, NEAR, FAR)}
    whole = {"mirror": changes.get("mirror", HQ), "state": state, "mirrors": mirrors, "journal": 100}
    return Look(whole, {"tea": changes.get("tea", 5)})


def test_a_sound_look_breaks_no_promise() -> None:
    assert broken_promises(look(), look(), 450, HQ) == []
    assert look().linked == [NEAR]
    assert look().frontier == {HQ: 3, NEAR: 3, FAR: 3}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"tea": -1}, "does not have"),
        ({"db.revenue": 450, "db.sales": 0}, "fell"),
        ({"db.sales": 0}, "in part"),
        ({"mem.booked": 2}, "in part"),
    ],
)
def test_each_standing_promise_can_break(now: dict[str, int], words: str) -> None:
    found = broken_promises(look(), look(**now), 450, HQ)
    assert len(found) == 1
    assert words in found[0]


def test_screen_counts_ticks_and_stops_at_a_cross(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    with screen.live(), screen.picture():
        screen.promise("this [holds]", True)
        screen.eventually("that will", lambda: 1, 1)
        with pytest.raises(Broken):
            screen.eventually("this will not", lambda: 1, 2, within=0)
    assert screen.kept == 2
    shown = capsys.readouterr().out
    assert "✓ this [holds]" in shown
    assert "✗ this will not" in shown
    assert "1, not 2" in shown
    screen.save_picture(tmp_path / "demo.svg")
    picture = (tmp_path / "demo.svg").read_text()
    assert picture.startswith("<svg")
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "").replace(
        "https://www.textualize.io", ""
    )


def test_a_mirror_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    mirror = Mirror("hq", (HOST, free_ports(1)[0]), ["sh", "-c", "echo 'no store' >&2; exit 3"], tmp_path)
    mirror.start()
    with pytest.raises(MirrorGone, match=r"exit code 3\n  no store"):
        mirror.wait(10)
    with pytest.raises(NotSent):
        mirror.ask("GET", "/sys/health")
    assert mirror.end(signal.SIGKILL) == 3


# ---------------------------------------------------------------- mirrors


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    fleets.build(folder, fleets.this_processor())
    return folder


def test_configuration_of_the_example_fits_its_program(dist: Path) -> None:
    conf = config.load(fleets.CONFIG)
    wheel = bundle.fitting_wheel("pos", dist)
    assert wheel is not None
    assert fleets.protocol_in(wheel)
    assert [mirror.name for mirror in conf.mirrors] == [HQ, NEAR, FAR]


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    configuration = on_free_ports(tmp_path)
    address = config.load(configuration).mirrors[1].http
    assert address is not None
    with (
        socket.create_server((address.host, address.port)),
        pytest.raises(Impossible, match=rf"{address} is taken, and glas.toml gives it to shop1 for HTTP"),
    ):
        fleets.check_ports(config.load(configuration))


def on_free_ports(folder: Path) -> Path:
    """The example's configuration with ports of its own, and less patience."""
    text = fleets.CONFIG.read_text().replace('silent = "3s"', 'silent = "2s"')
    for port, free in zip((7101, 7102, 7103, 8101, 8102, 8103), free_ports(6), strict=True):
        text = text.replace(f":{port}", f":{free}")
    (folder / "glas.toml").write_text(text)
    return folder / "glas.toml"


def test_without_an_aarch64_python_the_demo_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "this_processor", lambda: "x86_64")
    monkeypatch.setattr(arm64, "arm64_command", lambda _repo: None)
    monkeypatch.setattr(fleets, "fetch_arm64", lambda: "no aarch64 Python: apt-get is missing")
    fetched = fleets.second_processor(True, True)
    assert (fetched.processor, fetched.note) == ("x86_64", "no aarch64 Python: apt-get is missing")
    assert not fetched.emulated
    assert "make arm64" in fleets.second_processor(True, False).note
    monkeypatch.setattr(arm64, "arm64_command", lambda _repo: ["/x/qemu-aarch64-static", "python"])
    emulated = fleets.second_processor(True, False)
    assert (emulated.processor, emulated.note) == ("aarch64", "under qemu-aarch64-static")
    assert emulated.emulated


@pytest.mark.slow
def test_the_story_on_this_processor(tmp_path: Path, dist: Path) -> None:
    here = Second(fleets.this_processor(), fleets.second_processor(False, False).command, "")
    with Lines() as lines:
        fleet = Fleet(tmp_path, dist, here, lines, on_free_ports(tmp_path))
        watch = Watch(fleet.mirrors, PRICE, HQ)
        try:
            fleet.start(list(fleet.mirrors))
            watch.start()
            story = Story(fleet, watch, Screen(lambda width: mirror_table(fleet, watch, width)), sales=30)
            eventually(story.all_linked)
            for act in (story.open_shop, story.cut_line, story.heal_line, story.silence):
                act()
            for act in (story.kill, story.kill_hq, story.close):
                act()
        finally:
            watch.close()
            fleet.end(signal.SIGKILL)
    assert watch.count > 10


def test_client_says_when_nothing_was_sent() -> None:
    client = Client(HOST, free_ports(1)[0])
    with pytest.raises(NotSent):
        client.ask("GET", "/")
