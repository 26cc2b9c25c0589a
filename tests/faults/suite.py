"""The suite: plans spread over lanes, each with brokers of its own, and what came of them."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stream.localkafka import LocalKafka, check
from tests.faults.cluster import PROPERTIES, make_well
from tests.faults.inputs import VARIANTS, Variant, make_variant
from tests.faults.outcome import Outcome
from tests.faults.plan import Plan, undisturbed
from tests.faults.processes import Zygote
from tests.faults.run import Result, carry_out

#: Brokers of a lane that has more than one.
_MANY = 3
#: A broker that lives for minutes is not worth the second compiler's time.
_JAVA = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}


@dataclass(frozen=True)
class Options:
    """How a suite is run.

    Args:
        directory: for event logs, and for the logs of runs that failed.
        lanes: how many runs at once.
        keep: keeps the logs of all runs.
    """

    directory: Path
    lanes: int = 3
    keep: bool = False


@dataclass
class Suite:
    """Carries out plans.

    Args:
        options: how.
        plans: what.
        told: gets every result as it comes, from any thread.

    `results` has those of the plans, `references` those of the undisturbed runs, by variant; `void` the runs that were
    carried out again, since Kafka broke a promise in them.
    """

    options: Options
    plans: Sequence[Plan]
    told: Callable[[Result], None] = lambda _result: None
    results: list[Result] = field(default_factory=list)
    references: dict[int, Result] = field(default_factory=dict)
    broker: str = ""
    void: list[Result] = field(default_factory=list)
    variants: dict[int, Variant] = field(default_factory=dict)
    _waiting: list[Plan] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failed: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Runs all.

        Raises:
            UsageError: Kafka cannot be started.
        """
        self.broker = check()
        os.environ.update(_JAVA)
        directory = self.options.directory
        directory.mkdir(parents=True, exist_ok=True)
        self.variants = {n: make_variant(n, directory / "logs") for n in range(VARIANTS)}
        wanted = sorted({plan.variant for plan in self.plans})
        sizes = [_MANY if any(p.brokers > 1 for p in self.plans) else 1]
        sizes += [1] * (min(self.options.lanes, len(self.plans)) - 1)
        ready = threading.Barrier(len(sizes))
        self._waiting = [undisturbed(n) for n in wanted]
        with Zygote(directory) as zygote:
            lanes = [threading.Thread(target=self._lane, args=(n, zygote, ready)) for n in sizes]
            for lane in lanes:
                lane.start()
            for lane in lanes:
                lane.join()
        if self._failed:
            raise self._failed[0]

    def _lane(self, brokers: int, zygote: Zygote, ready: threading.Barrier) -> None:
        try:
            with LocalKafka(brokers, PROPERTIES) as cluster:
                self._work(cluster, zygote)
                if ready.wait() == 0:
                    self._waiting = list(self.plans)
                ready.wait()
                self._work(cluster, zygote)
        except threading.BrokenBarrierError:
            return  # another lane has told why
        except BaseException as error:  # noqa: BLE001
            self._failed.append(error)
            ready.abort()

    def _work(self, cluster: LocalKafka, zygote: Zygote) -> None:
        while (plan := self._next(len(cluster.numbers))) is not None and not self._failed:
            make_well(cluster)
            directory = self.options.directory / plan.name
            shutil.rmtree(directory, ignore_errors=True)
            reference = self._reference(plan)
            variant = self.variants[plan.variant]
            result = carry_out(cluster, zygote, variant, plan, directory, reference)
            if result.void:  # once more, and what comes of that counts, void or not
                self.void.append(result)
                make_well(cluster)
                result = carry_out(cluster, zygote, variant, plan, directory.with_name(f"{plan.name}-again"), reference)
            self._note(result)

    def _next(self, brokers: int) -> Plan | None:
        """The next plan for so many brokers; those with many take first what others cannot."""
        with self._lock:
            fit = [p for p in self._waiting if p.brokers <= brokers]
            if not fit:
                return None
            chosen = max(fit, key=lambda p: p.brokers)
            self._waiting.remove(chosen)
            return chosen

    def _reference(self, plan: Plan) -> Outcome | None:
        found = self.references.get(plan.variant)
        return None if found is None else found.outcome

    def _note(self, result: Result) -> None:
        with self._lock:
            if result.plan.faults:
                self.results.append(result)
            else:
                self.references[result.plan.variant] = result
        if not result.problems and not self.options.keep:
            shutil.rmtree(result.directory, ignore_errors=True)
        self.told(result)


def default_lanes() -> int:
    """Runs wait more than they compute: half as many again as there are cores."""
    return max(2, (os.cpu_count() or 2) * 3 // 2)
