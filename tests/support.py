"""A shop for tests: real broker and store, a worker as a real process, and what it all came to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import numpy as np

from features.discovery import discover, views_of
from features.eventlog import read_clicks, read_inventory, read_orders
from features.rows import ALL, STREAMS, Rows
from features.shards import merged
from features.store.redis import RedisStore
from features.table import EntityTable
from features.view import SHARDED, View
from stream.admin import GroupProgress, create_topics
from stream.embedded import Embedded, wait_for
from stream.reader import TopicReader
from stream.settings import Settings, load
from stream.sink import Sink
from stream.topology import CONSUMED, TOPICS

if TYPE_CHECKING:
    from tests.brokers import Broker  # which needs pytest: the fault suite runs without


class Shop:
    """Topics and a store of its own, and workers that are ended whatever happens.

    Args:
        directory: for logs.
        partitions: of the topics.
        broker: the session's, whose topics are made anew; None: an embedded one of its own.
        more: settings of the workers, as environment variables.
    """

    def __init__(self, directory: Path, partitions: int = 3, broker: Broker | None = None, **more: str) -> None:
        self.directory, self._partitions = directory, partitions
        self._services, self._broker, self._more = Embedded(broker=broker is None), broker, more
        self.workers: list[subprocess.Popen[bytes]] = []
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._services.__enter__()
        if self._broker is None:
            services = {**self._services.environment(), "TIDECAST_WORKER__COMMIT_INTERVAL_MS": "300"}
        else:
            self._broker.clean()
            services = {
                **self._broker.environment,
                "TIDECAST_STORE__URL": self._services.store_url,
                "TIDECAST_KAFKA__GROUP_ID": f"shop-{uuid4().hex[:8]}",
                # A killed worker's partitions need not be waited for.
                "TIDECAST_KAFKA__SESSION_TIMEOUT_MS": "6000",
            }
        self.environment = {**os.environ, **services, **self._more}
        create_topics(self.settings.kafka, self._partitions)
        return self

    @property
    def exactly_once(self) -> bool:
        """Whether what workers publish is there exactly once."""
        return self._broker is not None and self._broker.isolates

    def owns(self, worker: int) -> bool:
        """Whether a worker, counted from 0, has been given partitions."""
        return "owns" in (self.directory / f"worker-{worker}.log").read_text()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        self._services.close()

    @property
    def settings(self) -> Settings:
        """As the workers have them."""
        return load(environ=self.environment).settings

    def produce(self, records: Sequence[tuple[str, bytes | None, bytes | None]]) -> None:
        """Publishes (topic, key, value) and waits for the acknowledgements."""
        sink = Sink(self.settings.kafka)
        for topic, key, value in records:
            sink.produce(topic, key, value)
        sink.flush(30)

    def start_worker(self, **more: str) -> subprocess.Popen[bytes]:
        """Starts a worker; its log is worker-<n>.log."""
        log = self.directory / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, "-m", "stream.cli", "run", "--verbose"],
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(worker)
        return worker

    def command(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """A `tidecast` command on this shop, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "stream.cli", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def stop_worker(self, worker: subprocess.Popen[bytes], timeout_s: float = 25) -> int:
        """SIGTERM, and its exit code; fails with what the workers said where it does not end in time."""
        worker.send_signal(signal.SIGTERM)
        try:
            return worker.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended {timeout_s} s after SIGTERM:\n{self.logs()}") from None

    def logs(self) -> str:
        """What the workers said."""
        return "\n".join(p.read_text(errors="replace") for p in sorted(self.directory.glob("worker-*.log")))

    def wait_until_done(self, timeout_s: float = 90) -> None:
        """Until the group has committed every record that is on its topics; fails when no worker is left."""
        reader = TopicReader(self.settings.kafka, [t.name for t in CONSUMED])
        progress = GroupProgress(self.settings.kafka)
        quiet = 0

        def done() -> bool:
            nonlocal quiet
            assert any(w.poll() is None for w in self.workers), f"no worker is left:\n{self.logs()}"
            fresh = len(reader.poll(20_000, 0.1))
            quiet = quiet + 1 if fresh == 0 and progress.behind(reader.positions) == 0 else 0
            return quiet >= 3

        try:
            for _ in reader.read_to_end(30):  # what is there already, so that silence means that there is no more
                pass
            wait_for(done, timeout_s, f"processing\n{self.logs()}")
        finally:
            progress.close()
            reader.close()

    def read(self, topic: str) -> list[Any]:
        """All records of a topic."""
        reader = TopicReader(self.settings.kafka, [topic])
        try:
            return list(reader.read_to_end(30))
        finally:
            reader.close()

    def store(self) -> RedisStore:
        """A client of the store."""
        stored = self.settings.store
        return RedisStore(stored.url, stored.namespace, stored.buckets)

    def features(self) -> dict[str, dict[str, bytes]]:
        """Every feature record in the store, by view and entity; shards are merged."""
        store = self.store()
        try:
            return whole({view: store.scan("f", view) for view in discover()})
        finally:
            store.close()


def _streams(events: Path) -> list[Rows]:
    history = read_orders(events)
    streams: list[Rows] = [history.orders, history.order_lines, history.demand, *_product_lines(history.demand)]
    return [*streams, read_clicks(events), read_inventory(events), read_inventory(events, "product_stock")]


def _product_lines(demand: Rows) -> list[Rows]:
    """The order lines as products see them; locations in logs for tests name no regions."""
    columns = {name: demand.columns[name] for name in ("kind", "event_time_ms", "customer")}
    products = [item.split(":", 1)[1] for item in demand.entities]
    return [Rows("product_lines", names, columns) for names in (products, [ALL] * len(products))]


def tables_from_log(events: Path) -> dict[str, EntityTable]:
    """The tables that an event log folds to, by entity."""
    tables = {
        entity: EntityTable(entity, views_of(entity)) for entity in sorted({v.entity for v in discover().values()})
    }
    for rows in _streams(events):
        table = tables[STREAMS[rows.stream][0]]
        table.admit_new(table.missing(rows.entities))
        table.fold(rows)
    return tables


def folded_from_log(events: Path) -> dict[str, dict[str, bytes]]:
    """The feature records that an event log folds to: no broker, no store, no worker."""
    tables = tables_from_log(events)
    out: dict[str, dict[str, bytes]] = {}
    for rows in _streams(events):
        table = tables[STREAMS[rows.stream][0]]
        keys = list(dict.fromkeys(rows.entities))
        for view in table.views.values():
            if view.stream == rows.stream:
                packed = table.pack(view.name, table.slots_of(keys))
                out.setdefault(view.name, {}).update(zip(keys, packed, strict=True))
    return out


def whole(features: dict[str, dict[str, bytes]]) -> dict[str, dict[str, bytes]]:
    """Feature records with the shards of each entity merged into one."""
    out = {}
    for name, records in features.items():
        out[name] = _merged(discover()[name], records) if discover()[name].stream in SHARDED else records
    return out


def _merged(view: View, records: dict[str, bytes]) -> dict[str, bytes]:
    shards: dict[str, list[bytes]] = {}
    for key, record in records.items():
        shards.setdefault(key.rpartition("#")[0], []).append(record)
    return {
        key: merged(view, np.frombuffer(b"".join(parts), view.dtype).reshape(-1, 1)).tobytes()
        for key, parts in shards.items()
    }


def differing(left: dict[str, dict[str, bytes]], right: dict[str, dict[str, bytes]]) -> dict[str, list[str]]:
    """Entities whose records differ, by view; empty where all are equal bit for bit."""
    found = {}
    for view in sorted(left.keys() | right.keys()):
        a, b = left.get(view, {}), right.get(view, {})
        odd = sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))
        if odd:
            found[view] = odd
    return found


def wall_ms() -> int:
    """The wall clock."""
    return int(time.time() * 1000)


__all__ = ["TOPICS", "Shop", "differing", "folded_from_log", "np", "wall_ms", "whole"]
