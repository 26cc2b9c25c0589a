from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Tiles
from features.aggregations.base import DAY_MS, HOUR_MS
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, folded, newest_ms, read, seeded, streams

UNITS = Tiles("units", "units", (OrderKind.PLACED,), "quantity", (OrderKind.CANCELLED,), windows=(1, 3, 28, 56))
HOURS = Tiles("lines", "lines", (OrderKind.PLACED,), windows=(1, 24), length=24, tile_ms=HOUR_MS)


def tile_sums(tiles: Tiles, events: Sequence[Event]) -> dict[int, float]:
    """What each tile holds that the ring still has: the newest `length` of them."""
    taken = [e for e in events if e.kind in (*tiles.where, *tiles.minus)]
    newest = max((e.time_ms // tiles.tile_ms for e in taken), default=0)
    sums: dict[int, float] = {}
    for event in taken:
        tile = event.time_ms // tiles.tile_ms
        amount = 1000 if tiles.value is None else event[tiles.value]
        if newest - tile < tiles.length:
            sums[tile] = sums.get(tile, 0) + (amount if event.kind in tiles.where else -amount)
    return sums


def oracle(tiles: Tiles, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    sums, now = tile_sums(tiles, events), as_of_ms // tiles.tile_ms
    unit_ms, unit = (DAY_MS, "d") if tiles.tile_ms % DAY_MS == 0 else (HOUR_MS, "h")
    return {
        f"{tiles.name}_{w * tiles.tile_ms // unit_ms}{unit}": sum(v for t, v in sums.items() if 0 <= now - t < w) / 1000
        for w in tiles.windows
    }


@pytest.mark.parametrize("tiles", [UNITS, HOURS], ids=["days of units", "hours of lines"])
@given(streams("demand"), st.integers(-80 * 24, 80 * 24))
@seeded
def test_equals_the_oracle(tiles: Tiles, events: list[Event], hours: int) -> None:
    as_of = newest_ms(events) + hours * HOUR_MS
    assert_close(read(alone(tiles, "demand"), events, as_of), oracle(tiles, events, as_of), 0)


@given(streams("demand"), st.integers(0, 80))
@seeded
def test_daily_gives_the_tiles_one_by_one(events: list[Event], days: int) -> None:
    view, as_of = alone(UNITS, "demand"), newest_ms(events) + days * DAY_MS
    _, records = folded(view, events)
    _, state = view.part(records, "units")
    found = UNITS.daily(state, np.zeros(1, np.int64), np.array([as_of]), 56)[0]
    sums = tile_sums(UNITS, events)
    assert found.tolist() == [sums.get(as_of // DAY_MS - back, 0) / 1000 for back in range(56)]


def ordered(day: int, quantity: int = 1000, kind: OrderKind = OrderKind.PLACED) -> Event:
    return Event(kind, START_MS + day * DAY_MS, values={"quantity": quantity})


def test_a_window_slides_empty_without_events() -> None:
    view = alone(UNITS, "demand")
    found = [read(view, [ordered(0)], START_MS + day * DAY_MS) for day in (0, 1, 3, 28, 56)]
    assert [list(columns.values()) for columns in found] == [
        [1.0, 1.0, 1.0, 1.0],
        [0.0, 1.0, 1.0, 1.0],
        [0.0, 0.0, 1.0, 1.0],
        [0.0, 0.0, 0.0, 1.0],
        [0.0, 0.0, 0.0, 0.0],
    ]


def test_a_late_event_lands_in_its_own_tile_and_one_older_than_the_ring_changes_nothing() -> None:
    view = alone(UNITS, "demand")
    events = [ordered(60), ordered(59, 2000), ordered(5, 4000), ordered(4, 8000)]
    assert read(view, events, START_MS + 60 * DAY_MS) == {
        "units_1d": 1.0,
        "units_3d": 3.0,
        "units_28d": 3.0,
        "units_56d": 7.0,
    }


def test_a_cancellation_is_taken_off_on_the_day_it_comes() -> None:
    events = [ordered(0, 3000), ordered(1, 3000, OrderKind.CANCELLED)]
    found = read(alone(UNITS, "demand"), events, START_MS + DAY_MS)
    assert (found["units_1d"], found["units_3d"]) == (-3.0, 0.0)


def test_a_jump_further_than_the_ring_empties_it() -> None:
    events = [*[ordered(day) for day in range(56)], ordered(1000)]
    assert read(alone(UNITS, "demand"), events, START_MS + 1000 * DAY_MS)["units_56d"] == 1.0
