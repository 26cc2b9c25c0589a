"""Tenure: takes partitions over and gives them back, and finds out whether they are still ours.

Claiming a partition raises the epoch of its fences, which refuses whatever its last owner may still write; that owner's
open Kafka transaction is ended, too (docs/decisions/0014).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.store import Fence, Store, StoreUnavailable
from stream.ownership import Ownership, Partition
from stream.sink import Sink, TransactionalSink
from stream.source import Begin, Source
from stream.topicwatch import TopicWatch

log = logging.getLogger(__name__)


class Superseded(Exception):
    """A newer owner has this worker's partitions: it must not write, and stops."""


@dataclass(frozen=True)
class Tenure:
    """The partitions of a worker.

    Args:
        store: where fences are.
        ownership: which partitions there are; K and R of each.
        sink: ends the transactions of dead owners, and has the name by which ours can be ended.
        topics: knows whether a topic is the one that it was.
        patiently: calls until the store answers.
    """

    store: Store
    ownership: Ownership
    sink: Sink
    topics: TopicWatch
    patiently: Callable[[Callable[[], Any]], Any]

    @property
    def _name(self) -> str:
        """Under which the next owner can end our transaction, should we die with one open."""
        return self.sink.transactional_id if isinstance(self.sink, TransactionalSink) else ""

    def check_topics(self) -> None:
        """Raises UsageError where a topic was made anew."""
        self.topics.check(self.store.pin_topics)

    def claim(self, partitions: Sequence[Partition], source: Source) -> dict[Partition, Begin]:
        """Claims partitions, ends what their last owners left open, and only then reads K; R is what the store says."""
        if not partitions:
            return {}
        self.patiently(lambda: self.topics.check_now(self.store.pin_topics))
        claimed = {p: self._claim(p) for p in partitions}
        self._end_of({fence.owner for fences in claimed.values() for fence in fences} - {"", self._name})
        begin = {}
        for partition, offset in source.committed(partitions).items():
            owned = self.ownership.take(partition, offset or 0, claimed[partition])
            begin[partition] = Begin(owned.begin, owned.published_to)
            log.info("owns %s[%d]: K=%s R=%s, begins at %d", *partition, offset, owned.folded_to, owned.begin)
        return begin

    def _claim(self, partition: Partition) -> list[Fence]:
        fences: list[Fence] = self.patiently(functools.partial(self.store.claim, *partition, self._name))
        return fences

    def _end_of(self, owners: set[str]) -> None:
        """Else K, and all that readers see, would wait for the time-out of a dead owner's transaction."""
        for owner in sorted(owners):
            if isinstance(self.sink, TransactionalSink):
                log.info("ends what %s may have left open", owner)
                self.sink.end_of(owner)

    def epochs(self, partitions: Sequence[Partition]) -> dict[Partition, list[int]]:
        """Of those that are ours."""
        return {p: self.ownership.owned[p].epochs for p in partitions if p in self.ownership.owned}

    def release(self, epochs: Mapping[Partition, list[int]]) -> None:
        """Tells the store that partitions were given back in order: nothing of theirs is open."""
        try:
            for partition, own in epochs.items():
                self.store.release(*partition, own)
        except StoreUnavailable as error:
            log.info("the store does not know that partitions were released in order: %s", error)

    def reread(self, source: Source, conflict: Exception) -> None:
        """Reads K and R of all partitions again, and goes back to where they say.

        Raises:
            Superseded: another worker has taken over while this one was away.
        """
        while not self._reread(source, conflict):
            pass  # partitions came or went while the store was away

    def _reread(self, source: Source, conflict: Exception) -> bool:
        generation, held = self.ownership.generation, list(self.ownership.owned)
        fences = {}
        for partition in held:
            if self.ownership.generation != generation:
                return False
            fences[partition] = self._own_fences(partition, conflict)
        if self.ownership.generation != generation:
            return False
        committed = source.committed(held)
        owned = {p: self.ownership.take(p, committed[p] or 0, fences[p]) for p in held}
        source.seek({p: Begin(o.begin, o.published_to) for p, o in owned.items()})
        return True

    def _own_fences(self, partition: Partition, conflict: Exception) -> list[Fence]:
        """The fences of a partition that is ours; claimed again only where the store has lost our claim.

        To claim it in any case would take it from a newer owner that is about to have it.
        """
        own = self.ownership.owned[partition].epochs
        fences: list[Fence] = self.patiently(functools.partial(self.store.fences, *partition))
        if max(f.epoch for f in fences) > max(own):
            raise Superseded(f"another worker has taken {partition[0]}[{partition[1]}]; this one stops") from conflict
        return fences if [f.epoch for f in fences] == own else self._claim(partition)
