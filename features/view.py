"""Feature views: a declaration, its packed record layout, its fold and its read."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Aggregation, Slots, State, Times, canonical, kernel
from features.derived import Derived
from features.rows import STREAMS, Rows

#: Row streams that reach a partition in no given order, since records of several partitions meet in it.
REPARTITIONED = frozenset({"demand", "product_lines", "region_stock", "product_stock"})

#: Row streams whose entities are in no partition of their own: each partition keeps a shard of a record, and a reader
#: merges them (`features.shards`).
SHARDED = frozenset({"product_lines", "region_stock", "product_stock"})

#: What begins every packed record: the fingerprint of its layout, its newest event time, and its version: how many
#: rows it has taken in (modulo 2³²).
HEADER: tuple[tuple[str, str], ...] = (("layout", "<u8"), ("event_time_ms", "<i8"), ("version", "<u4"))
_HEADER_BYTES = 20


@kernel
def _advance(newest: Any, slots: Any, times: Any, ttl_ms: int) -> bool:
    """Moves `newest` on; False where a row lies more than `ttl_ms` before or behind all that its entity had seen."""
    ordinary = True
    for i in range(slots.shape[0]):
        s = slots[i]
        if newest[s] > 0 and (times[i] - newest[s] > ttl_ms or newest[s] - times[i] > ttl_ms):
            ordinary = False
        if times[i] > newest[s]:
            newest[s] = times[i]
    return ordinary


@kernel
def _lives(newest: Any, life: Any, entity: Any, times: Any, ttl_ms: int, out: Any) -> int:
    """out[i]: how often the entity of row i has begun anew in this batch, at row i or before; -1: row i is too late.

    Returns:
        The most.
    """
    most = 0
    for i in range(entity.shape[0]):
        e = entity[i]
        if newest[e] > 0 and newest[e] - times[i] > ttl_ms:
            out[i] = -1
            continue
        if newest[e] > 0 and times[i] - newest[e] > ttl_ms:
            life[e] += 1
            most = max(most, life[e])
        if times[i] > newest[e]:
            newest[e] = times[i]
        out[i] = life[e]
    return most


@kernel
def _stamp(layout: Any, version: Any, slots: Any, fingerprint: Any) -> None:
    for i in range(slots.shape[0]):
        s = slots[i]
        layout[s] = fingerprint
        version[s] += np.uint32(1)


def _pad(spec: list[Any], at: int, alignment: int) -> int:
    """Fills up to the alignment with a field of zeros: NumPy would leave unnamed gaps undefined when it copies."""
    gap = -at % alignment
    if gap:
        spec.append((f"pad{at}", "u1", (gap,)))
    return gap


@dataclass(frozen=True)
class View:
    """What is kept for each entity, and how it is made.

    Args:
        name: unique; part of the store key.
        stream: the row stream it folds; that gives the entity.
        doc: one sentence for people.
        aggregations: the pieces of its state.
        ttl_days: in event time: a record whose newest event is older than this reads as missing, and an event after
            that begins anew. The store removes it once nothing has been written for so long, plus its grace.
        derived: columns made of other columns on read.
        stale_after_days: a reader should know when the newest event is older than this; the TTL where None.

    Raises:
        ValueError: an unknown stream, a name used twice, a derived column of nothing, or an aggregation that needs an
            order of arrival on a repartitioned stream, or that cannot be merged on a sharded one.
    """

    name: str
    stream: str
    doc: str
    aggregations: tuple[Aggregation, ...]
    ttl_days: float
    derived: tuple[Derived, ...] = ()
    stale_after_days: float | None = None

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise ValueError(f"view {self.name!r}: unknown stream {self.stream!r}; there are {sorted(STREAMS)}")
        names = [a.name for a in self.aggregations]
        if len(set(names)) != len(names):
            raise ValueError(f"view {self.name!r}: an aggregation name is used twice in {names}")
        ordered = [a.name for a in self.aggregations if not a.order_free]
        if self.stream in REPARTITIONED and ordered:
            raise ValueError(
                f"view {self.name!r}: {ordered} depend on the order of rows, which {self.stream!r} does not have; "
                "use order-free aggregations (Count, Sum, Span, Tiles)"
            )
        apart = [a.name for a in self.aggregations if not a.mergeable]
        if self.stream in SHARDED and apart:
            raise ValueError(
                f"view {self.name!r}: {apart} cannot be merged, and records of {self.stream!r} are kept in shards; "
                "use aggregations that can (Count, Tiles, DailyDistinct, Places)"
            )
        self._check_columns()

    def _check_columns(self) -> None:
        columns = [c for a in self.aggregations for c in (*a.describe(), *a.describe_lists())]
        for derived in self.derived:
            unknown = [c for c in (derived.left, derived.right) if c not in columns]
            if unknown:
                raise ValueError(
                    f"view {self.name!r}: the derived column {derived.name!r} reads {unknown}, which do not come "
                    f"before it; there are {columns}"
                )
            columns.append(derived.name)
        twice = sorted({c for c in columns if columns.count(c) > 1})
        if twice:
            raise ValueError(f"view {self.name!r}: {twice} are columns of two things; rename one")

    @property
    def entity(self) -> str:
        """`customer`, `item`, `product` or `region` (a product there)."""
        return STREAMS[self.stream][0]

    @property
    def ttl_ms(self) -> int:
        """The time to live in ms."""
        return int(self.ttl_days * DAY_MS)

    @property
    def stale_after_ms(self) -> int:
        """From which age on a record is stale, in ms."""
        return self.ttl_ms if self.stale_after_days is None else int(self.stale_after_days * DAY_MS)

    @functools.cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The packed record: the header, then each aggregation's fields."""
        spec: list[Any] = list(HEADER)
        at = _HEADER_BYTES
        for aggregation in self.aggregations:
            for field in aggregation.fields():
                dtype = np.dtype(f"<{field.dtype}")
                at += _pad(spec, at, dtype.itemsize)
                name = f"{aggregation.name}.{field.name}"
                spec.append((name, dtype) if field.length == 1 else (name, dtype, (field.length,)))
                at += dtype.itemsize * field.length
        _pad(spec, at, 8)
        return np.dtype(spec)

    @functools.cached_property
    def fingerprint(self) -> int:
        """64 bits that change with the layout and with every parameter that shapes the state."""
        parts = [self.name, self.stream, str(self.dtype.itemsize)]
        for a in self.aggregations:
            parts += [type(a).__name__, a.name, *(f"{n}={v}" for n, v in a.parameters().items())]
            parts += [repr(f) for f in a.fields()]
        return int(xxhash.xxh3_64_intdigest("\n".join(parts).encode()))

    def column_fingerprint(self, aggregation: str) -> str:
        """What a model that reads this aggregation was trained on: changes with all of its parameters, read or kept."""
        part = self._aggregation(aggregation)
        shown = [f"{name}={canonical(getattr(part, name))}" for name in sorted(part.read_only)]
        kept = [f"{name}={value}" for name, value in part.parameters().items()]
        parts = [self.name, self.stream, part.name, type(part).__name__, *kept, *shown]
        return xxhash.xxh3_64_hexdigest("\n".join(parts).encode())

    @functools.cached_property
    def blank(self) -> NDArray[np.void]:
        """A record in the initial state, of shape (1,)."""
        record = np.zeros(1, dtype=self.dtype)
        for aggregation in self.aggregations:
            aggregation.init(self._state(record, aggregation))
        return record

    def empty(self, capacity: int) -> NDArray[np.void]:
        """Records in their initial state, of shape (capacity,)."""
        return np.repeat(self.blank, capacity)

    def _aggregation(self, name: str) -> Aggregation:
        for aggregation in self.aggregations:
            if aggregation.name == name:
                return aggregation
        raise KeyError(f"view {self.name!r} has no aggregation {name!r}")

    def _state(self, records: NDArray[np.void], aggregation: Aggregation) -> State:
        return {name: records[packed] for name, packed in self._packed_as[aggregation.name]}

    @functools.cached_property
    def _packed_as(self) -> dict[str, list[tuple[str, str]]]:
        """By aggregation, its fields and what they are called in the packed record."""
        return {a.name: [(f.name, f"{a.name}.{f.name}") for f in a.fields()] for a in self.aggregations}

    def fold(self, records: NDArray[np.void], slots: Slots, rows: Rows) -> int:
        """Applies rows in order to the records at `slots` (int64 of shape (n,)), in place.

        A row that comes more than the TTL after its entity's newest event finds the record in its initial state; one
        that is older than that event by more than the TTL is of an earlier life, and too late.

        Returns:
            How many rows came too late: for all of the view, or for that aggregation for which the most did.
        """
        times = rows.columns["event_time_ms"]
        newest = records["event_time_ms"]
        before = newest[slots]
        if _advance(newest, slots, times, self.ttl_ms):
            return self._update(records, slots, rows)
        newest[slots] = before
        return self._fold_lives(records, slots, rows)

    def _fold_lives(self, records: NDArray[np.void], slots: Slots, rows: Rows) -> int:
        times = rows.columns["event_time_ms"]
        touched, entity = np.unique(slots, return_inverse=True)
        life = np.empty(len(slots), np.int64)
        newest, count = records["event_time_ms"][touched], np.zeros(len(touched), np.int64)
        most = _lives(newest, count, entity, times, self.ttl_ms, life)
        late = int((life < 0).sum())
        for number in range(most + 1):
            index = np.flatnonzero(life == number)
            if number:
                records[slots[index]] = self.blank
            part = rows.take(index)
            _advance(records["event_time_ms"], slots[index], part.columns["event_time_ms"], self.ttl_ms)
            late += self._update(records, slots[index], part)
        return late

    def _update(self, records: NDArray[np.void], slots: Slots, rows: Rows) -> int:
        _stamp(records["layout"], records["version"], slots, np.uint64(self.fingerprint))
        late = [a.update(self._state(records, a), slots, rows.columns) for a in self.aggregations]
        return max(late, default=0)

    def merge(self, into: NDArray[np.void], other: NDArray[np.void]) -> None:
        """Takes the state of `other` into that of `into`, record by record, both of shape (n,); in place.

        As if all rows had been folded into one record, but that lives which end apart are not begun anew together.
        """
        into["layout"] = np.maximum(into["layout"], other["layout"])
        into["event_time_ms"] = np.maximum(into["event_time_ms"], other["event_time_ms"])
        into["version"] += other["version"]
        for aggregation in self.aggregations:
            aggregation.merge(self._state(into, aggregation), self._state(other, aggregation))

    def as_of(self, records: NDArray[np.void], slots: Slots, as_of_ms: Times) -> tuple[NDArray[np.void], Slots]:
        """The records as they count at `as_of_ms`: those that have expired by then are in their initial state.

        Returns:
            Records and the slots in them, int64 of shape (n,): those given where none has expired, else copies.
        """
        newest = records["event_time_ms"][slots]
        expired = (newest > 0) & (as_of_ms - newest > self.ttl_ms)
        if not expired.any():
            return records, slots
        alive = records[slots]
        alive[expired] = self.blank
        return alive, np.arange(len(slots), dtype=np.int64)

    def read(self, records: NDArray[np.void], slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """All columns of the records at `slots` as of event times `as_of_ms`, each float64 of shape (n,)."""
        records, slots = self.as_of(records, slots, as_of_ms)
        out: dict[str, NDArray[np.float64]] = {}
        for aggregation in self.aggregations:
            out |= aggregation.read(self._state(records, aggregation), slots, as_of_ms)
        for derived in self.derived:
            out[derived.name] = derived.compute(out)
        return out

    def read_lists(self, records: NDArray[np.void], slots: Slots, as_of_ms: Times) -> dict[str, NDArray[Any]]:
        """All sequence columns of the records at `slots` as of `as_of_ms`, each of shape (n, its length)."""
        records, slots = self.as_of(records, slots, as_of_ms)
        out: dict[str, NDArray[Any]] = {}
        for aggregation in self.aggregations:
            out |= aggregation.read_lists(self._state(records, aggregation), slots, as_of_ms)
        return out

    def part(self, records: NDArray[np.void], name: str, slots: Slots, as_of_ms: Times) -> tuple[Any, State, Slots]:
        """One aggregation by name, with its state and the slots in that state: for reads beyond plain columns."""
        aggregation = self._aggregation(name)
        records, slots = self.as_of(records, slots, as_of_ms)
        return aggregation, self._state(records, aggregation), slots

    def raw(self, records: NDArray[np.void], name: str) -> State:
        """The state arrays of one aggregation as they are stored, whatever has expired."""
        return self._state(records, self._aggregation(name))

    def describe(self) -> dict[str, str]:
        """Every column that `read` gives, with a sentence."""
        out: dict[str, str] = {}
        for aggregation in self.aggregations:
            out |= aggregation.describe()
        return out | {derived.name: derived.doc for derived in self.derived}

    def describe_lists(self) -> dict[str, str]:
        """Every sequence column that `read_lists` gives, with a sentence."""
        out: dict[str, str] = {}
        for aggregation in self.aggregations:
            out |= aggregation.describe_lists()
        return out
