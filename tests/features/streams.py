"""Row streams for tests: plain rows, seeded random streams of them, and what an aggregation or view makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.aggregations import Aggregation
from features.aggregations.base import DAY_MS, HOUR_MS
from features.rows import STREAMS, ClickKind, InventoryKind, OrderKind, Rows, rows_of
from features.view import View

#: An ordinary Monday, 00:00 UTC.
START_MS = 18_267 * DAY_MS

KINDS: dict[str, tuple[int, ...]] = {
    "orders": tuple(OrderKind),
    "order_lines": tuple(OrderKind),
    "demand": tuple(OrderKind),
    "clicks": tuple(ClickKind),
    "inventory": tuple(InventoryKind),
}

seeded = settings(derandomize=True, max_examples=40, deadline=None, database=None)


@dataclass(frozen=True)
class Event:
    """A row before it becomes columns."""

    kind: int
    time_ms: int
    entity: str = "e"
    values: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, column: str) -> int:
        return self.values.get(column, 0)


#: What an aggregation's columns should be: (aggregation, its entity's events in order of arrival, as of).
Oracle = Callable[[Any, Sequence[Event], int], dict[str, float]]


def oracle_of(aggregation: Aggregation) -> Oracle:
    """Every aggregation's test module has a function `oracle`."""
    module = type(aggregation).__module__.rsplit(".", 1)[1]
    oracle: Oracle = import_module(f"tests.features.aggregations.test_{module}").oracle
    return oracle


def rows(stream: str, events: Sequence[Event]) -> Rows:
    columns: dict[str, Any] = {name: [e[name] for e in events] for name in STREAMS[stream][1]}
    return rows_of(
        stream, [e.entity for e in events], kind=[e.kind for e in events], event_time_ms=[e.time_ms for e in events],
        **columns,
    )  # fmt: skip


times_ms = st.one_of(
    st.integers(0, 12).map(lambda n: START_MS + n * DAY_MS),
    st.integers(0, 24 * 30).map(lambda n: START_MS + n * HOUR_MS),
    st.integers(0, 150 * DAY_MS).map(lambda n: START_MS + n),
)

_QUANTITIES = st.integers(1, 100_000)
_VALUES: dict[str, st.SearchStrategy[int]] = {
    "value": st.integers(0, 10**9),
    "units": _QUANTITIES,
    "lines": st.integers(1, 500).map(lambda n: n * 1000),
    "product": st.sampled_from([1, 2, 3, 7, 2**63 + 5, 2**64 - 1]),
    "quantity": _QUANTITIES,
    "unit_price": st.integers(0, 10**6),
    "expected_at_ms": times_ms,
    "reference": st.sampled_from([11, 12, 13, 14, 15, 16, 2**64 - 1]),
    "simulated": st.integers(0, 1),
}
_NO_PRODUCT = {ClickKind.SEARCH, ClickKind.OFFER_IMPRESSION, ClickKind.OFFER_CLICK, ClickKind.OFFER_REDEEMED}


@st.composite
def _event(draw: st.DrawFn, stream: str, entities: Sequence[str]) -> Event:
    kind = draw(st.sampled_from(KINDS[stream]))
    values = {name: draw(_VALUES[name]) for name in STREAMS[stream][1]}
    if stream == "inventory" and kind == InventoryKind.STOCK_ADJUSTED:
        values["quantity"] = draw(st.integers(-50_000, 50_000))
    if stream == "clicks" and kind in _NO_PRODUCT:
        values["product"] = 0
    return Event(int(kind), draw(times_ms), draw(st.sampled_from(entities)), values)


@st.composite
def _stream(draw: st.DrawFn, stream: str, entities: Sequence[str], max_size: int) -> list[Event]:
    known = draw(st.lists(_event(stream, entities), min_size=1, max_size=max_size))
    again = draw(st.lists(st.sampled_from(known), max_size=max_size // 3))
    arrivals = known + again
    order = draw(st.sampled_from(["as drawn", "in time", "late"]))
    if order == "in time":
        arrivals.sort(key=lambda e: e.time_ms)
    elif order == "late":
        late = [e for i, e in enumerate(arrivals) if i % 4 == 0]
        arrivals = sorted((e for i, e in enumerate(arrivals) if i % 4), key=lambda e: e.time_ms) + late
    return arrivals


def streams(stream: str, entities: Sequence[str] = ("e",), max_size: int = 40) -> st.SearchStrategy[list[Event]]:
    """Events in order of arrival: repeated ones, equal times, late ones, undone ones; some streams wholly in time."""
    return _stream(stream, entities, max_size)


def alone(aggregation: Aggregation, stream: str) -> View:
    """A view that is one aggregation."""
    return View("alone", stream, "one aggregation", (aggregation,), ttl_days=1)


def folded(view: View, events: Sequence[Event], cuts: Sequence[int] = ()) -> tuple[list[str], NDArray[np.void]]:
    """Entities in name order and their records, after folding the events in batches that end at `cuts`."""
    names = sorted({e.entity for e in events})
    slot = {name: i for i, name in enumerate(names)}
    records = view.empty(len(names))
    ends = [0, *sorted(cuts), len(events)]
    for start, end in zip(ends, ends[1:], strict=False):
        batch = events[start:end]
        slots = np.array([slot[e.entity] for e in batch], np.int64)
        view.fold(records, slots, rows(view.stream, batch))
    return names, records


def read(view: View, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    """The columns of the one entity that the events are of."""
    names, records = folded(view, events)
    assert len(names) == 1
    columns = view.read(records, np.zeros(1, np.int64), np.array([as_of_ms], np.int64))
    return {name: float(column[0]) for name, column in columns.items()}


def newest_ms(events: Sequence[Event]) -> int:
    return max(e.time_ms for e in events)


def assert_close(found: Mapping[str, float], expected: Mapping[str, float], relative: float = 1e-9) -> None:
    """Equal column by column, NaN to NaN, within a float error of `relative`."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=relative, atol=1e-9, equal_nan=True, err_msg=name)
