"""Row streams for tests: plain rows, seeded random streams of them, and what an aggregation or view makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.aggregations import Aggregation
from features.aggregations.base import DAY_MS, HOUR_MS
from features.ids import hash64
from features.rows import STREAMS, ClickKind, InventoryKind, OrderKind, Rows, rows_of
from features.view import View

#: An ordinary Monday, 00:00 UTC.
START_MS = 18_267 * DAY_MS

KINDS: dict[str, tuple[int, ...]] = {
    "orders": tuple(OrderKind),
    "order_lines": tuple(OrderKind),
    "demand": tuple(OrderKind),
    "product_lines": tuple(OrderKind),
    "clicks": tuple(ClickKind),
    "inventory": tuple(InventoryKind),
    "region_stock": tuple(InventoryKind),
    "product_stock": tuple(InventoryKind),
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


def rows(stream: str, events: Sequence[Event]) -> Rows:
    columns: dict[str, Any] = {name: [e[name] for e in events] for name in STREAMS[stream][1]}
    return rows_of(
        stream, [e.entity for e in events], kind=[e.kind for e in events], event_time_ms=[e.time_ms for e in events],
        **columns,
    )  # fmt: skip


_NO_PRODUCT = {ClickKind.SEARCH, ClickKind.OFFER_IMPRESSION, ClickKind.OFFER_CLICK, ClickKind.OFFER_REDEEMED}


def _time_ms(random: Random) -> int:
    """Days, hours and minutes, so that times are equal or near now and then; and any millisecond of five months."""
    days, hours = random.randrange(13) * DAY_MS, random.randrange(24 * 30) * HOUR_MS
    minutes = random.randrange(6 * 60) * 60_000
    return START_MS + random.choice([days, hours, minutes, random.randrange(150 * DAY_MS)])


_VALUES: dict[str, Callable[[Random], int]] = {
    "value": lambda random: random.randrange(10**9),
    "units": lambda random: random.randint(1, 100_000),
    "lines": lambda random: random.randint(1, 500) * 1000,
    "product": lambda random: random.choice([1, 2, 3, 7, 2**63 + 5, 2**64 - 1]),
    "quantity": lambda random: random.randint(1, 100_000),
    "unit_price": lambda random: random.randrange(10**6),
    "expected_at_ms": _time_ms,
    "reference": lambda random: random.choice([0, 11, 12, 13, 14, 15, 2**64 - 1]),
    "simulated": lambda random: int(random.random() < 0.05),
    "session": lambda random: random.choice([0, 0, 5, 6, 2**64 - 1]),
    "place": lambda random: random.choice([0, *(hash64(f"place-{n}") for n in range(5))]),
    "shop": lambda random: hash64(f"shop-{random.randrange(5)}"),
    "customer": lambda random: random.choice([0, *(hash64(f"c{n}") for n in range(9))]),
}


def _event(random: Random, stream: str, entities: Sequence[str]) -> Event:
    kind = random.choice(KINDS[stream])
    values = {name: _VALUES[name](random) for name in STREAMS[stream][1]}
    if stream == "inventory" and kind == InventoryKind.STOCK_ADJUSTED:
        values["quantity"] *= random.choice([-1, 1])
    if stream == "product_stock" and random.random() < 0.2:
        values["quantity"] = 0
    if stream == "clicks" and kind in _NO_PRODUCT:
        values["product"] = 0
    return Event(int(kind), _time_ms(random), random.choice(entities), values)


def _arrivals(stream: str, entities: Sequence[str], order: str, size: int, seed: int) -> list[Event]:
    random = Random(seed)
    events: list[Event] = []
    while len(events) < size:
        again = events and random.random() < 0.2
        events.append(random.choice(events) if again else _event(random, stream, entities))
    if order == "anyhow":
        return events
    late = events[::5] if order == "late" else []
    in_time = [e for e in events if not any(e is held for held in late)]
    return sorted(in_time, key=lambda e: e.time_ms) + late


def _gapped(stream: str, entities: Sequence[str], order: str, size: int, seed: int, ttl_ms: int) -> list[Event]:
    """Runs of events with pauses about as long as the TTL between them, and a few that come late over a pause."""
    random = Random(seed)
    events: list[Event] = []
    pause_ms = 0
    while len(events) < size:
        run = _arrivals(stream, entities, order, random.randint(1, 12), random.randrange(2**32))
        events += [replace(e, time_ms=e.time_ms + pause_ms) for e in run]
        pause_ms += random.choice([ttl_ms - DAY_MS, ttl_ms, ttl_ms + 1, ttl_ms + 160 * DAY_MS])
    return [*events, *random.sample(events, min(3, len(events)))]


def gapped_streams(
    stream: str, ttl_ms: int, entities: Sequence[str] = ("e",), max_size: int = 60
) -> st.SearchStrategy[list[Event]]:
    """Events as `streams` gives them, with pauses in which records expire."""
    return st.builds(
        _gapped,
        st.just(stream),
        st.just(entities),
        st.sampled_from(["in time", "late", "anyhow"]),
        st.integers(1, max_size),
        st.integers(0, 2**32),
        st.just(ttl_ms),
    )


def streams(stream: str, entities: Sequence[str] = ("e",), max_size: int = 60) -> st.SearchStrategy[list[Event]]:
    """Events in order of arrival: repeated ones, equal times, late ones, undone ones; some streams wholly in time.

    Hypothesis draws the size and a seed: long and varied streams, where drawing event by event gives short ones.
    """
    return st.builds(
        _arrivals,
        st.just(stream),
        st.just(entities),
        st.sampled_from(["in time", "late", "anyhow"]),
        st.integers(1, max_size),
        st.integers(0, 2**32),
    )


def alone(aggregation: Aggregation, stream: str) -> View:
    """A view that is one aggregation, whose records do not expire."""
    return View("alone", stream, "one aggregation", (aggregation,), ttl_days=1e6)


def living(view: View, events: Sequence[Event], as_of_ms: int) -> list[Event]:
    """What an entity's record is made of at `as_of_ms`: the events since it last began anew, none once it has expired.

    The events are those of one entity in order of arrival. One that is older than the newest by more than the time to
    live is of an earlier life, and too late.
    """
    newest, held = 0, list[Event]()
    for event in events:
        if newest and newest - event.time_ms > view.ttl_ms:
            continue
        if held and event.time_ms - newest > view.ttl_ms:
            held = []
        held.append(event)
        newest = max(newest, event.time_ms)
    return [] if as_of_ms - newest > view.ttl_ms else held


def alone_state(
    aggregation: Aggregation, stream: str, events: Sequence[Event]
) -> tuple[Mapping[str, NDArray[Any]], NDArray[np.int64]]:
    """The state of one aggregation after the events of one entity, and its slots."""
    view = alone(aggregation, stream)
    _, records = folded(view, events)
    return view.raw(records, aggregation.name), np.zeros(1, np.int64)


def carried(
    old: Aggregation, new: Aggregation, stream: str, events: Sequence[Event]
) -> tuple[bool, Mapping[str, NDArray[Any]]]:
    """Whether `new` could take over what `old` kept of the events, and its state then."""
    source, _ = alone_state(old, stream, events)
    view = alone(new, stream)
    target = view.raw(view.empty(1), new.name)
    return new.carry(old.parameters(), source, target), target


def folded(view: View, events: Sequence[Event], cuts: Sequence[int] = ()) -> tuple[list[str], NDArray[np.void]]:
    """Entities in name order and their records, after folding the events in batches that end at `cuts`."""
    names = sorted({e.entity for e in events})
    slot = {name: i for i, name in enumerate(names)}
    records = view.empty(len(names))
    ends = [0, *sorted(cuts), len(events)]
    for start, end in pairwise(ends):
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
