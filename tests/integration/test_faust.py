"""A Faust application on Apache Kafka in place of the worker: the same comparisons, without faults and with a stop."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import redis

from stream.admin import GroupProgress
from stream.embedded import wait_for
from stream.eventlog import read_records
from stream.reader import TopicReader
from stream.topology import CONSUMED
from tests.brokers import Broker, Guarantee
from tests.integration.test_pipeline import POISON
from tests.support import Shop, differing, folded_from_log

pytestmark = pytest.mark.timeout(420)  # starting a worker takes seconds, and many where the machine is busy

ROOT = Path(__file__).parents[2]
SCORES = {"reorder": "reorder-scores", "next-best-offer": "next-best-offers", "stockout": "stockout-scores"}


class FaustShop(Shop):
    """A shop on the session's broker and store, begun anew; its workers are Faust's."""

    def __init__(self, directory: Path, broker: Broker) -> None:
        super().__init__(directory, broker=broker, TIDECAST_WORKER__COMMIT_INTERVAL_MS="300")

    def start_worker(self, app: str = "stream.faust_app", **more: str) -> subprocess.Popen[bytes]:
        """Starts a Faust worker; its log is worker-<n>.log."""
        n = len(self.workers)
        directory = str(self.directory / f"faust-{n}")
        command = ["-m", "faust", "-A", app, "--datadir", directory, "worker", "-l", "info"]
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

    def log(self, n: int) -> str:
        """What a worker said."""
        return (self.directory / f"worker-{n}.log").read_text(errors="replace")

    def folded(self) -> dict[tuple[str, int], int]:
        """R of each partition."""
        with closing(self.store()) as store:
            at = [(t.name, p) for t in CONSUMED for p in range(self._partitions)]
            return {p: store.fences(*p)[0].next_offset or 0 for p in at}

    def ends(self) -> dict[tuple[str, int], int]:
        """The end of each partition."""
        with closing(TopicReader(self.settings.kafka, [t.name for t in CONSUMED], from_end=True)) as reader:
            return reader.positions

    def newest(self, topic: str) -> dict[str, bytes]:
        """The last record of each key."""
        return {r.key().decode(): r.value() for r in self.read(topic)}

    def kept(self, model: str) -> dict[str, bytes]:
        """The latest score of each entity, as the store has it."""
        with closing(self.store()) as store:
            return store.scan("s", model)


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


def _app_of_the_page(directory: Path) -> str:
    """The example of docs/faust.md, as a module that workers can import; returns the PYTHONPATH for it."""
    page = (ROOT / "docs" / "faust.md").read_text(encoding="utf-8")
    found = re.search(r"^```python\n(# shop_app\.py\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found
    (directory / "shop_app.py").write_text(found[1], encoding="utf-8")
    return os.pathsep.join([str(directory), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])


@pytest.fixture(scope="module")
def shop(apache: Broker, events: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaustShop]:
    """A shop after all events and the poison; the worker of an app that has an agent of its own, ended by SIGTERM."""
    with FaustShop(tmp_path_factory.mktemp("faust"), apache) as shop:
        records = _records(events)
        middle = len(records) // 2
        poison = [(topic, key, value) for topic, key, value, _ in POISON]
        shop.produce([*records[:middle], *poison, *records[middle:]])
        worker = shop.start_worker("shop_app", PYTHONPATH=_app_of_the_page(shop.directory))
        shop.wait_until_done(120)
        assert shop.stop_worker(worker) == 0, shop.logs()
        yield shop


def test_every_product_line_gives_exactly_one_demand_record(shop: FaustShop, events: Path) -> None:
    assert _demand(shop) == _lines(events)


def test_every_customer_with_an_order_has_a_reorder_score(shop: FaustShop, events: Path) -> None:
    customers = set(pl.read_parquet(events / "orders.parquet")["customer_id"].drop_nulls())
    assert shop.newest("reorder-scores").keys() == customers


def test_an_agent_of_the_app_reads_the_scores(shop: FaustShop) -> None:
    reminded = set(re.findall(r"remind (\S+): ", shop.log(0)))
    assert reminded
    assert reminded <= shop.newest("reorder-scores").keys()


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


def test_a_store_that_was_wiped_is_filled_again_and_nothing_is_published_twice(shop: FaustShop, events: Path) -> None:
    """K is at the end and R is nowhere: a worker begins before the committed offsets, where Faust would not."""
    folded = folded_from_log(events)
    published = {topic: len(shop.read(topic)) for topic in ("demand", "dead-letters", *SCORES.values())}
    ends = shop.ends()
    with closing(redis.Redis.from_url(shop.settings.store.url)) as client:
        client.flushall()
    worker = shop.start_worker()
    wait_for(lambda: shop.folded() == ends, 120, "folding all that was there")
    assert shop.stop_worker(worker) == 0, shop.logs()
    assert differing(shop.features(), folded) == {}
    told_again = published | {"dead-letters": published["dead-letters"] + 2}
    assert {topic: len(shop.read(topic)) for topic in published} == told_again, "but for poison of reference topics"


# --- workers that come and go -----------------------------------------------------------------------------------------


def _behind(shop: FaustShop) -> int:
    """Records of the input topics that have not been committed."""
    with closing(GroupProgress(shop.settings.kafka)) as progress:
        return progress.behind(shop.ends())


@pytest.fixture
def busy(apache: Broker, tmp_path: Path) -> Iterator[FaustShop]:
    """A shop whose workers take many small micro-batches, and are soon missed."""
    with FaustShop(tmp_path, apache) as shop:
        shop.environment |= {"TIDECAST_WORKER__BATCH_MAX_RECORDS": "40", "TIDECAST_KAFKA__SESSION_TIMEOUT_MS": "6000"}
        yield shop


def test_workers_are_stopped_and_killed_in_the_middle_and_one_is_started_again(busy: FaustShop, events: Path) -> None:
    """The state is exact, every line is there, some maybe twice, and the store has what was published last."""
    records = _records(events)
    middle = [i for i, (topic, _, _) in enumerate(records) if topic == "orders"][60]
    busy.produce(records[:middle])
    killed, stopped = busy.start_worker(), busy.start_worker()
    wait_for(lambda: all("owns orders" in busy.log(n) for n in (0, 1)), 120, "a share for both")
    before = busy.folded()
    busy.produce(records[middle:])
    wait_for(lambda: busy.folded() != before, 120, "one more micro-batch")
    killed.kill()
    assert busy.stop_worker(stopped) == 0, busy.logs()
    killed.wait()
    assert _behind(busy) > 0, "they were ended in the middle"
    last = busy.start_worker()
    busy.wait_until_done(120)
    assert busy.stop_worker(last) == 0, busy.logs()

    assert differing(busy.features(), folded_from_log(events)) == {}
    assert _demand(busy).keys() == _lines(events).keys()
    for model, topic in SCORES.items():
        assert busy.kept(model) == busy.newest(topic)
