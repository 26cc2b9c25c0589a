"""Faults of workers: killed, away for a while, slow at their steps, at odds with the clock."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from stream.failpoints import POINTS, VARIABLE
from tests.faults.fault import Fault
from tests.faults.timeouts import SESSION_S

if TYPE_CHECKING:
    from tests.faults.processes import Process
    from tests.faults.scene import Scene

#: Points that a worker comes by only where something else happens, and at its beginning.
_PROVOKED = ("revoking", "recovering")
_ONCE = ("claimed", *_PROVOKED)
#: A point that is not reached by then, because too little is left to do, will not be.
_REACHED_S = 6.0


def _reaches(scene: Scene, process: Process, point: str, instead: signal.Signals) -> None:
    """Waits until a worker is held or ended at its point; if it never comes there, it is hit where it is."""
    try:
        scene.until(lambda: process.stopped or not process.runs, point, _REACHED_S)
    except TimeoutError:
        scene.note(f"worker 1 does not come by {point!r}")
        process.send(instead)
        scene.until(lambda: process.stopped or not process.runs, "the end of worker 1")


@dataclass(frozen=True)
class KilledAtStep(Fault):
    """SIGKILL to itself at a step of the protocol."""

    kind = "killed-at-step"
    doc = "a worker is killed at a numbered step of the protocol"
    at_step = True
    weight = 6

    point: str
    nth: int
    delay_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> KilledAtStep:
        point = list(POINTS)[turn % len(POINTS)]
        nth = 1 if point in _ONCE else random.randint(1, 6)
        return cls(point, nth, random.choice((0.0, 0.0, 0.02)))

    @property
    def face(self) -> str:
        return f"{self.kind} {self.point or 'anywhere'}"

    def prepare(self, scene: Scene) -> None:
        action = f"kill={self.delay_s}" if self.delay_s else "kill"
        scene.first[VARIABLE] = f"{self.point}:{self.nth}:{action}"

    def strike(self, scene: Scene) -> None:
        if self.point == "revoking":
            scene.add_worker()
        elif self.point == "recovering":
            scene.store.client.flushall()
        _reaches(scene, scene.crew.workers[0].processes[0], self.point, signal.SIGKILL)


@dataclass(frozen=True)
class Killed(Fault):
    """SIGKILL from outside, at any moment."""

    kind = "killed"
    doc = "workers are killed at random moments"

    after_s: tuple[float, ...]

    @classmethod
    def draw(cls, random: Random, turn: int) -> Killed:
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
    at_step = True
    weight = 4

    point: str
    nth: int
    longer_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> Zombie:
        points = [*(p for p in POINTS if p not in _ONCE), ""]
        return cls(points[turn % len(points)], random.randint(1, 6), round(random.uniform(0, 1), 2))

    @property
    def face(self) -> str:
        return f"{self.kind} {self.point or 'anywhere'}"

    def prepare(self, scene: Scene) -> None:
        if self.point:
            scene.first[VARIABLE] = f"{self.point}:{self.nth}:stop"

    def strike(self, scene: Scene) -> None:
        process = scene.crew.workers[0].process
        if not self.point:
            process.send(signal.SIGSTOP)
        _reaches(scene, process, self.point, signal.SIGSTOP)
        before = scene.epochs()
        scene.until(lambda: scene.epochs() > before or self._is_long_gone(process), "a worker that takes over")
        scene.pause(self.longer_s)
        scene.note("the zombie comes back")
        process.send(signal.SIGCONT)

    def _is_long_gone(self, process: Process) -> bool:
        """Held since before this fault had its turn, so that others had all the time to take over."""
        return process.stopped_at is None or time.monotonic() - process.stopped_at > 3 * SESSION_S


@dataclass(frozen=True)
class Nap(Fault):
    """SIGSTOP for less than the session time-out: nobody takes over."""

    kind = "nap"
    doc = "a worker is stopped for less than its session time-out"

    seconds: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> Nap:
        return cls(round(random.uniform(0.2, 1.2), 2))

    def strike(self, scene: Scene) -> None:
        process = scene.some_worker().process
        process.send(signal.SIGSTOP)
        scene.pause(self.seconds)
        process.send(signal.SIGCONT)


@dataclass(frozen=True)
class ClockJumps(Fault):
    """The wall clock of the workers jumps; event time and time-outs must not."""

    kind = "clock-jumps"
    doc = "the wall clock of workers jumps by up to a day, either way"

    shift_s: float

    @classmethod
    def draw(cls, random: Random, turn: int) -> ClockJumps:
        return cls(round(random.choice((-1, 1)) * random.choice((90.0, 3_600.0, 86_400.0)) * random.uniform(0.5, 1), 1))

    def prepare(self, scene: Scene) -> None:
        scene.crew.clock_shift_s = self.shift_s

    def strike(self, scene: Scene) -> None:
        for worker in scene.crew.running:
            worker.process.send(signal.SIGUSR2)
