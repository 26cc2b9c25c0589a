"""Feature views: a declaration, its packed record layout, its fold and its read; and their discovery."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Slots, State, Times, kernel
from features.rows import STREAMS, Rows

#: Row streams that reach a partition in no given order, since records of several partitions meet in it.
REPARTITIONED = frozenset({"demand"})


@kernel
def _stamp(layout: Any, newest: Any, slots: Any, times: Any, fingerprint: Any) -> None:
    for i in range(slots.shape[0]):
        s = slots[i]
        layout[s] = fingerprint
        if times[i] > newest[s]:
            newest[s] = times[i]


def _canonical(parameter: object) -> str:
    """The same text on every Python version; kinds are written as their numbers."""
    if isinstance(parameter, tuple):
        return ",".join(_canonical(p) for p in parameter)
    return str(int(parameter)) if isinstance(parameter, int) else repr(parameter)


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
        ttl_days: how long a record lives in the store after its last change.

    Raises:
        ValueError: an unknown stream, a name used twice, or an aggregation that needs an order of arrival on a
            repartitioned stream.
    """

    name: str
    stream: str
    doc: str
    aggregations: tuple[Aggregation, ...]
    ttl_days: int

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

    @property
    def entity(self) -> str:
        """`customer` or `item`."""
        return STREAMS[self.stream][0]

    @functools.cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The packed record: layout fingerprint, newest event time, then each aggregation's fields."""
        spec: list[Any] = [("layout", "<u8"), ("event_time_ms", "<i8")]
        at = 16
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
        """64 bits that change with the layout or with any parameter of an aggregation."""
        parts = [self.name, self.stream, str(self.dtype.itemsize)]
        for a in self.aggregations:
            parts.append(type(a).__name__)
            parts += [f"{f.name}={_canonical(getattr(a, f.name))}" for f in fields(a) if f.name != "doc"]
            parts += [repr(f) for f in a.fields()]
        return int(xxhash.xxh3_64_intdigest("\n".join(parts).encode()))

    def empty(self, capacity: int) -> NDArray[np.void]:
        """Records in their initial state (zero bytes), of shape (capacity,)."""
        return np.zeros(capacity, dtype=self.dtype)

    def _state(self, records: NDArray[np.void], aggregation: Aggregation) -> State:
        return {f.name: records[f"{aggregation.name}.{f.name}"] for f in aggregation.fields()}

    def fold(self, records: NDArray[np.void], slots: Slots, rows: Rows) -> None:
        """Applies rows in order to the records at `slots` (int64 of shape (n,)), in place."""
        times = rows.columns["event_time_ms"]
        _stamp(records["layout"], records["event_time_ms"], slots, times, np.uint64(self.fingerprint))
        for aggregation in self.aggregations:
            aggregation.update(self._state(records, aggregation), slots, rows.columns)

    def read(self, records: NDArray[np.void], slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """All columns of the records at `slots` as of event times `as_of_ms`, each float64 of shape (n,)."""
        out: dict[str, NDArray[np.float64]] = {}
        for aggregation in self.aggregations:
            out |= aggregation.read(self._state(records, aggregation), slots, as_of_ms)
        return out

    def part(self, records: NDArray[np.void], name: str) -> tuple[Any, State]:
        """One aggregation by name with its state, for reads beyond plain columns."""
        for aggregation in self.aggregations:
            if aggregation.name == name:
                return aggregation, self._state(records, aggregation)
        raise KeyError(f"view {self.name!r} has no aggregation {name!r}")

    def describe(self) -> dict[str, str]:
        """Every column that `read` gives, with a sentence."""
        out: dict[str, str] = {}
        for aggregation in self.aggregations:
            out |= aggregation.describe()
        return out


@functools.cache
def discover() -> Mapping[str, View]:
    """All views: every module in `features/views/` has one, named VIEW.

    >>> sorted(discover())[:2]
    ['customer_clicks', 'customer_orders']
    """
    import features.views as package

    found = {}
    for info in pkgutil.iter_modules(package.__path__):
        view: View = importlib.import_module(f"features.views.{info.name}").VIEW
        if view.name != info.name:
            raise ValueError(f"features/views/{info.name}.py declares a view named {view.name!r}")
        found[view.name] = view
    return found


def views_of(entity: str) -> list[View]:
    """The views of an entity, in name order.

    >>> [v.name for v in views_of("item")]
    ['item_demand', 'item_stock']
    """
    return [view for _, view in sorted(discover().items()) if view.entity == entity]
