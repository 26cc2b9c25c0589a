from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregations import Tiles
from features.aggregations.base import DAY_MS, HOUR_MS
from features.rows import OrderKind
from tests.features.streams import (
    START_MS,
    Event,
    alone,
    alone_state,
    assert_close,
    carried,
    folded,
    newest_ms,
    read,
    rows,
    seeded,
    streams,
)

UNITS = Tiles("units", "units", (OrderKind.PLACED,), "quantity", (OrderKind.CANCELLED,), windows=(1, 3, 28, 56))
HOURS = Tiles("lines", "lines", (OrderKind.PLACED,), windows=(1, 23, 24), length=24, tile_ms=HOUR_MS)
WEEKS = Tiles("weeks", "lines", (OrderKind.PLACED,), windows=(1, 52), length=52, tile_ms=7 * DAY_MS, small=True)
QUARTERS = Tiles("quarters", "units", (OrderKind.PLACED,), "quantity", windows=(1, 3), length=5, tile_ms=900_000)


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


def column(tiles: Tiles, window: int) -> str:
    minutes = window * tiles.tile_ms // 60_000
    if minutes % 1440 == 0:
        return f"{tiles.name}_{minutes // 1440}d"
    return f"{tiles.name}_{minutes // 60}h" if minutes % 60 == 0 else f"{tiles.name}_{minutes}m"


def oracle(tiles: Tiles, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    sums, now = tile_sums(tiles, events), as_of_ms // tiles.tile_ms
    return {column(tiles, w): sum(v for t, v in sums.items() if 0 <= now - t < w) / 1000 for w in tiles.windows}


@pytest.mark.parametrize("tiles", [UNITS, HOURS, WEEKS, QUARTERS], ids=lambda tiles: tiles.name)
@given(streams("demand"), st.integers(-80 * 24, 80 * 24))
@seeded
def test_equals_the_oracle(tiles: Tiles, events: list[Event], hours: int) -> None:
    as_of = newest_ms(events) + hours * HOUR_MS
    assert_close(read(alone(tiles, "demand"), events, as_of), oracle(tiles, events, as_of), 0)


@pytest.mark.parametrize("tiles", [UNITS, HOURS], ids=lambda tiles: tiles.name)
@given(streams("demand"), st.integers(-80, 80), st.integers(1, 70))
@seeded
def test_the_furthest_tile_that_holds_anything(tiles: Tiles, events: list[Event], shift: int, most: int) -> None:
    state, slots = alone_state(tiles, "demand", events)
    as_of = newest_ms(events) + shift * tiles.tile_ms
    now, sums = as_of // tiles.tile_ms, tile_sums(tiles, events)
    expected = max((now - tile for tile, held in sums.items() if held and 1 <= now - tile <= most), default=0)
    assert tiles.furthest(state, slots, np.array([as_of]), most).tolist() == [expected]


@given(streams("demand"), st.integers(0, 80))
@seeded
def test_daily_gives_the_tiles_one_by_one(events: list[Event], days: int) -> None:
    state, slots = alone_state(UNITS, "demand", events)
    as_of = newest_ms(events) + days * DAY_MS
    found = UNITS.daily(state, slots, np.array([as_of]), 56)[0]
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


def test_rows_older_than_the_ring_are_counted_as_too_late() -> None:
    view = alone(UNITS, "demand")
    events = [ordered(60), ordered(5), ordered(4), ordered(0), ordered(0, kind=OrderKind.RETURNED)]
    _, records = folded(view, events[:1])
    assert view.fold(records, np.zeros(4, np.int64), rows("demand", events[1:])) == 2


def test_a_cancellation_is_taken_off_on_the_day_it_comes() -> None:
    events = [ordered(0, 3000), ordered(1, 3000, OrderKind.CANCELLED)]
    found = read(alone(UNITS, "demand"), events, START_MS + DAY_MS)
    assert (found["units_1d"], found["units_3d"]) == (-3.0, 0.0)


def test_a_jump_further_than_the_ring_empties_it() -> None:
    events = [*[ordered(day) for day in range(56)], ordered(1000)]
    assert read(alone(UNITS, "demand"), events, START_MS + 1000 * DAY_MS)["units_56d"] == 1.0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tile_holds_what_48_bits_hold(sign: int) -> None:
    kind = OrderKind.PLACED if sign > 0 else OrderKind.CANCELLED
    large, small = ordered(0, 2**46 - 1, kind), ordered(0, 1, kind)
    found = read(alone(UNITS, "demand"), [large, large, small], START_MS)
    assert found["units_1d"] == sign * (2**47 - 1) / 1000


def test_windows_add_up_beyond_what_one_tile_holds() -> None:
    events = [ordered(day, 2**47 - 1) for day in range(3)]
    assert read(alone(UNITS, "demand"), events, START_MS + 2 * DAY_MS)["units_3d"] == 3 * (2**47 - 1) / 1000


def test_columns_are_named_in_the_largest_unit_and_say_their_tile_where_it_is_another() -> None:
    assert list(QUARTERS.describe()) == ["quarters_15m", "quarters_45m"]
    assert list(HOURS.describe()) == ["lines_1h", "lines_23h", "lines_1d"]
    assert UNITS.describe()["units_28d"] == "units, last 28 d (exact to one tile of 1 d)"
    assert HOURS.describe()["lines_1d"] == "lines, last 1 d (exact to one tile of 1 h)"
    assert WEEKS.describe()["weeks_364d"] == "lines, last 364 d (exact to one tile of 7 d)"


def test_a_year_of_days_and_an_hour_of_minutes_are_possible() -> None:
    year = replace(UNITS, windows=(365,), length=365)
    assert read(alone(year, "demand"), [ordered(0), ordered(364)], START_MS + 364 * DAY_MS) == {"units_365d": 2.0}
    hour = replace(UNITS, windows=(60,), length=60, tile_ms=60_000)
    found = [read(alone(hour, "demand"), [ordered(0)], START_MS + minute * 60_000) for minute in (59, 60)]
    assert found == [{"units_1h": 1.0}, {"units_1h": 0.0}]


def values(tiles: Tiles, state: Mapping[str, Any], day: int) -> list[float]:
    as_of = np.array([START_MS + day * DAY_MS])
    return list(tiles.daily(state, np.zeros(1, np.int64), as_of, tiles.length)[0])


@pytest.mark.parametrize(("old", "new"), [(56, 20), (20, 56), (56, 56)])
@pytest.mark.parametrize("value", ["quantity", None])
def test_a_ring_of_another_length_keeps_the_tiles_that_both_cover(old: int, new: int, value: str | None) -> None:
    events = [ordered(day, -(2**40) - day * 1000) for day in range(70)]
    before = replace(UNITS, windows=(1, 2), length=old, value=value)
    after = replace(UNITS, windows=(3,), length=new, value=value)
    kept, state = carried(before, after, "demand", events)
    assert kept
    both = min(old, new)
    whole, _ = alone_state(after, "demand", events)
    assert values(after, state, 69)[:both] == values(after, whole, 69)[:both]
    assert not any(values(after, state, 69)[both:])


@pytest.mark.parametrize(
    "change",
    [{"tile_ms": 2 * DAY_MS}, {"where": (OrderKind.RETURNED,)}, {"minus": ()}, {"value": "value"}, {"value": None}],
)
def test_a_tile_that_means_something_else_begins_anew(change: dict[str, Any]) -> None:
    kept, state = carried(UNITS, replace(UNITS, **change), "demand", [ordered(0)])
    assert not kept
    assert not any(array.any() for array in state.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": (57,)}, r"windows \(57,\) are not within a ring of 56 tiles"),
        ({"windows": (0,)}, r"windows \(0,\) are not within"),
        ({"tile_ms": 1000}, "a whole number of minutes, not 1000 ms"),
        ({"length": 1, "windows": (1,)}, "at least two tiles"),
        ({"small": True}, "small tiles are for counts, not for sums of 'quantity'"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"tiles 'units': .*{message}"):
        replace(UNITS, **change)
