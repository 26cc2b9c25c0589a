"""Cut: a micro-batch into parts, at the steps of ticks; each step is a part of one record.

Where no model's scores age there is one part, and nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stream.ageing import Ageing
from stream.clock import Clock, Step
from stream.decode import DecodedBatch, RecordLike
from stream.events import SourceOffset
from stream.ownership import Owned, Ownership, Partition


class Part(NamedTuple):
    """A piece of a micro-batch.

    Args:
        newest_ms: the newest event time of each partition in it, where models age.
        source: the record, where it is the only one and a step.
    """

    batch: DecodedBatch
    newest_ms: Mapping[Partition, int] = {}
    source: SourceOffset | None = None


@dataclass(frozen=True, slots=True)
class Cutter:
    """Finds the steps.

    Args:
        ageing: which models' scores age.
        ownership: has the clocks.
    """

    ageing: Ageing
    ownership: Ownership

    def parts(
        self, records: Sequence[RecordLike], decode: Callable[[Sequence[RecordLike]], DecodedBatch]
    ) -> Iterator[Part]:
        """The pieces of a micro-batch, each looked for when those before it are in the state."""
        batch = decode(records)
        if not self.ageing.after_ms:
            yield Part(batch)
            return
        newest = self._newest(batch)
        if not any(self._may_step(partition, at) for partition, at in newest.items()):
            yield Part(batch, newest)
            return
        times, begin = _times(batch), 0
        while (at := self._first_step(records, begin, times)) is not None:
            if at > begin:
                yield self._part(decode(records[begin:at]))
            step = records[at]
            yield self._part(decode([step]), SourceOffset(step.topic(), step.partition(), step.offset()))
            begin = at + 1
        if begin < len(records):
            yield self._part(decode(records[begin:])) if begin else Part(batch, newest)

    def _part(self, batch: DecodedBatch, source: SourceOffset | None = None) -> Part:
        return Part(batch, self._newest(batch), source)

    def _newest(self, batch: DecodedBatch) -> dict[Partition, int]:
        out: dict[Partition, int] = {}
        for topic, decoded in batch.topics.items():
            if self.ageing.models(topic):
                newest: dict[int, int] = {}
                for event, partition in zip(decoded.events, decoded.partitions, strict=True):
                    if event.event_time_ms > newest.get(partition, 0):
                        newest[partition] = event.event_time_ms
                out |= {(topic, partition): at for partition, at in newest.items()}
        return out

    def _may_step(self, partition: Partition, newest_ms: int) -> bool:
        """Whether a step may be among records up to an event time; False is sure."""
        period = self.ageing.period_ms
        return any(
            clock.following or clock.steps or not clock.newest_ms or newest_ms // period > clock.newest_ms // period
            for clock in self.ownership.owned[partition].clocks
        )

    def _first_step(
        self, records: Sequence[RecordLike], begin: int, times: Mapping[tuple[str, int, int], int]
    ) -> int | None:
        """The index of the first record from `begin` on at which a bucket has a step."""
        newest: dict[Partition, int] = {}
        clocks: dict[Partition, set[tuple[int, Clock]]] = {}
        for i in range(begin, len(records)):
            topic, partition, offset = at = records[i].topic(), records[i].partition(), records[i].offset()
            if at not in times or not self.ageing.models(topic):
                continue
            where = topic, partition
            if where not in clocks:
                clocks[where] = _positions(self.ownership.owned[where])
            before = newest.get(where, 0)
            if any(self._step(*held, offset, times[at], before) for held in clocks[where]):
                return i
            newest[where] = max(before, times[at])
        return None

    def _step(self, folded_to: int, clock: Clock, offset: int, event_time_ms: int, newest_ms: int = 0) -> Step | None:
        if offset < folded_to:
            return clock.again(offset)
        return clock.step_at(offset, event_time_ms, max(newest_ms, clock.newest_ms), self.ageing.period_ms)

    def steps(self, part: Part) -> list[Step | None]:
        """The step of each bucket at the record of a part."""
        source = part.source
        if source is None:
            return [None] * self.ownership.buckets
        where = source.topic, source.partition
        at_ms, owned = part.newest_ms[where], self.ownership.owned[where]
        held = zip(owned.folded_to, owned.clocks, strict=True)
        return [self._step(r or 0, clock, source.offset, at_ms) for r, clock in held]


def _times(batch: DecodedBatch) -> dict[tuple[str, int, int], int]:
    """Event times by the place of the record; only of those that could be taken in."""
    return {
        (topic, partition, offset): event.event_time_ms
        for topic, decoded in batch.topics.items()
        for event, partition, offset in zip(decoded.events, decoded.partitions, decoded.offsets, strict=True)
    }


def _positions(owned: Owned) -> set[tuple[int, Clock]]:
    """R and the clock of every bucket: mostly the same in all of them."""
    return {(r or 0, clock) for r, clock in zip(owned.folded_to, owned.clocks, strict=True)}
