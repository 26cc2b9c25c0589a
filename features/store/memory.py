"""A store in memory: for tests, replay and history. Same promises, no expiry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from features.store.base import Fence, FenceConflict, FenceMove, Store, Write


class MemoryStore(Store):
    """Keeps everything in dicts.

    >>> store = MemoryStore()
    >>> store.claim("orders", 0)
    [Fence(next_offset=None, epoch=1, sources={})]
    """

    def __init__(self, buckets: int = 1) -> None:
        self.buckets = buckets
        self._values: dict[tuple[str, str], dict[str, bytes]] = defaultdict(dict)
        self._fences: dict[tuple[str, int, int], Fence] = {}
        self._names: dict[int, str] = {}

    def load(self, kind: str, name: str, entities: Sequence[str]) -> list[bytes | None]:
        """Values by entity."""
        values = self._values[kind, name]
        return [values.get(e) for e in entities]

    def claim(self, topic: str, partition: int) -> list[Fence]:
        """Raises the epoch."""
        for bucket in range(self.buckets):
            fence = self._fence(topic, partition, bucket)
            self._fences[topic, partition, bucket] = Fence(fence.next_offset, fence.epoch + 1, fence.sources)
        return self.fences(topic, partition)

    def fences(self, topic: str, partition: int) -> list[Fence]:
        """As they are."""
        return [self._fence(topic, partition, bucket) for bucket in range(self.buckets)]

    def _fence(self, topic: str, partition: int, bucket: int) -> Fence:
        return self._fences.get((topic, partition, bucket), Fence(None, 0))

    def commit(self, writes: Sequence[Write]) -> None:
        """Checks all fences of a bucket, then writes."""
        for write in writes:
            for move in write.fences:
                self._check(move, write.bucket)
            for move in write.fences:
                self._fences[move.topic, move.partition, write.bucket] = Fence(
                    move.next_offset, move.epoch, dict(move.sources)
                )
            for record in write.records:
                self._values[record.kind, record.name][record.entity] = record.value

    def _check(self, move: FenceMove, bucket: int) -> None:
        have = self._fence(move.topic, move.partition, bucket)
        # Epoch 0 is a partition that nobody has claimed.
        if have.epoch == 0 or have.epoch != move.epoch or have.next_offset != move.expected:
            raise FenceConflict(
                f"{move.topic}[{move.partition}] bucket {bucket}: the fence is at {have.next_offset} of epoch "
                f"{have.epoch}, expected {move.expected} of epoch {move.epoch}"
            )

    def remember_names(self, names: dict[int, str]) -> None:
        """Adds them."""
        self._names |= names

    def names(self, ids: Sequence[int]) -> dict[int, str]:
        """Those that are known."""
        return {i: self._names[i] for i in ids if i in self._names}

    def scan(self, kind: str, name: str) -> dict[str, bytes]:
        """A copy of all values."""
        return dict(self._values[kind, name])
