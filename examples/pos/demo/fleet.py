"""The mirrors of the demo: which processes, from which bundle, over which lines.

Owns their commands. Does not know what happens to them.
"""

from __future__ import annotations

import json
import platform
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.pos.demo.mirrors import Mirror
from examples.pos.demo.proxy import Line, Lines
from glasrt import config
from tools import arm64

HERE = Path(__file__).resolve().parent.parent
REPO = HERE.parent.parent
PROGRAM = HERE / "pos.glas"
CONFIG = HERE / "glas.toml"

HQ, NEAR, FAR = "hq", "shop1", "shop2"
_READY_WITHIN = 30.0
_READY_WITHIN_EMULATED = 120.0
_FETCH_WITHIN = 300.0


class Impossible(Exception):
    """The demo cannot run here; the text says why and what to do."""


@dataclass(frozen=True)
class Second:
    """On which processor the far shop runs: the command in front of Python's arguments, and why so."""

    processor: str
    command: list[str]
    note: str

    @property
    def emulated(self) -> bool:
        """Whether it is another processor than the machine's."""
        return self.processor != this_processor()


def this_processor() -> str:
    """What the bundles call this machine's processor."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())


def build(folder: Path, targets: str = "x86_64,aarch64") -> dict[str, Any]:
    """Runs `glasc build`; what it says as JSON. Raises Impossible."""
    command = [sys.executable, "-m", "glasc", "build", str(PROGRAM), "--targets", targets]
    done = subprocess.run(
        [*command, "--out", str(folder), "--json"], capture_output=True, text=True, check=False, cwd=REPO
    )
    if done.returncode != 0:
        raise Impossible(f"glasc build ended with exit code {done.returncode}\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def protocol_in(wheel: Path) -> str:
    """The protocol id that a bundle was made for."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("/plan.json"))
        return str(json.loads(archive.read(name))["protocol_id"])


def fetch_arm64() -> str:
    """Tries to get an aarch64 Python; why it cannot be had, or nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "tools/fetch_arm64.py"],
            capture_output=True,
            text=True,
            check=False,
            cwd=REPO,
            timeout=_FETCH_WITHIN,
        )
    except subprocess.TimeoutExpired:
        return f"fetching one took more than {_FETCH_WITHIN:.0f} s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1]


def second_processor(wanted: bool, fetch: bool) -> Second:
    """aarch64 under qemu for the far shop if that can be had here, else this machine's processor."""
    here = Second(this_processor(), [sys.executable], "")
    if not wanted:
        return Second(here.processor, here.command, "as asked for")
    if here.processor == "aarch64":
        return Second(here.processor, here.command, "this machine is one")
    why = fetch_arm64() if fetch else ""
    command = arm64.arm64_command(REPO)
    if command is None:
        return Second(here.processor, here.command, why or arm64.why_not(REPO))
    return Second("aarch64", command, f"under {Path(command[0]).name}")


class Fleet:
    """The three mirrors, and the lines between the far shop and the others."""

    def __init__(
        self, folder: Path, dist: Path, second: Second, lines: Lines, configuration: Path = CONFIG
    ) -> None:
        """Everything is kept in `folder`. Raises Impossible where a port of the configuration is taken."""
        self.config = config.load(configuration)
        check_ports(self.config)
        self.lines: dict[str, Line] = {}
        for mirror in self.config.mirrors:
            if mirror.name != FAR:
                assert mirror.link is not None
                self.lines[mirror.name] = lines.add(mirror.link.host, mirror.link.port)
        self.processors = {name: this_processor() for name in (HQ, NEAR)} | {FAR: second.processor}
        self._emulated = second.emulated
        self.mirrors: dict[str, Mirror] = {}
        for mirror in self.config.mirrors:
            assert mirror.http is not None
            at = (mirror.http.host, mirror.http.port)
            self.mirrors[mirror.name] = self._mirror(mirror.name, at, folder, dist, second)

    def _mirror(self, name: str, at: tuple[str, int], folder: Path, dist: Path, second: Second) -> Mirror:
        python = second.command if name == FAR else [sys.executable]
        command = [*python, "-m", "glasrt", "run", str(self.config.path), "--mirror", name]
        command += ["--bundle", str(dist), "--data", str(folder / "data"), "--json"]
        if name == FAR:
            for peer, line in self.lines.items():
                command += ["--via", f"{peer}={line.address}"]
        environment = arm64.arm64_environment(REPO, [REPO]) | {"XDG_CACHE_HOME": str(folder / "cache")}
        if name != FAR or not self._emulated:
            environment["PYTHONPATH"] = str(REPO)
        return Mirror(name, at, command, folder, environment)

    def start(self, names: Sequence[str]) -> None:
        """Starts these mirrors at once and waits for all. Raises MirrorGone."""
        for name in names:
            self.mirrors[name].start()
        for name in names:
            within = _READY_WITHIN_EMULATED if name == FAR and self._emulated else _READY_WITHIN
            self.mirrors[name].wait(within)

    def cut(self) -> None:
        """Cuts every line of the far shop."""
        for line in self.lines.values():
            line.cut()

    def hush(self) -> None:
        """Lets every line of the far shop fall silent."""
        for line in self.lines.values():
            line.hush()

    def heal(self) -> None:
        """Puts every line in order."""
        for line in self.lines.values():
            line.heal()

    def end(self, how: signal.Signals) -> dict[str, int]:
        """Ends all mirrors; their exit codes."""
        return {name: mirror.end(how) for name, mirror in self.mirrors.items()}


def check_ports(conf: config.Config) -> None:
    """Raises Impossible with one line where a mirror's port is taken."""
    for mirror in conf.mirrors:
        for what, address in (("links", mirror.link), ("HTTP", mirror.http)):
            if address is None:
                continue
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address.host, address.port))
                except OSError as error:
                    raise Impossible(
                        f"{address} is taken, and {conf.path.name} gives it to {mirror.name} for {what}: "
                        f"{error.strerror}; end what uses it, or change {conf.path.name}"
                    ) from error
