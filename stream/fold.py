"""Fold: loads the records of touched entities that are not at hand, and applies the rows that are not in them yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from features.aggregations.base import Slots
from features.ids import IdCache
from features.rows import STREAMS
from features.store import Store, StoreUnavailable
from features.store.base import bucket_of
from features.table import EntityTable
from features.view import discover, views_of
from stream.alerts import AlertState
from stream.decode import Decoded, DecodedBatch
from stream.metrics import Metrics
from stream.microbatch import Feed, feeds_of
from stream.ownership import Ownership
from stream.watermark import Watermarks

_ALERT = msgspec.json.Decoder(AlertState)


@dataclass(slots=True)
class Folded:
    """What a micro-batch touched.

    Args:
        feeds: by topic, all rows, folded or not.
        changed: view name to the entities whose record changed.
    """

    feeds: dict[str, list[Feed]] = field(default_factory=dict)
    changed: dict[str, dict[str, None]] = field(default_factory=dict)


class State:
    """Hot tables and alert states, backed by the store.

    Args:
        store: where records are loaded from.
        max_entities: of each kind, kept in memory.
        late_after_ms: how far behind its partition an event counts as late.
    """

    def __init__(self, store: Store, max_entities: int, metrics: Metrics, late_after_ms: int = 3_600_000) -> None:
        self.store = store
        self.ids = IdCache()
        self.tables = {e: EntityTable(e, views_of(e), max_entities) for e in ("customer", "item")}
        self.alerts: dict[str, AlertState] = {}
        self._max = max_entities
        self._metrics = metrics
        self._watermarks = Watermarks(late_after_ms)

    def load(self, entity: str, keys: Iterable[str]) -> None:
        """Brings entities into the table, from the store where it has them: one read a view."""
        table = self.tables[entity]
        wanted = list(keys)
        missing = table.missing(wanted)
        if not missing:
            return
        table.slots_of([key for key in wanted if key in table])  # used now: they must not make room for the others
        packed = {view: self.store.load("f", view, missing) for view in table.views}
        alerts = self.store.load("a", "supply", missing) if entity == "item" else []
        slots = table.admit(missing, packed)
        if entity == "customer":
            try:
                self._learn_products(slots)
            except StoreUnavailable:
                table.forget(missing)  # so that the next try loads them again, names too
                raise
        if len(self.alerts) > 2 * self._max:
            items = self.tables["item"]
            self.alerts = {key: state for key, state in self.alerts.items() if key in items}
        for key, blob in zip(missing, alerts, strict=False):
            if blob is not None:
                self.alerts[key] = _ALERT.decode(blob)

    def alert(self, item: str) -> AlertState:
        """The alert state of an item in the table."""
        return self.alerts.get(item) or AlertState()

    def _learn_products(self, slots: Slots) -> None:
        """The names behind the product ids in the records of customers."""
        table = self.tables["customer"]
        parts = (
            ("customer_repertoire", "repertoire"),
            ("customer_repertoire", "purchases"),
            ("customer_clicks", "viewed"),
        )
        products = [table.part(view, part)[1]["product"][slots].ravel() for view, part in parts]
        unknown = self.ids.unknown(np.concatenate(products))
        if unknown:
            self.ids.learn(self.store.names(unknown))

    def forget(self) -> None:
        """Drops all that is in memory: the store has what was committed."""
        for table in self.tables.values():
            table.forget()
        self.alerts.clear()

    def fold(self, batch: DecodedBatch, ownership: Ownership) -> Folded:
        """Loads and folds a micro-batch."""
        for table in self.tables.values():
            table.next_batch()
        folded = Folded({topic: feeds_of(decoded, self.ids) for topic, decoded in batch.topics.items()})
        for entity in self.tables:
            self.load(entity, _touched(folded, entity))
        for topic, feeds in folded.feeds.items():
            self._mark(topic, batch.topics[topic])
            for feed in feeds:
                self._fold_feed(topic, feed, ownership, folded)
        return folded

    def _mark(self, topic: str, decoded: Decoded) -> None:
        times = np.fromiter((e.event_time_ms for e in decoded.events), np.int64, len(decoded.events))
        late = self._watermarks.advance(topic, decoded.partitions, times)
        self._metrics.late.labels(topic).inc(late)
        self._metrics.records.labels(topic).inc(len(times))
        for partition in set(decoded.partitions):
            newest = self._watermarks.newest[topic, partition]
            self._metrics.watermark.labels(topic, str(partition)).set(newest / 1000)

    def _fold_feed(self, topic: str, feed: Feed, ownership: Ownership, folded: Folded) -> None:
        n = len(feed.rows)
        if n == 0:
            return
        buckets = self.store.buckets
        if buckets == 1:
            bucket = np.zeros(n, np.int64)
        else:
            bucket = np.fromiter((bucket_of(e, buckets) for e in feed.rows.entities), np.int64, n)
        keep = ownership.foldable(topic, feed, bucket)
        if topic == "demand":
            self._metrics.duplicates.inc(n - int(keep.sum()))
        rows = feed.rows if keep.all() else feed.rows.take(np.flatnonzero(keep))
        self.tables[STREAMS[rows.stream][0]].fold(rows)
        for name, view in discover().items():
            if view.stream == rows.stream:
                folded.changed.setdefault(name, {}).update(dict.fromkeys(rows.entities))


def _touched(folded: Folded, entity: str) -> dict[str, None]:
    keys: dict[str, None] = {}
    for feeds in folded.feeds.values():
        for feed in feeds:
            if STREAMS[feed.rows.stream][0] == entity:
                keys.update(dict.fromkeys(feed.rows.entities))
    return keys
