"""Killing the worker: the feature state is the same, bit for bit, as if nothing had happened."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from pathlib import Path

import redis

from features.ids import hash64
from stream.embedded import wait_for
from stream.eventlog import read_records
from tests.brokers import Broker
from tests.support import Shop, differing, folded_from_log


def _state_size(shop: Shop) -> int:
    return sum(len(records) for records in shop.features().values())


def test_a_killed_worker_ends_with_the_same_state(kafka: Broker, events: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of a backlog of small batches, three times, at moments drawn from a seed."""
    moments = random.Random(11)
    with Shop(tmp_path, broker=kafka) as shop:
        shop.environment["TIDECAST_WORKER__BATCH_MAX_RECORDS"] = "40"
        shop.produce([(r.topic, r.key, r.value) for r in read_records(events)])
        for _ in range(3):
            seen = _state_size(shop)
            worker = shop.start_worker()
            wait_for(lambda seen=seen: _state_size(shop) > seen, 60, "a first micro-batch")  # type: ignore[misc]
            threading.Event().wait(moments.uniform(0.0, 0.3))
            worker.kill()
            worker.wait()
        before = _state_size(shop)
        shop.start_worker()
        shop.wait_until_done()
        assert _state_size(shop) > before, "the last kill was in the middle"
        assert shop.stop_worker(shop.workers[-1]) == 0, shop.logs()
        assert differing(shop.features(), folded_from_log(events)) == {}
        lines = sum(len(json.loads(r.value)["lines"]) for r in read_records(events, ["orders"]))
        published = Counter(json.loads(r.value())["event_id"] for r in shop.read("demand"))
        assert len(published) == lines, "every line is there"
        if shop.exactly_once:
            assert set(published.values()) == {1}


def test_a_wiped_store_is_filled_again(kafka: Broker, events: Path, tmp_path: Path) -> None:
    """FLUSHALL while the worker runs: it reads K and R again, and folds everything again."""
    with Shop(tmp_path, broker=kafka) as shop:
        records = [(r.topic, r.key, r.value) for r in read_records(events)]
        middle = [i for i, (topic, _, _) in enumerate(records) if topic == "orders"][100]
        shop.produce(records[:middle])
        worker = shop.start_worker()
        shop.wait_until_done()
        redis.Redis.from_url(shop.settings.store.url).flushall()
        shop.produce(records[middle:])
        shop.wait_until_done()
        assert shop.stop_worker(worker) == 0, shop.logs()
        assert differing(shop.features(), folded_from_log(events)) == {}
        skus = {line["sku"] for _, _, v in records[:middle] if v and b'"lines"' in v for line in json.loads(v)["lines"]}
        store = shop.store()
        assert set(store.names([hash64(sku) for sku in skus]).values()) == skus, "names are kept again, too"
        store.close()
        published = Counter(json.loads(r.value())["event_id"] for r in shop.read("demand"))
        committed = [json.loads(value) for topic, _, value in records[:middle] if topic == "orders"]
        ids = [f"{event['event_id']}:{line}" for event in committed for line in range(len(event["lines"]))]
        assert {published[i] for i in ids} == {1}, "what was committed before is folded again, not published again"


def test_workers_come_and_go(kafka: Broker, events: Path, tmp_path: Path) -> None:
    """One worker, then two, then one again, while events flow: the state is the same, nothing published is missing."""
    with Shop(tmp_path, broker=kafka) as shop:
        shop.environment["TIDECAST_WORKER__BATCH_MAX_RECORDS"] = "40"
        records = [(r.topic, r.key, r.value) for r in read_records(events)]
        third = len(records) // 3
        first = shop.start_worker()
        shop.produce(records[:third])
        wait_for(lambda: _state_size(shop) > 0, 60, "a first micro-batch")
        second = shop.start_worker()
        shop.produce(records[third : 2 * third])
        wait_for(lambda: "owns" in (tmp_path / "worker-1.log").read_text(), 60, "a share for the second worker")
        shop.produce(records[2 * third :])
        assert shop.stop_worker(first) == 0, shop.logs()
        shop.wait_until_done()
        assert shop.stop_worker(second) == 0, shop.logs()
        assert differing(shop.features(), folded_from_log(events)) == {}
        lines = sum(len(json.loads(r.value)["lines"]) for r in read_records(events, ["orders"]))
        assert len({json.loads(r.value())["event_id"] for r in shop.read("demand")}) == lines
