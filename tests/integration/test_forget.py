"""Erasing a customer while a worker runs that has it in memory: it is gone, stays gone, and begins anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from features.client import FeatureClient
from stream.embedded import wait_for
from tests.brokers import Broker
from tests.support import Shop

START_MS = 1_300_060_800_000


def clicks(customers: Sequence[str], first: int, n: int) -> list[tuple[str, bytes | None, bytes | None]]:
    out: list[tuple[str, bytes | None, bytes | None]] = []
    for i in range(first, first + n):
        customer = customers[i % len(customers)]
        event = {
            "type": "product_view",
            "event_id": f"c{i}",
            "event_time_ms": START_MS + i * 1000,
            "customer_id": customer,
            "sku": "A",
        }
        out.append(("clicks", customer.encode(), json.dumps(event).encode()))
    return out


def test_an_erased_customer_stays_erased(kafka: Broker, tmp_path: Path) -> None:
    with Shop(tmp_path, broker=kafka) as shop:
        shop.environment["TIDECAST_FEATURE_LOG__SHARE"] = "1"
        worker = shop.start_worker()
        shop.produce(clicks(["7", "8"], 0, 40))
        shop.wait_until_done()
        client = FeatureClient(store=shop.store())
        before = client.get("customer", "8").views["customer_clicks"].values
        assert client.get("customer", "7").views["customer_clicks"].status == "fresh"
        done = shop.command("features", "forget", "customer", "7", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert client.get("customer", "7").views["customer_clicks"].status == "missing"
        # The worker still has the customer in memory; the next event must not bring the old state back.
        shop.produce(clicks(["7", "8"], 40, 2))
        shop.wait_until_done()
        wait_for(lambda: client.get("customer", "7").views["customer_clicks"].status == "fresh", 30, "a new record")
        values = client.get("customer", "7").views["customer_clicks"].values
        assert values is not None
        assert values["views"] == 1, "only what came after"
        after = client.get("customer", "8").views["customer_clicks"].values
        assert before is not None
        assert after is not None
        assert (before["views"], after["views"]) == (20, 21), "others are as they were"
        assert "erased" in shop.logs()
        assert shop.stop_worker(worker) == 0, shop.logs()
        tombstones = [r.key() for r in shop.read("feature-log") if r.value() is None]
        assert tombstones == [b"7"]
