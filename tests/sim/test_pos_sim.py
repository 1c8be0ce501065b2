"""examples/pos under seeded faults: many seeds, each judged; planted bugs, each found."""

from __future__ import annotations

from collections import Counter
from types import ModuleType

import pytest

from glasrt import checks
from glasrt.core import Limits
from glasrt.sim import NO_FAULTS, Faults, Result, Settings, SimMirror, Simulation
from tests.pos_app import pos_with_planted_bug
from tests.sim import pos_checks

ROSTER = (SimMirror("hq", ("hq",)), SimMirror("shop1", ("shop",)), SimMirror("shop2", ("shop",)))
SEEDS = 200
BLOCK = 50


def simulate(pos_module: ModuleType, seed: int, faults: Faults) -> Result:
    return Simulation(pos_module, ROSTER, seed, faults, pos_checks.workload).run()


def told(result: Result, found: list[str]) -> str:
    """What it takes to look into a violation."""
    return "\n".join(
        [f"seed {result.seed}, faults {', '.join(sorted(result.faults))}, fired {result.fired}", *found]
    )


def test_without_faults_everything_commits(pos_module: ModuleType) -> None:
    result = simulate(pos_module, 1, NO_FAULTS)
    assert pos_checks.check(result) == []
    reasons = Counter((call.outcome, call.reason) for call in result.history)
    assert reasons["committed", ""] >= 55, reasons


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_seeds(pos_module: ModuleType, first: int) -> None:
    totals: Counter[str] = Counter()
    fired: Counter[str] = Counter()
    for seed in range(first, first + BLOCK):
        result = simulate(pos_module, seed, Faults())
        found = pos_checks.check(result)
        assert not found, told(result, found)
        again = simulate(pos_module, seed, Faults())
        assert again.trace_hash == result.trace_hash, f"seed {seed} went another way"
        totals.update(checks.outcomes(result))
        fired.update(result.fired)
    # a run that tests nothing proves nothing
    assert totals["committed"] > BLOCK * 30, totals
    assert totals["unknown"] > 0, totals
    assert all(fired[kind] > 0 for kind in ("cut", "one_way", "isolate", "crash", "snapshot", "pause")), fired


def test_seeds_with_full_windows(pos_module: ModuleType) -> None:
    """Links that hold little, and many calls at once: entries, requests and answers wait for room."""
    limits = Limits(max_heap=64 << 20, max_log=8 << 20, max_link_buffer=4608)
    settings = Settings(calls=250, call_every_us=1_500, limits=limits)
    for seed in range(25):
        result = Simulation(
            pos_module, ROSTER, seed, Faults(), pos_checks.workload, settings=settings
        ).run()
        found = pos_checks.check(result)
        assert not found, told(result, found)


@pytest.mark.parametrize("seed", [0, 7, 42])
def test_a_seed_decides_everything(pos_module: ModuleType, seed: int) -> None:
    first, again = (simulate(pos_module, seed, Faults()) for _ in range(2))
    assert list(first.history_lines()) == list(again.history_lines())
    assert simulate(pos_module, seed + 1, Faults()).trace_hash != first.trace_hash


def test_replies_before_the_disk_are_found(pos_module: ModuleType) -> None:
    """A planted bug of the driver: an acknowledged call is lost in a crash."""
    faults = Faults(kinds=frozenset({"crash", "slow_disk"}), ignore_barrier=True)
    assert any(pos_checks.check(simulate(pos_module, seed, faults)) for seed in range(60))


@pytest.mark.parametrize("plant", [1, 2, 3])
def test_planted_bugs_of_the_core_are_found(plant: int) -> None:
    """Listed in core.h: an entry applied twice, or before its causes; a shipped call run twice."""
    module = pos_with_planted_bug(plant)
    assert any(pos_checks.check(simulate(module, seed, Faults())) for seed in range(SEEDS))


@pytest.mark.soak
def test_soak(pos_module: ModuleType) -> None:
    for seed in range(10_000, 14_000):
        result = simulate(pos_module, seed, Faults())
        found = pos_checks.check(result)
        assert not found, told(result, found)
