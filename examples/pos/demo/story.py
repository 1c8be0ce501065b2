"""The story of the demo, act by act, and what is promised in each.

Owns the order of events and the numbers that must come out. Does not know how mirrors run (fleet.py) or how
lines look (screen.py). Every sale is one piece at PRICE, so that all sums follow from counts.
"""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass, field

from rich.markup import escape

from examples.pos.demo.customers import Customers, Tally
from examples.pos.demo.fleet import FAR, HQ, NEAR, Fleet
from examples.pos.demo.mirrors import Answer, NoAnswer, NotSent
from examples.pos.demo.screen import Screen
from examples.pos.demo.watch import Watch

PRICE = 450
DELIVERED = 1000
SALES = 120
"""Of each shop in each act, where nothing else is said."""
VOUCHERS = 5
SHOPS = (NEAR, FAR)
_SETTLE = 30.0


@dataclass
class Books:
    """What the demo itself knows to be true."""

    delivered: dict[str, int] = field(default_factory=dict)
    sold: dict[str, int] = field(default_factory=dict)

    @property
    def sales(self) -> int:
        """Of all shops."""
        return sum(self.sold.values())

    def left(self, shop: str) -> int:
        """What must be left of tea in a shop."""
        return self.delivered[shop] - self.sold[shop]


class Story:
    """One run of the demo."""

    def __init__(self, fleet: Fleet, watch: Watch, screen: Screen, sales: int = SALES) -> None:
        """`sales`: how many each shop makes in an act, more or less."""
        self.sales = sales
        self.fleet = fleet
        self.mirrors = fleet.mirrors
        self.watch = watch
        self.screen = screen
        self.books = Books(dict.fromkeys(SHOPS, 0), dict.fromkeys(SHOPS, 0))

    # ---------------------------------------------------------------- what several acts need

    def sell(self, near: int, far: int) -> None:
        """So many sales at each shop, at once; every one must be acknowledged."""
        wanted = {NEAR: near, FAR: far}
        busy = {shop: Customers(self.mirrors[shop], "tea", sales) for shop, sales in wanted.items()}
        tallies = {shop: customers.wait() for shop, customers in busy.items()}
        for shop, tally in tallies.items():
            self.books.sold[shop] += tally.sold
        self.screen.promise(
            f"{near} sales at {NEAR} and {far} at {FAR}, each acknowledged once it was on disk",
            all(tally.sold == wanted[shop] for shop, tally in tallies.items()),
            tallies,
        )

    def deliver(self, at: str, shop: str, item: str, qty: int) -> Answer:
        """Stock for a shop, told to the mirror `at`."""
        answer = self.mirrors[at].rpc("deliver", shop=shop, item=item, qty=qty)
        if answer.status == 200 and item == "tea":
            self.books.delivered[shop] += qty
        return answer

    def stock(self, at: str, shop: str, item: str = "tea") -> Answer:
        """What the mirror `at` says about a shop's stock."""
        return self.mirrors[at].ask("GET", f"/stock/{shop}/{item}")

    def revenues(self) -> dict[str, int]:
        """At every mirror."""
        return {name: mirror.state("db.revenue")[0]["value"] for name, mirror in self.mirrors.items()}

    def booked(self) -> tuple[int, int]:
        """At headquarters: sales booked, and sales waiting to be."""
        hq = self.mirrors[HQ]
        return hq.state("mem.booked")[0]["value"], len(hq.state("db.sales"))

    def all_agree(self) -> None:
        """The sums that every act ends with."""
        self.same_revenue()
        self.screen.eventually(
            f"{HQ} has booked each sale exactly once: {self.books.sales} booked, none waiting",
            self.booked,
            (self.books.sales, 0),
        )
        self.same_stock()

    def same_revenue(self) -> None:
        """At all mirrors, and what the sales add up to."""
        sales = self.books.sales
        self.screen.eventually(
            f"all three mirrors agree on revenue: {sales} sales × {PRICE} = {sales * PRICE}",
            self.revenues,
            dict.fromkeys(self.mirrors, sales * PRICE),
        )

    def same_stock(self) -> None:
        """At each shop what was delivered and not sold."""
        screen, books = self.screen, self.books
        for shop in SHOPS:
            text = f"stock of {shop} adds up: {books.delivered[shop]} delivered - {books.sold[shop]} sold"
            left = self.stock(shop, shop).text
            screen.promise(f"{text} = {books.left(shop)}", left == str(books.left(shop)), left)

    def refused(self, what: str, answer: Answer, *names: str) -> None:
        """A refusal that names what is missing."""
        holds = answer.status == 503 and all(name in answer.text for name in names)
        self.screen.promise(f"{what} is refused, naming {' and '.join(names)}", holds, answer)
        self.screen.show(f"      [quiet]503 {escape(answer.json['message'])}[/quiet]")

    def linked(self, *pairs: tuple[str, str]) -> bool:
        """Whether the first of each pair has a link to the second, at the latest look."""
        looks = self.watch.latest
        return all((look := looks.get(a)) is not None and b in look.linked for a, b in pairs)

    def unlinked(self, *pairs: tuple[str, str]) -> bool:
        """Whether the first of each pair knows that it has no link to the second."""
        looks = self.watch.latest
        return all((look := looks.get(a)) is not None and b not in look.linked for a, b in pairs)

    def far_is_cut(self) -> bool:
        """Whether both ends of each line of the far shop know that it is cut."""
        pairs = [(FAR, other) for other in (HQ, NEAR)] + [(other, FAR) for other in (HQ, NEAR)]
        return self.unlinked(*pairs)

    def all_linked(self) -> bool:
        """Whether each mirror has a link to each other one."""
        return self.linked(*((a, b) for a in self.mirrors for b in self.mirrors if a != b))

    def snapshot(self) -> None:
        """Shows the mirrors as they are now."""
        self.watch.now()
        self.screen.snapshot()

    def frontiers_equal(self) -> bool:
        """Whether every mirror has applied as much of each log as the others."""
        looks = list(self.watch.now().values())
        known = [look.frontier for look in looks if look is not None]
        return len(known) == len(looks) and all(frontier == known[0] for frontier in known)

    # ---------------------------------------------------------------- the acts

    def open_shop(self) -> None:
        """Everything in order: stock, prices, vouchers, sales."""
        screen = self.screen
        screen.act(3, "Open for business", "Sales arrive over HTTP at both shops; every line is in order.")
        for shop in SHOPS:
            told = self.deliver(HQ, shop, "tea", DELIVERED)
            screen.promise(
                f"{DELIVERED} tea for {shop}, told to {HQ}, stand in {shop}, which owns that row",
                told.status == 200 and self.stock(shop, shop).text == str(DELIVERED),
                told,
            )
        asked = self.stock(NEAR, FAR)
        screen.promise(f"{NEAR} answers for the stock of {FAR}", asked.text == str(DELIVERED), asked)
        with screen.doing("selling at both shops"):
            self.sell(self.sales, self.sales)
        self.all_agree()
        self.sell_out()
        self.issue_vouchers()

    def sell_out(self) -> None:
        """The last cakes: a price set from a shop, a refusal, an order."""
        screen, near = self.screen, self.mirrors[NEAR]
        priced = near.rpc("set_price", item="cake", price=PRICE)
        screen.promise(f"{NEAR} sets a price, which {HQ} owns", priced.status == 200, priced)
        prices = {row["key"]: row["value"] for row in near.state("db.price")}
        screen.promise(f"{NEAR} sees the price that it set at once", prices.get("cake") == PRICE, prices)
        self.deliver(NEAR, NEAR, "cake", 2)
        answers = [near.ask("POST", "/sell", {"item": "cake", "qty": 1}) for _ in range(3)]
        screen.promise(
            "two cakes are sold, the third is not there: 409, only 0 left",
            [answer.status for answer in answers] == [200, 200, 409] and answers[2].text == "only 0 left",
            answers,
        )
        screen.eventually(
            f"{NEAR} has noticed, and its order is at {HQ}, once",
            lambda: self.mirrors[HQ].state("db.orders"),
            [{"shop": NEAR, "item": "cake"}],
        )
        malformed = near.ask("POST", "/sell", {"item": "cake"})
        screen.promise("a request that does not fit gets 400", malformed.status == 400, malformed)
        self.books.sold[NEAR] += 2
        self.books.delivered[NEAR] += 2

    def issue_vouchers(self) -> None:
        """Rights, some made at each shop."""
        for shop in SHOPS:
            self.mirrors[shop].rpc("issue", code="SPRING", n=VOUCHERS)
        self.screen.eventually(
            f"{2 * VOUCHERS} vouchers are known everywhere, {VOUCHERS} issued at each shop",
            lambda: [mirror.state("db.voucher")[0]["value"] for mirror in self.mirrors.values()],
            [2 * VOUCHERS] * 3,
        )

    def cut_line(self) -> None:
        """Nobody reaches the far shop, and all go on."""
        screen, near, far = self.screen, self.sales, self.sales * 2 // 3
        screen.act(
            4,
            f"The line of {FAR} is cut",
            "Its connections break and new ones are refused. Nobody has told the mirrors beforehand.",
        )
        self.fleet.cut()
        screen.eventually("both ends know", self.far_is_cut, True)
        before = self.revenues()
        with screen.doing("selling on both sides of the cut"):
            self.sell(near, far)
        self.snapshot()
        after = self.revenues()
        gained = {name: (after[name] - before[name]) // PRICE for name in after}
        screen.promise(
            f"each side counts its own sales: {FAR} the {far} that it made, {HQ} the {near} of {NEAR}",
            gained[FAR] == far and gained[HQ] == near,
            gained,
        )
        self.refuse_across()
        self.redeem_on_both_sides()

    def refuse_across(self) -> None:
        """What needs the other side says so."""
        self.refused(
            f"setting a price at {FAR}",
            self.mirrors[FAR].rpc("set_price", item="tea", price=1),
            "db.price",
            HQ,
        )
        self.refused(f"the stock of {NEAR}, asked at {FAR},", self.stock(FAR, NEAR), "db.stock", NEAR)
        self.refused(f"a delivery to {FAR}, told to {HQ},", self.deliver(HQ, FAR, "tea", 1), "db.stock", FAR)

    def redeem_on_both_sides(self) -> None:
        """More attempts than vouchers, on both sides of the cut."""
        attempts = [
            self.mirrors[shop].rpc("redeem", code="SPRING").json
            for shop in SHOPS
            for _ in range(VOUCHERS + 2)
        ]
        self.screen.promise(
            f"{len(attempts)} tries to redeem a voucher, on both sides: "
            f"exactly {2 * VOUCHERS} succeed, as many as were issued",
            attempts.count(True) == 2 * VOUCHERS,
            attempts,
        )

    def heal_line(self) -> None:
        """The cut is over."""
        self.screen.show("  [name]The line is put in order.[/name]")
        begun = time.monotonic()
        self.fleet.heal()
        self.screen.eventually(
            f"{FAR} has found {HQ} and {NEAR} again by itself", self.all_linked, True, _SETTLE
        )
        self.all_agree()
        vouchers = {name: mirror.state("db.voucher")[0]["value"] for name, mirror in self.mirrors.items()}
        self.screen.promise(
            "no voucher is left, and none was used twice", set(vouchers.values()) == {0}, vouchers
        )
        self.screen.took("healed and equal after", begun)
        self.snapshot()

    def silence(self) -> None:
        """The line carries nothing and tells nobody; a call is under way on it."""
        screen = self.screen
        screen.act(
            5,
            f"The line of {FAR} falls silent",
            "No connection breaks; bytes just do not arrive. A delivery is sent into the silence.",
        )
        self.fleet.hush()
        answers: list[Answer | Exception] = []
        call = threading.Thread(target=self._deliver_into, args=(answers,), daemon=True)
        call.start()
        with screen.doing("selling on both sides of the silence"):
            self.sell(self.sales // 2, self.sales // 2)
        screen.eventually("both ends notice by themselves", self.far_is_cut, True)
        screen.promise("the delivery has no answer yet, and claims none", not answers, answers)
        self.fleet.heal()
        with screen.doing("waiting for the answer to the delivery"):
            call.join()
        screen.promise(
            "with the line in order again it is answered (and counted once, says the stock below)",
            [answer.status for answer in answers if isinstance(answer, Answer)] == [200],
            answers,
        )
        screen.eventually("all are linked again", self.all_linked, True, _SETTLE)
        self.all_agree()

    def _deliver_into(self, answers: list[Answer | Exception]) -> None:
        try:
            answers.append(self.deliver(HQ, FAR, "tea", 100))
        except (NotSent, NoAnswer) as error:
            answers.append(error)

    def kill(self) -> None:
        """A mirror dies in the middle of sales, and comes back."""
        screen, shop = self.screen, self.mirrors[NEAR]
        screen.act(
            6,
            f"{NEAR} is killed in the middle of sales",
            "SIGKILL: no goodbye, nothing flushed. Its customers try on until it is back.",
        )
        far = Customers(self.mirrors[FAR], "tea", self.sales)
        near = Customers(shop, "tea", 3 * self.sales)
        with screen.doing(f"selling, until {NEAR} is killed"):
            late = time.monotonic() + _SETTLE
            while near.tally.sold < self.sales and time.monotonic() < late:
                time.sleep(0.01)
        code = shop.end(signal.SIGKILL)
        acknowledged = near.tally.sold
        in_the_middle = 0 < acknowledged < 3 * self.sales
        holds = code == -signal.SIGKILL and in_the_middle
        screen.promise(f"{NEAR} is gone after {acknowledged} of {3 * self.sales} more sales", holds, code)
        screen.eventually(
            f"{HQ} knows, and goes on with {FAR}", lambda: self.unlinked((HQ, NEAR), (FAR, NEAR)), True
        )
        with screen.doing(f"starting {NEAR} again"):
            self.fleet.start([NEAR])
        with screen.doing("selling the rest"):
            tallies = {NEAR: near.wait(), FAR: far.wait()}
        self.after_the_kill(tallies)

    def after_the_kill(self, tallies: dict[str, Tally]) -> None:
        """Nothing acknowledged is missing; what was unknown happened once or not at all."""
        screen, books, near = self.screen, self.books, tallies[NEAR]
        screen.promise(
            "no sale was answered in any other way than sold or unknown",
            not near.unexpected and not near.sold_out and tallies[FAR].sold == self.sales,
            tallies,
        )
        screen.eventually("all are linked again", self.all_linked, True, _SETTLE)
        left = int(self.stock(NEAR, NEAR).text)
        really = books.left(NEAR) - left
        screen.promise(
            f"nothing acknowledged is missing: {near.sold} acknowledged and {near.unknown} unknown sales, "
            f"{really} happened",
            near.sold <= really <= near.sold + near.unknown,
            really,
        )
        books.sold[NEAR] += really
        books.sold[FAR] += tallies[FAR].sold
        self.all_agree()

    def kill_hq(self) -> None:
        """Headquarters die too, between sales that they have and have not booked."""
        screen, hq, before = self.screen, self.mirrors[HQ], self.books.sales
        screen.act(7, f"{HQ} is killed too", "SIGKILL again; the shops go on without it.")
        self.watch.booking = False  # mem.booked starts empty with its owner
        code = hq.end(signal.SIGKILL)
        screen.promise(f"{HQ} is gone", code == -signal.SIGKILL, code)
        with screen.doing(f"selling without {HQ}"):
            self.sell(self.sales // 2, self.sales // 2)
        missed = self.books.sales - before
        with screen.doing(f"starting {HQ} again"):
            self.fleet.start([HQ])
        screen.eventually("all are linked again", self.all_linked, True, _SETTLE)
        self.same_revenue()
        screen.eventually(
            f"{HQ} has booked the {missed} sales that it missed, and none of the {before} before again",
            self.booked,
            (missed, 0),
        )
        self.same_stock()

    def close(self) -> None:
        """Everybody goes home."""
        screen = self.screen
        screen.act(8, "Closing time")
        screen.eventually("all have applied the same entries", self.frontiers_equal, True)
        self.snapshot()
        self.watch.close()
        screen.promise(
            f"{self.watch.count} looks at the mirrors, and at none was a sale seen in part, a revenue "
            "smaller than before, or a stock below zero",
            not self.watch.broken,
            self.watch.broken[:3],
        )
        codes = self.fleet.end(signal.SIGTERM)
        screen.promise("SIGTERM ends each with exit code 0", set(codes.values()) == {0}, codes)
