"""Scores that age, on Apache Kafka: workers are killed, others take over that never saw the customers; exactly once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stream.embedded import wait_for
from tests.brokers import Broker, Guarantee
from tests.support import Shop

DAY_MS = 86_400_000
#: Midnight of an ordinary Monday.
T0 = 1_300_060_800_000
AFTER_DAYS = 7
#: Partition, offset, customer, and as of when.
Rescored = tuple[int, int, str, int]


class AgeingShop(Shop):
    """A shop on the session's broker and store whose reorder scores age."""

    def __init__(self, directory: Path, broker: Broker) -> None:
        super().__init__(
            directory,
            2,
            broker,
            TIDECAST_STORE__BUCKETS="3",
            TIDECAST_KAFKA__TRANSACTION_TIMEOUT_MS="3000",
            TIDECAST_WORKER__BATCH_MAX_RECORDS="20",
            TIDECAST_WORKER__DELIVERY="exactly_once",
            TIDECAST_MODELS__RESCORE_AFTER_DAYS=json.dumps({"reorder": AFTER_DAYS}),
            TIDECAST_FEATURE_LOG__SHARE="1",
        )

    def rescored(self) -> Counter[Rescored]:
        """What ticks have published."""
        return Counter(found for record in self.read("reorder-scores") if (found := _rescored(record)) is not None)


def _rescored(record: Any) -> Rescored | None:
    score = json.loads(record.value())
    # Of the customer's own views: products that are joined may have come further.
    own = [time for view, time in score["feature_time_ms"].items() if view.startswith("customer_")]
    if score["as_of_ms"] == max(own):
        return None
    (source,) = score["source"]
    return source["partition"], source["offset"], score["customer_id"], score["as_of_ms"]


def orders(customers: Sequence[str], first_day: float, last_day: float) -> list[tuple[str, bytes, bytes]]:
    """An order each, evenly over the days."""
    out = []
    for i, customer in enumerate(customers):
        at = T0 + int((first_day + (last_day - first_day) * i / len(customers)) * DAY_MS)
        event = {
            "type": "order_placed",
            "event_id": f"{customer}-{at}",
            "event_time_ms": at,
            "order_id": f"{customer}-{at}",
            "location": "w",
            "lines": [{"sku": "A", "quantity": 1.0, "unit_price": 2.0, "discount": 0.0}],
            "customer_id": customer,
        }
        out.append(("orders", customer.encode(), json.dumps(event).encode()))
    return out


def expected(shop: Shop) -> Iterator[Rescored]:
    """Told from the topic alone, a record at a time."""
    newest: dict[int, int] = {}
    scored: dict[int, dict[str, int]] = {}
    for record in sorted(shop.read("orders"), key=lambda r: (r.partition(), r.offset())):
        p, at, own = record.partition(), json.loads(record.value())["event_time_ms"], record.key().decode()
        tick = at // DAY_MS * DAY_MS
        if p in newest and tick > newest[p]:
            for customer, as_of in scored[p].items():
                if customer != own and as_of <= tick - AFTER_DAYS * DAY_MS:
                    yield p, record.offset(), customer, tick
                    scored[p][customer] = tick
        newest[p] = max(at, newest.get(p, 0))
        scored.setdefault(p, {})[own] = max(at, scored.get(p, {}).get(own, 0))


@pytest.mark.timeout(300)
def test_scores_age_exactly_once_though_workers_are_killed(kafka: Broker, tmp_path: Path) -> None:
    kafka.require(Guarantee.ISOLATION)
    with AgeingShop(tmp_path, kafka) as shop:
        dormant = [f"c{n}" for n in range(40)]
        shop.produce(orders(dormant, 0, 5))
        first = shop.start_worker()
        shop.wait_until_done(90)
        first.kill()
        first.wait()
        assert not shop.rescored()
        busy = [f"b{n % 7}" for n in range(1_200)]
        shop.produce(orders(busy, 5, 60))
        second = shop.start_worker()
        wait_for(lambda: shop.rescored().total() > 20, 90, f"a first tick\n{shop.logs()}")
        second.kill()
        second.wait()
        at_death = shop.rescored()
        third = shop.start_worker()
        shop.wait_until_done(120)
        assert shop.stop_worker(third) == 0, shop.logs()
        found, wanted = shop.rescored(), set(expected(shop))
        assert set(found.values()) == {1}
        assert found.keys() <= wanted
        last = {(p, customer): as_of for p, _, customer, as_of in sorted(wanted)}
        assert all((p, customer) in last for p, _, customer, _ in found)
        # Of what a worker did and did not publish before it died, only the newest score of each customer is published.
        for p, _, customer, as_of in wanted - found.keys():
            assert as_of < last[p, customer]
        assert {(p, c, at) for p, _, c, at in found} >= {(p, c, at) for (p, c), at in last.items()}
        ids = Counter(dict(r.headers())["tidecast-id"] for r in shop.read("reorder-scores"))
        assert set(ids.values()) == {1}
        assert len(at_death) < len(found)
        done = shop.command("parity", "--json", str(tmp_path / "parity.json"), timeout_s=120)
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads((tmp_path / "parity.json").read_text())
        assert (report["mismatch"], report["extra"], report["missing"]) == (0, 0, 0)
        assert report["vectors"] > len(found)
