from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan

import pytest
from hypothesis import given

from features.aggregations import Places
from features.ids import hash64
from features.rows import InventoryKind
from tests.features.streams import START_MS, Event, alone, assert_close, folded, newest_ms, read, seeded, streams

PLACES = Places("places", "places", tuple(InventoryKind))
COUNTED, SOLD = InventoryKind.STOCK_COUNTED, InventoryKind.UNITS_SOLD
RAN_OUT, RESTOCKED, RECEIVED = InventoryKind.RAN_OUT, InventoryKind.RESTOCKED, InventoryKind.STOCK_RECEIVED


def oracle(places: Places, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    news: dict[int, tuple[int, bool]] = {}
    for event in events:
        if event.kind not in places.where or not event["place"]:
            continue
        told: dict[int, bool | None] = {
            RAN_OUT: False,
            RESTOCKED: True,
            COUNTED: event["quantity"] > 0,
            RECEIVED: True if event["quantity"] > 0 else None,
        }
        there = told.get(event.kind)
        latest = (0, True) if there is None else (event.time_ms, there)
        news[event["place"]] = max(news.get(event["place"], latest), latest)
    known = len(news) <= places.size
    out = sum(not there for _, there in news.values())
    return {places.name: float(len(news)) if known else nan, f"{places.name}_out": float(out) if known else nan}


def event(kind: InventoryKind, place: str, after_ms: int = 0, quantity: int = 1000) -> Event:
    return Event(int(kind), START_MS + after_ms, values={"place": hash64(place), "quantity": quantity})


def told(*events: Event) -> tuple[float, float]:
    found = read(alone(PLACES, "product_stock"), list(events), START_MS)
    return found["places"], found["places_out"]


@pytest.mark.parametrize("size", [3, 8])
@given(streams("product_stock"))
@seeded
def test_equals_the_oracle(size: int, events: list[Event]) -> None:
    places = replace(PLACES, size=size)
    assert_close(read(alone(places, "product_stock"), events, newest_ms(events)), oracle(places, events, 0), 0)


@pytest.mark.parametrize("size", [3, 8])
@given(streams("product_stock"))
@seeded
def test_the_order_of_rows_changes_no_byte(size: int, events: list[Event]) -> None:
    view = alone(replace(PLACES, size=size), "product_stock")
    otherwise = sorted(events, key=lambda e: (e.kind, -e.time_ms))
    assert folded(view, otherwise)[1].tobytes() == folded(view, events)[1].tobytes()


@pytest.mark.parametrize("size", [3, 8])
@given(streams("product_stock", max_size=80))
@seeded
def test_merged_shards_are_what_one_record_of_all_rows_is(size: int, events: list[Event]) -> None:
    view = alone(replace(PLACES, size=size), "product_stock")
    out = view.empty(1)
    for shard in range(3):
        _, part = folded(view, [e for n, e in enumerate(events) if n % 3 == shard])
        if len(part):
            before = part.tobytes()
            view.merge(out, part)
            assert part.tobytes() == before, "a shard stays as it is"
    assert out.tobytes() == folded(view, events)[1].tobytes()


def test_a_place_is_out_until_it_has_some_again() -> None:
    assert told(event(RAN_OUT, "a")) == (1, 1)
    assert told(event(RAN_OUT, "a"), event(RESTOCKED, "a", 1)) == (1, 0)
    assert told(event(RAN_OUT, "a"), event(RECEIVED, "a", 1)) == (1, 0)
    assert told(event(RAN_OUT, "a"), event(COUNTED, "a", 1, quantity=5000)) == (1, 0)


def test_a_count_of_nothing_is_out() -> None:
    assert told(event(COUNTED, "a", quantity=0)) == (1, 1)


def test_late_news_is_no_news() -> None:
    assert told(event(RESTOCKED, "a", 2), event(RAN_OUT, "a", 1)) == (1, 0)


def test_running_out_twice_is_running_out_once() -> None:
    assert told(event(RAN_OUT, "a"), event(RAN_OUT, "a", 1), event(COUNTED, "b")) == (2, 1)


def test_sales_say_that_a_place_keeps_it_not_that_it_has_some() -> None:
    assert told(event(SOLD, "a")) == (1, 0)
    assert told(event(RAN_OUT, "a"), event(SOLD, "a", 1)) == (1, 1)


def test_more_places_than_it_tells_apart_are_unknown() -> None:
    places, out = told(*(event(RAN_OUT, str(n)) for n in range(9)))
    assert isnan(places)
    assert isnan(out)
