"""A store in memory: for tests, replay and history. Same promises, and expiry by a clock that can be handed in."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from features.store.base import (
    Entry,
    Fence,
    FenceMove,
    Guard,
    Patch,
    Span,
    Store,
    Tick,
    Usage,
    Wanted,
    Write,
    bucket_of,
)
from features.store.refusals import check, entity_erased, fence_moved, not_as_believed


class _Value(NamedTuple):
    value: bytes
    dies_ms: float


class MemoryStore(Store):
    """Keeps everything in dicts.

    Args:
        buckets: how many there are.
        now_ms: a clock that never goes back, in ms; expiry goes by it.

    >>> store = MemoryStore()
    >>> store.claim("orders", 0)[0].epoch
    1
    """

    def __init__(self, buckets: int = 1, now_ms: Callable[[], float] = lambda: time.monotonic() * 1000) -> None:
        self.buckets, self._now_ms = buckets, now_ms
        self._values: dict[tuple[str, str], dict[str, _Value]] = defaultdict(dict)
        self._fences: dict[tuple[str, int, int], Fence] = {}
        self._erasures = [0] * buckets
        self._names: dict[int, str] = {}
        self._layouts: dict[int, bytes] = {}
        self._clock: dict[str, Tick] = {}
        self._topics: dict[str, str] = {}
        self._indexes: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)

    def load_all(self, wanted: Sequence[Wanted], guards: Sequence[Guard] = ()) -> list[list[bytes | None]]:
        """Values by entity."""
        for guard in guards:
            have = self._fence(guard.topic, guard.partition, guard.bucket)
            if (have.epoch, have.next_offset) != (guard.epoch, guard.next_offset):
                raise not_as_believed(guard, have.epoch, have.next_offset)
        now = self._now_ms()
        return [[self._alive(kind, name, e, now) for e in entities] for kind, name, entities in wanted]

    def _alive(self, kind: str, name: str, entity: str, now_ms: float) -> bytes | None:
        held = self._values[kind, name].get(entity)
        if held is None:
            return None
        if held.dies_ms <= now_ms:
            del self._values[kind, name][entity]
            return None
        return held.value

    def claim(self, topic: str, partition: int, owner: str = "") -> list[Fence]:
        """Raises the epoch."""
        before = self.fences(topic, partition)
        for bucket, fence in enumerate(before):
            self._fences[topic, partition, bucket] = replace(fence, epoch=fence.epoch + 1, owner=owner)
        return [replace(fence, epoch=fence.epoch + 1) for fence in before]

    def release(self, topic: str, partition: int, epochs: Sequence[int]) -> None:
        """Forgets the owner."""
        for bucket, fence in enumerate(self.fences(topic, partition)):
            if fence.epoch == epochs[bucket]:
                self._fences[topic, partition, bucket] = replace(fence, owner="")

    def fences(self, topic: str, partition: int) -> list[Fence]:
        """As they are."""
        return [self._fence(topic, partition, bucket) for bucket in range(self.buckets)]

    def _fence(self, topic: str, partition: int, bucket: int) -> Fence:
        held = self._fences.get((topic, partition, bucket), Fence(None, 0))
        return replace(held, erasures=self._erasures[bucket])

    def commit(self, writes: Sequence[Write]) -> None:
        """Checks all fences of a bucket, then writes."""
        for write in writes:
            check(write)
        for write in writes:
            self._check(write)
            for move in write.fences:
                self._move(move, write.bucket)
            now = self._now_ms()
            for record in write.records:
                value = _Value(record.value, now + record.ttl_ms)
                self._values[record.kind, record.name][record.entity] = value
            for entry in write.entries:
                self._enter(entry, write.bucket)

    def _enter(self, entry: Entry, bucket: int) -> None:
        index = self._indexes[entry.name, bucket]
        if entry.rank is None:
            index.pop(entry.entity, None)
        else:
            index[entry.entity] = entry.rank

    def _check(self, write: Write) -> None:
        for move in write.fences:
            have = self._fence(move.topic, move.partition, write.bucket)
            # Epoch 0 is a partition that nobody has claimed.
            if have.epoch == 0 or have.epoch != move.epoch or have.next_offset != move.expected:
                raise fence_moved(move, write.bucket, have.epoch, have.next_offset)
        erasures = self._erasures[write.bucket]
        if write.erasures is not None and write.erasures != erasures:
            raise entity_erased(write.bucket, erasures, write.erasures)

    def _move(self, move: FenceMove, bucket: int) -> None:
        have = self._fence(move.topic, move.partition, bucket)
        seen = _patched(b"" if move.seen_anew else have.seen, move.seen)
        clock = move.clock or have.clock
        self._fences[move.topic, move.partition, bucket] = Fence(
            move.next_offset, move.epoch, dict(move.sources), seen, owner=have.owner, clock=clock
        )

    def remember_names(self, names: dict[int, str]) -> None:
        """Adds them."""
        self._names |= names

    def names(self, ids: Sequence[int]) -> dict[int, str]:
        """Those that are known."""
        return {i: self._names[i] for i in ids if i in self._names}

    def remember_layouts(self, layouts: Mapping[int, bytes]) -> None:
        """Adds them."""
        self._layouts |= layouts

    def layouts(self, fingerprints: Sequence[int] | None = None) -> dict[int, bytes]:
        """Those that are known."""
        if fingerprints is None:
            return dict(self._layouts)
        return {f: self._layouts[f] for f in fingerprints if f in self._layouts}

    def pin_topics(self, ids: Mapping[str, str]) -> dict[str, str]:
        """Keeps the first of each."""
        return {name: self._topics.setdefault(name, topic_id) for name, topic_id in ids.items()}

    def tick(self, clock: Mapping[str, Tick]) -> None:
        """Never goes back."""
        for at, tick in clock.items():
            if at not in self._clock or self._clock[at].event_time_ms < tick.event_time_ms:
                self._clock[at] = tick

    def clock(self) -> dict[str, Tick]:
        """A copy."""
        return dict(self._clock)

    def erase(self, entity: str, records: Sequence[tuple[str, str]], indexes: Sequence[str] = ()) -> int:
        """Removes, and counts."""
        now, bucket = self._now_ms(), bucket_of(entity, self.buckets)
        gone = [key for key in dict.fromkeys(records) if self._alive(*key, entity, now) is not None]
        for key in gone:
            del self._values[key][entity]
        entered = [self._indexes[index, bucket].pop(entity, None) for index in indexes]
        self._erasures[bucket] += 1
        return len(gone) + sum(rank is not None for rank in entered)

    def spans(self, wanted: Sequence[Span]) -> list[list[str]]:
        """Sorts the whole index."""
        return [self._span(span) for span in wanted]

    def _span(self, span: Span) -> list[str]:
        index = self._indexes[span.name, span.bucket]
        within = [(rank, entity.encode(), entity) for entity, rank in index.items()]
        within = [held for held in within if span.lowest <= held[0] <= span.highest]
        return [entity for *_, entity in sorted(within)[: max(span.most, 0)]]

    def ranks(self, indexes: Sequence[str], entity: str) -> list[int | None]:
        """By name."""
        bucket = bucket_of(entity, self.buckets)
        return [self._indexes[index, bucket].get(entity) for index in indexes]

    def remaining_ms(self, kind: str, name: str, entities: Sequence[str]) -> list[int | None]:
        """By the clock that was handed in."""
        now, held = self._now_ms(), self._values[kind, name]
        return [int(held[e].dies_ms - now) if self._alive(kind, name, e, now) is not None else None for e in entities]

    def usage(self, kind: str, name: str, sample: int) -> Usage:
        """Counts the bytes of values alone: what a dict costs beside them is not what a server costs."""
        sizes = [len(value) for value in self.scan(kind, name).values()]
        measured = sizes[: max(sample, 0)]
        return Usage(len(sizes), len(measured), sum(measured) / len(measured) if measured else 0.0)

    def scan(self, kind: str, name: str) -> dict[str, bytes]:
        """A copy of all values."""
        now = self._now_ms()
        return {e: held.value for e, held in self._values[kind, name].items() if held.dies_ms > now}


def _patched(seen: bytes, patches: Sequence[Patch]) -> bytes:
    if not patches:
        return seen
    out = bytearray(seen)
    for at, data in patches:
        if data:
            out.extend(bytes(max(at + len(data) - len(out), 0)))
            out[at : at + len(data)] = data
    return bytes(out)
