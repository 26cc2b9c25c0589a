"""Faults of workers: killed, and away for a while."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from stream.failpoints import POINTS, VARIABLE
from tests.faults.fault import Fault
from tests.faults.scene import SESSION_S

if TYPE_CHECKING:
    from tests.faults.scene import Scene

#: Points that a worker comes by only where something else happens.
_PROVOKED = ("revoking", "recovering")


@dataclass(frozen=True)
class KilledAtStep(Fault):
    """SIGKILL to itself at a step of the protocol."""

    kind = "killed-at-step"
    doc = "a worker is killed at a numbered step of the protocol"

    point: str
    nth: int
    delay_s: float

    @classmethod
    def draw(cls, random: Random) -> KilledAtStep:
        point = random.choice(list(POINTS))
        nth = 1 if point in (*_PROVOKED, "claimed") else random.randint(1, 8)
        return cls(point, nth, random.choice((0.0, 0.0, 0.02)))

    def prepare(self, scene: Scene) -> None:
        action = f"kill={self.delay_s}" if self.delay_s else "kill"
        scene.first[VARIABLE] = f"{self.point}:{self.nth}:{action}"

    def strike(self, scene: Scene) -> None:
        if self.point == "revoking":
            scene.add_worker()
        elif self.point == "recovering":
            scene.store.client.flushall()
        first = scene.crew.workers[0].processes[0]
        scene.until(lambda: not first.runs, f"the end of worker 1 at {self.point!r}")


@dataclass(frozen=True)
class Killed(Fault):
    """SIGKILL from outside, at any moment."""

    kind = "killed"
    doc = "workers are killed at random moments"

    after_s: tuple[float, ...]

    @classmethod
    def draw(cls, random: Random) -> Killed:
        return cls(tuple(round(random.uniform(0, 0.5), 3) for _ in range(random.randint(1, 3))))

    def strike(self, scene: Scene) -> None:
        for after_s in self.after_s:
            scene.pause(after_s)
            scene.kill(scene.some_worker())


@dataclass(frozen=True)
class Zombie(Fault):
    """SIGSTOP past the session time-out, at a step or at any moment; SIGCONT when another worker has its partitions."""

    kind = "zombie"
    doc = "a worker is stopped past its session time-out, at a step or anywhere, and comes back"
    workers = 2

    point: str
    nth: int
    longer_s: float

    @classmethod
    def draw(cls, random: Random) -> Zombie:
        points = [p for p in POINTS if p not in (*_PROVOKED, "claimed")]
        return cls(random.choice([*points, ""]), random.randint(1, 8), round(random.uniform(0, 1), 2))

    def prepare(self, scene: Scene) -> None:
        if self.point:
            scene.first[VARIABLE] = f"{self.point}:{self.nth}:stop"

    def strike(self, scene: Scene) -> None:
        process = scene.crew.workers[0].process
        if not self.point:
            process.send(signal.SIGSTOP)
        scene.until(lambda: process.stopped or not process.runs, f"worker 1 at {self.point!r}")
        before = scene.epochs()
        scene.until(lambda: scene.epochs() > before, "a worker that takes over", SESSION_S + 15)
        scene.pause(self.longer_s)
        scene.note("the zombie comes back")
        process.send(signal.SIGCONT)
