"""What a store promises: reads in bulk, and writes that happen whole and only for the owner of the input partition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import xxhash


class StoreUnavailable(Exception):
    """The store did not answer; nothing is known of the write. Ask again, or stop."""


class FenceConflict(Exception):
    """Another worker has the partition, or has moved its fence: forget what is cached, read K and R again."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What the store knows of one input partition in one bucket.

    Args:
        next_offset: R, the next offset whose effect is not in the state yet; None where none has been.
        epoch: number of the owner; a newer one raises it.
        sources: for repartitioned topics, the newest source position folded, by source partition.
    """

    next_offset: int | None
    epoch: int
    sources: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FenceMove:
    """A compare-and-set on the fence of (topic, partition) in one bucket."""

    topic: str
    partition: int
    epoch: int
    expected: int | None
    next_offset: int
    sources: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """A key's value and how long it lives. `kind` is `f` (features), `s` (latest score), `a` (alert state) or `d`
    (dead letters of reference data that have been published)."""

    kind: str
    name: str
    entity: str
    value: bytes
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Write:
    """All that one micro-batch changes in one bucket: happens whole, or not at all."""

    bucket: int
    fences: Sequence[FenceMove]
    records: Sequence[Record]


def bucket_of(entity: str, buckets: int) -> int:
    """The bucket of an entity, the same in every process and version.

    >>> bucket_of("42", 1), bucket_of("42", 64) == bucket_of("42", 64)
    (0, True)
    """
    return 0 if buckets == 1 else int(xxhash.xxh3_64_intdigest(entity.encode()) % buckets)


class Store(ABC):
    """The contract; `tests/contracts/store_contract.py` runs against every implementation."""

    #: How many hash-tag buckets the keys are spread over. Fixed for the life of a namespace.
    buckets: int

    @abstractmethod
    def load(self, kind: str, name: str, entities: Sequence[str]) -> list[bytes | None]:
        """Values of many entities in one round trip; None where missing or expired."""

    @abstractmethod
    def claim(self, topic: str, partition: int) -> list[Fence]:
        """Takes a partition: raises the epoch in every bucket. Returns the fences, one a bucket."""

    @abstractmethod
    def fences(self, topic: str, partition: int) -> list[Fence]:
        """The fences of a partition as they are, one a bucket, without taking it."""

    @abstractmethod
    def commit(self, writes: Sequence[Write]) -> None:
        """Applies each bucket's write if its fences are as expected.

        Raises:
            FenceConflict: an epoch or offset is not as expected; that bucket is unchanged.
            StoreUnavailable: no answer.
        """

    @abstractmethod
    def remember_names(self, names: dict[int, str]) -> None:
        """Keeps the strings behind 64-bit ids; the same id always has the same string, so this needs no fence."""

    @abstractmethod
    def names(self, ids: Sequence[int]) -> dict[int, str]:
        """The strings behind ids, for those that are known."""

    @abstractmethod
    def scan(self, kind: str, name: str) -> dict[str, bytes]:
        """Every entity's value: for tools and tests, not for the hot path."""

    def close(self) -> None:
        """Lets go of connections."""
        return
