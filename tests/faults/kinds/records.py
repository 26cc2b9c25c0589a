"""Faults of the input: far too large a record, and a topic that is deleted and made anew.

Poison, duplicates, late and disordered events are in every input.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.faults.fault import Fault
from tests.faults.poison import Wire

if TYPE_CHECKING:
    from tests.faults.scene import Scene


@dataclass(frozen=True)
class HugeRecord(Fault):
    """A record of 10 MB, which does not compress."""

    kind = "huge-record"
    doc = "a record of 10 MB"

    topic: str
    seed: int

    @classmethod
    def draw(cls, random: Random) -> HugeRecord:
        return cls(random.choice(("orders", "clicks", "inventory")), random.randrange(1000))

    def strike(self, scene: Scene) -> None:
        huge = Wire(self.topic, b"huge", Random(self.seed).randbytes(10_000_000))
        scene.poison.append(huge)
        scene.traffic.send(huge)
