"""The compiled C does what the reference interpreter of the IR says, on random programs and random calls.

Each program is compiled into a bundle of its own and runs as a lone mirror behind the core's one door.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings

from glasc import driver, ir
from glasc.build import build_bundle, default_cache_dir
from glasc.interpret import Machine, Outcome
from glasc.source import Source
from glasc.targets import host
from glasc.typed_json import write
from glasrt.bundle import load
from glasrt.core import Core, Journal, Reply, Roster, RosterMirror, Snapshot, TraceLine
from tests.programs import App, Call, apps

NAME = "here"
_MOST_TURNS = 4
_LOOK_AGAIN = 1_000_000  # steps that read the clock are tried again so often (runtime_c/core/sched.c)
NOW = 1_700_000_000_000_000
FAILED, ERROR, TIMEOUT, BAD_INPUT, NO_METHOD, BAD_VERB = 1, 2, 4, 5, 6, 7


_RUN = re.compile(r"step (\S+) (commits|fails|waits|errs)")
_ENDS = {
    "commits": ("committed",),
    "fails": ("failed", "committed"),
    "waits": ("waiting",),
    "errs": ("error",),
}
"""What the interpreter may say of a run, by what the core says: a run that writes nothing new fails."""


class Compiled:
    """One compiled program running in memory."""

    def __init__(self, source: str, name: str, folder: Path) -> None:
        module_source = driver.compile_program(Source(f"{name}.glas", source))
        bundle = build_bundle(module_source, host(), folder, default_cache_dir(), lambda _step: None)
        self._module = load(name, bundle.path, folder)
        self.core = self._opened()
        self.core.start(NOW)
        self._journal: list[Journal] = []
        self._runs: list[tuple[str, str]] = []
        self._number = 0

    def _opened(self) -> Core:
        return Core(self._module, Roster((RosterMirror(NAME, 0),), origin=0), 0, trace=True)

    def _polled(self) -> Snapshot | None:
        """Keeps what is to be written to the journal; a snapshot where one was asked for."""
        outputs = self.core.poll()
        self._journal += [output for output in outputs if isinstance(output, Journal)]
        lines = [output.text for output in outputs if isinstance(output, TraceLine)]
        self._runs += [(run[1], run[2]) for line in lines if (run := _RUN.fullmatch(line)) is not None]
        return next((output for output in outputs if isinstance(output, Snapshot)), None)

    def runs(self) -> list[tuple[str, str]]:
        """The runs of steps since this was asked last, each with how it ended, in the core's words."""
        self._polled()
        runs, self._runs = self._runs, []
        return runs

    def recovered(self, now: int, *, from_snapshot: bool) -> Core:
        """Another core that has recovered from what this one has written."""
        if from_snapshot:
            self.core.snapshot(now)
        snapshot = self._polled()
        again = self._opened()
        if snapshot is not None:
            again.load_snapshot(snapshot.data, snapshot.position, now)
        for journal in () if from_snapshot else self._journal:
            again.load_journal(journal.data, journal.position, now)
        again.start(now)
        return again

    def do(self, call: Call, program: ir.Program, now: int) -> Outcome:
        """Carries out one call and says how it ended, in the interpreter's words."""
        self._polled()
        self._number += 1
        if call.kind == "http":
            verb, path = call.verb.encode(), call.path.encode("utf-8", "surrogateescape")
            reply = self.core.http(self._number, verb, path, call.body, 0, now)
            return _http_outcome(reply)
        method = program.method(call.method)
        pairs = zip(method.params, call.args, strict=True)
        arguments = ",".join(f"{json.dumps(p.name)}:{write(value, p.type)}" for p, value in pairs)
        return _outcome(self.core.rpc(self._number, call.method, f"{{{arguments}}}".encode(), 0, now))

    def state(self, name: str, now: int) -> Any:
        """Content of a state as the core shows it."""
        return _shown(self.core, name, now)


def _shown(core: Core, name: str, now: int) -> Any:
    return json.loads(core.inspect(0, f"state {name}", now).body)


def _outcome(reply: Reply) -> Outcome:
    if reply.outcome == 0:
        return Outcome("committed", json.loads(reply.body))
    return Outcome({FAILED: "failed", ERROR: "error", TIMEOUT: "waiting"}[reply.reason])


def _http_outcome(reply: Reply) -> Outcome:
    if reply.outcome == 0:
        return Outcome("committed", (reply.status, reply.content_type.decode(), reply.body.decode()))
    if reply.reason in (NO_METHOD, BAD_VERB, BAD_INPUT):
        return Outcome("committed", (reply.status,))
    return _outcome(reply)


def _expected(outcome: Outcome, call: Call, program: ir.Program) -> Outcome:
    """What the interpreter said, in the form that the core gives it."""
    if outcome.kind != "committed":
        waits = call.kind == "http" and outcome.kind == "failed"
        return Outcome("waiting" if waits else outcome.kind)
    if call.kind == "http":
        known = outcome.value["status"] not in (400, 404, 405) or "not found" not in str(outcome.value)
        whole = (outcome.value["status"], outcome.value["content_type"], outcome.value["body"])
        plain = outcome.value["body"] in ("not found", "method not allowed", "malformed path") or not known
        return Outcome("committed", whole[:1] if plain else whole)
    return Outcome("committed", json.loads(write(outcome.value, program.method(call.method).result)))


def _meant(machine: Machine, call: Call) -> Outcome:
    if call.kind == "http":
        return machine.http(call.verb, call.path, call.body)
    return machine.call(call.method, call.args)


def _rows(shown: list[dict[str, Any]], counts: bool) -> list[str]:
    rows = [[row["key"], row["value"]] for row in shown if not (counts and row["value"] == 0)]
    return sorted(json.dumps(row) for row in rows)


def _same_state(compiled: Compiled, machine: Machine, program: ir.Program) -> None:
    dump = machine.dump()
    for state in program.states:
        shown, meant = compiled.state(state.name, machine.now), dump[state.name]
        kind = str(state.kind)
        if kind.startswith("dict"):
            counts = kind.endswith(("counter", "bounded"))
            assert _rows(shown, counts) == sorted(json.dumps(row) for row in meant), state.name
        elif kind.startswith("queue"):
            assert shown == meant, state.name
        else:
            assert shown[0]["value"] == meant, state.name


def _agree(app: App) -> None:
    """Compiles the program under a name of its own and compares outcome and state after each call, with what
    the interpreter says of it before it was simplified and after.
    """
    name = "random_" + hashlib.sha256(app.source.encode()).hexdigest()[:12]
    source = app.source.replace("app random ", f"app {name} ", 1)
    programs = [driver.run_until(Source(f"{name}.glas", source), stage) for stage in ("lower", "simplify")]
    with tempfile.TemporaryDirectory(prefix="glas-differential-") as folder:
        compiled = Compiled(source, name, Path(folder))
        machines = [Machine(program, NAME, NOW) for program in programs]
        steps = {method.name for method in programs[0].methods if method.kind == "step"}
        for number, call in enumerate(app.calls):
            _steps_agree(compiled, machines, app)
            if call.kind == "wait":
                for machine in machines:
                    machine.now += call.number + _LOOK_AGAIN
                continue
            if call.method in steps:  # the core runs them by itself
                continue
            done = compiled.do(call, programs[0], machines[0].now)
            for machine, program in zip(machines, programs, strict=True):
                meant = _expected(_meant(machine, call), call, program)
                assert done == meant, f"call {number}: {call}\n{source}"
                _same_state(compiled, machine, program)
        _steps_agree(compiled, machines, app)
        if not steps:  # they would run at once, and go on from there
            _recovers(compiled, programs[0], machines[0].now)
        compiled.core.close()


def _steps_agree(compiled: Compiled, machines: list[Machine], app: App) -> None:
    """Lets steps run in the core (not for ever), repeats each run in the interpreter, and sees to it that
    those which sleep in the end have nothing to do.
    """
    _repeat_runs(compiled, machines, app)
    for _ in range(_MOST_TURNS):
        compiled.core.turn(machines[0].now)
        _repeat_runs(compiled, machines, app)
        if not compiled.core.more:
            break
    for machine in () if compiled.core.more else machines:
        for step in machine.ready_steps():
            pytest.fail(f"{step} sleeps, and could commit\n{app.source}")
    for machine in machines:
        _same_state(compiled, machine, machine.program)


def _repeat_runs(compiled: Compiled, machines: list[Machine], app: App) -> None:
    for step, how in compiled.runs():
        for machine in machines:
            assert machine.run_step(step).kind in _ENDS[how], f"{step} {how}\n{app.source}"


def _recovers(compiled: Compiled, program: ir.Program, now: int) -> None:
    """What the mirror has written is what it needs to be again what it was."""
    for from_snapshot in (False, True):
        again = compiled.recovered(now, from_snapshot=from_snapshot)
        for state in program.states:
            if state.name.startswith("db."):
                assert _shown(again, state.name, now) == compiled.state(state.name, now), state.name
        again.close()


_PHASES = (Phase.explicit, Phase.generate)  # each program is compiled: shrinking one would take hours
_HEALTH = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
_QUICK = settings(deadline=None, phases=_PHASES, suppress_health_check=_HEALTH)


WAITING = App(
    """app random version "1"
db.q : queue of Int
db.d : dict Text of Int
db.n : cell Int
db.seen : dict Text of Time

rpc put(n: Int)
  db.q.write(n)

rpc set(k: Text, v: Int)
  db.d[k] := v
  db.seen[k] := sys.time.now()

step take
  db.n += db.q.read()

step find
  choose (k, v) in db.d where v > 3 and v != db.n
  db.d[k] := v - 3

step late
  choose (k, at) in db.seen where at < sys.time.now() and not (db.d[k] else 0) == 0
  db.d[k] := 0
""",
    (
        Call("call", "put", (2,)),
        Call("call", "set", ("tea", 9)),
        Call("wait", number=5),
        Call("call", "set", ("milk", 2)),
        Call("call", "put", (7,)),
        Call("wait", number=5),
        Call("call", "put", (0,)),
    ),
)
"""Steps that sleep, each woken by something else: random ones seldom sleep with something to wait for."""


@settings(_QUICK, max_examples=40, derandomize=True, database=None)
@given(apps())
@example(WAITING)
def test_compiled_programs_do_as_the_interpreter_says(app: App) -> None:
    _agree(app)


@pytest.mark.soak
@settings(_QUICK, max_examples=2000)
@given(apps())
def test_many_compiled_programs_do_as_the_interpreter_says(app: App) -> None:
    _agree(app)
