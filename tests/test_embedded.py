"""A mirror within a process: calls, errors, waiting, and what is there when its store is opened again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from glasrt.core import Journal, Snapshot
from glasrt.embedded import EmbeddedMirror
from glasrt.errors import BadArgument, CallError, GlasError, StoreError, TimedOut
from glasrt.store import Store
from tests.fake_app import fake_module
from tests.pos_app import pos_module


@pytest.fixture(scope="module")
def pos() -> ModuleType:
    return pos_module()


def test_calls(pos: Any) -> None:
    with pos.Mirror() as mirror:
        assert mirror.deliver("main", "tea", 10) is None
        assert mirror.sell("tea", 3) == {"ok": 1350}
        assert mirror.sell("tea", 30) == {"error": "only 7 left"}
        assert mirror.rpc("sell", item="tea", qty=1) == {"ok": 450}
        assert mirror.http("GET", "/stock/main/tea") == (200, "text/plain; charset=utf-8", b"6")
        assert mirror.http("POST", "/sell", b"{}")[0] == 400
        assert mirror.inspect("state db.revenue") == [{"value": 1800}]
        assert mirror.inspect("state mem.booked")[0]["value"] == 2, "steps run before a call returns"


def test_errors_are_exceptions(pos: Any) -> None:
    with pos.Mirror() as mirror:
        with pytest.raises(BadArgument):
            mirror.rpc("sell", item="tea")
        with pytest.raises(BadArgument):
            mirror.rpc("dance")
        with pytest.raises(BadArgument):
            mirror.http("GET", "/nowhere")
        with pytest.raises(BadArgument):
            mirror.inspect("state db.nothing")
        with pytest.raises(BadArgument):
            mirror.sell(3, "tea")
        mirror.deliver("main", "tea", 2**62)
        with pytest.raises(CallError, match="overflow"):
            mirror.deliver("main", "tea", 2**62)
        assert mirror.http("GET", "/stock/main/tea")[2] == str(2**62).encode()


def test_store_keeps_what_calls_did(pos: Any, tmp_path: Path) -> None:
    path = tmp_path / "main.glas"
    with pos.Mirror(store=path) as mirror:
        mirror.deliver("main", "tea", 10)
        mirror.sell("tea", 4)
        with pytest.raises(StoreError, match="another process uses this store"):
            pos.Mirror(store=path)
    with pos.Mirror(store=path) as mirror:
        assert mirror.sell("tea", 7) == {"error": "only 6 left"}
        assert mirror.inspect("state db.revenue") == [{"value": 1800}]
    with pytest.raises(StoreError, match="another mirror"):
        pos.Mirror("other", store=path)


def test_killed_after_any_call(pos: Any, tmp_path: Path) -> None:
    """A copy of the files between two calls is what a power cut leaves."""
    path, copy = tmp_path / "main.glas", tmp_path / "copy.glas"
    with pos.Mirror(store=path) as mirror:
        mirror.deliver("main", "tea", 100)
        for number in range(1, 6):
            mirror.sell("tea", 1)
            copy.write_bytes(path.read_bytes())
            copy.with_name("copy.glas-wal").write_bytes(path.with_name("main.glas-wal").read_bytes())
            with pos.Mirror(store=copy) as other:
                assert other.inspect("state db.revenue") == [{"value": 450 * number}]


def test_closed(pos: Any) -> None:
    mirror = pos.Mirror()
    mirror.close()
    mirror.close()
    with pytest.raises(GlasError):
        mirror.sell("tea", 1)
    with pytest.raises(GlasError):
        mirror.rpc("sell")
    with pytest.raises(GlasError):
        mirror.http("GET", "/")


def test_store_that_fails_closes_the_mirror(
    pos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = pos.Mirror(store=tmp_path / "main.glas")
    mirror.deliver("main", "tea", 10)

    def fail(_store: Store, _items: list[Journal | Snapshot]) -> int:
        raise StoreError("the disk is full", passing=True)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit", fail)
        with pytest.raises(StoreError, match="the disk is full"):
            mirror.sell("tea", 1)
    with pytest.raises(GlasError):
        mirror.sell("tea", 1)
    with pos.Mirror(store=tmp_path / "main.glas") as again:
        assert again.inspect("state db.revenue") == [{"value": 0}]


def test_waiting_ends_with_its_time() -> None:
    with EmbeddedMirror(fake_module(), timeout_us=50_000) as mirror:
        with pytest.raises(TimedOut, match="waited"):
            mirror.rpc("never")
        assert mirror.rpc("add", n=2) == 2


def test_journal_is_replaced_by_snapshots(pos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasrt.embedded._SNAPSHOT_LEAST", 2000)
    path = tmp_path / "main.glas"
    with pos.Mirror(store=path) as mirror:
        mirror.deliver("main", "tea", 1000)
        for _ in range(100):
            mirror.sell("tea", 1)
        assert mirror._store.sizes().snapshot > 0
    with pos.Mirror(store=path) as mirror:
        assert mirror.inspect("state db.revenue") == [{"value": 45_000}]


# ---------------------------------------------------------------- arguments of the wrong kind


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.http("POST", "/sell", "text"), "http: body must be bytes, not 'text'"),
        (lambda m: m.http(1, "/sell"), "http: verb must be a str, not 1"),
        (lambda m: m.http("GET", b"/"), "http: path must be a str, not b'/'"),
        (lambda m: m.http("GET", "/\ud800"), r"http: path must be a text that UTF-8 can hold, not '/\ud800'"),
        (lambda m: m.rpc(5), "rpc: the name of the method must be a str, not 5"),
        (lambda m: m.rpc("sell", item={1}), "sell: arguments must be what JSON can hold: Object of type set"),
        (lambda m: m.inspect(3), "inspect: what to show must be a str, not 3"),
    ],
)
def test_calls_of_the_wrong_kind(pos: Any, call: Callable[[Any], object], message: str) -> None:
    with pos.Mirror() as mirror:
        with pytest.raises(BadArgument) as caught:
            call(mirror)
        assert str(caught.value).startswith(message)
        assert mirror.http("POST", "/sell", bytearray(b"{}"))[0] == 400, "any bytes will do"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"name": 5}, TypeError, "the name of a mirror must be a str, not 5"),
        ({"name": ""}, GlasError, "'' cannot name a mirror"),
        ({"name": "a b\n"}, GlasError, "'a b\\n' cannot name a mirror"),
        ({"name": "a\n"}, GlasError, "'a\\n' cannot name a mirror"),
        ({"name": "\ud800"}, GlasError, "'\\ud800' cannot name a mirror"),
        ({"store": 5}, TypeError, "store must be a path, not 5"),
        ({"store": ""}, GlasError, "'' cannot be the path of a store"),
        ({"store": "a\0b"}, GlasError, "'a\\x00b' cannot be the path of a store"),
        ({"timeout_us": "1"}, TypeError, "timeout_us must be an int, not '1'"),
    ],
)
def test_mirrors_of_the_wrong_kind(
    pos: Any, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        pos.Mirror(**options)
    assert str(caught.value).startswith(message)


def test_an_rpc_method_may_have_a_parameter_of_any_name() -> None:
    with EmbeddedMirror(fake_module()) as mirror, pytest.raises(CallError):
        mirror.rpc("dance", name=1, self=2)
