"""Workers that come and go on Apache Kafka, by both group protocols, with one partition and with many: exactly once."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from stream.admin import create_topics
from stream.embedded import wait_for
from stream.eventlog import read_records
from tests.brokers import Broker, Guarantee
from tests.support import Shop, differing, folded_from_log


class GroupShop(Shop):
    """A shop on the session's broker and store, begun anew."""

    def __init__(self, directory: Path, broker: Broker, store_url: str, partitions: int, protocol: str) -> None:
        super().__init__(directory, partitions)
        self._broker = broker
        self.environment = {
            **os.environ,
            **broker.environment,
            "TIDECAST_STORE__URL": store_url,
            "TIDECAST_STORE__NAMESPACE": f"groups-{protocol}-{partitions}",
            "TIDECAST_KAFKA__GROUP_ID": f"groups-{protocol}-{partitions}",
            "TIDECAST_KAFKA__GROUP_PROTOCOL": protocol,
            "TIDECAST_KAFKA__SESSION_TIMEOUT_MS": "6000",
            "TIDECAST_KAFKA__TRANSACTION_TIMEOUT_MS": "3000",
            "TIDECAST_WORKER__BATCH_MAX_RECORDS": "60",
        }

    def __enter__(self) -> GroupShop:
        self._broker.clean()
        create_topics(self.settings.kafka, self._partitions)
        return self

    def owns(self, worker: int) -> bool:
        """Whether a worker has been given partitions."""
        return "owns" in (self.directory / f"worker-{worker}.log").read_text()


def check(shop: GroupShop, events: Path) -> None:
    """Every line once, every entity folded as the log folds, every customer scored, no copies."""
    orders = pl.read_parquet(events / "orders.parquet")
    lines = orders.select("event_id", n=pl.col("lines").list.len()).iter_rows()
    expected = Counter(f"{event}:{line}" for event, n in lines for line in range(n))
    assert Counter(json.loads(r.value())["event_id"] for r in shop.read("demand")) == expected
    assert differing(shop.features(), folded_from_log(events)) == {}
    for topic in ("reorder-scores", "next-best-offers", "stockout-scores", "supply-alerts"):
        ids = Counter(dict(r.headers())["tidecast-id"] for r in shop.read(topic))
        assert not [i for i, n in ids.items() if n > 1], topic
    customers = set(orders["customer_id"].drop_nulls())
    assert {r.key().decode() for r in shop.read("reorder-scores")} == customers


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_one_worker_three_two_and_one_again(
    kafka: Broker, redis_url: str, events: Path, tmp_path: Path, protocol: str
) -> None:
    kafka.require(Guarantee.ISOLATION, Guarantee.NEW_GROUPS)
    with GroupShop(tmp_path, kafka, redis_url, 3, protocol) as shop:
        records = [(r.topic, r.key, r.value) for r in read_records(events)]
        quarter = len(records) // 4
        first = shop.start_worker()
        shop.produce(records[:quarter])
        wait_for(lambda: shop.owns(0), 60, "a first worker")
        second, third = shop.start_worker(), shop.start_worker()
        shop.produce(records[quarter : 2 * quarter])
        wait_for(lambda: shop.owns(1) and shop.owns(2), 90, f"a share for each\n{shop.logs()}")
        first.kill()
        shop.produce(records[2 * quarter : 3 * quarter])
        shop.wait_until_done(120)
        assert shop.stop_worker(second) == 0, shop.logs()
        shop.produce(records[3 * quarter :])
        shop.wait_until_done(120)
        assert shop.stop_worker(third) == 0, shop.logs()
        check(shop, events)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("partitions", [1, 64])
def test_topics_with_one_partition_and_with_many(
    kafka: Broker, redis_url: str, events: Path, tmp_path: Path, partitions: int
) -> None:
    kafka.require(Guarantee.ISOLATION)
    with GroupShop(tmp_path, kafka, redis_url, partitions, "classic") as shop:
        shop.produce([(r.topic, r.key, r.value) for r in read_records(events)])
        workers = [shop.start_worker(), shop.start_worker()]
        shop.wait_until_done(150)
        assert [shop.stop_worker(w) for w in workers] == [0, 0], shop.logs()
        check(shop, events)
