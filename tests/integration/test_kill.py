"""Killing the worker: the feature state is the same, bit for bit, as if nothing had happened."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from pathlib import Path

from stream.embedded import wait_for
from stream.eventlog import read_records
from stream.replay import replay
from tests.support import Shop, differing, folded_from_log


def test_a_killed_worker_ends_with_the_same_state(events: Path, tmp_path: Path) -> None:
    """SIGKILL three times, at moments drawn from a seed, while events flow."""
    moments = random.Random(11)
    with Shop(tmp_path) as shop:
        thread = threading.Thread(target=replay, args=(events, shop.settings.kafka, 6 * 3_600.0), daemon=True)
        shop.start_worker()
        thread.start()
        for _ in range(3):
            seen = len(shop.features()["item_demand"])
            wait_for(lambda seen=seen: len(shop.features()["item_demand"]) > seen, 60, shop.logs())  # type: ignore[misc]
            threading.Event().wait(moments.uniform(0.0, 0.5))
            shop.workers[-1].kill()
            shop.workers[-1].wait()
            shop.start_worker()
        thread.join(90)
        assert not thread.is_alive()
        shop.wait_until_done()
        assert shop.stop_worker(shop.workers[-1]) == 0, shop.logs()
        assert differing(shop.features(), folded_from_log(events)) == {}
        lines = sum(len(json.loads(r.value)["lines"]) for r in read_records(events, ["orders"]))
        published = Counter(json.loads(r.value())["event_id"] for r in shop.read("demand"))
        assert len(published) == lines, "at least once: every line is there, some maybe twice"


def test_a_wiped_store_is_filled_again(events: Path, tmp_path: Path) -> None:
    """FLUSHALL while the worker runs: it reads K and R again, folds everything, and publishes nothing twice."""
    with Shop(tmp_path) as shop:
        records = [(r.topic, r.key, r.value) for r in read_records(events)]
        middle = len(records) // 2
        shop.produce(records[:middle])
        worker = shop.start_worker()
        shop.wait_until_done()
        store = shop.store()
        store._redis.flushall()
        store.close()
        shop.produce(records[middle:])
        shop.wait_until_done()
        assert shop.stop_worker(worker) == 0, shop.logs()
        assert differing(shop.features(), folded_from_log(events)) == {}
        published = Counter(json.loads(r.value())["event_id"] for r in shop.read("demand"))
        assert max(published.values()) == 1
