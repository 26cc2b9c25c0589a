"""A run: a plan carried out on a lane's brokers, and what does not hold afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from stream.localkafka import LocalKafka
from tests.faults.checks import Expected, Problem, check
from tests.faults.cluster import remake_topics, wait_until_settled
from tests.faults.inputs import Variant
from tests.faults.outcome import Outcome, read_outcome
from tests.faults.plan import Plan
from tests.faults.processes import Zygote
from tests.faults.scene import Hang, Scene
from tests.faults.traffic import produce_all

#: How much is kept of a broker's log.
_LOG_BYTES = 2_000_000
#: What a broker says that leaves a transaction without its markers (docs/reliability.md, "One broker alone").
_UNMARKED = b"Couldn't find leader endpoint"


@dataclass
class Result:
    """What became of a run.

    Args:
        plan: what was to happen.
        directory: logs, kept where it failed.
        problems: none where all holds.
        struck: how often each kind of fault did.
        outcome: where the run came to its end.
    """

    plan: Plan
    directory: Path
    problems: list[Problem] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    outcome: Outcome | None = None
    seconds: float = 0.0

    @property
    def void(self) -> bool:
        """Whether Kafka itself broke a promise that exactly once is built on, so that it says nothing of Tidecast."""
        return any(p.kind == "broker" for p in self.problems)

    def count(self, kind: str) -> int:
        """How many things of a kind do not hold."""
        return sum(p.count for p in self.problems if p.kind == kind)


def carry_out(
    cluster: LocalKafka,
    zygote: Zygote,
    variant: Variant,
    plan: Plan,
    directory: Path,
    reference: Outcome | None,
) -> Result:
    """Carries out a plan, and checks what it came to; never raises."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "plan.json").write_text(json.dumps(plan.told(), indent=2))
    result, begun = Result(plan, directory), time.monotonic()
    try:
        remake_topics(cluster)
        with (
            contextlib.closing(zygote.line()) as line,
            Scene(cluster, line, variant, plan, directory) as scene,
        ):
            produce_all(scene.settings.kafka, variant.reference)
            _play(scene, result)
            wait_until_settled(cluster)
            result.outcome = read_outcome(scene.settings.kafka, scene.client())
            lost = any(fault.loses for _, fault in plan.faults)
            expected = Expected(variant.lines, scene.poison, scene.traffic.acknowledged, lost)
            result.problems += check(result.outcome, expected, reference)
    except TimeoutError as hang:
        result.problems.append(Problem("hang", str(hang)))
    except Exception as error:  # noqa: BLE001
        result.problems.append(Problem("crash", f"the suite: {error!r}\n{traceback.format_exc()}"))
    result.seconds = time.monotonic() - begun
    if result.problems:
        _keep_broker_logs(cluster, directory)
        result.problems += _broken_promises(cluster, plan, directory)
    (directory / "problems.txt").write_text("\n".join(f"{p.kind}: {p.what}" for p in result.problems))
    return result


def _keep_broker_logs(cluster: LocalKafka, directory: Path) -> None:
    """The end of what the brokers said: their own files go with them."""
    for number in cluster.numbers:
        with contextlib.suppress(OSError), cluster.log(number).open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - _LOG_BYTES, 0))
            (directory / f"broker-{number}.log").write_bytes(log.read())


def _broken_promises(cluster: LocalKafka, plan: Plan, directory: Path) -> list[Problem]:
    """What a failed run owes to Kafka: transactions that a coordinator left without markers, by its own word."""
    ours = f"for {plan.group}".encode()
    said = [
        line.decode(errors="replace")
        for number in cluster.numbers
        if (log := directory / f"broker-{number}.log").exists()
        for line in log.read_bytes().splitlines()
        if _UNMARKED in line and ours in line
    ]
    return [Problem("broker", f"left a transaction without its markers: {said[0]}", len(said))] if said else []


def _play(scene: Scene, result: Result) -> None:
    try:
        scene.begin()
        scene.play()
        scene.drain()
        scene.finish()
    except Hang:
        scene.dump()
        raise
    finally:
        result.struck = scene.struck
    for worker in scene.crew.workers:
        for process in worker.processes:
            if "Traceback (most recent call last)" in process.said():
                result.problems.append(
                    Problem("crash", f"worker {worker.number} ended with a traceback: {process.log}")
                )
