"""A look at all mirrors a few times a second, and what must hold at every look.

Owns the looks and the standing promises. Does not know how a look is shown, nor what the story is.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from examples.pos.demo.mirrors import Client, Mirror, NoAnswer, NotSent

_PAUSE = 0.25


@dataclass(frozen=True)
class Look:
    """What one mirror showed at one moment."""

    status: dict[str, Any]
    stock: dict[str, int]

    @property
    def revenue(self) -> int:
        """Its replica of the counter."""
        return int(self.status["state"]["db.revenue"]["value"])

    @property
    def booked(self) -> int:
        """Sales that it has booked since it started."""
        return int(self.status["state"]["mem.booked"]["value"])

    @property
    def queued(self) -> int:
        """Sales that wait here to be booked."""
        return int(self.status["state"]["db.sales"]["length"])

    @property
    def linked(self) -> list[str]:
        """The other mirrors that it has a link to."""
        mine = self.status["mirror"]
        return [name for name, peer in self.status["mirrors"].items() if peer["linked"] and name != mine]

    @property
    def frontier(self) -> dict[str, int]:
        """How much of each mirror's log it has applied."""
        return {name: int(peer["applied"]) for name, peer in self.status["mirrors"].items()}

    @property
    def journal(self) -> int:
        """Bytes of journal that it has written."""
        return int(self.status["journal"])


def look_at(client: Client) -> Look:
    """Asks one mirror. Raises NotSent, NoAnswer, ValueError."""
    status = client.ask("GET", "/sys/status").json
    rows = client.ask("GET", "/sys/state/db.stock").json
    mine = {row["key"]["item"]: row["value"] for row in rows if row["key"]["shop"] == status["mirror"]}
    return Look(status, mine)


def broken_promises(before: Look | None, now: Look, price: int, hq: str) -> list[str]:
    """What is wrong with a look, given the one before at the same mirror."""
    name, found = now.status["mirror"], []
    if min(now.stock.values(), default=0) < 0:
        found.append(f"{name} has sold what it does not have: {now.stock}")
    if before is not None and now.revenue < before.revenue:
        found.append(f"revenue at {name} fell from {before.revenue} to {now.revenue}")
    if name == hq and now.revenue != price * (now.booked + now.queued):
        found.append(
            f"{hq} shows a revenue of {now.revenue}, but {now.booked} sales booked and {now.queued} waiting, "
            f"at {price} each: a sale was seen in part"
        )
    return found


@dataclass
class Watch:
    """Looks at the mirrors from a thread until it is closed. A mirror that does not answer has no look."""

    mirrors: Mapping[str, Mirror]
    price: int
    hq: str
    booking: bool = True  # headquarters have booked since their start, so that its sums can be checked
    count: int = 0
    latest: dict[str, Look | None] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    _known: dict[str, Look] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _over: threading.Event = field(default_factory=threading.Event, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def start(self) -> None:
        """Begins to look."""
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Looks no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        clients = {name: mirror.client() for name, mirror in self.mirrors.items()}
        while not self._over.wait(_PAUSE):
            self._look(clients)
        for client in clients.values():
            client.close()

    def now(self) -> Mapping[str, Look | None]:
        """A fresh look at all."""
        clients = {name: mirror.client() for name, mirror in self.mirrors.items()}
        self._look(clients)
        for client in clients.values():
            client.close()
        return self.latest

    def _look(self, clients: Mapping[str, Client]) -> None:
        for name, client in clients.items():
            with self._lock:
                try:
                    look = look_at(client)
                except (NotSent, NoAnswer, ValueError, KeyError):
                    self.latest[name] = None
                    continue
                booking = self.hq if self.booking else ""
                self.broken += broken_promises(self._known.get(name), look, self.price, booking)
                self.latest[name] = self._known[name] = look
                self.count += 1
