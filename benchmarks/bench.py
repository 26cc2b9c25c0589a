"""The bench of benchmarks/pipeline.py: topics, processes, and what they spend."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.cputime import Cpu, cpu_of
from benchmarks.floor import Given, Produced
from benchmarks.stopwatch import Profile
from benchmarks.workload import Made, Shop
from stream.admin import connect, create_topics
from stream.embedded import free_port, wait_for
from stream.errors import UsageError
from stream.groupstate import GroupState
from stream.lag import measure
from stream.reader import TopicReader
from stream.settings import KafkaSettings, Settings, load
from stream.sink import Sink
from stream.topology import DEMAND, ORDERS, PUBLISHED, TOPICS

PARTITIONS = 4
#: The part of the workload that the worker takes in before it is measured: it has seen every shape then.
WARM = 0.1
_READY_S, _DONE_S, _END_S = 60.0, 300.0, 30.0
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Run:
    """What a process spent on the measured part.

    Args:
        inputs: records of orders, clicks and inventory.
        orders: those of them that are orders.
        records: with those of demand.
        published: records that it produced in all, the first part included.
        batches: micro-batches.
        scores: by model, of the measured part.
        cpu: of the measured part.
        start: until it had its partitions.
        wall_s: of the measured part.
    """

    inputs: int
    orders: int
    records: int
    published: int
    batches: int
    scores: dict[str, int]
    cpu: Cpu
    start: Cpu
    wall_s: float


class Runner:
    """Topics and processes.

    Args:
        bootstrap: of the broker.
        store_url: of the store.
    """

    def __init__(self, bootstrap: str, store_url: str) -> None:
        self._bootstrap, self._store_url = bootstrap, store_url
        self._names = (f"bench{n}" for n in itertools.count())
        self.environment: dict[str, str] = {}
        self.metrics = ""

    @property
    def settings(self) -> Settings:
        """As the process at hand has them."""
        return load(environ=self.environment).settings

    def fresh(self, delivery: str) -> None:
        """Empty topics, a group and a namespace of its own."""
        name, port = next(self._names), free_port()
        self.metrics = f"http://127.0.0.1:{port}"
        self.environment = {
            **{n: v for n, v in os.environ.items() if not n.startswith("TIDECAST_")},
            "TIDECAST_KAFKA__BOOTSTRAP_SERVERS": self._bootstrap,
            "TIDECAST_KAFKA__GROUP_ID": name,
            "TIDECAST_STORE__URL": self._store_url,
            "TIDECAST_STORE__NAMESPACE": name,
            "TIDECAST_WORKER__DELIVERY": delivery,
            "TIDECAST_METRICS__PORT": str(port),
        }
        kafka = self.settings.kafka
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        if have := self._topics(kafka):
            for deleted in admin.delete_topics(have).values():
                deleted.result(30)
        wait_for(lambda: not self._topics(kafka), 30, "the end of the former run's topics")
        create_topics(kafka, PARTITIONS)

    @staticmethod
    def _topics(kafka: KafkaSettings) -> list[str]:
        return sorted(TOPICS.keys() & connect(kafka)[1].keys())

    def produce(self, records: Sequence[Made]) -> None:
        """Publishes them and waits for the acknowledgements."""
        sink = Sink(self.settings.kafka, linger_ms=50)
        for i, record in enumerate(records):
            sink.produce(record.topic, record.key, record.value)
            if i % 1_000 == 0:
                sink.poll()
        sink.flush()

    def done(self) -> None:
        """Waits until the group has committed every record."""
        state = GroupState(self.settings.kafka)
        group = self.settings.kafka.group_id

        def all_committed() -> bool:
            # The partitions with few records left are counted, so marks of transactions do not stand in the way.
            try:
                return measure(state, group, lambda _: None, 0).lag == 0
            except UsageError:  # a broker that gets no CPU does not answer in time
                return False

        try:
            wait_for(all_committed, _DONE_S, "the end of the run")
        finally:
            state.close()

    def produced(self) -> list[Produced]:
        """What was produced, topics evenly mixed: the order in which it came is known of each topic alone."""
        mixed: list[tuple[float, Produced]] = []
        for topic in (DEMAND, *PUBLISHED):
            reader = TopicReader(self.settings.kafka, [topic.name])
            records = [Produced(r.topic(), r.key(), r.value(), r.headers() or []) for r in reader.read_to_end()]
            reader.close()
            mixed += [(i / len(records), record) for i, record in enumerate(records)]
        mixed.sort(key=lambda at: at[0])
        return [record for _, record in mixed]

    @contextmanager
    def process(self, command: Sequence[str], checkout: Path) -> Iterator[subprocess.Popen[str]]:
        """A process that is ended in any case; asked to first. What it says is shown where it failed."""
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=checkout,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            try:
                yield process
                process.terminate()
                if process.wait(_END_S):
                    raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
            except Exception as error:
                log.seek(0)
                raise RuntimeError(f"{error}; its log ends with:\n{log.read()[-2_000:]}") from error
            finally:
                process.kill()
                process.wait()

    def counters(self) -> dict[str, float]:
        """The worker's metrics, summed over all labels but the model."""
        with urllib.request.urlopen(f"{self.metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        out: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = f"{sample.name} {sample.labels.get('model', '')}".strip()
                out[name] = out.get(name, 0.0) + sample.value
        return out

    def has_partitions(self) -> bool:
        """Whether the worker is ready."""
        try:
            with urllib.request.urlopen(f"{self.metrics}/readyz", timeout=10):
                return True
        except OSError:
            return False


class Bench:
    """Runs of the worker and the floor on one workload.

    Args:
        runner: topics and processes.
        shop: what it is.
    """

    def __init__(self, runner: Runner, shop: Shop) -> None:
        self._runner = runner
        self._reference, records = shop.reference(), shop.records()
        warm = int(len(records) * WARM)
        self._first, self._rest = records[:warm], records[warm:]
        self._orders = sum(record.topic == ORDERS.name for record in self._rest)

    def worker(self, delivery: str, checkout: Path = _ROOT, keep: bool = False) -> tuple[Run, list[Produced]]:
        """A worker, and what it produced where that is to be kept."""
        run = self._worker(delivery, ["-m", "stream.cli", "run"], checkout)
        return run, self._runner.produced() if keep else []

    def profiled(self, delivery: str) -> tuple[Run, Profile]:
        """A worker with a stopwatch."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "profile.json"
            run = self._worker(delivery, ["-m", "benchmarks.stopwatch", str(file)], _ROOT, stopwatch=True)
            return run, msgspec.json.decode(file.read_bytes(), type=Profile)

    def _worker(self, delivery: str, command: Sequence[str], checkout: Path, stopwatch: bool = False) -> Run:
        runner = self._runner
        runner.fresh(delivery)
        runner.produce(self._reference)
        with runner.process(command, checkout) as process:
            wait_for(lambda: process.poll() is not None or runner.has_partitions(), _READY_S, "the worker's start")
            start = cpu_of(process.pid)
            runner.produce(self._first)
            runner.done()
            if stopwatch:
                process.send_signal(signal.SIGUSR1)
                _expect(process, "begun")
            before = runner.counters()
            cpu, wall_s = self._measure(process)
            after = runner.counters()
        grown = {name: int(after[name] - before.get(name, 0)) for name in after}
        scores = {n.split()[1]: v for n, v in grown.items() if n.startswith("tidecast_scores_total ")}
        published = int(after.get("tidecast_published_total", 0))
        records, batches = grown["tidecast_records_total"], grown["tidecast_batch_seconds_count"]
        return Run(len(self._rest), self._orders, records, published, batches, scores, cpu, start, wall_s)

    def floor(self, delivery: str, produced: list[Produced]) -> Run:
        """The floor under a worker that produced these records."""
        runner = self._runner
        runner.fresh(delivery)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "records.msgpack"
            given = Given(len(self._first) + len(self._rest), produced)
            file.write_bytes(msgspec.msgpack.encode(given))
            with runner.process(["-m", "benchmarks.floor", str(file)], _ROOT) as process:
                _expect(process, "ready")
                start = cpu_of(process.pid)
                runner.produce(self._first)
                runner.done()
                cpu, wall_s = self._measure(process)
        demand = sum(record.topic == DEMAND.name for record in produced)
        records = len(self._rest) + round(demand * (1 - WARM))
        return Run(len(self._rest), self._orders, records, len(produced), 0, {}, cpu, start, wall_s)

    def _measure(self, process: subprocess.Popen[str]) -> tuple[Cpu, float]:
        """CPU and seconds from the moment when all of the rest waits to that when it is done."""
        process.send_signal(signal.SIGSTOP)
        try:
            before = cpu_of(process.pid)
            self._runner.produce(self._rest)
        finally:
            process.send_signal(signal.SIGCONT)
        begun = time.monotonic()
        self._runner.done()
        return cpu_of(process.pid).since(before), time.monotonic() - begun


def _expect(process: subprocess.Popen[str], word: str) -> None:
    """Waits for a line of the process."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if line != word:
        raise RuntimeError(f"the process said {line!r} in place of {word!r}")
