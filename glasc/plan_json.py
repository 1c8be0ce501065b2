"""The plan of an app as data: where state lives, where methods run, and why.

Owns the shape of plan.json, which is also what a mirror answers when asked for its plan. Knows no C.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from glasc import ir
from glasc.ir_text import expr_text, owner_text
from glasc.passes.plan_protocol import Protocol
from glasc.passes.route import origin_places


def plan_text(program: ir.Program, protocol: Protocol, sizes: Mapping[str, Mapping[str, int]]) -> str:
    """The plan as JSON text with a newline at the end; `sizes` are the bytes of each method's C arguments
    and result.
    """
    data = {
        "app": program.name,
        "version": program.version,
        "protocol_id": protocol.id.hex(),
        "places": [{"name": name, "many": many} for name, many in program.places],
        "origin_place": next((place for place, _, _ in origin_places(program)), None),
        "states": [_state(state) for state in program.states],
        "methods": [_method(program.method(row.name), protocol) for row in protocol.methods],
        "messages": [
            {"number": message.number, "name": message.name, "parts": message.parts}
            for message in protocol.messages
        ],
        "sizes": {name: dict(size) for name, size in sizes.items()},
    }
    return json.dumps(data, ensure_ascii=True, indent=1) + "\n"


def _state(state: ir.State) -> dict[str, Any]:
    assert state.owner is not None
    return {
        "name": state.name,
        "kind": str(state.kind),
        "persistent": state.persistent,
        "owner": owner_text(state.owner),
        "owner_rule": _rule(state.owner),
        "why": state.why,
        "stale_us": state.stale_us,
    }


def _rule(owner: ir.Owner) -> dict[str, str]:
    match owner:
        case ir.AtPlace(place):
            return {"rule": "at_place", "place": place}
        case ir.ByKey(place, key):
            return {"rule": "by_key", "place": place, "key": expr_text(key)}
        case ir.AtOrigin():
            return {"rule": "at_origin"}
        case ir.Ownerless():
            return {"rule": "ownerless"}


def _method(method: ir.Method, protocol: Protocol) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": method.name,
        "kind": method.kind,
        "title": method.title,
        "params": [{"name": var.name, "type": str(var.type)} for var in method.params],
        "result": str(method.result),
        "changes": list(dict.fromkeys(effect.state for effect in protocol.method(method.name).effects)),
        "available": method.available,
        "routes": [
            {"place": route.place, "how": route.how, "needs": list(route.needs), "why": route.why}
            for route in method.routes
        ],
    }
    if method.kind == "http":
        data |= {"verb": method.verb, "path": "/" + "/".join(method.path)}
    return data
