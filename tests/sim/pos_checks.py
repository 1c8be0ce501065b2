"""What must hold for examples/pos after a simulation, and the calls that its simulations make.

A call whose outcome is unknown may have happened or not; bounds allow for both, and for nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from glasrt import checks
from glasrt.sim import CallRecord, Result, SimCall

PRICES = {"tea": 450, "milk": 120}
CODES = ("spring", "autumn")


def workload(random: Random, number: int, names: Sequence[str]) -> SimCall:
    """The calls of a day: deliveries first, then mostly sales."""
    shops = names[1:]
    if number == 0:
        return SimCall(names[0], "set_price", {"item": "milk", "price": PRICES["milk"]})
    mirror = random.choice(names)
    item = random.choice(list(PRICES))
    if number <= 2 * len(shops):
        args = {"shop": shops[number % len(shops)], "item": item, "qty": random.randint(3, 12)}
        return SimCall(mirror, "deliver", args)
    kind = random.choices(["sell", "deliver", "issue", "redeem", "set_price"], [55, 15, 8, 17, 5])[0]
    if kind == "sell":
        seller = random.choice(shops) if random.random() < 0.9 else names[0]
        return SimCall(seller, "sell", {"item": item, "qty": random.randint(1, 4)})
    if kind == "deliver":
        return SimCall(
            mirror, "deliver", {"shop": random.choice(names), "item": item, "qty": random.randint(1, 6)}
        )
    if kind == "issue":
        return SimCall(mirror, "issue", {"code": random.choice(CODES), "n": random.randint(1, 5)})
    if kind == "redeem":
        return SimCall(mirror, "redeem", {"code": random.choice(CODES)})
    return SimCall(mirror, "set_price", {"item": item, "price": PRICES[item]})


def check(result: Result) -> list[str]:
    """All violations of a run; empty where all is well."""
    found = checks.finished(result)
    if found or len(result.states) != len(result.status):
        return found
    for one in (_ownerless, _revenue, _booked, _stock, _reordered, _vouchers):
        found += one(result)
    return found + checks.frontiers_equal(result)


def _ownerless(result: Result) -> list[str]:
    return checks.replicas_equal(result, ["db.revenue", "db.voucher"])


def rows(result: Result, state: str) -> dict[Any, Any]:
    """The rows of a dict, each as its owner has it; those without an owner as the first mirror has them."""
    found: dict[Any, Any] = {}
    for mirror, states in result.states.items():
        for row in states[state]:
            if row.get("owner", mirror) == mirror:
                key = row["key"]
                found.setdefault((key["shop"], key["item"]) if isinstance(key, dict) else key, row["value"])
    return found


def owned(result: Result, state: str, mirror: str) -> Any:
    """A cell or counter as one mirror has it."""
    return result.states[mirror][state][0]["value"]


def _sum(calls: Iterable[CallRecord], amount: Callable[[CallRecord], int]) -> int:
    return sum(amount(call) for call in calls)


def _of(result: Result, method: str, outcome: str) -> list[CallRecord]:
    return [call for call in result.history if call.method == method and call.outcome == outcome]


def sold(result: Result) -> list[CallRecord]:
    """Sales that a client knows to have happened."""
    return [call for call in _of(result, "sell", "committed") if "ok" in call.result]


def _paid(call: CallRecord) -> int:
    return int(call.args["qty"]) * PRICES[call.args["item"]]


def _revenue(result: Result) -> list[str]:
    wrong = [
        f"call {call.number} paid {call.result['ok']}"
        for call in sold(result)
        if call.result["ok"] != _paid(call)
    ]
    least = _sum(sold(result), _paid)
    most = least + _sum(_of(result, "sell", "unknown"), _paid)
    origin = next(iter(result.states))
    return wrong + checks.counts_between("db.revenue", least, owned(result, "db.revenue", origin), most)


def _booked(result: Result) -> list[str]:
    """Every sale reaches headquarters once; `mem.booked` counts them since headquarters started last."""
    hq = next(iter(result.states))
    found = [f"db.sales still holds {item}" for item in result.states[hq]["db.sales"]]
    booked = owned(result, "mem.booked", hq)
    least, unknown = len(sold(result)), len(_of(result, "sell", "unknown"))
    if result.status[hq]["incarnation"] > 1:
        least = 0
    return found + checks.counts_between("mem.booked", least, booked, len(sold(result)) + unknown)


def _stock(result: Result) -> list[str]:
    found = []
    stock = rows(result, "db.stock")
    lines = {(call.args["shop"], call.args["item"]) for call in result.history if call.method == "deliver"}
    for line in sorted(lines | set(stock)):
        delivered, maybe = (
            _sum(_line(result, "deliver", how, line), _qty) for how in ("committed", "unknown")
        )
        gone = _sum((call for call in sold(result) if (call.mirror, call.args["item"]) == line), _qty)
        maybe_gone = _sum(_line(result, "sell", "unknown", line), _qty)
        least = max(0, delivered - gone - maybe_gone)
        found += checks.counts_between(
            f"stock of {line}", least, stock.get(line, 0), delivered + maybe - gone
        )
    return found


def _qty(call: CallRecord) -> int:
    return int(call.args["qty"])


def _line(result: Result, method: str, outcome: str, line: tuple[str, str]) -> list[CallRecord]:
    calls = _of(result, method, outcome)
    return [call for call in calls if (call.args.get("shop", call.mirror), call.args["item"]) == line]


def _reordered(result: Result) -> list[str]:
    """Whatever runs low has been ordered, at most once a delivery, and no order is lost."""
    hq = next(iter(result.states))
    orders = Counter((order["shop"], order["item"]) for order in result.states[hq]["db.orders"])
    ordered = rows(result, "db.ordered")
    found = []
    for line, left in rows(result, "db.stock").items():
        if left < 5 and not ordered.get(line):
            found.append(f"{line} has {left} left and was not ordered")
        deliveries = sum(len(_line(result, "deliver", how, line)) for how in ("committed", "unknown"))
        if orders[line] > deliveries or (ordered.get(line) and not orders[line]):
            found.append(
                f"{line} was ordered {orders[line]} times, delivered {deliveries}, flag {ordered.get(line)}"
            )
    return found


def _vouchers(result: Result) -> list[str]:
    found = []
    vouchers = rows(result, "db.voucher")
    for code in CODES:
        issued, maybe = (_sum(_code(result, "issue", how, code), _n) for how in ("committed", "unknown"))
        used = len([call for call in _code(result, "redeem", "committed", code) if call.result is True])
        maybe_used = len(_code(result, "redeem", "unknown", code))
        if used > issued + maybe:
            found.append(f"{code}: {used} redeemed of {issued} to {issued + maybe}")
        least = max(0, issued - used - maybe_used)
        found += checks.counts_between(f"voucher {code}", least, vouchers.get(code, 0), issued + maybe - used)
    return found


def _n(call: CallRecord) -> int:
    return int(call.args["n"])


def _code(result: Result, method: str, outcome: str, code: str) -> list[CallRecord]:
    return [call for call in _of(result, method, outcome) if call.args["code"] == code]
