"""Lag: how far the workers are behind, by input partition: in records, in event time, and in the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from features.store import Store
from stream.groupstate import Kept, Member, Members
from stream.source import Partition
from stream.topology import CONSUMED

#: Lags up to this many offsets are counted record by record.
COUNTED = 5_000


class Broker(Protocol):
    """What is asked of the broker: a `stream.groupstate.GroupState`."""

    def partitions(self, topics: Sequence[str]) -> list[Partition]:
        """The partitions of topics."""

    def kept(self, partitions: Collection[Partition]) -> dict[Partition, Kept]:
        """The first offset and the end of each."""

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, int | None]:
        """K of each."""

    def records(self, begin: Mapping[Partition, int], at_most: int) -> dict[Partition, int]:
        """How many records there are from given offsets on."""

    def members(self) -> Members:
        """Who is in the group."""


class Stored(msgspec.Struct, frozen=True):
    """What the store says of a partition.

    Args:
        folded_to: R, the least of all buckets; None where nothing has been folded.
        epoch: number of the owner.
        event_time_ms: the watermark: how far event time had come when a worker last wrote it down; None: never.
        written_ms: when that was.
    """

    folded_to: int | None
    epoch: int
    event_time_ms: int | None
    written_ms: int | None


class PartitionLag(msgspec.Struct, frozen=True):
    """One input partition.

    Args:
        first, end: the offsets that the broker has.
        committed: K; None where the group has committed nothing.
        lag: records from K to the end. Where there are many (`counted` is false) offsets are counted, and some of them
            may be marks of transactions.
        marks: offsets from K to the end that are no records: each transaction ends with one.
        stored: what the store says; None where it does not answer.
        behind_ms: from the watermark to now; None where there is no watermark.
        clock_age_ms: how long ago a worker wrote the watermark down.
        owner: who has the partition; None: nobody.
    """

    topic: str
    partition: int
    first: int
    end: int
    committed: int | None
    lag: int
    counted: bool
    marks: int
    stored: Stored | None
    behind_ms: int | None
    clock_age_ms: int | None
    owner: Member | None

    @property
    def begin(self) -> int:
        """min(K, R): where a worker that takes it over begins."""
        folded = self.committed if self.stored is None else self.stored.folded_to
        return min(self.committed or 0, folded or 0)

    @property
    def lost(self) -> int:
        """How many offsets retention has taken away before they were both folded and published."""
        begun = self.committed is not None or (self.stored is not None and self.stored.folded_to is not None)
        return max(self.first - self.begin, 0) if begun else 0

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.topic}[{self.partition}]"


Look = Callable[[Collection[Partition]], Mapping[Partition, Stored] | None]


class Lag(msgspec.Struct, frozen=True):
    """All input partitions of a group.

    Args:
        at_ms: when it was measured.
        state, protocol, members: of the group.
        lag: records in all partitions.
        behind_ms: the most of partitions in which records wait; None where none waits or none has a watermark.
    """

    at_ms: int
    group: str
    state: str
    protocol: str
    members: int
    lag: int
    behind_ms: int | None
    partitions: list[PartitionLag]


def stored(store: Store, partitions: Collection[Partition]) -> dict[Partition, Stored]:
    """What the store says of partitions.

    Raises:
        StoreUnavailable: no answer.
    """
    clock, out = store.clock(), {}
    for topic, partition in partitions:
        fences = store.fences(topic, partition)
        known = [f.next_offset for f in fences if f.next_offset is not None]
        # A bucket without a fence has lost it, or never had one: all of its events are to be folded.
        folded = None if not known else 0 if len(known) < len(fences) else min(known)
        tick = clock.get(f"{topic}:{partition}")
        epoch = max(f.epoch for f in fences)
        out[topic, partition] = Stored(folded, epoch, tick and tick.event_time_ms, tick and tick.wall_ms)
    return out


def measure(broker: Broker, group: str, look: Look, now_ms: int) -> Lag:
    """Looks at every input partition.

    Args:
        broker: asked for offsets and members.
        group: its name.
        look: asks the store; gives None where it does not answer.
        now_ms: the wall clock.
    """
    places = broker.partitions([topic.name for topic in CONSUMED])
    # In the order in which they move: else a busy worker's K would be past its R, and both past the end.
    committed, held, kept = broker.committed(places), look(places), broker.kept(places)
    begin = {p: max(committed[p] or 0, kept[p].first) for p in places}
    short = {p: offset for p, offset in begin.items() if 0 < kept[p].end - offset <= COUNTED}
    counts = broker.records(short, COUNTED) if short else {}
    members = broker.members()
    lags = [
        _partition_lag(p, kept[p], committed[p], counts.get(p), (held or {}).get(p), members.owners.get(p), now_ms)
        for p in places
    ]
    behind = [one.behind_ms for one in lags if one.lag and one.behind_ms is not None]
    total, most = sum(one.lag for one in lags), max(behind, default=None)
    return Lag(now_ms, group, members.state, members.protocol, members.size, total, most, lags)


def _partition_lag(
    place: Partition,
    kept: Kept,
    committed: int | None,
    count: int | None,
    held: Stored | None,
    owner: Member | None,
    now_ms: int,
) -> PartitionLag:
    gap = max(kept.end - max(committed or 0, kept.first), 0)
    lag = gap if count is None else count
    event_time_ms, written_ms = (held.event_time_ms, held.written_ms) if held else (None, None)
    return PartitionLag(
        *place,
        kept.first,
        kept.end,
        committed,
        lag,
        count is not None or gap == 0,
        max(gap - lag, 0),
        held,
        None if event_time_ms is None else now_ms - event_time_ms,
        None if written_ms is None else now_ms - written_ms,
        owner,
    )


def exceeded(lag: Lag, max_lag: int | None, max_age_s: float | None) -> list[str]:
    """What is beyond the limits, for people.

    Args:
        lag: as measured.
        max_lag: records in any partition; None is no limit.
        max_age_s: from the watermark to now, of partitions in which records wait: one to which nothing comes is not
            behind. A partition without a watermark is beyond any limit as soon as a record waits.
    """
    out = []
    for one in lag.partitions:
        if max_lag is not None and one.lag > max_lag:
            out.append(f"{one.name}: {one.lag:,} records wait, more than --max-lag {max_lag:,}")
        if max_age_s is None or one.lag == 0:
            continue
        if one.behind_ms is None:
            out.append(f"{one.name}: {one.lag:,} records wait, and the store has no watermark of it (--max-age)")
        elif one.behind_ms > max_age_s * 1000:
            out.append(
                f"{one.name}: event time is {one.behind_ms / 1000:,.0f} s behind, more than --max-age {max_age_s:g}"
            )
    return out
