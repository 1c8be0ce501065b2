"""HTTP requests per second of a mirror with its durable store, against uvicorn with an app that does nothing.

The mirror is what `glasc run` starts, alone at both places of pos. The peer runs under the same uvicorn, with
the same protocol and loop, and answers each request by a constant of the same size without reading its body.
Both are asked by wrk over 64 connections.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.common import Options, Result, Target, compare, main, scratch_folder
from benchmarks.programs import POS, ROOT, Missing, bundle_of, tool

_CONNECTIONS = 64
_PEER = "bare uvicorn"
_STOCK = 10**9
_SELL = {"item": "tea", "qty": 1}
_LEAST_SECONDS = 1


@dataclass(frozen=True)
class _Served:
    """A server of ours and its log."""

    process: subprocess.Popen[str]
    port: int

    def cpu_us(self) -> float:
        """Processor time that the server has used, its store's process and the kernel's part included."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ticks = 0
        for number in (str(pid), *children):
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks * 1e6 / os.sysconf("SC_CLK_TCK")

    def request(self, verb: str, path: str, body: object = None) -> bytes:
        """The body of an answer that must be 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(verb, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise RuntimeError(f"{verb} {path}: {response.status} {answer!r}")
            return answer
        finally:
            connection.close()


def benchmark(options: Options) -> Sequence[Result]:
    """Measures."""
    target = Target(0.6)
    try:
        wrk = tool("wrk", "wrk")
    except Missing as missing:
        parts = ("http_get", "http_post")
        return [
            compare(name, "/s", None, (_PEER, None), target, options, note=str(missing)) for name in parts
        ]
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        mirror = stack.enter_context(_mirror(folder))
        mirror.request("POST", "/sys/rpc/deliver", {"shop": "shop1", "item": "tea", "qty": _STOCK})
        stock = mirror.request("GET", "/stock/shop1/tea")
        paid = mirror.request("POST", "/sell", _SELL)
        for_get = stack.enter_context(_bare(len(stock), "text/plain; charset=utf-8", folder / "get.log"))
        for_post = stack.enter_context(_bare(len(paid), "application/json", folder / "post.log"))
        script = folder / "sell.lua"
        script.write_text(_lua(_SELL))
        get = [_Asked(wrk, one, "/stock/shop1/tea", options) for one in (mirror, for_get)]
        post = [_Asked(wrk, one, "/sell", options, script) for one in (mirror, for_post)]
        return [
            _compared("http_get", "GET /stock/shop1/tea", get, target, options),
            _compared("http_post", "POST /sell", post, target, options),
        ]


def _compared(name: str, what: str, sides: Sequence[_Asked], target: Target, options: Options) -> Result:
    """The rates, and what one request costs: processor time tells more where others use the machine too."""
    mirror, bare = sides
    result = compare(name, "/s", mirror, (_PEER, bare), target, options)
    costs = {"cpu_us": round(median(mirror.costs), 1), "peer_cpu_us": round(median(bare.costs), 1)}
    note = f"{what}; processor time a request: {costs['cpu_us']} us, {_PEER} {costs['peer_cpu_us']} us"
    return replace(result, note=note, details=costs)


# ---------------------------------------------------------------- servers


@contextmanager
def _mirror(folder: Path) -> Iterator[_Served]:
    config = folder / "glas.toml"
    config.write_text(
        'app = "pos"\norigin = "shop1"\n[mirrors.shop1]\nplaces = ["hq", "shop"]\nhttp = "127.0.0.1:0"\n'
    )
    run = ["-m", "glasc", "run", str(config), "--mirror", "shop1", "--json", "--bundle", str(bundle_of(POS))]
    with _server([sys.executable, *run], folder / "mirror.log") as (process, line):
        yield _Served(process, int(json.loads(line)["http"].rpartition(":")[2]))


@contextmanager
def _bare(size: int, content_type: str, log: Path) -> Iterator[_Served]:
    command = [sys.executable, "-m", "benchmarks.bare_asgi", str(size), content_type]
    with _server(command, log) as (process, line):
        yield _Served(process, int(line))


@contextmanager
def _server(command: Sequence[str], log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and the line that it prints when it is ready."""
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{command!r} ended with code {process.wait()}: {log.read_text()}")
            yield process, line
        finally:
            process.terminate()
            process.wait(30)


# ---------------------------------------------------------------- wrk


class _Asked:
    """Rounds of wrk at one path; `costs` are microseconds of the server's processor time a request."""

    def __init__(
        self, wrk: str, server: _Served, path: str, options: Options, script: Path | None = None
    ) -> None:
        """Warms up."""
        seconds = max(_LEAST_SECONDS, round(options.seconds))
        self._command = [wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s"]
        self._command += ["-s", str(script)] if script is not None else []
        self._command += [f"http://127.0.0.1:{server.port}{path}"]
        self._server = server
        self.costs: list[float] = []
        self()
        self.costs.clear()

    def __call__(self) -> float:
        """Requests per second, all of which must have been answered well."""
        before = self._server.cpu_us()
        done = subprocess.run(self._command, text=True, capture_output=True, check=True)
        cost = self._server.cpu_us() - before
        bad = re.search(r"Non-2xx.*|Socket errors.*", done.stdout)
        rate = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
        count = re.search(r"(\d+) requests in", done.stdout)
        if bad is not None or rate is None or count is None:
            raise RuntimeError(f"{self._command!r}: {bad[0] if bad else done.stdout}")
        self.costs.append(cost / int(count[1]))
        return float(rate[1])


def _lua(body: object) -> str:
    text = json.dumps(body)
    return f"wrk.method = 'POST'\nwrk.body = '{text}'\nwrk.headers['Content-Type'] = 'application/json'\n"


if __name__ == "__main__":
    main("http", benchmark)
