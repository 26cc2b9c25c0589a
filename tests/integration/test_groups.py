"""Workers that come and go on Apache Kafka, by both group protocols, with one partition and with many: exactly once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from stream.embedded import wait_for
from stream.eventlog import read_records
from tests.brokers import Broker, Guarantee
from tests.support import Shop, differing, folded_from_log


def shop_of(directory: Path, kafka: Broker, partitions: int, protocol: str) -> Shop:
    return Shop(
        directory,
        partitions,
        kafka,
        TIDECAST_KAFKA__GROUP_PROTOCOL=protocol,
        TIDECAST_KAFKA__TRANSACTION_TIMEOUT_MS="3000",
        TIDECAST_WORKER__BATCH_MAX_RECORDS="60",
    )


def check(shop: Shop, events: Path) -> None:
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
def test_one_worker_three_two_and_one_again(kafka: Broker, events: Path, tmp_path: Path, protocol: str) -> None:
    kafka.require(Guarantee.ISOLATION, Guarantee.NEW_GROUPS)
    with shop_of(tmp_path, kafka, 3, protocol) as shop:
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
def test_topics_with_one_partition_and_with_many(kafka: Broker, events: Path, tmp_path: Path, partitions: int) -> None:
    kafka.require(Guarantee.ISOLATION)
    with shop_of(tmp_path, kafka, partitions, "classic") as shop:
        shop.produce([(r.topic, r.key, r.value) for r in read_records(events)])
        workers = [shop.start_worker(), shop.start_worker()]
        shop.wait_until_done(150)
        assert [shop.stop_worker(w) for w in workers] == [0, 0], shop.logs()
        check(shop, events)
