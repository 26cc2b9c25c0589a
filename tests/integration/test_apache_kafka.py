"""Apache Kafka itself, as a local process, in place of the embedded broker; worker settings are the defaults."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
from confluent_kafka import Producer

from stream.admin import create_topics
from stream.embedded import Embedded, free_port, wait_for
from stream.eventlog import read_records
from stream.source import TopicReader
from stream.topology import DEAD_LETTERS, DEMAND, PUBLISHED
from tests.support import Shop, differing, folded_from_log

ROOT = Path(__file__).parents[2]
KAFKA = ROOT / "deploy" / "kafka" / "kafka"
OUTPUTS = [t.name for t in (DEMAND, *PUBLISHED)]
#: Broken JSON, and bytes that do not compress: as large as Kafka takes; the dead letter is larger.
POISON = [("clicks", b"1", b"{not json"), ("clicks", b"1", random.Random(5).randbytes(1_048_400))]

MISSING = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
REQUIRED = os.environ.get("TIDECAST_REQUIRE_KAFKA") == "1"
needs_kafka = pytest.mark.skipif(
    bool(MISSING) and not REQUIRED,
    reason=f"Apache Kafka needs Java 17 and Maven, and there is no {' and no '.join(MISSING)}",
)


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(KAFKA), *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an Apache Kafka of this module's own."""
    directory, port = tmp_path_factory.mktemp("kafka"), str(free_port())
    try:
        started = _run("start", str(directory), port)
        if started.returncode == 2 and not REQUIRED:
            pytest.skip(started.stderr.strip())  # such as a Java that is too old
        assert started.returncode == 0, started.stderr
        yield f"127.0.0.1:{port}"
    finally:
        _run("stop", str(directory))


class ApacheShop(Shop):
    """A shop on a broker from outside, with a store of its own and none of the embedded broker's settings."""

    def __init__(self, directory: Path, bootstrap_servers: str) -> None:
        super().__init__(directory)
        self._services = Embedded(broker=False)
        self._bootstrap_servers = bootstrap_servers

    def __enter__(self) -> ApacheShop:
        self._services.__enter__()
        try:
            self.environment = {
                **os.environ,
                "TIDECAST_KAFKA__BOOTSTRAP_SERVERS": self._bootstrap_servers,
                "TIDECAST_STORE__URL": self._services.store_url,
            }
            create_topics(self.settings.kafka, self._partitions)
        except BaseException:
            self._services.close()
            raise
        return self


@pytest.fixture(scope="module")
def shop(events: Path, broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheShop]:
    """A shop after all events and two broken records; its worker ended by SIGTERM."""
    with ApacheShop(tmp_path_factory.mktemp("shop"), broker) as shop:
        shop.produce([*((r.topic, r.key, r.value) for r in read_records(events)), *POISON])
        worker = shop.start_worker()
        shop.wait_until_done(120)
        assert shop.stop_worker(worker) == 0, shop.logs()
        yield shop


@needs_kafka
@pytest.mark.timeout(420)
def test_every_order_line_gives_exactly_one_demand_record(shop: ApacheShop, events: Path) -> None:
    orders = pl.read_parquet(events / "orders.parquet")
    lines = orders.select("event_id", n=pl.col("lines").list.len()).iter_rows()
    expected = Counter(f"{event}:{line}" for event, n in lines for line in range(n))
    assert Counter(json.loads(r.value())["event_id"] for r in shop.read("demand")) == expected


@needs_kafka
def test_every_customer_has_a_reorder_score(shop: ApacheShop, events: Path) -> None:
    customers = set(pl.read_parquet(events / "orders.parquet")["customer_id"].drop_nulls())
    assert {r.key().decode() for r in shop.read("reorder-scores")} == customers


@needs_kafka
def test_features_are_what_the_log_folds_to(shop: ApacheShop, events: Path) -> None:
    assert differing(shop.features(), folded_from_log(events)) == {}


@needs_kafka
def test_broken_records_are_the_only_dead_letters(shop: ApacheShop) -> None:
    assert Counter((r.key(), r.value()) for r in shop.read("dead-letters")) == Counter(p[1:] for p in POISON)


@needs_kafka
def test_a_topic_that_ends_in_a_transaction_marker_is_read_to_its_end(shop: ApacheShop) -> None:
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


def _end_of_catalog(shop: ApacheShop) -> int:
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


@needs_kafka
@pytest.mark.skipif(shutil.which("kcat") is None, reason="there is no kcat; install it (Debian: apt install kcat)")
@pytest.mark.parametrize("topic", OUTPUTS)
def test_kcat_reads_records_that_follow_their_published_schema(shop: ApacheShop, broker: str, topic: str) -> None:
    """Each record of each output topic, read by a client that is not ours; of dead letters, the headers."""
    schema = json.loads((ROOT / "docs" / "schemas" / f"{topic}.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    records = _kcat(broker, topic)
    assert len(records) == len(shop.read(topic))
    if topic != "supply-alerts":
        assert records
    for record in records:
        flat = record.get("headers", [])
        headers = dict(zip(flat[::2], flat[1::2], strict=True))
        validator.validate(headers if topic == DEAD_LETTERS.name else json.loads(record["payload"]))


# --- the script itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["java", "mvn"])
def test_start_says_what_is_missing(tmp_path: Path, gone: str) -> None:
    """A PATH with all that the script uses, but one."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "sed", "head"):
        (tools / name).symlink_to(str(shutil.which(name)))
    for name in {"java", "mvn"} - {gone}:
        (tools / name).write_text("#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
        (tools / name).chmod(0o755)
    done = _run("start", str(tmp_path / "kafka"), PATH=str(tools))
    assert done.returncode == 2
    assert f"there is no {gone}" in done.stderr
    assert not (tmp_path / "kafka").exists()


@pytest.mark.parametrize("arguments", [[], ["start"], ["stop"], ["start", "x", "port"], ["restart", "x"]])
def test_wrong_use_ends_with_2(arguments: list[str]) -> None:
    assert _run(*arguments).returncode == 2


def test_help_tells_how(tmp_path: Path) -> None:
    done = _run("--help")
    assert done.returncode == 0
    assert "kafka start DIR [PORT]" in done.stdout


def test_stop_ends_no_process_that_it_did_not_start(tmp_path: Path) -> None:
    """A process id that has been given to another process meanwhile: ours."""
    (tmp_path / "kafka.pid").write_text(str(os.getpid()))
    done = _run("stop", str(tmp_path))
    assert done.returncode == 0
    assert "none is running" in done.stdout


@needs_kafka
def test_start_refuses_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = _run("start", str(tmp_path / "kafka"), str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "already" in done.stderr
