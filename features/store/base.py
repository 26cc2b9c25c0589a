"""What a store promises: reads in bulk, and writes that happen whole and only for the owner of the input partition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
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
        seen: the ring of event ids taken in lately, as `features.duplicates` packs it; empty where none is kept.
        clock: how far event time has come at `next_offset`, as the engine packs it; empty where it keeps none.
        erasures: how many entities have been erased from the bucket: caches that are older must be dropped.
        owner: the name of the owner that has not let go of it; as `claim` gives it, that of the one before.
    """

    next_offset: int | None
    epoch: int
    sources: dict[int, int] = field(default_factory=dict)
    seen: bytes = b""
    erasures: int = 0
    owner: str = ""
    clock: bytes = b""


class Patch(NamedTuple):
    """Bytes to write at a place of a fence's `seen`."""

    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FenceMove:
    """A compare-and-set on the fence of (topic, partition) in one bucket.

    Args:
        seen: what changes in the fence's `seen`; it grows as far as it must.
        seen_anew: `seen` is emptied before it is written.
        clock: the fence's new `clock`; empty: it stays as it is.
    """

    topic: str
    partition: int
    epoch: int
    expected: int | None
    next_offset: int
    sources: dict[int, int] = field(default_factory=dict)
    seen: tuple[Patch, ...] = ()
    seen_anew: bool = False
    clock: bytes = b""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A key's value and how long it lives. `kind` is `f` (features), `s` (latest score), `a` (alert state) or `d`
    (dead letters of reference data that have been published)."""

    kind: str
    name: str
    entity: str
    value: bytes
    ttl_ms: int


class Entry(NamedTuple):
    """Where an entity stands in the index of that name, a list of entities by rank; None takes it out."""

    name: str
    entity: str
    rank: int | None


#: The largest rank: a server keeps ranks as floats of 64 bits.
MAX_RANK = 2**53


class Span(NamedTuple):
    """A piece of an index in one bucket: at most so many entities whose ranks are from `lowest` to `highest`."""

    name: str
    bucket: int
    lowest: int
    highest: int
    most: int


@dataclass(frozen=True, slots=True)
class Write:
    """All that one micro-batch changes in one bucket: happens whole, or not at all.

    `erasures` is the count that the caller's caches are from; None where the caller has none.
    """

    bucket: int
    fences: Sequence[FenceMove]
    records: Sequence[Record]
    erasures: int | None = None
    entries: Sequence[Entry] = ()


class Wanted(NamedTuple):
    """Values to load: a kind, a name and the entities."""

    kind: str
    name: str
    entities: Sequence[str]


class Guard(NamedTuple):
    """Where the fence of (topic, partition) in one bucket is believed to be."""

    topic: str
    partition: int
    bucket: int
    epoch: int
    next_offset: int | None


class Tick(NamedTuple):
    """How far a partition's event time has come, and when that was written down (both in ms since 1970)."""

    event_time_ms: int
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What records of one kind and name cost in a store.

    Args:
        records: how many there are.
        sampled: how many of them were measured.
        bytes_each: mean bytes of a measured record, key and overhead included.
    """

    records: int
    sampled: int
    bytes_each: float


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
    def load_all(self, wanted: Sequence[Wanted], guards: Sequence[Guard] = ()) -> list[list[bytes | None]]:
        """Values of all that is wanted, in one round trip (one a node on a cluster); None where missing or expired.

        Args:
            guards: looked at after the values: nobody has written them since these fences were what they are.

        Raises:
            FenceConflict: a fence is not as believed, so the values may be of another moment.
            StoreUnavailable: no answer.
        """

    def load(self, kind: str, name: str, entities: Sequence[str]) -> list[bytes | None]:
        """Values of many entities in one round trip; None where missing or expired."""
        return self.load_all([Wanted(kind, name, entities)])[0]

    @abstractmethod
    def claim(self, topic: str, partition: int, owner: str = "") -> list[Fence]:
        """Takes a partition: raises the epoch in every bucket.

        Args:
            owner: a name under which the next owner can end what this one leaves undone, should it die.

        Returns:
            The fences, one a bucket; `owner` is that of the one before, and empty if that has let go in order.
        """

    @abstractmethod
    def release(self, topic: str, partition: int, epochs: Sequence[int]) -> None:
        """Lets go of a partition in order, nothing left undone; without effect where there is a newer owner.

        Args:
            epochs: of the owner, one a bucket.
        """

    @abstractmethod
    def fences(self, topic: str, partition: int) -> list[Fence]:
        """The fences of a partition as they are, one a bucket, without taking it."""

    @abstractmethod
    def commit(self, writes: Sequence[Write]) -> None:
        """Applies each bucket's write if its fences and its count of erasures are as expected; one round trip.

        Raises:
            FenceConflict: an epoch, an offset or the count of erasures is not as expected; that bucket is unchanged,
                others may have been written.
            StoreUnavailable: no answer.
        """

    @abstractmethod
    def remember_names(self, names: dict[int, str]) -> None:
        """Keeps the strings behind 64-bit ids; the same id always has the same string, so this needs no fence."""

    @abstractmethod
    def names(self, ids: Sequence[int]) -> dict[int, str]:
        """The strings behind ids, for those that are known."""

    @abstractmethod
    def remember_layouts(self, layouts: Mapping[int, bytes]) -> None:
        """Keeps what records of a layout fingerprint look like, for workers and readers of other versions."""

    @abstractmethod
    def layouts(self, fingerprints: Sequence[int] | None = None) -> dict[int, bytes]:
        """The layouts that are known of those; all that are known where None."""

    @abstractmethod
    def pin_topics(self, ids: Mapping[str, str]) -> dict[str, str]:
        """Notes which topics the fences are of, by name: the first id that comes stays.

        Returns:
            The id that each of these names has here.
        """

    @abstractmethod
    def tick(self, clock: Mapping[str, Tick]) -> None:
        """Writes down how far event time has come, by `topic:partition`; for readers, so without a fence."""

    @abstractmethod
    def clock(self) -> dict[str, Tick]:
        """What `tick` has written."""

    @abstractmethod
    def erase(self, entity: str, records: Sequence[tuple[str, str]], indexes: Sequence[str] = ()) -> int:
        """Removes an entity's records of the given (kind, name) and its entries in indexes at once, and raises its
        bucket's count of erasures, so that no worker can write back what it still has in memory.

        Returns:
            How many records and entries there were.
        """

    @abstractmethod
    def spans(self, wanted: Sequence[Span]) -> list[list[str]]:
        """Entities of pieces of indexes, lowest rank first, equal ranks in the order of their bytes; one round trip."""

    @abstractmethod
    def ranks(self, indexes: Sequence[str], entity: str) -> list[int | None]:
        """An entity's rank in each index; None where it is not in it."""

    @abstractmethod
    def remaining_ms(self, kind: str, name: str, entities: Sequence[str]) -> list[int | None]:
        """How long the store still keeps each record; None where it has none."""

    @abstractmethod
    def usage(self, kind: str, name: str, sample: int) -> Usage:
        """How many records there are and what they cost, from a sample of at most so many."""

    @abstractmethod
    def scan(self, kind: str, name: str) -> dict[str, bytes]:
        """Every entity's value: for tools and tests, not for the hot path."""

    def check_buckets(self, settle: bool = False) -> None:
        """Whether `buckets` is what the namespace was written with; a store that lives in one process knows it is.

        Args:
            settle: writes ours down where nothing is known yet.

        Raises:
            ValueError: it is another number: every key would be looked for in the wrong place.
        """
        return

    def close(self) -> None:
        """Lets go of connections."""
        return
