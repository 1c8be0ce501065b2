"""Mirrors as processes, and HTTP to them.

Owns starting, waiting, ending and asking. Does not know what the app does with a request.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CALL_WITHIN = 30.0
_END_WITHIN = 20.0
_LOG_LINES = 12


class NotSent(Exception):
    """Nobody listens there: nothing happened."""


class NoAnswer(Exception):
    """The request went out and no answer came: it may or may not have happened."""


class MirrorGone(Exception):
    """A mirror ended, or did not become ready in time; the text ends with its last words."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.text)


class Client:
    """One HTTP connection to a mirror, made anew where it has ended. Belongs to one thread."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_CALL_WITHIN)

    def ask(self, verb: str, path: str, body: object = None) -> Answer:
        """One request, its body as JSON. Raises NotSent, NoAnswer."""
        connection = self._connection
        if connection.sock is None:
            try:
                connection.connect()
            except OSError as error:
                raise NotSent(f"{connection.host}:{connection.port}: {error}") from error
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(verb, path, data, {} if data is None else {"content-type": "application/json"})
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NoAnswer(f"{verb} {path}: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


class Mirror:
    """A process that runs one mirror, and its HTTP address."""

    def __init__(
        self,
        name: str,
        http_at: tuple[str, int],
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`command` runs it and says on its standard output when it is ready; `folder` takes its log."""
        self.name = name
        self.http_at = http_at
        self.command = list(command)
        self.log = folder / f"{name}.log"
        self._said = folder / f"{name}.out"
        self._environment = dict(os.environ if environment is None else environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process; `wait` says when it serves."""
        with self.log.open("ab") as log, self._said.open("wb") as said:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=said, stderr=log, env=self._environment
            )

    def wait(self, within: float) -> None:
        """Waits until it serves. Raises MirrorGone."""
        assert self._process is not None
        deadline = time.monotonic() + within
        while not self._said.read_bytes().endswith(b"\n"):
            code = self._process.poll()
            if code is not None:
                raise MirrorGone(f"{self.name} ended with exit code {code}\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise MirrorGone(f"{self.name} is not ready after {within:.0f} s\n{self.last_words()}")
            time.sleep(0.02)

    def end(self, how: signal.Signals) -> int:
        """Sends the signal, waits for the end, and returns the exit code. Without a process: 0."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def client(self) -> Client:
        """A connection of its own."""
        return Client(*self.http_at)

    def ask(self, verb: str, path: str, body: object = None) -> Answer:
        """One request on a fresh connection. Raises NotSent, NoAnswer."""
        client = self.client()
        try:
            return client.ask(verb, path, body)
        finally:
            client.close()

    def rpc(self, method: str, **args: object) -> Answer:
        """A call of an rpc method of the app. Raises NotSent, NoAnswer."""
        return self.ask("POST", f"/sys/rpc/{method}", args)

    def state(self, name: str) -> Any:
        """The content of a state, as this mirror has it. Raises NotSent, NoAnswer, ValueError."""
        return self.ask("GET", f"/sys/state/{name}").json

    def last_words(self) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])
