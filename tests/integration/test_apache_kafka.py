"""Apache Kafka itself, in place of the embedded broker; worker settings are the defaults."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from stream.embedded import wait_for
from stream.eventlog import read_records
from stream.localkafka import LocalKafka
from stream.reader import TopicReader
from stream.topology import DEAD_LETTERS, DEMAND, PUBLISHED
from tests.brokers import Broker, Guarantee
from tests.support import Shop, differing, folded_from_log

ROOT = Path(__file__).parents[2]
OUTPUTS = [t.name for t in (DEMAND, *PUBLISHED)]
#: Broken JSON, and bytes that do not compress: as large as Kafka takes; the dead letter is larger.
POISON = [("clicks", b"1", b"{not json"), ("clicks", b"1", random.Random(5).randbytes(1_048_400))]


@pytest.fixture(scope="module")
def apache(kafka: Broker) -> Broker:
    """The session's broker, if it is one that hides aborted records."""
    kafka.require(Guarantee.APACHE, Guarantee.ISOLATION)
    return kafka


@pytest.fixture(scope="module")
def shop(apache: Broker, events: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop after all events and two broken records; its worker ended by SIGTERM."""
    with Shop(tmp_path_factory.mktemp("shop"), broker=apache) as shop:
        shop.produce([*((r.topic, r.key, r.value) for r in read_records(events)), *POISON])
        worker = shop.start_worker()
        shop.wait_until_done(120)
        assert shop.stop_worker(worker) == 0, shop.logs()
        yield shop


@pytest.mark.timeout(420)
def test_every_order_line_gives_exactly_one_demand_record(shop: Shop, events: Path) -> None:
    orders = pl.read_parquet(events / "orders.parquet")
    lines = orders.select("event_id", n=pl.col("lines").list.len()).iter_rows()
    expected = Counter(f"{event}:{line}" for event, n in lines for line in range(n))
    assert Counter(json.loads(r.value())["event_id"] for r in shop.read("demand")) == expected


def test_every_customer_has_a_reorder_score(shop: Shop, events: Path) -> None:
    customers = set(pl.read_parquet(events / "orders.parquet")["customer_id"].drop_nulls())
    assert {r.key().decode() for r in shop.read("reorder-scores")} == customers


def test_features_are_what_the_log_folds_to(shop: Shop, events: Path) -> None:
    assert differing(shop.features(), folded_from_log(events)) == {}


def test_broken_records_are_the_only_dead_letters(shop: Shop) -> None:
    assert Counter((r.key(), r.value()) for r in shop.read("dead-letters")) == Counter(p[1:] for p in POISON)


def test_a_topic_that_ends_in_a_transaction_marker_is_read_to_its_end(shop: Shop) -> None:
    """The marker takes an offset, and is no record. The worker is gone: the catalog is ours."""
    kafka = shop.settings.kafka
    reader = TopicReader(kafka, ["catalog"])
    before = len(list(reader.read_to_end(30)))
    reader.close()
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": "test"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("catalog", b"{}", b"sku")
    producer.commit_transaction(30)
    # The marker is written a moment after the commit is promised.
    wait_for(lambda: _end_of_catalog(shop) == before + 2, 30, "the transaction's marker")
    assert len(shop.read("catalog")) == before + 1


def _end_of_catalog(shop: Shop) -> int:
    reader = TopicReader(shop.settings.kafka, ["catalog"], from_end=True)
    try:
        return reader.positions["catalog", 0]
    finally:
        reader.close()


def _kcat(broker: str, topic: str) -> list[dict[str, Any]]:
    """All records of a topic as kcat reads them, in its JSON envelope."""
    command = ["kcat", "-b", broker, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.split("\n") if line]  # splitlines() knows more line ends than kcat


@pytest.mark.skipif(shutil.which("kcat") is None, reason="there is no kcat; install it (Debian: apt install kcat)")
@pytest.mark.parametrize("topic", OUTPUTS)
def test_kcat_reads_records_that_follow_their_published_schema(shop: Shop, apache: Broker, topic: str) -> None:
    """Each record of each output topic, read by a client that is not ours; of dead letters, the headers."""
    schema = json.loads((ROOT / "docs" / "schemas" / f"{topic}.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    records = _kcat(apache.bootstrap, topic)
    assert len(records) == len(shop.read(topic))
    if topic != "supply-alerts":
        assert records
    for record in records:
        flat = record.get("headers", [])
        headers = dict(zip(flat[::2], flat[1::2], strict=True))
        validator.validate(headers if topic == DEAD_LETTERS.name else json.loads(record["payload"]))


# --- three brokers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def three(kafka_cluster: Broker) -> Iterator[LocalKafka]:
    """The cluster; whatever the test does to it is healed."""
    try:
        yield kafka_cluster.processes
    finally:
        kafka_cluster.processes.heal()


def _leader_and_in_sync(admin: AdminClient, topic: str) -> tuple[int, set[int]]:
    partition = admin.list_topics(topic, 10).topics[topic].partitions[0]
    return partition.leader, set(partition.isrs)


def _write(producer: Producer, topic: str, values: range) -> None:
    for n in values:
        producer.produce(topic, b"%d" % n)
    assert producer.flush(60) == 0


def _read(bootstrap: str, topic: str, count: int) -> list[int]:
    """As a member of a new group, which needs a coordinator."""
    group = {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    with contextlib.closing(Consumer({**group, "group.protocol": "consumer"})) as consumer:
        consumer.subscribe([topic])
        found: list[int] = []
        deadline = time.monotonic() + 60
        while len(found) < count and time.monotonic() < deadline:
            found += [int(r.value()) for r in consumer.consume(100, 0.2) if r.error() is None]
        return found


@pytest.mark.timeout(300)
def test_what_was_acknowledged_outlives_the_leader_that_acknowledged_it(three: LocalKafka) -> None:
    """Its data is on two others; no other broker is asked to be there; the leader comes back and catches up."""
    topic, client = f"t-{uuid.uuid4().hex}", {"bootstrap.servers": three.bootstrap}
    admin = AdminClient(client)
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    producer = Producer({**client, "enable.idempotence": True})
    _write(producer, topic, range(10))
    leader, in_sync = _leader_and_in_sync(admin, topic)
    assert in_sync == {1, 2, 3}
    three.kill(leader)
    _write(producer, topic, range(10, 20))
    successor, in_sync = _leader_and_in_sync(admin, topic)
    assert successor != leader
    assert in_sync == {1, 2, 3} - {leader}
    assert _read(three.bootstrap, topic, 20) == list(range(20))
    three.restart(leader)
    wait_for(lambda: _leader_and_in_sync(admin, topic)[1] == {1, 2, 3}, 60, "a broker that caught up")


@pytest.mark.timeout(300)
def test_a_transaction_survives_a_broker_that_dies_in_the_middle(three: LocalKafka) -> None:
    topic, client = f"t-{uuid.uuid4().hex}", {"bootstrap.servers": three.bootstrap}
    admin = AdminClient(client)
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    producer = Producer({**client, "transactional.id": topic})
    producer.init_transactions(60)
    producer.begin_transaction()
    _write(producer, topic, range(10))
    three.kill(_leader_and_in_sync(admin, topic)[0])
    _write(producer, topic, range(10, 20))
    producer.commit_transaction(60)
    assert _read(three.bootstrap, topic, 20) == list(range(20))
