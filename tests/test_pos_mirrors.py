"""examples/pos as processes over real sockets: selling while cut off, kills at any moment, nothing lost."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirrors import Cluster, Proxy, eventually
from tests.pos_app import pos_wheel

TIMING = '[timing]\nping = "200ms"\nsilent = "1s"\n[limits]\ncall_timeout = "5s"\n'


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, pos_wheel(), "pos", ["hq", "shop1"], TIMING)
    yield cluster
    cluster.stop_all()


def value(cluster: Cluster, name: str, state: str) -> int:
    found: int = cluster.state(name, state)[0]["value"]
    return found


def started(cluster: Cluster, name: str) -> bool:
    found: bool = json.loads(cluster.request(name, "GET", "/sys/status")[2])["started"]
    return found


def test_tills_sell_while_headquarters_is_down(chain: Cluster) -> None:
    chain.start("hq")
    chain.start("shop1")
    eventually(lambda: started(chain, "shop1"))
    chain.rpc("hq", "deliver", shop="shop1", item="tea", qty=100)
    chain.kill("hq")
    sold = json.dumps({"item": "tea", "qty": 1}).encode()
    for _ in range(20):
        status, _headers, body = chain.request("shop1", "POST", "/sell", sold)
        assert (status, json.loads(body)) == (200, {"paid": 450})
    status, headers, body = chain.request("shop1", "POST", "/sys/rpc/set_price", b'{"item":"tea","price":1}')
    answer = json.loads(body)
    assert (status, answer["reason"], headers["retry-after"]) == (503, "refused", "1")
    assert "hq" in answer["message"]
    chain.start("hq")
    eventually(lambda: value(chain, "hq", "db.revenue") == 20 * 450)
    eventually(lambda: value(chain, "hq", "mem.booked") == 20)
    assert chain.state("hq", "db.sales") == []


def test_kills_at_any_moment_lose_nothing(chain: Cluster) -> None:
    chain.start("hq")
    chain.start("shop1")
    eventually(lambda: started(chain, "shop1"))
    chain.rpc("shop1", "deliver", shop="shop1", item="tea", qty=100_000)
    outcomes = {"sold": 0, "unknown": 0}
    stop = threading.Event()
    seller = threading.Thread(target=lambda: sell_until(chain, stop, outcomes))
    seller.start()
    source = random.Random(1)
    for _ in range(4):
        time.sleep(source.uniform(0.2, 0.6))
        name = source.choice(["hq", "shop1"])
        chain.kill(name)
        chain.start(name)
    time.sleep(0.3)
    stop.set()
    seller.join()
    assert outcomes["sold"] > 50
    eventually(lambda: value(chain, "hq", "db.revenue") == value(chain, "shop1", "db.revenue"))
    eventually(lambda: chain.state("hq", "db.sales") == [])
    revenue = value(chain, "hq", "db.revenue") // 450
    assert outcomes["sold"] <= revenue <= outcomes["sold"] + outcomes["unknown"]
    assert value(chain, "shop1", "db.stock") == 100_000 - revenue
    assert chain.kill("hq", signal.SIGTERM) == 0
    assert chain.kill("shop1", signal.SIGTERM) == 0


def sell_until(cluster: Cluster, stop: threading.Event, outcomes: dict[str, int]) -> None:
    body = b'{"item":"tea","qty":1}'
    while not stop.is_set():
        try:
            status = cluster.request("shop1", "POST", "/sell", body)[0]
        except ConnectionRefusedError:
            time.sleep(0.01)
        except OSError:
            outcomes["unknown"] += 1
        else:
            outcomes["sold"] += status == 200


def test_call_that_was_sent_is_unknown_when_the_mirror_stops(chain: Cluster) -> None:
    """It did happen, so whoever asked must not be told that it did not."""
    chain.config.write_text(chain.config.read_text().replace('call_timeout = "5s"', 'call_timeout = "1m"'))
    chain.start("hq")
    proxy = Proxy(chain.link["hq"])
    chain.start("shop1", "--via", f"hq=127.0.0.1:{proxy.port}")
    eventually(lambda: started(chain, "shop1"))
    proxy.deaf.set()
    answers: list[tuple[int, dict[str, str], bytes]] = []
    body = b'{"item":"tea","price":777}'
    path = "/sys/rpc/set_price"
    asks = threading.Thread(target=lambda: answers.append(chain.request("shop1", "POST", path, body)))
    asks.start()
    eventually(lambda: ["tea", 777] in [[row["key"], row["value"]] for row in chain.state("hq", "db.price")])
    assert chain.kill("shop1", signal.SIGTERM) == 0
    asks.join()
    proxy.close()
    ((status, _headers, said),) = answers
    assert (status, json.loads(said)["outcome"]) == (504, "unknown")


def test_another_roster_is_refused(chain: Cluster) -> None:
    chain.start("hq")
    chain.config.write_text(chain.config.read_text().replace("[mirrors.shop1]", "[mirrors.shop2]"))
    chain.http["shop2"] = chain.http["shop1"]
    chain.start("shop2")
    eventually(lambda: "closed" in (chain.folder / "hq.log").read_text())
    assert not started(chain, "shop2")
