"""Log lines: one line an event, whatever is in it, and repeated warnings once a minute."""

from __future__ import annotations

import io
import json

import pytest

from glasrt.logs import INFO, Log


def lines(stream: io.StringIO) -> list[str]:
    return [line.partition(" ")[2] for line in stream.getvalue().splitlines()]


def test_one_line_whatever_is_in_it() -> None:
    stream = io.StringIO()
    Log("hq", stream=stream).info("a\nb\x1b[2J\tc", peer="x y", n=3)
    assert lines(stream) == ['info hq: a\\nb\\x1b[2J\\tc peer="x y" n=3']


def test_json() -> None:
    stream = io.StringIO()
    Log("hq", "json", stream=stream).event(INFO, "a\nb", n=None)
    assert json.loads(stream.getvalue()) | {"at": ""} == {
        "at": "",
        "level": "info",
        "mirror": "hq",
        "message": "a\nb",
        "n": None,
    }


def test_repeated_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("glasrt.logs.time.monotonic", lambda: now)
    stream = io.StringIO()
    log = Log("hq", stream=stream)
    for _ in range(3):
        log.warning("refused")
        log.warning("other")
        log.info("same")
    assert lines(stream) == ["warning hq: refused", "warning hq: other", *["info hq: same"] * 3]
    log.warning("refused", peer="shop1")
    assert lines(stream)[5:] == ["warning hq: refused peer=shop1"]
    now += 61
    log.warning("refused")
    log.warning("refused")
    assert lines(stream)[6:] == ["warning hq: refused times=3"]
