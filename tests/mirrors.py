"""Mirrors as processes, for tests: a configuration on free ports, `glasrt run`, HTTP requests, signals."""

from __future__ import annotations

import contextlib
import functools
import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

START_WITHIN = 30.0
PORTS = range(10_000, 30_000)


@functools.cache
def ports_to_try() -> Iterator[int]:
    """Ports that no other process of this test run tries.

    They are below those that the system gives to outgoing connections: one that got the port of a mirror that
    is down would keep it from starting again.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = PORTS[number::count]
    start = random.SystemRandom().randrange(len(mine))
    return itertools.cycle([*mine[start:], *mine[:start]])


def free_ports(count: int) -> list[int]:
    """Ports that are free now and were not given before."""
    found: list[int] = []
    while len(found) < count:
        port = next(ports_to_try())
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


class Cluster:
    """Mirrors of one app: the first stands at the first place, the others at the second."""

    def __init__(self, folder: Path, bundle: Path, app: str, names: list[str], extra: str = "") -> None:
        self.folder = folder
        self.bundle = bundle
        self.names = names
        ports = free_ports(2 * len(names))
        self.http = dict(zip(names, ports, strict=False))
        self.link = dict(zip(names, ports[len(names) :], strict=True))
        self.processes: dict[str, subprocess.Popen[str]] = {}
        lines = [f'app = "{app}"', f'origin = "{names[0]}"']
        for name in names:
            place = "hq" if name == names[0] else "shop"
            lines += [f"[mirrors.{name}]", f'place = "{place}"']
            lines += [f'link = "127.0.0.1:{self.link[name]}"', f'http = "127.0.0.1:{self.http[name]}"']
        self.config = folder / "glas.toml"
        self.config.write_text("\n".join(lines) + "\n" + extra)

    def command(self, name: str, *more: str) -> list[str]:
        """The command line of a mirror."""
        start = [sys.executable, "-m", "glasrt", "run", str(self.config), "--mirror", name]
        return [*start, "--bundle", str(self.bundle), "--json", *more]

    def start(self, name: str, *more: str) -> dict[str, Any]:
        """Starts a mirror and waits until it is ready; returns what it said."""
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                self.command(name, *more), stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.processes[name] = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.folder / f"{name}.log").read_text()
        ready: dict[str, Any] = json.loads(line)
        return ready

    def run(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Runs a mirror that is expected to end by itself."""
        return subprocess.run(
            self.command(name, *more), capture_output=True, text=True, check=False, timeout=START_WITHIN
        )

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> int:
        """Ends a mirror and returns its exit code."""
        process = self.processes.pop(name)
        process.send_signal(how)
        code = process.wait(START_WITHIN)
        assert process.stdout is not None
        process.stdout.close()
        return code

    def stop_all(self) -> None:
        """Ends all mirrors."""
        for name in list(self.processes):
            self.kill(name)

    def request(
        self,
        name: str,
        verb: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http[name], timeout=20)
        try:
            connection.request(verb, path, body, headers or {})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def rpc(self, name: str, method: str, **args: Any) -> Any:
        """The result of an rpc method that must commit."""
        status, _headers, body = self.request(name, "POST", f"/sys/rpc/{method}", json.dumps(args).encode())
        assert status == 200, body
        return json.loads(body)

    def state(self, name: str, state: str) -> Any:
        """A state as JSON."""
        return json.loads(self.request(name, "GET", f"/sys/state/{state}")[2])


def eventually(check: Callable[[], bool], within: float = 15.0) -> None:
    """Waits until `check` holds."""
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


class Proxy:
    """A TCP proxy to a port, for `--via`: what comes back stops while `deaf` is set, with nobody told."""

    def __init__(self, to: int) -> None:
        self.deaf = threading.Event()
        self.made = 0
        self._to = to
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No new connections."""
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self.made += 1
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(
                        target=self._carry, args=(source, sink, source is far), daemon=True
                    ).start()

    def _carry(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not (back and self.deaf.is_set()):
                    sink.sendall(data)
        for each in (source, sink):
            each.close()
