"""Duplicates: drops events whose id came before in their partition, before anything is made of them.

What it costs an event: benchmarks/stages.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import repeat
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
    keep = [True] * len(decoded.events)
    ids = event_ids(e.event_id for e in decoded.events)
    for (partition, bucket), places in _groups(decoded, entity_of, ownership.buckets).items():
        owned = ownership.owned[decoded.topic, partition]
        offsets = [decoded.offsets[i] for i in places]
        firsts = owned.seen[bucket].take_in_all([ids[i] for i in places], offsets, owned.folded_to[bucket] or 0)
        if not all(firsts):
            for i, first in zip(places, firsts, strict=True):
                keep[i] = first
    if all(keep):
        return decoded
    metrics.duplicate_events.labels(decoded.topic).inc(keep.count(False))
    return decoded.only(keep)


def _groups(decoded: Decoded, entity_of: Callable[[Any], str], buckets: int) -> dict[tuple[int, int], Sequence[int]]:
    """Where the events of each partition and bucket are, in log order."""
    held = [bucket_of(entity_of(e), buckets) for e in decoded.events] if buckets > 1 else repeat(0)
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, place in enumerate(zip(decoded.partitions, held, strict=False)):
        groups[place].append(i)
    return dict(groups)
