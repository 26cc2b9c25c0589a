"""Ownership: for each input partition that this worker has, K and R, and so what to fold and what to publish.

K is the group's committed offset: records before it have been published. R is the store's fence: records before it
are in the state. A restart begins at min(K, R); a record is folded if it is at or past R, and published if it is at
or past K. (DESIGN, "Exactly once, across Kafka and Redis".)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import kernel
from features.duplicates import Seen
from features.store import Fence, FenceMove, Guard
from stream.clock import Clock, unpack
from stream.events import SourceOffset
from stream.microbatch import Feed
from stream.topology import DEMAND, TOPICS

Partition = tuple[str, int]


@dataclass(slots=True)
class Owned:
    """One input partition: K, and the fence, the lately seen event ids and the clock of every bucket.

    `found` is R of every bucket as it was when the partition was taken: what lies between K and there was folded by an
    owner of whom nobody knows whether it published what followed.
    """

    published_to: int
    epochs: list[int]
    folded_to: list[int | None]
    found: list[int]
    sources: list[dict[int, int]]
    seen: list[Seen]
    clocks: list[Clock]

    @property
    def begin(self) -> int:
        """min(K, R): where to read from."""
        return min([self.published_to, *(r or 0 for r in self.folded_to)])


@kernel
def fresh_positions(rows: Any, sources: Any, positions: Any, newest: Any) -> Any:
    """Which records bring a source position that has not been folded, for each of their entities; moves `newest` on.

    Args:
        rows: where in `newest` each entity of each record stands, shape (n, entities); -1: it is not looked at.
    """
    keep = np.zeros(rows.shape, np.bool_)
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            keep[i, j] = rows[i, j] >= 0 and positions[i] > newest[rows[i, j], sources[i]]
        for j in range(rows.shape[1]):  # not before: two entities of a record may be in one bucket
            if keep[i, j]:
                newest[rows[i, j], sources[i]] = positions[i]
    return keep


@dataclass
class Ownership:
    """The partitions at hand.

    Args:
        buckets: of the store.
        duplicate_horizon: for how many events of a partition an event id is remembered; 0: not at all.
    """

    buckets: int
    duplicate_horizon: int = 0
    owned: dict[Partition, Owned] = field(default_factory=dict)
    #: How many entities had been erased from each bucket when caches began to fill.
    erasures: dict[int, int] = field(default_factory=dict)
    #: Moves whenever partitions come or go.
    generation: int = 0
    #: Items whose alert has been stated again since partitions were taken.
    stated: set[str] = field(default_factory=set)

    def take(self, partition: Partition, published_to: int, fences: list[Fence]) -> Owned:
        """Notes a claimed partition. `published_to` is K."""
        owned = Owned(
            published_to,
            [f.epoch for f in fences],
            [f.next_offset for f in fences],
            [f.next_offset or 0 for f in fences],
            [dict(f.sources) for f in fences],
            [Seen(self._horizon(partition[0]), f.seen) for f in fences],
            [unpack(f.clock).since(published_to) for f in fences],
        )
        self.owned[partition] = owned
        self.generation += 1
        self.stated.clear()
        for bucket, fence in enumerate(fences):
            self.erasures.setdefault(bucket, fence.erasures)
        return owned

    def _horizon(self, topic: str) -> int:
        """Of one bucket, which has at most as many events as the partition. Demand needs none: its source positions
        say what has been folded."""
        return 0 if topic == DEMAND.name else self.duplicate_horizon

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forgets partitions that were revoked."""
        self.generation += 1
        for partition in partitions:
            self.owned.pop(partition, None)
        if not self.owned:
            self.erasures.clear()

    def foldable(self, topic: str, feed: Feed, bucket: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which records of a feed are not in the state of their entities yet; notes the source positions it lets by.

        Args:
            topic: the feed's topic.
            feed: rows in log order.
            bucket: of each entity of each record, int64 of shape (n, entities); -1: it has none there.

        Returns:
            bool of the shape of `bucket`.
        """
        parts, inverse = np.unique(feed.partition, return_inverse=True)
        folded = np.array([[r or 0 for r in self.owned[topic, int(p)].folded_to] for p in parts], np.int64)
        keep = (feed.offset[:, None] >= folded[inverse[:, None], bucket]) & (bucket >= 0)
        if len(feed.source_partition):
            keep = self._unseen(topic, feed, parts, np.where(keep, inverse[:, None] * self.buckets + bucket, -1))
        return np.asarray(keep)

    def _unseen(
        self,
        topic: str,
        feed: Feed,
        parts: NDArray[np.int64],
        rows: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """A restarted worker publishes demand records again; each source position is folded once."""
        sources, of = np.unique(feed.source_partition, return_inverse=True)
        newest = np.full((len(parts) * self.buckets, len(sources)), -1, np.int64)
        for i, p in enumerate(parts.tolist()):
            for b, seen in enumerate(self.owned[topic, p].sources):
                for j, s in enumerate(sources.tolist()):
                    newest[i * self.buckets + b, j] = seen.get(s, -1)
        fresh = fresh_positions(rows, of, feed.source_position, newest)
        for i, p in enumerate(parts.tolist()):
            for b, seen in enumerate(self.owned[topic, p].sources):
                at = newest[i * self.buckets + b]
                seen.update({s: int(at[j]) for j, s in enumerate(sources.tolist()) if at[j] >= 0})
        return np.asarray(fresh)

    def publishable(self, topic: str, partition: int, offset: int) -> bool:
        """Whether a record's results have not been published yet."""
        return offset >= self.owned[topic, partition].published_to

    def guards(self, partitions: Iterable[Partition], buckets: Iterable[int]) -> list[Guard]:
        """Where the fences are of all that the entities of a micro-batch's partitions have been folded from."""
        touched = {(TOPICS[topic].copartition, partition) for topic, partition in partitions}
        wanted = sorted(buckets)
        return [
            Guard(topic, partition, bucket, owned.epochs[bucket], owned.folded_to[bucket])
            for (topic, partition), owned in self.owned.items()
            if (TOPICS[topic].copartition, partition) in touched
            for bucket in wanted
        ]

    def in_state(self, source: SourceOffset, bucket: int) -> bool:
        """Whether a record is before R: what it does to entities of the bucket is in the store."""
        return source.offset < (self.owned[source.topic, source.partition].folded_to[bucket] or 0)

    def between(self, topic: str, partition: int, offset: int, bucket: int) -> bool:
        """Whether a record is in [K, R) as found: in the state, but what followed may never have been published."""
        owned = self.owned.get((topic, partition))
        return owned is not None and owned.published_to <= offset < owned.found[bucket]

    def moves(
        self, next_offsets: dict[Partition, int], bucket: int, clocks: Mapping[Partition, Sequence[bytes]] | None = None
    ) -> list[FenceMove]:
        """The compare-and-sets that a micro-batch makes in a bucket: never backwards.

        Args:
            clocks: the new clock of every bucket, packed, of partitions that keep one.
        """
        out = []
        for (topic, partition), following in sorted(next_offsets.items()):
            owned = self.owned[topic, partition]
            have = owned.folded_to[bucket]
            clock = (clocks or {}).get((topic, partition))
            out.append(
                FenceMove(
                    topic,
                    partition,
                    owned.epochs[bucket],
                    have,
                    max(following, have or 0),
                    owned.sources[bucket],
                    owned.seen[bucket].patches(),
                    owned.seen[bucket].anew,
                    b"" if clock is None else clock[bucket],
                )
            )
        return out

    def moved(self, moves: Sequence[FenceMove], bucket: int) -> None:
        """Notes fences that the store has moved."""
        for move in moves:
            owned = self.owned[move.topic, move.partition]
            owned.folded_to[bucket] = move.next_offset
            owned.seen[bucket].written()
            if move.clock:
                owned.clocks[bucket] = unpack(move.clock)
