"""Shards: a record of an entity that has no partition of its own, kept once a partition and merged by its readers.

A product is ordered at many locations, and so in many partitions of `demand`. The owner of each folds its own shard,
whose key is the entity's with the partition's number behind it: so a shard is written with that partition's fence, and
is exactly once as any record of an item is. Counts of shards add up, tiles too, sketches of distinct ids have the
larger of each two registers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from features.layout import Layouts
from features.store.base import Store, Tick
from features.view import View

#: The topics whose partitions keep shards.
_TOPICS = ("demand", "inventory")


def shard_key(entity: str, partition: int) -> str:
    """The key of a partition's shard.

    >>> shard_key("85123A", 3)
    '85123A#3'
    """
    return f"{entity}#{partition}"


def shard_keys(entities: Sequence[str], shards: int) -> list[str]:
    """The keys of all shards of some entities, shard by shard.

    >>> shard_keys(["a", "b"], 2)
    ['a#0', 'b#0', 'a#1', 'b#1']
    """
    return [shard_key(entity, shard) for shard in range(shards) for entity in entities]


def shards_in(clock: Mapping[str, Tick]) -> int:
    """How many partitions there are that may have shards, from what workers wrote of event time.

    >>> shards_in({"demand:4": Tick(1, 1), "clicks:7": Tick(1, 1)}), shards_in({})
    (5, 0)
    """
    places = [at.rpartition(":") for at in clock]
    return max((1 + int(partition) for topic, _, partition in places if topic in _TOPICS), default=0)


def load_merged(store: Store, view: View, entities: Sequence[str], shards: int, layouts: Layouts) -> NDArray[np.void]:
    """Records of a sharded view, merged from all partitions, in one round trip.

    Args:
        store: where they are.
        view: which.
        entities: n of them.
        shards: how many partitions have one.
        layouts: of records that another version wrote.

    Returns:
        Of shape (n,); in their initial state where no partition has a shard.

    Raises:
        StoreUnavailable: no answer.
    """
    keys = shard_keys(entities, shards)
    blobs = store.load("f", view.name, keys)
    return merged(view, layouts.unpacked(view, blobs).reshape(shards, len(entities)))


def merged(view: View, records: NDArray[np.void]) -> NDArray[np.void]:
    """Shards of shape (s, n) as records of shape (n,).

    >>> from features.discovery import discover
    >>> merged(discover()["product_demand"], discover()["product_demand"].empty(6).reshape(2, 3)).shape
    (3,)
    """
    out = view.empty(records.shape[1])
    for shard in records:
        if (shard["version"] > 0).any():
            view.merge(out, shard)
    return out
