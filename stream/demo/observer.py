"""The observer: an independent consumer that counts what is on the topics, and measures from produce to score.

It shares nothing with the worker: every number comes from records on the broker and their timestamps.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import msgspec
import numpy as np

from stream.reader import TopicReader
from stream.settings import KafkaSettings
from stream.topology import (
    CATALOG,
    CLICKS,
    CONSUMED,
    DEAD_LETTERS,
    DEMAND,
    INVENTORY,
    NEXT_BEST_OFFERS,
    OFFERS,
    ORDERS,
    PUBLISHED,
    REORDER_SCORES,
    STOCKOUT_SCORES,
    SUPPLY_ALERTS,
)
from stream.watermark import Watermarks

_INPUTS = (ORDERS.name, CLICKS.name, INVENTORY.name)
_OUTPUTS = (DEMAND.name, *(t.name for t in PUBLISHED))
_SCORES = (REORDER_SCORES.name, STOCKOUT_SCORES.name, NEXT_BEST_OFFERS.name)


class _Timed(msgspec.Struct):
    event_time_ms: int


class _Source(msgspec.Struct):
    topic: str
    partition: int
    offset: int


class _Score(msgspec.Struct):
    model: str
    version: str
    source: list[_Source]


class Observer:
    """Reads all topics from their beginning.

    Args:
        kafka: the broker.
        late_after_ms: how far behind its partition an event counts as late.
    """

    def __init__(self, kafka: KafkaSettings, late_after_ms: int) -> None:
        reference = (CATALOG.name, OFFERS.name)
        self._reader = TopicReader(kafka, [*_INPUTS, *reference, *_OUTPUTS])
        self._timed = msgspec.json.Decoder(_Timed)
        self._score = msgspec.json.Decoder(_Score)
        self._produced: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
        self._waiting: deque[tuple[int, list[_Source]]] = deque()
        self._watermarks = Watermarks(late_after_ms)
        self.counts: dict[str, int] = dict.fromkeys([*_INPUTS, *reference, *_OUTPUTS], 0)
        self.late = 0
        self.event_time_ms = 0
        self.latency_ms: list[int] = []
        self.models: set[tuple[str, str]] = set()
        self.entities: dict[str, set[bytes]] = defaultdict(set)
        self.scores: dict[str, int] = defaultdict(int)
        self.newest: dict[str, dict[bytes, bytes]] = {t: {} for t in (*_SCORES, SUPPLY_ALERTS.name)}
        self.alerts: deque[bytes] = deque(maxlen=8)
        self.names: dict[str, str] = {}

    def poll(self, max_wait_s: float = 0.05) -> int:
        """Takes in what has come; returns how many records."""
        records = self._reader.poll(20_000, max_wait_s)
        for record in records:
            topic = record.topic()
            self.counts[topic] += 1
            if topic in _INPUTS:
                self._input(topic, record)
            elif topic in _SCORES:
                self._scored(topic, record)
            elif topic == SUPPLY_ALERTS.name:
                self.alerts.append(record.value())
        self._settle()
        return len(records)

    def _input(self, topic: str, record: Any) -> None:
        self._produced[topic, record.partition()][record.offset()] = record.timestamp()[1]
        try:
            at = self._timed.decode(record.value() or b"").event_time_ms
        except msgspec.DecodeError:
            return
        self.late += self._watermarks.advance(topic, [record.partition()], np.array([at]))
        self.event_time_ms = max(self.event_time_ms, at)

    def _scored(self, topic: str, record: Any) -> None:
        score = self._score.decode(record.value())
        self.models.add((score.model, score.version))
        self.entities[score.model].add(record.key())
        self.scores[score.model] += 1
        self.newest[topic][record.key()] = record.value()
        self._waiting.append((record.timestamp()[1], score.source))

    def _settle(self) -> None:
        """Matches scores with the input records that they name; one not read yet is tried again.

        Scores that only `demand` triggered are left out: their input record is one hop further back.
        """
        for _ in range(len(self._waiting)):
            scored_at, sources = self._waiting.popleft()
            inputs = [s for s in sources if s.topic in _INPUTS]
            produced = [self._produced[s.topic, s.partition].get(s.offset) for s in inputs]
            if None in produced:
                self._waiting.append((scored_at, sources))
            elif produced:
                newest = max(t for t in produced if t is not None)
                self.latency_ms.append(max(scored_at - newest, 0))

    def percentiles(self, last: int | None = None) -> dict[str, float | None]:
        """p50 and p99 of ms from produce to score, of the last so many scores or of all; null before the first."""
        values = self.latency_ms[-last:] if last else self.latency_ms
        if not values:
            return {"p50": None, "p99": None}
        p50, p99 = np.percentile(values, [50, 99]).tolist()
        return {"p50": round(p50, 1), "p99": round(p99, 1)}

    def ends(self) -> dict[tuple[str, int], int]:
        """For each partition that a worker consumes, the offset after the last record that is there."""
        consumed = {t.name for t in CONSUMED}
        return {p: end for p, end in self._reader.positions.items() if p[0] in consumed}

    def summary(self, wall_s: float, replay_s: float) -> dict[str, Any]:
        """What `tidecast demo --json` writes."""
        events_in = {t: self.counts[t] for t in (*_INPUTS, CATALOG.name, OFFERS.name)}
        events = sum(self.counts[t] for t in _INPUTS)
        return {
            "wall_s": round(wall_s, 3),
            "events_in": events_in,
            "published": {t: self.counts[t] for t in _OUTPUTS},
            "dead_letters": self.counts[DEAD_LETTERS.name],
            "late": self.late,
            "events_per_s": round(events / replay_s, 1) if replay_s > 0 else 0.0,
            "latency_ms": self.percentiles(),
            "models": [{"name": name, "version": version} for name, version in sorted(self.models)],
            "scored_entities": {model: len(keys) for model, keys in sorted(self.entities.items())},
        }

    def close(self) -> None:
        """Lets go of the connection."""
        self._reader.close()
