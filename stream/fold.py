"""Fold: loads the records of touched entities that are not at hand, and applies the rows that are not in them yet."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots
from features.discovery import discover
from features.ids import IdCache
from features.layout import Layouts, layout_of
from features.rows import STREAMS, Rows
from features.store import Guard, Store, StoreUnavailable, Wanted
from features.store.base import bucket_of
from features.table import EntityTable
from features.view import View
from stream.alerts import AlertState
from stream.copies import Copies
from stream.decode import Decoded, DecodedBatch
from stream.events import SourceOffset
from stream.metrics import Metrics
from stream.microbatch import Also, Feed, feeds_of
from stream.ownership import Ownership
from stream.watermark import Watermarks

log = logging.getLogger(__name__)

_ALERT = msgspec.json.Decoder(AlertState)

#: Told of items as they were after each of their events but the last of a micro-batch: copies, keys and the records.
Passed = Callable[[EntityTable, Sequence[str], Sequence[SourceOffset]], None]
#: The guards of a load, given the entities that are loaded.
Guarding = Callable[[Iterable[str]], Sequence[Guard]]


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
        views: what is kept; all that are found where None.
    """

    def __init__(
        self,
        store: Store,
        max_entities: int,
        metrics: Metrics,
        late_after_ms: int = 3_600_000,
        views: Mapping[str, View] | None = None,
    ) -> None:
        self.views = discover() if views is None else views
        self.store = store
        self.ids = IdCache()
        self.layouts = Layouts(store)
        self.tables = {
            entity: EntityTable(
                entity, [v for _, v in sorted(self.views.items()) if v.entity == entity], max_entities, self.layouts
            )
            for entity in sorted({"customer", "item", *(view.entity for view in self.views.values())})
        }
        self.alerts: dict[str, AlertState] = {}
        self._max = max_entities
        self._metrics = metrics
        self.watermarks = Watermarks(late_after_ms)
        self._registered = False
        self._migrated: dict[tuple[str, int], int] = {}

    def register(self) -> None:
        """Tells the store what our records look like, once."""
        if not self._registered:
            self.store.remember_layouts({v.fingerprint: layout_of(v).encode() for v in self.views.values()})
            self._registered = True

    def load(self, wanted: Mapping[str, Iterable[str]], guarding: Guarding = lambda _keys: ()) -> None:
        """Brings entities into their tables, from the store where it has them: one read for all.

        Args:
            wanted: entity keys by entity type.
            guarding: tells the fences that records must be read beside.

        Raises:
            FenceConflict: another worker may have written them.
        """
        asked: list[tuple[str, list[str], list[Wanted]]] = []
        for entity, keys in wanted.items():
            table = self.tables[entity]
            missing = table.missing(keys)
            if missing:
                reads = [Wanted("f", view, missing) for view in table.views]
                asked.append((entity, missing, reads + ([Wanted("a", "supply", missing)] if entity == "item" else [])))
        if not asked:
            return
        guards = guarding(key for _, missing, _ in asked for key in missing)
        answers = iter(self.store.load_all([read for *_, reads in asked for read in reads], guards))
        for entity, missing, reads in asked:
            self._admit(entity, missing, {(r.kind, r.name): next(answers) for r in reads})
        self._tell_migrations()

    def _admit(self, entity: str, keys: list[str], found: dict[tuple[str, str], list[bytes | None]]) -> None:
        table = self.tables[entity]
        slots = table.admit(keys, {name: blobs for (kind, name), blobs in found.items() if kind == "f"})
        if entity == "customer":
            try:
                self._learn_products(slots)
            except StoreUnavailable:
                table.forget(keys)  # so that the next try loads them again, names too
                raise
        if len(self.alerts) > 2 * self._max:
            items = self.tables["item"]
            for key in [key for key in self.alerts if key not in items]:
                del self.alerts[key]
        for key, blob in zip(keys, found.get(("a", "supply"), ()), strict=False):
            if blob is not None:
                self.alerts[key] = _ALERT.decode(blob)

    def _tell_migrations(self) -> None:
        for at, count in self.layouts.counts.items():
            told = self._migrated.get(at, 0)
            if told == 0 and count:
                log.warning("%s", self.layouts.told[at])
            if count > told:
                self._metrics.migrated.labels(at[0]).inc(count - told)
                self._migrated[at] = count

    def alert(self, item: str) -> AlertState:
        """The alert state of an item in the table."""
        return self.alerts.get(item) or AlertState()

    def _learn_products(self, slots: Slots) -> None:
        """The names behind the product ids in the records of customers."""
        table = self.tables["customer"]
        products = [
            table.raw(view.name, part.name)["product"][slots].ravel()
            for view in table.views.values()
            for part in view.aggregations
            if any(f.name == "product" and f.dtype == "u8" for f in part.fields())
        ]
        unknown = self.ids.unknown(np.concatenate(products)) if products else []
        if unknown:
            self.ids.learn(self.store.names(unknown))

    def forget(self) -> None:
        """Drops all that is in memory: the store has what was committed."""
        for table in self.tables.values():
            table.forget()
        self.alerts.clear()
        self.layouts.forget_unknown()
        self._registered = False  # the store may have lost them

    def fold(self, batch: DecodedBatch, ownership: Ownership, passed: Passed | None = None) -> Folded:
        """Loads and folds a micro-batch.

        Args:
            passed: told of items after each of their events but the last.
        """
        for table in self.tables.values():
            table.next_batch()
        folded = Folded({topic: feeds_of(decoded, self.ids) for topic, decoded in batch.topics.items()})
        self.load(
            {entity: touched(folded, entity) for entity in self.tables},
            lambda keys: ownership.guards(batch.next_offsets, {bucket_of(k, self.store.buckets) for k in keys}),
        )
        left = Counter(e for feeds in folded.feeds.values() for f in feeds if _is_of_items(f) for e in f.rows.entities)
        copies = Copies(left) if passed is not None and left and max(left.values()) > 1 else None
        for topic, feeds in folded.feeds.items():
            self._mark(topic, batch.topics[topic])
            for feed in feeds:
                self._fold_feed(topic, feed, ownership, folded, copies if _is_of_items(feed) else None)
        if passed is not None and copies is not None and copies.keys:
            passed(copies.table(self.tables["item"]), copies.keys, copies.sources)
        return folded

    def _mark(self, topic: str, decoded: Decoded) -> None:
        times = np.fromiter((e.event_time_ms for e in decoded.events), np.int64, len(decoded.events))
        late = self.watermarks.advance(topic, decoded.partitions, times)
        self._metrics.late.labels(topic).inc(late)
        self._metrics.records.labels(topic).inc(len(times))
        for partition in set(decoded.partitions):
            newest = self.watermarks.newest[topic, partition]
            self._metrics.watermark.labels(topic, str(partition)).set(newest / 1000)

    def _fold_feed(
        self,
        topic: str,
        feed: Feed,
        ownership: Ownership,
        folded: Folded,
        copies: Copies | None,
    ) -> None:
        n = len(feed.rows)
        if n == 0:
            return
        also = [part for part in feed.also if STREAMS[part.rows.stream][0] in self.tables]
        keep = ownership.foldable(topic, feed, self._buckets(feed, also))
        if topic == "demand":
            self._metrics.duplicates.inc(n - int(keep[:, 0].sum()))
        at = np.flatnonzero(keep[:, 0])
        rows = feed.rows if len(at) == n else feed.rows.take(at)
        table = self.tables[STREAMS[rows.stream][0]]
        if copies is None:
            self._count_late(topic, table.fold(rows))
        else:
            copies.left.subtract(feed.rows.entities)
            self._count_late(topic, copies.fold(table, rows, topic, feed.partition[at], feed.offset[at]))
        self._note(rows, folded)
        for part, kept in zip(also, keep.T[1:], strict=True):
            fresh = kept[part.record]
            rows = part.rows if fresh.all() else part.rows.take(np.flatnonzero(fresh))
            self._count_late(topic, self.tables[STREAMS[rows.stream][0]].fold(rows))
            self._note(rows, folded)

    def _buckets(self, feed: Feed, also: Sequence[Also]) -> NDArray[np.int64]:
        """The bucket of each record's own entity and of the others, int64 of shape (n, entities); -1: none."""
        out = np.full((len(feed.rows), 1 + len(also)), -1, np.int64)
        out[:, 0] = self._bucket(feed.rows)
        for j, part in enumerate(also, 1):
            out[part.record, j] = self._bucket(part.rows)
        return out

    def _bucket(self, rows: Rows) -> NDArray[np.int64]:
        buckets = self.store.buckets
        if buckets == 1:
            return np.zeros(len(rows), np.int64)
        return np.fromiter((bucket_of(e, buckets) for e in rows.entities), np.int64, len(rows))

    def _note(self, rows: Rows, folded: Folded) -> None:
        for name, view in self.views.items():
            if view.stream == rows.stream:
                folded.changed.setdefault(name, {}).update(dict.fromkeys(rows.entities))

    def _count_late(self, topic: str, late: Mapping[str, int]) -> None:
        for view_name, too_late in late.items():
            self._metrics.too_late.labels(topic, view_name).inc(too_late)


def _is_of_items(feed: Feed) -> bool:
    return STREAMS[feed.rows.stream][0] == "item"


def touched(folded: Folded, entity: str) -> dict[str, None]:
    """The entities of a type that a micro-batch has rows of, in their order."""
    keys: dict[str, None] = {}
    for feeds in folded.feeds.values():
        for feed in feeds:
            for rows in (feed.rows, *(part.rows for part in feed.also)):
                if STREAMS[rows.stream][0] == entity:
                    keys.update(dict.fromkeys(rows.entities))
    return keys
