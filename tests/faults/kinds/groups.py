"""Faults of the group: workers come and go, at bad moments, and under one name."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from stream.failpoints import VARIABLE
from tests.faults.fault import Fault

if TYPE_CHECKING:
    from tests.faults.scene import Scene


@dataclass(frozen=True)
class Scaled(Fault):
    """One worker, three, two, one, while events flow; those that go finish their work or are killed."""

    kind = "scaled"
    doc = "workers are added and removed during traffic: 1, 3, 2, 1"

    pauses_s: tuple[float, ...]
    killed: tuple[bool, ...]

    @classmethod
    def draw(cls, random: Random, turn: int) -> Scaled:
        pauses = tuple(round(random.uniform(0.1, 1.0), 2) for _ in range(3))
        return cls(pauses, tuple(random.random() < 0.4 for _ in range(2)))

    def strike(self, scene: Scene) -> None:
        for _ in range(2):
            scene.add_worker()
        for pause_s, killed in zip(self.pauses_s, (*self.killed, None), strict=True):
            scene.pause(pause_s)
            if killed is None or len(scene.crew.running) < 2:
                return
            worker = scene.some_worker()
            if killed:
                worker.supervised = False
                scene.kill(worker)
            else:
                scene.note(f"worker {worker.number} is to finish")
                scene.crew.remove(worker)


@dataclass(frozen=True)
class Rolled(Fault):
    """Every worker is ended with SIGTERM and started again, one after the other, as for a new version."""

    kind = "rolled"
    doc = "workers are stopped and started again one after the other"
    workers = 2

    pause_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> Rolled:
        return cls(round(random.uniform(0.0, 0.8), 2))

    def strike(self, scene: Scene) -> None:
        for worker in list(scene.crew.running):
            process = worker.process
            process.send(signal.SIGTERM)
            scene.until(lambda p=process: not p.runs, "the end of a worker that is rolled")  # type: ignore[misc]
            scene.pause(self.pause_s)


@dataclass(frozen=True)
class SlowSteps(Fault):
    """Delays at steps of the protocol while the group changes: what usually comes first comes second."""

    kind = "slow-steps"
    doc = "delays at steps of the protocol while workers come and go"
    at_step = True

    delays: tuple[str, ...]
    pause_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> SlowSteps:
        points = (
            "claimed",
            "revoking",
            "scored",
            "written",
            "half-produced",
            "committing",
            "offsets-sent",
            "committed",
        )
        chosen = random.sample(points, random.randint(2, 4))
        delays = tuple(f"{p}:{random.randint(1, 3)}:sleep={random.uniform(0.1, 1.0):.2f}" for p in chosen)
        return cls(delays, round(random.uniform(0.1, 0.8), 2))

    def prepare(self, scene: Scene) -> None:
        scene.crew.environment[VARIABLE] = ",".join(self.delays)

    def strike(self, scene: Scene) -> None:
        worker = scene.add_worker()
        scene.pause(self.pause_s)
        scene.add_worker()
        scene.pause(self.pause_s)
        scene.crew.remove(worker)


@dataclass(frozen=True)
class SameName(Fault):
    """A second worker with the instance id of the first, for a while: both may go down, nothing may go wrong."""

    kind = "same-name"
    doc = "two workers are configured with one instance id"

    seconds: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> SameName:
        return cls(round(random.uniform(0.8, 2.5), 2))

    def strike(self, scene: Scene) -> None:
        twin = scene.add_worker(name="worker-1")
        scene.pause(self.seconds)
        scene.note("the twin is taken away")
        scene.crew.remove(twin)
