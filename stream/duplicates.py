"""Duplicates: drops events whose id came before in their partition, before anything is made of them.

What it costs an event: benchmarks/stages.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.duplicates import event_ids
from features.store.base import bucket_of
from stream.decode import Decoded, DecodedBatch, item_key
from stream.metrics import Metrics
from stream.ownership import Ownership
from stream.topology import CLICKS, INVENTORY, ORDERS


def _customer(event: Any) -> str:
    """Guests are no customers, but their orders can come twice as well."""
    return event.customer_id or ""


_EVENT_ID = attrgetter("event_id")
_ENTITY: dict[str, Callable[[Any], str]] = {
    ORDERS.name: _customer,
    CLICKS.name: _customer,
    INVENTORY.name: item_key,
}


def drop_duplicates(batch: DecodedBatch, ownership: Ownership, metrics: Metrics) -> DecodedBatch:
    """The micro-batch without events that were delivered before; a batch without any is returned as it is."""
    if ownership.duplicate_horizon == 0:
        return batch
    topics = {topic: _without(decoded, ownership, metrics) for topic, decoded in batch.topics.items()}
    return replace(batch, topics={topic: decoded for topic, decoded in topics.items() if decoded.events})


def _without(decoded: Decoded, ownership: Ownership, metrics: Metrics) -> Decoded:
    entity_of = _ENTITY.get(decoded.topic)
    if entity_of is None:
        return decoded
    keep = np.ones(len(decoded.events), np.bool_)
    ids, offsets = event_ids(map(_EVENT_ID, decoded.events)), np.array(decoded.offsets, np.int64)
    for partition, bucket, index in _groups(decoded, entity_of, ownership.buckets):
        owned = ownership.owned[decoded.topic, partition]
        keep[index] = owned.seen[bucket].take_in_all(ids[index], offsets[index], owned.folded_to[bucket] or 0)
    if keep.all():
        return decoded
    metrics.duplicate_events.labels(decoded.topic).inc(int((~keep).sum()))
    return decoded.only(keep.tolist())


def _groups(
    decoded: Decoded, entity_of: Callable[[Any], str], buckets: int
) -> Iterator[tuple[int, int, NDArray[np.intp]]]:
    """Where the events of each partition and bucket are, in log order."""
    place = np.array(decoded.partitions, np.int64) * buckets
    if buckets > 1:
        place += np.fromiter((bucket_of(entity_of(e), buckets) for e in decoded.events), np.int64, len(place))
    order = np.argsort(place, kind="stable")
    for index in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
        partition, bucket = divmod(int(place[index[0]]), buckets)
        yield partition, bucket, index
