"""A Faust application on Apache Kafka in place of the worker: the same comparisons, without faults and with a stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stream.admin import create_topics
from stream.embedded import wait_for
from stream.eventlog import read_records
from tests.brokers import Broker, Guarantee
from tests.integration.test_pipeline import POISON
from tests.support import Shop, differing, folded_from_log

SCORES = {"reorder": "reorder-scores", "next-best-offer": "next-best-offers", "stockout": "stockout-scores"}


class FaustShop(Shop):
    """A shop on the session's broker and store, begun anew; its workers are Faust's."""

    def __init__(self, directory: Path, broker: Broker, store_url: str) -> None:
        super().__init__(directory)
        self._broker = broker
        store = {"TIDECAST_STORE__URL": store_url, "TIDECAST_STORE__NAMESPACE": f"faust-{directory.name}"}
        self.environment = {**os.environ, **broker.environment, **store, "TIDECAST_WORKER__COMMIT_INTERVAL_MS": "300"}

    def __enter__(self) -> FaustShop:
        self._broker.clean()
        create_topics(self.settings.kafka, self._partitions)
        return self

    def start_worker(self, **more: str) -> subprocess.Popen[bytes]:
        """Starts a Faust worker; its log is worker-<n>.log."""
        n = len(self.workers)
        directory = str(self.directory / f"faust-{n}")
        command = ["-m", "faust", "-A", "stream.faust_app", "--datadir", directory, "worker", "-l", "info"]
        with (self.directory / f"worker-{n}.log").open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, *command, "--without-web"],
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(worker)
        return worker

    def newest(self, topic: str) -> dict[str, bytes]:
        """The last record of each key."""
        return {r.key().decode(): r.value() for r in self.read(topic)}

    def kept(self, model: str) -> dict[str, bytes]:
        """The latest score of each entity, as the store has it."""
        store = self.store()
        try:
            return store.scan("s", model)
        finally:
            store.close()


def _records(events: Path) -> list[tuple[str, bytes | None, bytes | None]]:
    return [(r.topic, r.key, r.value) for r in read_records(events)]


def _lines(events: Path) -> Counter[str]:
    """The ids that demand records must have: one a product line."""
    orders = pl.read_parquet(events / "orders.parquet").select("event_id", n=pl.col("lines").list.len())
    return Counter(f"{event}:{line}" for event, n in orders.iter_rows() for line in range(n))


def _demand(shop: Shop) -> Counter[Any]:
    return Counter(json.loads(r.value())["event_id"] for r in shop.read("demand"))


@pytest.fixture(scope="module")
def apache(kafka: Broker) -> Broker:
    kafka.require(Guarantee.APACHE)
    return kafka


@pytest.fixture(scope="module")
def shop(apache: Broker, redis_url: str, events: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaustShop]:
    """A shop after all events and the poison; its Faust worker ended by SIGTERM."""
    with FaustShop(tmp_path_factory.mktemp("faust"), apache, redis_url) as shop:
        records = _records(events)
        middle = len(records) // 2
        poison = [(topic, key, value) for topic, key, value, _ in POISON]
        shop.produce([*records[:middle], *poison, *records[middle:]])
        worker = shop.start_worker()
        shop.wait_until_done(60)
        assert shop.stop_worker(worker) == 0, shop.logs()
        yield shop


def test_every_product_line_gives_exactly_one_demand_record(shop: FaustShop, events: Path) -> None:
    assert _demand(shop) == _lines(events)


def test_every_customer_with_an_order_has_a_reorder_score(shop: FaustShop, events: Path) -> None:
    customers = set(pl.read_parquet(events / "orders.parquet")["customer_id"].drop_nulls())
    assert shop.newest("reorder-scores").keys() == customers


def test_features_are_what_the_log_folds_to(shop: FaustShop, events: Path) -> None:
    assert differing(shop.features(), folded_from_log(events)) == {}


@pytest.mark.parametrize("model", SCORES)
def test_the_last_score_published_is_the_one_in_the_store(shop: FaustShop, model: str) -> None:
    newest = shop.newest(SCORES[model])
    assert newest
    assert shop.kept(model) == newest


def test_dead_letters_are_exactly_the_poison(shop: FaustShop) -> None:
    found: Counter[tuple[str, bytes | None, bytes | None, str]] = Counter()
    for letter in shop.read("dead-letters"):
        headers = dict(letter.headers())
        topic, stage = headers["tidecast-topic"].decode(), headers["tidecast-stage"].decode()
        found[topic, letter.key(), letter.value(), stage] += 1
    assert found == Counter(POISON)
