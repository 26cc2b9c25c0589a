"""Why a write is refused: the same words from every store."""

from __future__ import annotations

from collections.abc import Sequence

from features.store.base import MAX_RANK, Entry, FenceConflict, FenceMove, Guard, Record, Write


def fence_moved(move: FenceMove, bucket: int, epoch: int, next_offset: int | None) -> FenceConflict:
    """A fence is not where the writer believes it to be."""
    return FenceConflict(
        f"{move.topic}[{move.partition}] bucket {bucket}: the fence is at "
        f"{'no offset' if next_offset is None else next_offset} of epoch {epoch}, "
        f"expected {move.expected} of epoch {move.epoch}"
    )


def not_as_believed(guard: Guard, epoch: int, next_offset: int | None) -> FenceConflict:
    """Values were read beside a fence that has moved."""
    move = FenceMove(guard.topic, guard.partition, guard.epoch, guard.next_offset, 0)
    return fence_moved(move, guard.bucket, epoch, next_offset)


def entity_erased(bucket: int, erasures: int, expected: int) -> FenceConflict:
    """Something that the writer may still have in memory is gone for good."""
    return FenceConflict(
        f"bucket {bucket}: an entity was erased ({erasures} erasures, expected {expected}); "
        f"caches of the bucket must be dropped"
    )


def check(write: Write) -> None:
    """Refuses, before anything is written, what a server would refuse in the middle of a write, or not keep exactly.

    Raises:
        ValueError: a record that would not live, or a rank out of range.
    """
    _check_lifetimes(write.records)
    _check_ranks(write.entries)


def _check_ranks(entries: Sequence[Entry]) -> None:
    for entry in entries:
        if entry.rank is not None and not 0 <= entry.rank <= MAX_RANK:
            raise ValueError(f"index {entry.name}: {entry.entity} has rank {entry.rank}; ranks are 0 to 2**53")


def _check_lifetimes(records: Sequence[Record]) -> None:
    for record in records:
        if record.ttl_ms <= 0:
            raise ValueError(
                f"record {record.kind}:{record.name}:{record.entity}: a time to live of {record.ttl_ms} ms; "
                f"it must be at least 1 ms"
            )
