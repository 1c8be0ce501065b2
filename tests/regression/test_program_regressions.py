"""Bugs that one program on one mirror shows."""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from glasc import build, driver, targets
from glasc.source import Source
from glasrt.bundle import unpack
from glasrt.core import Core, Roster, RosterMirror, Wake
from glasrt.errors import BadArgument, GlasError


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], types.ModuleType]]:
    """Compiles a program; the package of what comes out."""
    made: list[str] = []

    def compile_text(text: str) -> types.ModuleType:
        name = text.split()[1]
        cache, program = build.default_cache_dir(), driver.compile_program(Source(f"{name}.glas", text))
        bundle = build.build_bundle(program, targets.host(), tmp_path, cache, lambda _step: None)
        monkeypatch.syspath_prepend(str(unpack(bundle.path, tmp_path)))
        made.append(name)
        return importlib.import_module(name)

    yield compile_text
    for name in made:
        del sys.modules[name]


WORK_LIST = """app worklist version "1.0"

db.todo : queue of Int
db.done : cell Int

rpc add(n: Int) -> Int
  let before = db.todo.read() else 0
  db.todo.write(n)
  db.todo.write(n + 1)
  let first = db.todo.read()
  db.done += first
  return first
"""


Compile = Callable[[str], types.ModuleType]


def test_a_transaction_may_read_what_it_wrote(compiled: Compile, tmp_path: Path) -> None:
    """An entry holds what was taken from a queue before what was written to it, and recovery repeated it in
    that order: there was nothing to take yet, and the journal was called damaged.
    """
    module = compiled(WORK_LIST)
    store = tmp_path / "worklist.db"
    with module.Mirror(store=store) as mirror:
        assert [mirror.add(7), mirror.add(20), mirror.add(30)] == [7, 20, 30]
        todo = mirror.inspect("state db.todo")
    with module.Mirror(store=store) as mirror:
        assert mirror.inspect("state db.todo") == todo == [31]
        assert mirror.inspect("state db.done")[0]["value"] == 57


def test_values_that_call_the_mirror_while_they_are_shown(compiled: Compile) -> None:
    """The message about an argument that does not fit shows it, which may run anybody's code. A call from
    there was let in, and left the mirror believing that an interrupted call had been settled.
    """
    module = compiled(WORK_LIST.replace("app worklist", "app shown"))
    nested: list[BaseException] = []

    class Evil:
        def __repr__(self) -> str:
            try:
                mirror.add(1)
            except GlasError as error:
                nested.append(error)
            return "evil"

    with module.Mirror() as mirror:
        with pytest.raises(BadArgument, match="evil"):
            mirror.add(Evil())
        assert len(nested) >= 1
        assert mirror.inspect("state db.todo") == []
        assert mirror.add(5) == 5


ALARM = """app alarm version "1.0"

db.alarms : dict Text of Time
db.rung : cell Int

rpc set(name: Text)
  db.alarms[name] := sys.time.now()

step ring
  choose (name, at) in db.alarms where at < sys.time.now() and db.rung == 0
  db.rung += 1
"""


def test_what_waits_for_a_time_wakes_when_it_comes(compiled: Compile) -> None:
    """A step slept until some state that it reads changed; a time that it compares with is none."""
    core = Core(compiled(ALARM), Roster((RosterMirror("one", 0),), origin=0), 0, durable=False)
    now = 1_700_000_000_000_000

    def rung() -> int:
        while core.more or core.has_output:
            if core.more:
                core.turn(now)
            wakes.extend(output.at for output in core.poll() if isinstance(output, Wake))
        found: int = json.loads(core.inspect(9, "state db.rung", now).body)[0]["value"]
        return found

    wakes: list[int] = []
    core.start(now)
    assert core.rpc(1, "set", b'{"name": "tea"}', 0, now).outcome == 0
    assert rung() == 0, "the same moment is not before itself"
    assert now < wakes[-1] <= now + 1_000_000
    now = wakes[-1]
    core.turn(now)
    assert rung() == 1
    core.close()
