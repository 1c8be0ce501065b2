"""HTTP of a mirror, over a real socket: the app's paths, /sys/, bounds, and requests that are none."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.fake_app import fake_wheel
from tests.mirrors import Cluster, eventually


@pytest.fixture(scope="module")
def hq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    limits = '[limits]\nmax_text = "4KiB"\ncall_timeout = "600ms"\n'
    cluster = Cluster(tmp_path_factory.mktemp("asgi"), fake_wheel(), "fake", ["hq"], limits)
    ready = cluster.start("hq")
    assert ready == {
        "ready": True,
        "app": "fake",
        "version": "1.0",
        "mirror": "hq",
        "http": f"127.0.0.1:{cluster.http['hq']}",
        "link": None,
    }
    yield cluster
    cluster.stop_all()


def test_the_app_answers(hq: Cluster) -> None:
    status, headers, body = hq.request("hq", "PUT", "/any/p%20ath?x=1&y=%C3%A4", b"what")
    assert (status, body) == (200, b"PUT /any/p%20ath?x=1&y=%C3%A4 what")
    assert headers["content-type"] == "text/plain; charset=utf-8"


def test_get_may_have_a_body(hq: Cluster) -> None:
    assert hq.request("hq", "GET", "/p")[2] == b"GET /p "
    assert hq.request("hq", "GET", "/p", b"b")[2] == b"GET /p b"


def test_head_has_no_body(hq: Cluster) -> None:
    status, headers, body = hq.request("hq", "HEAD", "/p")
    assert (status, headers["content-length"], body) == (200, "8", b"")


def test_durable_answer(hq: Cluster) -> None:
    before = hq.state("hq", "db.total")
    assert hq.request("hq", "POST", "/add")[2] == str(before + 1).encode()
    assert hq.rpc("hq", "add", n=4) == before + 5
    health = json.loads(hq.request("hq", "GET", "/sys/health")[2])
    assert health["ok"] is True
    assert health["mirror"] == "hq"
    assert health["durable"] > 0


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "reason"),
    [
        ("GET", "/missing", None, 404, "no_method"),
        ("POST", "/sys/rpc/nothing", b"{}", 404, "no_method"),
        ("POST", "/sys/rpc/add", b"{}", 400, "bad_input"),
        ("GET", "/sys/rpc/add", None, 405, "bad_verb"),
        ("POST", "/sys/status", b"", 405, "bad_verb"),
        ("GET", "/sys/nothing", None, 404, "no_method"),
        ("GET", "/sys/state", None, 404, "no_method"),
        ("GET", "/sys/health/x", None, 404, "no_method"),
        ("GET", "/sys", None, 404, "no_method"),
        ("GET", "/sys/state/nothing", None, 404, "bad_input"),
        ("POST", "/echo", b"x" * 4097, 413, "bad_input"),
        ("GET", "/never", None, 504, "timeout"),
    ],
)
def test_not_committed(
    hq: Cluster, verb: str, path: str, body: bytes | None, status: int, reason: str
) -> None:
    found, headers, answer = hq.request("hq", verb, path, body)
    assert (found, headers["content-type"]) == (status, "application/json")
    data = json.loads(answer)
    assert (data["outcome"], data["reason"]) == ("aborted", reason)
    assert data["message"]


def test_status_and_plan(hq: Cluster) -> None:
    status = json.loads(hq.request("hq", "GET", "/sys/status")[2])
    assert status["position"] == status["host"]["durable"]
    assert status["host"]["mirror"] == "hq"
    assert status["host"]["store"]["journal_bytes"] >= 0
    assert hq.request("hq", "GET", "/sys/plan")[2] == b"{}"


def test_page_of_another_site_is_refused(hq: Cluster) -> None:
    status, _headers, body = hq.request(
        "hq", "POST", "/sys/rpc/add", b'{"n": 1}', {"Origin": "http://evil.example"}
    )
    assert (status, json.loads(body)["reason"]) == (403, "refused")
    own = {"Origin": f"http://127.0.0.1:{hq.http['hq']}"}
    assert hq.request("hq", "POST", "/sys/rpc/add", b'{"n": 1}', own)[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.8.8.8:1", 200),
        ("[::1]", 200),
        ("[::1]:80", 200),
        ("LocalHost:99", 200),
        ("evil.example", 403),
        ("evil.example:8101", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ],
)
def test_names_of_other_hosts_are_refused(hq: Cluster, host: str, status: int) -> None:
    """A page whose name is looked up as 127.0.0.1 has the same origin and host."""
    headers = {"Host": host, "Origin": f"http://{host}"}
    found, _headers, body = hq.request("hq", "POST", "/sys/rpc/add", b'{"n": 0}', headers)
    assert found == status, body
    assert hq.request("hq", "GET", "/sys/status", None, headers)[0] == status
    assert hq.request("hq", "GET", "/p", None, headers)[0] == 200, "the app's own paths may be reached so"


def test_request_without_a_host(hq: Cluster) -> None:
    assert raw(hq, b"GET /sys/health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_head_beyond_the_bound(hq: Cluster) -> None:
    head = b"GET /p HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000
    assert raw(hq, head + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
    assert hq.request("hq", "GET", "/p")[0] == 200


def raw(hq: Cluster, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", hq.http["hq"]), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: minus\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_malformed_requests_get_400(hq: Cluster, data: bytes) -> None:
    assert raw(hq, data).startswith(b"HTTP/1.1 400 ")
    assert hq.request("hq", "GET", "/p")[0] == 200


def test_chunked_body_beyond_the_bound(hq: Cluster) -> None:
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw(hq, head + chunk * 5 + b"0\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert b"POST /echo xxx" in raw(hq, head + chunk + b"0\r\n\r\n")


def test_client_that_leaves_cancels_its_call(hq: Cluster) -> None:
    def waiting() -> int:
        found: int = json.loads(hq.request("hq", "GET", "/sys/status")[2])["waiting"]
        return found

    with socket.create_connection(("127.0.0.1", hq.http["hq"]), timeout=10) as connection:
        connection.sendall(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: waiting() == 1, 0.5)
    begun = time.monotonic()
    eventually(lambda: waiting() == 0)
    assert time.monotonic() - begun < 0.4, "cancelled, not timed out"


def test_half_a_request_is_forgotten(hq: Cluster) -> None:
    assert raw(hq, b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf") == b""
    assert hq.request("hq", "GET", "/p")[0] == 200
