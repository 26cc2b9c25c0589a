"""Duplicates: drops events whose id came before in their partition, before anything is made of them.

What it costs an event: benchmarks/stages.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import compress
from typing import Any

from features.duplicates import event_ids
from features.store.base import bucket_of
from stream.decode import Decoded, DecodedBatch, item_key
from stream.metrics import Metrics
from stream.ownership import Ownership
from stream.topology import CLICKS, INVENTORY, ORDERS


def _customer(event: Any) -> str:
    """Guests are no customers, but their orders can come twice as well."""
    return event.customer_id or ""


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
    topic, buckets, first = decoded.topic, ownership.buckets, ownership.first_of_its_id
    ids = event_ids(e.event_id for e in decoded.events)
    keep = [
        first(topic, partition, offset, event_id, bucket_of(entity_of(event), buckets) if buckets > 1 else 0)
        for event, event_id, partition, offset in zip(
            decoded.events, ids, decoded.partitions, decoded.offsets, strict=True
        )
    ]
    if all(keep):
        return decoded
    metrics.duplicate_events.labels(topic).inc(len(keep) - sum(keep))
    return Decoded(
        topic,
        list(compress(decoded.events, keep)),
        list(compress(decoded.partitions, keep)),
        list(compress(decoded.offsets, keep)),
    )
