"""What examples/pos does, as JSON: run with different processors' bundles, it has to print the same.

`python tests/pos_scenario.py FOLDER` puts stores there. `pos`, glasrt and the clone have to be importable;
pytest does not.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from glasrt.embedded import EmbeddedMirror
from glasrt.errors import CallError
from glasrt.sim import Faults, SimMirror, Simulation
from glasrt.store import Identity, Store
from tests.sim import pos_checks

pos: Any = importlib.import_module("pos")
SEEDS = (3, 7)
ROSTER = (SimMirror("hq", ("hq",)), SimMirror("shop1", ("shop",)), SimMirror("shop2", ("shop",)))
STATES = (
    "db.price",
    "db.stock",
    "db.ordered",
    "db.sales",
    "db.orders",
    "db.revenue",
    "db.voucher",
    "mem.booked",
)


def states(mirror: Any) -> dict[str, Any]:
    """All that a mirror holds."""
    return {name: mirror.inspect(f"state {name}") for name in STATES}


def error_of(call: Any, *args: Any) -> str:
    """The text of the error that a call ends with."""
    try:
        call(*args)
    except CallError as error:
        return str(error)
    raise AssertionError("the call committed")


def typed_calls(folder: Path) -> list[Any]:
    """Calls through the methods that the bundle has for Python, an error in between, and the store again."""
    path = folder / "typed.glas"
    seen: list[Any] = []
    with pos.Mirror(store=path) as mirror:
        seen += [mirror.deliver("main", "tea", 10), mirror.sell("tea", 3), mirror.sell("tea", 8)]
        seen += [mirror.sell("kaffee ☕", 1), mirror.issue("spring", 1)]
        seen += [mirror.redeem("spring"), mirror.redeem("spring")]
        mirror.deliver("main", "much", 2**62)
        seen += [error_of(mirror.deliver, "main", "much", 2**62), mirror.sell("tea", 1), states(mirror)]
    with pos.Mirror(store=path) as mirror:
        return [*seen, mirror.sell("tea", 6), mirror.inspect("invariants"), states(mirror)]


def journalled(folder: Path) -> list[Any]:
    """Requests at times that are known beforehand: the journal has to be the same to the byte."""
    path = folder / "journal.glas"
    clock = itertools.count(1_700_000_000_000_000, 1_000_003)
    seen: list[Any] = []
    with EmbeddedMirror(pos, store=path, clock=lambda: next(clock)) as mirror:
        mirror.rpc("deliver", shop="main", item="tea", qty=9)
        for verb, target, body in (
            ("POST", "/sell", b'{"item": "tea", "qty": 2}'),
            ("POST", "/sell", b'{"item": "tea", "qty": 200}'),
            ("POST", "/sell", b'{"item": "tea"}'),
            ("GET", "/stock/main/tea", b""),
            ("GET", "/stock/main/%E2%98%95", b""),
        ):
            status, kind, answer = mirror.http(verb, target, body)
            seen.append([status, kind, answer.decode()])
        seen.append(mirror.inspect("status"))
    store = Store(path, Identity("pos", "main", pos.PROTOCOL_ID))
    data = b"".join(piece.data for piece in store.journal())
    store.close()
    return [*seen, len(data), hashlib.sha256(data).hexdigest()]


def simulated(seed: int) -> dict[str, Any]:
    """What a seed of the simulator comes to."""
    result = Simulation(pos, ROSTER, seed, Faults(), pos_checks.workload).run()
    return {"hash": result.trace_hash, "found": pos_checks.check(result), "fired": result.fired}


def main() -> None:
    """Prints everything as one JSON object."""
    folder = Path(sys.argv[1])
    found = {"typed": typed_calls(folder), "journal": journalled(folder)}
    print(json.dumps(found | {f"seed {seed}": simulated(seed) for seed in SEEDS}, indent=1))


if __name__ == "__main__":
    main()
