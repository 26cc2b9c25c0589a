"""How soon a worker that takes partitions over publishes its first score, with many entities in the store.

`python benchmarks/takeover.py [--json FILE] [--entities 1000000] [--protocol classic] [--rounds 3]`

Fills Valkey with customer records (made up, folded by the shipped views), runs two workers on Apache Kafka under a
steady trickle of clicks, and ends the one that has the partitions: by SIGTERM, and by SIGKILL. Tells the time from the
moment the other is assigned its partitions to its first score that read-committed consumers see, and from the signal
(with SIGKILL, the group's session time-out is in it). Nothing is replayed, so the number of entities should not matter:
`--entities 1000,1000000` shows it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

# This script's folder comes first on the path, and it has the name of a package of ours.
sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402
import orjson  # noqa: E402
from confluent_kafka import Consumer, Producer  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from features.discovery import views_of  # noqa: E402
from features.rows import rows_of  # noqa: E402
from features.store import Record, Write  # noqa: E402
from features.store.redis import RedisStore  # noqa: E402
from features.table import EntityTable  # noqa: E402
from stream.admin import create_topics  # noqa: E402
from stream.embedded import Embedded  # noqa: E402
from stream.localkafka import LocalKafka  # noqa: E402
from stream.settings import load  # noqa: E402

PARTITIONS = 4
SESSION_MS = 6_000
_WAIT_S = 60.0
_CHUNK = 20_000


def fill(store: RedisStore, entities: int) -> None:
    """Customers with an order and a click each."""
    time_ms = int(time.time() * 1000) - 86_400_000
    for at in range(0, entities, _CHUNK):
        keys = [str(n) for n in range(at, min(at + _CHUNK, entities))]
        table = EntityTable("customer", views_of("customer"), _CHUNK)
        slots = table.admit_new(keys)
        ones, times = np.ones(len(keys), np.int64), np.full(len(keys), time_ms)
        kind = np.zeros(len(keys), np.int8)
        table.fold(rows_of("orders", keys, kind=kind, event_time_ms=times, value=ones, units=ones, lines=ones))
        lines = {"product": ones, "quantity": 1_000 * ones, "unit_price": 2_000 * ones}
        table.fold(rows_of("order_lines", keys, kind=kind, event_time_ms=times, **lines))
        table.fold(rows_of("clicks", keys, kind=kind, event_time_ms=times, product=ones, session=ones))
        records = [
            Record("f", view, key, blob, 90 * 86_400_000)
            for view in table.views
            for key, blob in zip(keys, table.pack(view, slots), strict=True)
        ]
        store.commit([Write(0, [], records)])


class Trickle:
    """Clicks of known customers, until it is stopped."""

    def __init__(self, bootstrap: str, entities: int) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 1})
        self._entities, self._stop = entities, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        n = 0
        while not self._stop.wait(0.01):
            customer = str(n * 7919 % self._entities)
            n += 1
            event = {"type": "product_view", "event_id": f"e{n}", "customer_id": customer, "sku": "A"}
            self._producer.produce(
                "clicks", orjson.dumps({**event, "event_time_ms": int(time.time() * 1000)}), customer.encode()
            )
            self._producer.poll(0)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.flush(10)


class Worker:
    """A worker process, its log, and when it was assigned partitions."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            command = [sys.executable, "-m", "stream.cli", "run", "--verbose"]
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def owns_at(self) -> list[float]:
        """When it was given each partition, in seconds since 1970."""
        found = re.findall(r"^(\S+ \S+) INFO stream.worker owns ", self.log.read_text(), re.M)
        return [datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").timestamp() for at in found]


def first_score(bootstrap: str, after: float, partitions: set[int]) -> dict[int, float]:
    """When the first score that was made after a moment could be read, by partition."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"look-{after}", "auto.offset.reset": "latest"}
        | {"isolation.level": "read_committed", "fetch.wait.max.ms": 10}
    )
    consumer.subscribe(["next-best-offers"])
    found: dict[int, float] = {}
    deadline = time.monotonic() + _WAIT_S
    try:
        while set(found) != partitions and time.monotonic() < deadline:
            for message in consumer.consume(100, 0.01):
                if message.error() is None and message.timestamp()[1] / 1000 >= after:
                    found.setdefault(message.partition(), time.time())
    finally:
        consumer.close()
    if set(found) != partitions:
        raise RuntimeError(f"no score within {_WAIT_S:g} s in {partitions - set(found)}")
    return found


def measure(directory: Path, environment: dict[str, str], bootstrap: str, how: str) -> dict[str, float]:
    """One takeover: by the other worker, of what the first one had."""
    first = Worker(environment, directory / "first.log")
    wait(lambda: len(first.owns_at()) >= 4 * PARTITIONS, "the first worker's partitions")
    second = Worker(environment, directory / "second.log")
    wait(lambda: len(second.owns_at()) >= 4, "the second worker's partitions")
    time.sleep(3)  # until both have settled
    try:
        before, signalled = len(second.owns_at()), time.time()
        looked: dict[str, Any] = {}
        looker = threading.Thread(
            target=lambda: looked.update(at=first_score(bootstrap, time.time(), set(range(PARTITIONS))))
        )
        if how == "SIGTERM":
            first.process.terminate()
            first.process.wait(30)
        else:
            first.process.kill()
            first.process.wait(30)
        wait(lambda: len(second.owns_at()) >= before + 1, "the takeover")
        looker.start()
        looker.join(_WAIT_S + 5)
        owned = second.owns_at()[before]
        return {
            "since_owned_s": max(looked["at"].values()) - owned,
            "since_signal_s": max(looked["at"].values()) - signalled,
        }
    finally:
        for worker in (first, second):
            if worker.process.poll() is None:
                worker.process.terminate()
                worker.process.wait(30)


def wait(condition: Any, what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {_WAIT_S:g} s")
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--entities", default="1000000", help="how many customers the store has; several by comma")
    parser.add_argument("--protocol", choices=["classic", "consumer"], default="classic", help="of the group")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    lines = [f"group.consumer.session.timeout.ms={SESSION_MS}", "group.consumer.heartbeat.interval.ms=1000"]
    properties = dict(line.split("=") for line in lines)
    with LocalKafka(1, properties) as kafka, tempfile.TemporaryDirectory() as directory:
        for entities in (int(n) for n in options.entities.split(",")):
            with Embedded(broker=False) as services:
                environment = {
                    **os.environ,
                    "TIDECAST_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
                    "TIDECAST_KAFKA__GROUP_PROTOCOL": options.protocol,
                    "TIDECAST_KAFKA__SESSION_TIMEOUT_MS": str(SESSION_MS),
                    "TIDECAST_STORE__URL": services.store_url,
                    "TIDECAST_STORE__NAMESPACE": f"takeover-{entities}",
                    "TIDECAST_KAFKA__GROUP_ID": f"takeover-{entities}",
                }
                create_topics(load(environ=environment).settings.kafka, PARTITIONS)
                store = RedisStore(services.store_url, f"takeover-{entities}")
                fill(store, entities)
                store.close()
                trickle = Trickle(kafka.bootstrap, entities)
                try:
                    for n in range(options.rounds):
                        for how in ("SIGTERM", "SIGKILL"):
                            where = Path(directory) / f"{entities}-{how}-{n}"
                            where.mkdir()
                            rows.append(
                                {"entities": entities, "how": how, **measure(where, environment, kafka.bootstrap, how)}
                            )
                finally:
                    trickle.stop()
    table = Table(
        title=f"takeover, {options.protocol} group protocol, all {PARTITIONS} partitions scored again", box=None
    )
    for column in ("entities", "ended by", "since it owns them, s", "since the signal, s"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(f"{row['entities']:,}", row["how"], f"{row['since_owned_s']:.2f}", f"{row['since_signal_s']:.2f}")
    Console().print(table)
    if options.json is not None:
        options.json.write_bytes(orjson.dumps({"protocol": options.protocol, "rows": rows}, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
