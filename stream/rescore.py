"""Rescore: scores age though no event comes; at ticks of event time those that are too old are made anew.

At each step of a tick, which is a micro-batch of one record (`stream.cut`):

1. due: the entities of the partition that were scored as of `rescore_after` before the tick or earlier, by the index in
   the store; the oldest first, so many at most. Not the entity of the record itself: it is scored by its record.
2. load those that are not at hand; those of which nothing is left go from the index.
3. score the others as of the tick; their `source` is the step's record.

Scores, alert states, ranks and the clock are written with the record's own fence: a step is in the state if its record
is before R, and published if it is before K, like anything that a record does (docs/decisions/0015). A step that comes
again, in [K, R), finds whom it has scored by their ranks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.store import Entry, Span
from features.store.base import bucket_of
from stream.ageing import Ageing, index_of, last_rank, mark_of, rank_of
from stream.clock import Step, pack
from stream.cut import Cutter, Part
from stream.events import SourceOffset
from stream.fold import Folded, State, touched
from stream.ownership import Ownership, Partition
from stream.provenance import Touch
from stream.results import Results
from stream.score import Aged, Scoring


class Renewal(NamedTuple):
    """Entities that a step scores anew with one model.

    Args:
        keys, tick_ms, marks: whom, as of when, and the mark of each one's rank.
        gone: entities of which nothing is left.
    """

    model: str
    keys: list[str]
    tick_ms: list[int]
    marks: list[int]
    gone: list[str]


class Due(NamedTuple):
    """What a step does, and in which buckets there may be more of its tick."""

    renewals: list[Renewal]
    left: set[int]


@dataclass(frozen=True, slots=True)
class Rescoring:
    """Does the steps.

    Args:
        cutter: knows where they are.
        scoring, state, ownership: the worker's.
    """

    cutter: Cutter
    scoring: Scoring
    state: State
    ownership: Ownership

    @property
    def _ageing(self) -> Ageing:
        return self.cutter.ageing

    def due(self, part: Part, folded: Folded) -> Due:
        """Steps 1 and 2; nothing for a part that is no step.

        Raises:
            StoreUnavailable: no answer; ask again.
            FenceConflict: another worker has the partition.
        """
        source = part.source
        if source is None:
            return Due([], set())
        steps = self.cutter.steps(part)
        wanted = [
            (model, self._span(model, source, bucket, step))
            for model in self._ageing.models(source.topic)
            for bucket, step in enumerate(steps)
            if step is not None
        ]
        found: dict[str, list[str]] = defaultdict(list)
        left = set()
        for (model, span), keys in zip(wanted, self.state.store.spans([span for _, span in wanted]), strict=True):
            found[model] += keys
            if len(keys) == span.most:
                left.add(span.bucket)
        self._load(part, folded, found)
        return Due([self._renewal(source, model, keys, steps) for model, keys in found.items()], left)

    def _span(self, model: str, source: SourceOffset, bucket: int, step: Step) -> Span:
        name, most = index_of(model, source.partition), max(1, self._ageing.most // self.ownership.buckets)
        if self.ownership.in_state(source, bucket):
            again = rank_of(step.tick_ms, mark_of(source.topic, step.number))
            return Span(name, bucket, again, again, most)
        return Span(name, bucket, 0, last_rank(step.tick_ms - self._ageing.after_ms[model]), most)

    def _load(self, part: Part, folded: Folded, found: dict[str, list[str]]) -> None:
        wanted: dict[str, dict[str, None]] = defaultdict(dict)
        for model, keys in found.items():
            entity = self.scoring.scorers[model].entity
            own = touched(folded, entity)
            found[model] = [key for key in keys if key not in own]
            wanted[entity] |= dict.fromkeys(found[model])
        buckets = self.ownership.buckets
        self.state.load(
            wanted, lambda keys: self.ownership.guards(part.batch.next_offsets, {bucket_of(k, buckets) for k in keys})
        )

    def _renewal(self, source: SourceOffset, model: str, keys: list[str], steps: Sequence[Step | None]) -> Renewal:
        """Whom to score: those of which something is left, as of the tick, in a view that the model reads."""
        out = Renewal(model, [], [], [], [])
        for (key, step), lives in zip(self._with_steps(keys, steps), self._alive(model, keys, steps), strict=True):
            if lives:
                out.keys.append(key)
                out.tick_ms.append(step.tick_ms)
                out.marks.append(mark_of(source.topic, step.number))
            else:
                out.gone.append(key)
        return out

    def _with_steps(self, keys: Sequence[str], steps: Sequence[Step | None]) -> Iterator[tuple[str, Step]]:
        for key in keys:
            step = steps[bucket_of(key, self.ownership.buckets)]
            assert step is not None, "it was found in the index of a bucket that has a step"
            yield key, step

    def _alive(self, model: str, keys: list[str], steps: Sequence[Step | None]) -> list[bool]:
        scorer = self.scoring.scorers[model]
        table = self.state.tables[scorer.entity]
        slots = table.slots_of(keys)
        ticks = np.fromiter((step.tick_ms for _, step in self._with_steps(keys, steps)), np.int64, len(keys))
        alive = np.zeros(len(keys), np.bool_)
        for view in scorer.views:
            newest = table.records[view]["event_time_ms"][slots]
            alive |= (newest > 0) & (ticks - newest <= table.views[view].ttl_ms)
        out: list[bool] = alive.tolist()
        return out

    def score(self, part: Part, due: Due, results: Results) -> None:
        """Step 3."""
        for model, keys, tick_ms, marks, gone in due.renewals:
            assert part.source is not None
            index, where = index_of(model, part.source.partition), [Touch(part.source, part.source.offset)]
            results.entries += [Entry(index, key, None) for key in gone]
            if keys:
                self.scoring.score_entities(
                    self.scoring.scorers[model],
                    keys,
                    [where] * len(keys),
                    part.batch,
                    self.ownership,
                    self.state,
                    results,
                    Aged(np.array(tick_ms, np.int64), marks),
                )

    def clocks(self, part: Part, due: Due) -> dict[Partition, list[bytes]]:
        """The packed clock of every bucket after a part, by partition."""
        out = {}
        for partition, newest_ms in part.newest_ms.items():
            owned = self.ownership.owned[partition]
            out[partition] = [clock.since(owned.published_to).moved(newest_ms) for clock in owned.clocks]
        source = part.source
        if source is not None:
            clocks = out[source.topic, source.partition]
            scored = {bucket_of(key, self.ownership.buckets) for renewal in due.renewals for key in renewal.keys}
            for bucket, step in enumerate(self.cutter.steps(part)):
                if step is not None and not self.ownership.in_state(source, bucket):
                    clocks[bucket] = clocks[bucket].stepped(step, bucket in scored, bucket in due.left)
        return {partition: [pack(clock) for clock in clocks] for partition, clocks in out.items()}
