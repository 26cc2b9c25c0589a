"""What the store's tests are built from."""

from __future__ import annotations

from collections.abc import Sequence

from features.store import Fence, FenceMove, Record, Store, Write
from features.store.base import bucket_of

TTL_MS = 1_000_000
KEYS = [f"c{n}" for n in range(40)]
ODD_KEYS = ["w:85123A", "a b", "Jötunn ☕", "*", "[x]?", "{b3}", "x:f:view:y", "x}:f:view:y", "new\nline", "'\"\\"]
PACKED = bytes(range(256))


def records_of(
    store: Store, bucket: int, keys: Sequence[str] = KEYS, value: bytes = PACKED, ttl_ms: int = TTL_MS
) -> list[Record]:
    """Records of those keys that live in a bucket."""
    return [Record("f", "view", k, value, ttl_ms) for k in keys if bucket_of(k, store.buckets) == bucket]


def move(fence: Fence, next_offset: int, sources: dict[int, int] | None = None, topic: str = "orders") -> FenceMove:
    return FenceMove(topic, 0, fence.epoch, fence.next_offset, next_offset, sources or {})


def writes_of(
    store: Store, fences: Sequence[Fence], next_offset: int, value: bytes = PACKED, ttl_ms: int = TTL_MS
) -> list[Write]:
    """A micro-batch that touches every key."""
    return [
        Write(bucket, [move(fence, next_offset)], records_of(store, bucket, value=value, ttl_ms=ttl_ms))
        for bucket, fence in enumerate(fences)
    ]


def write_all(
    store: Store, fences: Sequence[Fence], next_offset: int, value: bytes = PACKED, ttl_ms: int = TTL_MS
) -> None:
    """A micro-batch that touches every key, committed."""
    store.commit(writes_of(store, fences, next_offset, value, ttl_ms))


def put(store: Store, *records: Record) -> None:
    """Records that no fence guards."""
    for record in records:
        store.commit([Write(bucket_of(record.entity, store.buckets), [], [record])])
