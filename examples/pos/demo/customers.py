"""Customers: threads that buy over HTTP and count what they were told.

Owns the tally. Does not know what the numbers should be.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from examples.pos.demo.mirrors import Mirror, NoAnswer, NotSent

_PAUSE = 0.02
_RETRY_PAUSE = 0.1


@dataclass
class Tally:
    """What customers of one shop were told: sales acknowledged and paid, sold out, and sales of which nobody
    knows whether they happened. `unexpected` holds any other answer.
    """

    sold: int = 0
    paid: int = 0
    sold_out: int = 0
    unknown: int = 0
    unexpected: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, status: int, text: str, paid: int) -> None:
        """Counts an answer."""
        with self._lock:
            if status == 200:
                self.sold += 1
                self.paid += paid
            elif status == 409:
                self.sold_out += 1
            elif status == 504:
                self.unknown += 1
            else:
                self.unexpected.append(f"{status} {text}")

    def note_unknown(self) -> None:
        """Counts a request without an answer."""
        with self._lock:
            self.unknown += 1


class Customers:
    """Some customers at one shop, each buying one piece after the other until all have enough."""

    def __init__(self, shop: Mirror, item: str, sales: int, customers: int = 3) -> None:
        """All together they stop after `sales` answers."""
        self.tally = Tally()
        self._shop = shop
        self._item = item
        self._wanted = sales
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._buy, daemon=True) for _ in range(customers)]
        for thread in self._threads:
            thread.start()

    def wait(self) -> Tally:
        """Waits until all have enough."""
        for thread in self._threads:
            thread.join()
        return self.tally

    def _buy(self) -> None:
        client = self._shop.client()
        while self._one_of_the_wanted():
            try:
                answer = client.ask("POST", "/sell", {"item": self._item, "qty": 1})
            except NotSent:
                self._not_this_one()
                time.sleep(_RETRY_PAUSE)
                continue
            except NoAnswer:
                self.tally.note_unknown()
                self._not_this_one()
                continue
            self.tally.note(answer.status, answer.text, answer.json["paid"] if answer.status == 200 else 0)
            time.sleep(_PAUSE)
        client.close()

    def _one_of_the_wanted(self) -> bool:
        with self._lock:
            self._wanted -= 1
            return self._wanted >= 0

    def _not_this_one(self) -> None:
        with self._lock:
            self._wanted += 1
