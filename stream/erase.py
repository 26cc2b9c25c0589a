"""Erasure: forgets a customer or an item in the store and in the compacted topics that we write, and looks again.

1. Look: which of the entity's records are in the store.
2. `Store.erase`: removes them at once in one bucket, and raises its count of erasures, so that no worker can write back
   what it still has in memory. Also from the indexes of scores by age, which tell ticks whom to score anew.
3. Publish a tombstone (the key, no value) to every compacted topic that is keyed by the entity, and wait for the word.
4. Look again. Only what has been looked at is called erased.

Not erased: input topics and dead letters, which are their producers' own records; `demand` and the score topics, which
are not compacted and keep a record as long as their retention says; copies that consumers have made. What was learnt of
others stays as well: an item's demand counts what an erased customer bought.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from features.layout import decode_layout
from features.store import Store, Wanted
from features.view import View
from stream.ageing import index_of
from stream.topology import NEXT_BEST_OFFER, REORDER, STOCKOUT, TOPICS, Topic

#: What a record of each kind is.
KINDS = {"f": "features", "s": "latest score", "a": "alert state", "i": "age of its score"}
SCORES = {"customer": (REORDER, NEXT_BEST_OFFER), "item": (STOCKOUT,)}
#: Bytes of a rank.
_RANK = 8
_KEYS = {"customer": "customer_id", "item": "location:sku"}


class Tombstones(Protocol):
    """What publishes them: a `stream.sink.Sink`."""

    def produce(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Queues a record."""

    def flush(self, timeout_s: float = 60.0) -> None:
        """Waits until every record is acknowledged."""


class Place(msgspec.Struct, frozen=True):
    """A key of the store that was looked at, and how many bytes were there before and after; None: nothing."""

    kind: str
    name: str
    before_bytes: int | None
    after_bytes: int | None


class Proof(msgspec.Struct, frozen=True):
    """What was found, removed and found again.

    Args:
        removed: how many records the store says it removed.
        places: every key of the store that was looked at.
        tombstones: topics that acknowledged one.
    """

    entity: str
    key: str
    removed: int
    places: list[Place]
    tombstones: list[str]

    @property
    def left(self) -> list[Place]:
        """Places where something is still there."""
        return [place for place in self.places if place.after_bytes is not None]


def places_of(entity: str, views: Mapping[str, View], more: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The (kind, name) of every record that the store may have of an entity.

    Args:
        entity: `customer`, `item` or `product`.
        views: the views that this code knows.
        more: names of views that only others know: of other versions, or of other folders.

    >>> places_of("item", {}, ["item_seen"])
    [('f', 'item_seen'), ('s', 'stockout'), ('a', 'supply')]
    """
    names = sorted({name for name, view in views.items() if view.entity == entity} | set(more))
    alerts = [("a", "supply")] if entity == "item" else []
    return [*(("f", name) for name in names), *(("s", model) for model in SCORES.get(entity, ())), *alerts]


def registered_views(store: Store, entity: str) -> list[str]:
    """Views of an entity that a worker of any version has registered in the store."""
    layouts = map(decode_layout, store.layouts().values())
    return sorted({layout.view for layout in layouts if layout.entity == entity})


def indexes_of(store: Store, entity: str) -> list[str]:
    """The indexes of scores by age that may have an entity: of all partitions that the store has heard of."""
    partitions = sorted({int(at.rpartition(":")[2]) for at in store.clock()})
    return [index_of(model, partition) for model in SCORES[entity] for partition in partitions]


def topics_of(entity: str) -> list[Topic]:
    """The compacted topics that Tidecast writes and that have records under the entity's key.

    >>> [topic.name for topic in topics_of("item")]
    ['supply-alerts', 'feature-log']
    """
    written = [topic for topic in TOPICS.values() if topic.compacted and topic.direction == "out"]
    return [topic for topic in written if _KEYS[entity] in topic.key]


def forget(
    store: Store,
    sink: Tombstones | None,
    entity: str,
    key: str,
    records: Sequence[tuple[str, str]],
    indexes: Sequence[str] = (),
) -> Proof:
    """Erases an entity and looks.

    Args:
        store: where its records are.
        sink: publishes the tombstones; topics are left alone where None.
        entity: `customer` or `item`.
        key: the entity's key.
        records: the (kind, name) to erase.
        indexes: from `indexes_of`; told of only where it is in one.

    Raises:
        StoreUnavailable: no answer.
        stream.sink.SinkFailed: a tombstone was not acknowledged; the store's part is done.
    """
    before = _sizes(store, key, records, indexes)
    removed = store.erase(key, records, indexes)
    topics = [] if sink is None else _bury(sink, entity, key)
    after = _sizes(store, key, records, indexes)
    every = [*records, *(("i", name) for name in indexes)]
    looked = [Place(kind, name, had, has) for (kind, name), had, has in zip(every, before, after, strict=True)]
    places = [p for p in looked if p.kind != "i" or (p.before_bytes, p.after_bytes) != (None, None)]
    return Proof(entity, key, removed, places, topics)


def _sizes(store: Store, key: str, records: Sequence[tuple[str, str]], indexes: Sequence[str]) -> list[int | None]:
    found = store.load_all([Wanted(kind, name, [key]) for kind, name in records])
    sizes = [None if values[0] is None else len(values[0]) for values in found]
    return sizes + [None if rank is None else _RANK for rank in store.ranks(indexes, key)]


def _bury(sink: Tombstones, entity: str, key: str) -> list[str]:
    topics = [topic.name for topic in topics_of(entity)]
    for topic in topics:
        sink.produce(topic, key.encode(), None)
    sink.flush()
    return topics
