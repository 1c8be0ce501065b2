"""The simulator itself, over a tiny core: it is deterministic, it loses what a crash loses, and no more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from glasrt import checks
from glasrt.sim import Faults, Result, SimCall, SimMirror, Simulation
from tests.fake_app import fake_module

ROSTER = (SimMirror("hq", ("hq",)), SimMirror("a", ("shop",)), SimMirror("b", ("shop",)))


def workload(random: Random, number: int, names: Sequence[str]) -> SimCall:
    return SimCall(random.choice(names), "add", {"n": random.randint(1, 5)})


def simulate(seed: int, faults: Faults) -> Result:
    return Simulation(fake_module(), ROSTER, seed, faults, workload).run()


def violations(result: Result) -> list[str]:
    done, maybe = (
        sum(call.args["n"] for call in result.history if call.outcome == outcome)
        for outcome in ("committed", "unknown")
    )
    total = result.states["hq"]["db.total"]
    found = checks.finished(result) + checks.replicas_equal(result, ["db.total"])
    return found + checks.counts_between("total", done, total, done + maybe)


def test_seeds() -> None:
    outcomes = set()
    for seed in range(60):
        result = simulate(seed, Faults())
        assert violations(result) == [], seed
        outcomes |= set(checks.outcomes(result))
    assert outcomes == {"committed", "aborted", "unknown"}


def test_same_seed_same_trace() -> None:
    first, again, other = simulate(3, Faults()), simulate(3, Faults()), simulate(4, Faults())
    assert (first.trace_hash, first.trace) == (again.trace_hash, again.trace)
    assert first.trace_hash != other.trace_hash
    assert [json.loads(line)["number"] for line in first.history_lines()] == list(range(80))


def test_planted_bug_is_found() -> None:
    faults = Faults(kinds=frozenset({"crash", "slow_disk"}), ignore_barrier=True)
    assert sum(bool(violations(simulate(seed, faults))) for seed in range(40)) > 3


def test_cut_that_never_heals_is_not_at_rest() -> None:
    simulation = Simulation(fake_module(), ROSTER, 1, Faults(kinds=frozenset()), workload)
    simulation._cut[2, 0] = 1
    assert simulation.run().violations == ("not at rest within the bound: 2 connections",)
