"""Faults of the input: far too large a record, and a topic that is deleted and made anew.

Poison, duplicates, late and disordered events are in every input.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.faults.cluster import delete_topics, remake_topics
from tests.faults.fault import Fault
from tests.faults.poison import Wire

if TYPE_CHECKING:
    from tests.faults.processes import Process
    from tests.faults.scene import Scene


_INPUTS = ("orders", "clicks", "inventory")


@dataclass(frozen=True)
class HugeRecord(Fault):
    """A record of 10 MB, which does not compress."""

    kind = "huge-record"
    doc = "a record of 10 MB"

    topic: str
    seed: int

    @classmethod
    def draw(cls, random: Random, turn: int) -> HugeRecord:
        return cls(_INPUTS[turn % len(_INPUTS)], random.randrange(1000))

    def strike(self, scene: Scene) -> None:
        huge = Wire(self.topic, b"huge", Random(self.seed).randbytes(10_000_000))
        scene.poison.append(huge)
        scene.traffic.send(huge)


@dataclass(frozen=True)
class TopicRemade(Fault):
    """An input topic is deleted and made anew: workers end, and say what is to be done.

    Nothing is produced to it before, so that nothing is lost. Offsets that the store knows are of the old topic, so the
    operator gives the workers another namespace, and they fill it from what the topics have.
    """

    kind = "topic-remade"
    doc = "a topic is deleted and made anew"
    mixes = False

    topic: str

    @classmethod
    def draw(cls, random: Random, turn: int) -> TopicRemade:
        return cls(_INPUTS[turn % len(_INPUTS)])

    def prepare(self, scene: Scene) -> None:
        scene.traffic.held[self.topic] = []

    def strike(self, scene: Scene) -> None:
        delete_topics(scene.cluster, [self.topic])
        self._told(scene, "is gone")
        scene.note("made anew")
        remake_topics(scene.cluster, ())
        self._told(scene, "made anew")
        scene.use_namespace("anew")
        scene.traffic.release(self.topic)

    def _told(self, scene: Scene, what: str) -> None:
        """Every worker ends with exit code 2 and one message that names the topic."""
        begun = {w.number: len(w.processes) for w in scene.crew.workers}
        for worker in scene.crew.workers:
            scene.until(
                lambda w=worker: any(self._says(p, what) for p in w.processes[begun[w.number] - 1 :]),  # type: ignore[misc]
                f"worker {worker.number}, which ends because topic {self.topic} {what}",
            )

    def _says(self, process: Process, what: str) -> bool:
        return process.code == 2 and any(self.topic in line and what in line for line in process.said().splitlines())
