"""Alerting: looks at an item's alert after every single event of the item.

Those positions are decided by the log alone. In a micro-batch most items have one event, whose position is the end of
the batch, where the item is scored anyway. For the others the fold keeps copies of the records (`stream.fold`), and all
are looked at together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Slots, Times
from features.store.base import bucket_of
from features.table import EntityTable
from stream.alerts import AlertState, Severity, advance, alert_of, depends_on_before, next_severity
from stream.events import SourceOffset, StockoutScore
from stream.ownership import Ownership
from stream.provenance import Touch, Traces, headers_of
from stream.results import Results
from stream.scorers import Scored, StockoutScorer, Touched
from stream.topology import DEMAND, INVENTORY, SUPPLY_ALERTS

_ITEM_TOPICS = (DEMAND.name, INVENTORY.name)


@dataclass(frozen=True)
class Alerting:
    """The alerts of one micro-batch.

    Args:
        scorer: of the stock-out model.
        alerts: the alert state of every item in memory; changed in place.
        ownership: which records have been published.
        traces: trace headers of the micro-batch.
        results: where alerts and their states are noted.
    """

    scorer: StockoutScorer
    alerts: dict[str, AlertState]
    ownership: Ownership
    traces: Traces
    results: Results

    def passed(self, table: EntityTable, keys: Sequence[str], sources: Sequence[SourceOffset]) -> None:
        """Items as they were after each of their events but the last in the micro-batch, all in one go.

        Args:
            table: copies of their records; slot n is how the n-th was.
            keys: the items, in the order of their events; one may come many times.
            sources: the record after which each was so.
        """
        slots = np.arange(len(keys))
        as_of = as_of_ms(table, slots, self.scorer.views)
        p, on_hand = self.scorer.risk(table, keys, slots, as_of)
        changed: list[int] = []
        now: dict[str, Severity] = {}
        severities = self._severities(table, keys, slots, as_of, p, on_hand)
        for i, (key, severity) in enumerate(zip(keys, severities, strict=True)):
            if severity is not None and severity != (now.get(key) or self._held(key).severity):
                changed.append(i)
                now[key] = severity
        if not changed:
            return
        where = [[sources[i]] for i in changed]
        at = np.array(changed)
        scored, _ = self.scorer.score(table, Touched([keys[i] for i in changed], slots[at], as_of[at], where))
        for i, (key, record, _) in zip(changed, scored, strict=True):
            touch = Touch(sources[i], sources[i].offset)
            self._advance(key, record, severities[i], [touch])

    def scored(self, table: EntityTable, touched: Touched, scores: list[Scored], touches: list[list[Touch]]) -> None:
        """Items are as after their last event in the micro-batch."""
        p = np.array([np.nan if s.record.p_stockout is None else s.record.p_stockout for s in scores])
        on_hand = np.array([np.nan if s.record.on_hand is None else s.record.on_hand for s in scores])
        severities = self._severities(table, touched.keys, touched.slots, touched.as_of_ms, p, on_hand)
        for (key, record, _), severity, touch in zip(scores, severities, touches, strict=True):
            if not self._advance(key, record, severity, touch):
                self._restate(key, record, touch)

    def _severities(
        self,
        table: EntityTable,
        keys: Sequence[str],
        slots: Slots,
        as_of: Times,
        p: NDArray[np.float64],
        on_hand: NDArray[np.float64],
    ) -> list[Severity | None]:
        """None where the risk is not known."""
        before: dict[int, Severity] = {}
        risks, shelves = p.tolist(), on_hand.tolist()
        between = [i for i, risk in enumerate(risks) if depends_on_before(risk)]
        if between:
            at = np.array(between)
            then = self.scorer.risk(table, [keys[i] for i in between], slots[at], as_of[at] - DAY_MS)
            rows = zip(between, then[0].tolist(), then[1].tolist(), strict=True)
            before = {i: next_severity("none", risk, shelf) for i, risk, shelf in rows}
        return [
            None if risk != risk else next_severity(before.get(i, "none"), risk, shelf)
            for i, (risk, shelf) in enumerate(zip(risks, shelves, strict=True))
        ]

    def _held(self, key: str) -> AlertState:
        return self.alerts.get(key) or AlertState()

    def _advance(self, key: str, score: StockoutScore, severity: Severity | None, touches: list[Touch]) -> bool:
        if severity is None:
            return False
        at = self._unpublished(touches)
        where = at or touches[-1].newest
        state, changed = advance(self._held(key), score, severity, where, self._position(key, where))
        if changed:
            self.alerts[key] = self.results.alerts[key] = state
            if at is not None:
                self._publish(key, state, score, touches)
        return changed

    def _position(self, key: str, at: SourceOffset) -> int:
        """How many records of the item's topics lie before a moment, its own among them. Published changes are at most
        at K of both topics, and what follows a lost store is beyond."""
        bucket = bucket_of(key, self.ownership.buckets)
        others = (
            owned
            for (topic, partition), owned in self.ownership.owned.items()
            if topic in _ITEM_TOPICS and topic != at.topic and partition == at.partition
        )
        return at.offset + 1 + sum(max(o.published_to, o.folded_to[bucket] or 0) for o in others)

    def _unpublished(self, touches: list[Touch]) -> SourceOffset | None:
        """The newest of the records that touched the item of which nothing has been published yet."""
        for source in (touch.newest for touch in reversed(touches)):
            if self.ownership.publishable(source.topic, source.partition, source.offset):
                return source
        return None

    def _restate(self, key: str, score: StockoutScore, touches: list[Touch]) -> None:
        """After a crash between steps 4 and 6 the store knows of a change, and the topic may not: once is enough.

        Stated again when the record of the change comes again, so that it goes out with the offset that says so: with
        records of another topic it would be committed while K of this one stays, and come a third time.
        """
        state = self._held(key)
        if state.at is None or score.p_stockout is None or key in self.ownership.stated:
            return
        bucket = bucket_of(key, self.ownership.buckets)
        if _has_come(state.at, touches) and self.ownership.between(
            state.at.topic, state.at.partition, state.at.offset, bucket
        ):
            self.ownership.stated.add(key)
            self._publish(key, state, score, touches)

    def _publish(self, key: str, state: AlertState, score: StockoutScore, touches: list[Touch]) -> None:
        headers = headers_of("supply", key, touches, score.as_of_ms, self.traces)
        self.results.publish(SUPPLY_ALERTS.name, key, alert_of(state, score), headers)


def _has_come(at: SourceOffset, touches: Sequence[Touch]) -> bool:
    """Whether a record of its partition, or one behind it there, is among those that touched the item."""
    return any(
        (t.newest.topic, t.newest.partition) == (at.topic, at.partition) and t.newest.offset >= at.offset
        for t in touches
    )


def as_of_ms(table: EntityTable, slots: Slots, views: Sequence[str]) -> Times:
    """The newest event time in the views that a model reads, int64 of shape (n,).

    Those alone: how records of other topics came in between is not the same in every run, and must not show in a score.
    """
    times: list[Any] = [table.records[view]["event_time_ms"][slots] for view in views]
    return np.asarray(np.maximum.reduce(times))
