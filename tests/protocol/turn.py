"""One worker's turn in a moment: what its moves are made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tests.protocol.world import Move, Rules, Setup, Worker, World, put


@dataclass(frozen=True, slots=True)
class Turn:
    """Worker i, about to move."""

    setup: Setup
    rules: Rules
    world: World
    i: int

    @property
    def worker(self) -> Worker:
        """The worker as it is."""
        return self.world.workers[self.i]

    def within(self, world: World) -> Turn:
        """The same worker in another moment."""
        return replace(self, world=world)

    def move(self, told: str, worker: Worker) -> Move:
        """A move that changes nothing but the worker."""
        return Move(told, put(self.world, self.i, worker))

    @property
    def moving(self) -> list[int]:
        """The partitions that the micro-batch at hand has events of."""
        return [p for p, (at, end) in enumerate(zip(self.worker.position, self.worker.batch, strict=True)) if end > at]

    def as_believed(self, partitions: Iterable[int]) -> bool:
        """Whether the fences of partitions are where the worker believes them to be."""
        store, worker, rules = self.world.store, self.worker, self.rules
        return all(
            (store.fence[p] == worker.r[p] or not rules.fence_offset)
            and (store.epoch == worker.epoch or not rules.fence_epoch)
            for p in partitions
        )
