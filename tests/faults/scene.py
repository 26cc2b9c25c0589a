"""The scene of a run: its broker, its store, its workers and its traffic, and the time that passes in it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from features.aggregations.base import DAY_MS
from features.store import StoreUnavailable
from features.store.redis import RedisStore
from stream.localkafka import LocalKafka
from stream.settings import Settings, load
from stream.topology import CONSUMED, DEMAND
from tests.faults.cluster import PARTITIONS
from tests.faults.crew import Crew, Worker
from tests.faults.inputs import Variant
from tests.faults.plan import PROTOCOLS, Plan
from tests.faults.poison import Wire
from tests.faults.processes import Line
from tests.faults.progress import Progress
from tests.faults.relay import Relay
from tests.faults.storeserver import StoreServer
from tests.faults.timeouts import SESSION_S, STORE_S, TRANSACTION_S
from tests.faults.traffic import Traffic

_TURN_S = 0.005
#: Of event time: the input has some hours.
_TICK_MS = 1_800_000
#: How long a run may wait for one thing.
PATIENCE_S = 60.0


class Hang(TimeoutError):
    """Something did not happen within its deadline."""


class Scene(contextlib.ExitStack):
    """All that there is in a run. Faults act on it; whatever they or it started ends with it.

    Args:
        cluster: the brokers; their topics are new.
        line: starts processes.
        variant: the input.
        plan: what is to happen.
        directory: for logs.
    """

    def __init__(self, cluster: LocalKafka, line: Line, variant: Variant, plan: Plan, directory: Path) -> None:
        super().__init__()
        self.cluster, self.plan, self.random = cluster, plan, Random(plan.seed)
        self.store = StoreServer(line, directory)
        self.crew = Crew(line, directory, self._environment(), plan.mutation)
        #: Settings of the first worker's first process alone.
        self.first: dict[str, str] = {}
        self.traffic = Traffic(self.settings.kafka, variant.events, plan.traffic_s)
        #: Records that must come out as dead letters.
        self.poison: list[Wire] = list(variant.poison)
        #: How many records there must be on `demand`.
        self.demand = len(variant.lines) + sum(r.topic == DEMAND.name for r in variant.poison)
        #: What faults have put between workers and servers, by kind.
        self.relays: dict[str, Relay] = {}
        self.struck: Counter[str] = Counter()
        self._diary = directory / "diary.log"
        self._begun = time.monotonic()
        self._store_client: RedisStore | None = None

    def _environment(self) -> dict[str, str]:
        plan = self.plan
        ours = {
            "KAFKA__BOOTSTRAP_SERVERS": self.cluster.bootstrap,
            "KAFKA__GROUP_ID": f"{plan.group}{os.urandom(3).hex()}",
            "KAFKA__SESSION_TIMEOUT_MS": str(int(SESSION_S * 1000)),
            "KAFKA__TRANSACTION_TIMEOUT_MS": str(int(TRANSACTION_S * 1000)),
            "KAFKA__EXTRA": json.dumps({"reconnect.backoff.max.ms": "500"}),
            "STORE__URL": self.store.url,
            "STORE__TIMEOUT_S": str(STORE_S),
            "WORKER__DELIVERY": "exactly_once",
            "WORKER__BATCH_MAX_RECORDS": str(plan.batch_max_records),
            "WORKER__COMMIT_INTERVAL_MS": str(plan.commit_interval_ms),
            "FEATURE_LOG__SHARE": "0.1",
            # What a score joins depends on how far other partitions have come; the rest of it must not.
            "FEATURES__JOINED_FOR_S": "0",
        }
        if plan.ages:
            ours["WORKER__RESCORE_TICK_MS"] = str(_TICK_MS)
            ours["MODELS__RESCORE_AFTER_DAYS"] = json.dumps({"reorder": _TICK_MS / DAY_MS})
        if len(PROTOCOLS) > 1:
            ours["KAFKA__GROUP_PROTOCOL"] = plan.protocol
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDECAST_")}
        return inherited | {f"TIDECAST_{name}": value for name, value in ours.items()}

    @property
    def settings(self) -> Settings:
        """Those of the workers, without what faults have put between them and the servers."""
        return load(environ=self._settings_environment()).settings

    def _settings_environment(self) -> dict[str, str]:
        return {
            **self.crew.environment,
            "TIDECAST_KAFKA__BOOTSTRAP_SERVERS": self.cluster.bootstrap,
            "TIDECAST_STORE__URL": self.store.url,
        }

    def note(self, what: str) -> None:
        """Writes down what happens, and when."""
        with self._diary.open("a") as diary:
            diary.write(f"{time.monotonic() - self._begun:7.3f} {what}\n")

    # --- time ------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Traffic goes on, and workers that ended are started again."""
        self.traffic.turn()
        self.crew.turn()
        if exhausted := self.crew.exhausted:
            raise Hang(f"worker {exhausted[0].number} ended again and again: {exhausted[0].codes}")

    def pause(self, seconds: float) -> None:
        """Lets time pass."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.turn()
            time.sleep(_TURN_S)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
        """Lets time pass until a condition is true.

        Raises:
            Hang: it did not come true in time.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Hang(f"{what} did not happen within {seconds:g} s")
            self.turn()
            time.sleep(_TURN_S)

    def meanwhile(self, call: Callable[[], None]) -> None:
        """Something that blocks, in a thread of its own while time passes here."""
        failed: list[BaseException] = []

        def guarded() -> None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001
                failed.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        self.until(lambda: not thread.is_alive(), f"the end of {call}", 90)
        if failed:
            raise failed[0]

    # --- workers and store -----------------------------------------------------------------------------------------

    def add_worker(self, name: str = "", **environment: str) -> Worker:
        """One more worker, with a name of its own where the plan has them, or the given one."""
        name = name or (f"worker-{len(self.crew.workers) + 1}" if self.plan.static else "")
        if name:
            environment["TIDECAST_KAFKA__GROUP_INSTANCE_ID"] = name
        worker = self.crew.add(**environment)
        self.note(f"worker {worker.number} is added")
        return worker

    def some_worker(self) -> Worker:
        """One of those at work, as the seed has it."""
        self.until(lambda: bool(self.crew.running), "a worker at work")
        return self.random.choice(self.crew.running)

    def kill(self, worker: Worker) -> None:
        """SIGKILL; who is supervised is started again."""
        self.note(f"worker {worker.number} is killed")
        worker.process.send(signal.SIGKILL)

    def use_namespace(self, name: str) -> None:
        """Workers that start from now on use another namespace of the store."""
        self.crew.environment["TIDECAST_STORE__NAMESPACE"] = name
        self._store_client = None

    def client(self) -> RedisStore:
        """A client of the store, past all relays."""
        if self._store_client is None:
            stored = self.settings.store
            self._store_client = RedisStore(stored.url, stored.namespace, stored.buckets, 5.0)
            self.callback(self._store_client.close)
        return self._store_client

    def epochs(self) -> int:
        """The epochs of all partitions, added up: it grows when one is claimed."""
        try:
            return sum(f.epoch for t in CONSUMED for p in range(PARTITIONS) for f in self.client().fences(t.name, p))
        except StoreUnavailable:
            return 0

    def folded_up_to(self, ends: dict[tuple[str, int], int]) -> bool:
        """Whether the store's fences have come to the given offsets."""
        try:
            return all((fence.next_offset or 0) >= end for p, end in ends.items() for fence in self.client().fences(*p))
        except StoreUnavailable:
            return False

    # --- the course of a run ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Store, workers, and then traffic."""
        self.store.start()
        for _, fault in self.plan.faults:
            fault.prepare(self)
        for number in range(self.plan.workers):
            self.add_worker(**(self.first if number == 0 else {}))
        self.until(lambda: self.epochs() > 0 or any(w.codes for w in self.crew.workers), "a first claim")
        if self.plan.settled:
            with contextlib.suppress(Hang):
                self.until(lambda: all("owns" in w.said() for w in self.crew.workers), "a share for every worker", 6)
        self.traffic.begin()
        self.note("traffic begins")

    def play(self) -> None:
        """Faults at their moments, until all traffic is produced and all is well again."""
        for share, fault in self.plan.faults:
            self.until(lambda share=share: self.traffic.share >= share, f"{share:.0%} of the traffic")  # type: ignore[misc]
            self.note(f"{fault.kind} strikes")
            fault.strike(self)
            self.struck[fault.kind] += 1
        self.until(lambda: self.traffic.share >= 1, "the end of the traffic")
        for _, fault in reversed(self.plan.faults):
            fault.heal(self)
        self.note("all is well again")
        self.until(lambda: self.traffic.done, "the acknowledgement of all traffic")
        if not self.crew.running:
            self.until(lambda: bool(self.crew.running), "a worker that is started again")

    def drain(self) -> None:
        """Until every record is processed and committed, and the store has come as far."""
        with contextlib.closing(Progress(self.settings.kafka, PARTITIONS, self.demand)) as progress:
            self.until(lambda: progress.is_done(self.traffic.ends()), "the end of processing")
            ends = progress.ends(self.traffic.ends())
        self.note("all is committed")
        with contextlib.suppress(Hang):  # the comparison will tell what is missing
            self.until(lambda: self.folded_up_to(ends), "the end of folding", 15)

    def finish(self) -> None:
        """Workers stop, each with exit code 0."""
        for worker in self.crew.workers:
            if worker.runs:
                self.crew.remove(worker)
            worker.supervised = False
        self.until(lambda: not self.crew.running, "the end of all workers", 25)
        self.note("all workers have ended")

    def dump(self) -> None:
        """Has every worker write its stacks to its log."""
        for worker in self.crew.running:
            worker.process.send(signal.SIGCONT)
            worker.process.send(signal.SIGUSR1)
        time.sleep(0.5)
