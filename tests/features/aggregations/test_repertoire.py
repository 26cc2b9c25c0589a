from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.aggregations import Repertoire
from features.aggregations.base import DAY_MS, HOUR_MS
from features.aggregations.repertoire import GONE, MOST_BEFORE, bought_ever, weight_of
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
    seeded,
    streams,
)

#: A weight is rounded to 1/4,096 of a power of two with each of a few updates.
ROUNDED = 1e-3
SMALL = Repertoire("repertoire", "products bought", (OrderKind.PLACED,), size=3, half_life_days=60)
LARGE = Repertoire("repertoire", "products bought", (OrderKind.PLACED,), size=8, half_life_days=60)


@dataclass
class Bought:
    """All purchases of a product that the table holds: their seconds, and numbers of the baskets they came in."""

    product: int
    seconds: list[int] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)
    latest_number: int = 0
    n: int = 0
    before: int = 0
    units: float = 0.0

    @property
    def first_day(self) -> int:
        return min(self.seconds) // 86_400

    @property
    def gap_days(self) -> float:
        """From noon of the first day."""
        span = max(self.seconds) - (self.first_day * 86_400 + 43_200)
        return max(span, 0) / 86_400 / (self.n - 1) if self.n > 1 else math.nan

    def weight(self, now_s: int, half_life_days: float) -> float:
        """Of earlier purchases half counts, two at most, from when it came back."""
        counted = math.fsum(0.5 ** ((now_s - s) / (half_life_days * 86_400)) for s in self.seconds)
        back: float = 0.5 ** ((now_s - self.seconds[0]) / (half_life_days * 86_400))
        return counted + min(self.before / 2, 2) * back

    def statistics(self, half_life_days: float) -> dict[str, float]:
        last = max(self.seconds)
        return {
            "n": self.n,
            "first_day": self.first_day,
            "last_s": last,
            "past": sum(1 << k for k in range(12) if self.latest_number - k in self.numbers) + (self.before << 12),
            "basket": self.latest_number,
            "units": self.units,
        }


class Ambiguous(Exception):
    """Two products weigh the same but for rounding: either may be evicted."""


def _weakest(places: Sequence[Bought], now_s: int, half_life_days: float) -> int:
    strengths = [p.weight(now_s, half_life_days) for p in places]
    lowest = min(strengths)
    near = [p for p, s in zip(places, strengths, strict=True) if s <= lowest * (1 + ROUNDED)]
    if any((p.seconds, p.before) != (near[0].seconds, near[0].before) for p in near):
        raise Ambiguous
    return strengths.index(lowest)


@dataclass
class Baskets:
    """How many there have been, and how many of them in time."""

    total: int = 0
    in_time: int = 0


def remembered(gone: list[tuple[int, int]], product: int, n: int) -> list[tuple[int, int]]:
    """Evicted products with what was bought of them, newest first; the least bought gives way, then the oldest."""
    if n == 0:
        return gone
    if len(gone) == GONE:
        least = min(n for _, n in gone)
        gone = [g for i, g in enumerate(gone) if i != max(i for i, (_, n) in enumerate(gone) if n == least)]
    return [(product, min(n, MOST_BEFORE)), *gone]


def table_of(repertoire: Repertoire, events: Sequence[Event]) -> tuple[list[Bought], Baskets]:
    """The products held, place by place, and the baskets: from whole purchase histories."""
    places: list[Bought] = []
    gone: list[tuple[int, int]] = []
    baskets = Baskets()
    newest_s = late_s = 0
    for event in (e for e in events if e.kind in repertoire.where):
        now_s = event.time_ms // 1000
        if now_s > newest_s:
            baskets.total, baskets.in_time, newest_s = baskets.total + 1, baskets.in_time + 1, now_s
        elif now_s not in (newest_s, late_s):
            baskets.total, late_s = baskets.total + 1, now_s
        held = next((p for p in places if p.product == event["product"]), None)
        if held is None:
            held = Bought(event["product"], before=dict(gone).get(event["product"], 0))
            gone = [g for g in gone if g[0] != held.product]
            if len(places) < repertoire.size:
                places.append(held)
            else:
                weakest = _weakest(places, now_s, repertoire.half_life_days)
                out = places[weakest]
                ever = min(out.n + out.before, baskets.total)
                gone = remembered(gone, out.product, ever - (max(out.seconds) == now_s))
                places[weakest] = held
        held.units += event["quantity"] / 1000
        if not held.seconds or now_s > max(held.seconds):
            held.numbers.add(baskets.in_time)
            held.latest_number = baskets.in_time
            held.seconds.append(now_s)
        elif now_s < max(held.seconds) and now_s // 86_400 != held.first_day:
            held.seconds.append(now_s)
        else:
            continue
        held.n = min(held.n + 1, baskets.total)
    return places, baskets


def oracle(repertoire: Repertoire, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    places, baskets = table_of(repertoire, events)
    return {f"{repertoire.name}_products": float(len(places)), f"{repertoire.name}_baskets": float(baskets.total)}


def state_of(repertoire: Repertoire, events: Sequence[Event]) -> Mapping[str, NDArray[Any]]:
    view = alone(repertoire, "order_lines")
    _, records = folded(view, events)
    state: Mapping[str, NDArray[Any]] = view.raw(records, repertoire.name)
    return state


@pytest.mark.parametrize("repertoire", [SMALL, LARGE], ids=["evicting", "roomy"])
@given(streams("order_lines", max_size=60))
@seeded
def test_equals_the_oracle(repertoire: Repertoire, events: list[Event]) -> None:
    try:
        places, _ = table_of(repertoire, events)
    except Ambiguous:
        assume(False)
    view = alone(repertoire, "order_lines")
    assert_close(read(view, events, newest_ms(events)), oracle(repertoire, events, 0), 0)
    state = state_of(repertoire, events)
    empty = [0] * (repertoire.size - len(places))
    assert state["product"][0].tolist() == [p.product for p in places] + empty
    for i, place in enumerate(places):
        for name, expected in place.statistics(repertoire.half_life_days).items():
            exact = state[name].dtype.kind == "u"
            np.testing.assert_allclose(state[name][0, i], expected, rtol=0 if exact else 1e-5, err_msg=name)
        weight = place.weight(max(place.seconds), repertoire.half_life_days)
        assert 2 ** (state["strength"][0, i] / 4096) == pytest.approx(weight, rel=ROUNDED)


def line(product: int, day: float, units: float = 1.0, kind: OrderKind = OrderKind.PLACED) -> Event:
    return Event(kind, START_MS + int(day * DAY_MS), values={"product": product, "quantity": int(units * 1000)})


def product(events: Sequence[Event], place: int = 0) -> dict[str, float]:
    state = state_of(SMALL, events)
    told = {name: float(state[name][0, place]) for name in ("basket", "units")}
    n = bought_ever(state["n"][0, place], state["past"][0, place], state["baskets"][0])
    weight = round(weight_of(state["strength"][0, place], 0.0), 3)
    return told | {"n": float(n), "weight": weight, "bits": float(state["past"][0, place] & 0xFFF)}


def lists(repertoire: Repertoire, events: Sequence[Event], as_of_ms: int) -> dict[str, NDArray[Any]]:
    state, slots = alone_state(repertoire, "order_lines", events)
    return {name: column[0] for name, column in repertoire.read_lists(state, slots, np.array([as_of_ms])).items()}


@given(streams("order_lines", max_size=60), st.integers(-50, 400))
@seeded
def test_lists_equal_the_oracle(events: list[Event], days: int) -> None:
    places, baskets = table_of(LARGE, events)
    as_of = newest_ms(events) + days * DAY_MS
    now_s, found = as_of // 1000, lists(LARGE, events, as_of)
    assert list(found) == list(LARGE.describe_lists())
    for i, place in enumerate(places):
        last = max(place.seconds)
        expected = {
            "n": min(place.n + place.before, baskets.total),
            "last_age_days": max(as_of - last * 1000, 0) / DAY_MS,
            "first_age_days": max(now_s - place.first_day * 86_400 - 43_200, 0) / 86_400,
            "gap_days": place.gap_days,
            "weight": place.weight(max(now_s, last), 60),
            "units": place.units,
            "baskets_since": baskets.in_time - place.latest_number,
        }
        assert int(found["repertoire_product"][i]) == place.product
        for name, value in expected.items():
            rounded = ROUNDED if name == "weight" else 1e-5
            np.testing.assert_allclose(found[f"repertoire_{name}"][i], value, rtol=rounded, err_msg=name)
    assert not found["repertoire_product"][len(places) :].any()
    assert np.isnan(found["repertoire_last_age_days"][len(places) :]).all()


@given(streams("order_lines", max_size=120))
@seeded
def test_no_product_was_in_more_baskets_than_there_were(events: list[Event]) -> None:
    for repertoire in (SMALL, LARGE):
        state = state_of(repertoire, events)
        assert state["n"].max() <= state["baskets"][0]
        n = lists(repertoire, events, newest_ms(events))["repertoire_n"]
        assert (n[np.isfinite(n)] <= state["baskets"][0]).all()


def test_lines_of_one_basket_are_one_purchase() -> None:
    assert product([line(1, 0, 2), line(2, 0), line(1, 0, 3)]) == {
        "n": 1,
        "weight": 1,
        "bits": 1,
        "basket": 1,
        "units": 5,
    }


def test_bits_tell_which_of_the_last_baskets_had_the_product() -> None:
    found = product([line(1, 0), line(2, 10), line(1, 60), line(3, 70)])
    assert (found["bits"], found["basket"]) == (0b101, 3)
    assert (found["n"], found["weight"]) == (2, 1.5)


@pytest.mark.parametrize(("baskets", "bits"), [(11, 1 + (1 << 11)), (12, 1), (13, 1), (63, 1), (64, 1), (65, 1)])
def test_baskets_further_back_than_the_bits_are_forgotten(baskets: int, bits: int) -> None:
    """64 is where a machine's shift begins anew."""
    assert product([line(1, 0), *[line(2, day) for day in range(1, baskets)], line(1, baskets)])["bits"] == bits


def test_the_weakest_gives_way() -> None:
    events = [line(1, 0), line(1, 1), line(2, 2), line(3, 100), line(4, 101)]
    assert state_of(SMALL, events)["product"][0].tolist() == [1, 4, 3]


def test_weakness_is_judged_at_the_time_of_the_newcomer() -> None:
    events = [line(1, 0), line(1, 1), line(1, 2), line(2, 200), line(3, 201), line(4, 202)]
    assert state_of(SMALL, events)["product"][0].tolist() == [4, 2, 3]


def test_a_product_that_comes_back_has_its_earlier_purchases_counted() -> None:
    events = [line(1, 0), line(1, 10), *[line(n, 300) for n in (2, 3, 4)], line(1, 310)]
    at = state_of(SMALL, events)["product"][0].tolist().index(1)
    assert product(events, at) == {"n": 3, "weight": 2, "bits": 1, "basket": 4, "units": 1}
    found = lists(SMALL, events, newest_ms(events))
    assert np.isnan(found["repertoire_gap_days"][at]), "purchases of before have no times"


def test_what_is_named_twice_in_a_basket_that_evicts_it_is_one_purchase() -> None:
    events = [*[line(n, 0) for n in (1, 2, 3)], line(4, 10), line(5, 10), line(4, 10)]
    at = state_of(SMALL, events)["product"][0].tolist().index(4)
    assert product(events, at)["n"] == 1


def test_the_least_bought_are_forgotten_first_and_then_the_oldest() -> None:
    twice = [line(1, 0), line(1, 1)]
    once = [line(100 + n, 200 + n) for n in range(GONE + SMALL.size)]
    gone = state_of(SMALL, [*twice, *once])["gone"][0]
    newest_first = [101 + n for n in range(GONE - 1)][::-1]
    assert [int(g) for g in gone] == [*[p << 4 | 1 for p in newest_first], 1 << 4 | 2]


def test_a_product_whose_mark_is_that_of_one_that_was_evicted_is_taken_for_it() -> None:
    """The stated limit: of an id, 12 bits are remembered."""
    events = [line(1, 0), line(1, 10), *[line(n, 300) for n in (2, 3, 4)], line(1 + 4096, 310)]
    at = state_of(SMALL, events)["product"][0].tolist().index(4097)
    assert product(events, at)["n"] == 3


def test_a_record_of_before_evicted_products_were_remembered_is_kept() -> None:
    events = [line(1, 0), line(1, 60), line(2, 1)]
    now = state_of(SMALL, events)
    source = {name: now[name].copy() for name in now if name not in ("gone", "strength", "past")}
    source |= {"weight": np.array([[1.5, 1.0, 0.0]], np.float32), "bits": np.array([[0x8003, 1, 0]], np.uint16)}
    view = alone(SMALL, "order_lines")
    target = view.raw(view.empty(1), "repertoire")
    assert SMALL.understands({name: value.dtype.str[1:] for name, value in source.items()})
    assert SMALL.carry(SMALL.parameters(), source, target)
    assert {name: target[name].tolist() for name in ("n", "strength", "past")} == {
        "n": [[2, 1, 0]],
        "strength": now["strength"].tolist(),
        "past": [[3, 1, 0]],
    }
    assert not target["gone"].any()


def test_undone_orders_take_no_part() -> None:
    events = [line(1, 0), line(1, 5, kind=OrderKind.CANCELLED), line(2, 5, kind=OrderKind.RETURNED)]
    assert product(events)["n"] == 1
    assert state_of(SMALL, events)["baskets"].tolist() == [1]


def test_a_line_without_a_product_takes_no_place() -> None:
    state = state_of(SMALL, [line(0, 0), line(1, 1)])
    assert (state["product"][0].tolist(), state["baskets"].tolist()) == ([1, 0, 0], [1])


def gap(events: Sequence[Event]) -> float:
    return float(lists(SMALL, events, newest_ms(events))["repertoire_gap_days"][0])


def test_a_late_line_counts_and_does_not_move_the_last_time_back() -> None:
    in_time = [line(1, 0), line(1, 10), line(1, 20)]
    late = [in_time[0], in_time[2], in_time[1]]
    assert state_of(SMALL, late)["last_s"][0, 0] == (START_MS + 20 * DAY_MS) // 1000
    assert product(late)["n"] == 3
    assert gap(late) == gap(in_time) == 9.75, "half a day at most over two gaps"
    assert product(late)["weight"] == pytest.approx(product(in_time)["weight"])


def test_a_late_first_purchase_is_the_first() -> None:
    events = [line(1, 10), line(1, 0)]
    assert state_of(SMALL, events)["first_day"][0, 0] == START_MS // DAY_MS
    assert gap(events) == 9.5


def test_a_late_line_on_the_day_of_the_first_purchase_is_that_purchase() -> None:
    events = [line(1, 0), line(1, 10), line(1, 0.3), line(1, 0)]
    assert product(events)["n"] == 2


def test_late_lines_count_the_baskets_they_came_in() -> None:
    events = [line(1, 0), line(1, 50), line(1, 10), line(2, 10), line(1, 20), line(2, 20)]
    state = state_of(SMALL, events)
    assert (state["baskets"].tolist(), state["number"].tolist()) == ([4], [2])
    assert state["n"][0, :2].tolist() == [4, 2]


def test_late_baskets_do_not_come_between_the_last_purchase_and_now() -> None:
    events = [line(1, 0), line(1, 50), line(2, 10), line(3, 20)]
    assert lists(SMALL, events, newest_ms(events))["repertoire_baskets_since"][0] == 0


def test_late_orders_that_come_interleaved_count_a_basket_a_line() -> None:
    """The stated limit: only the latest late second is remembered."""
    late = [line(1, 10), line(1, 20), line(2, 10), line(2, 20)]
    assert state_of(SMALL, [line(3, 50), *late])["baskets"].tolist() == [5]


def test_a_product_named_twice_by_late_orders_has_no_more_purchases_than_baskets() -> None:
    events = [line(1, 0), line(1, 50), line(1, 10), line(1, 10), line(1, 10)]
    state = state_of(SMALL, events)
    assert (state["n"][0, 0], state["baskets"][0]) == (3, 3)


def test_many_purchases_keep_the_mean_gap_exact_but_for_the_first_day() -> None:
    events = [Event(OrderKind.PLACED, START_MS + n * 7 * HOUR_MS, values={"product": 1}) for n in range(5000)]
    assert gap(events) == pytest.approx(7 / 24, abs=0.5 / 4999)


def seconds(product: int, n: int) -> list[Event]:
    return [Event(OrderKind.PLACED, START_MS + s * 1000, values={"product": product}) for s in range(n)]


def test_purchases_and_baskets_end_at_what_two_bytes_hold_and_the_number_begins_anew() -> None:
    state = state_of(SMALL, seconds(1, 65_540))
    assert (state["n"][0, 0], state["baskets"][0], state["number"][0]) == (65_535, 65_535, 4)
    assert state["past"][0, 0] == 0xFFF


def test_the_count_of_baskets_since_survives_the_number_beginning_anew() -> None:
    events = [*seconds(1, 65_533), *[line(2, day) for day in range(1, 11)]]
    assert lists(SMALL, events, newest_ms(events))["repertoire_baskets_since"][0] == 10


@pytest.mark.parametrize(("size", "products"), [(2, [1, 3]), (3, [1, 2, 3]), (6, [1, 2, 3, 0, 0, 0])])
def test_another_size_keeps_the_strongest_in_their_order(size: int, products: list[int]) -> None:
    events = [line(1, 0), line(1, 60), line(2, 1), line(3, 70)]
    kept, state = carried(SMALL, replace(SMALL, size=size), "order_lines", events)
    assert kept
    assert state["product"][0].tolist() == products
    assert (state["n"][0, 0], state["baskets"][0], state["newest_s"][0]) == (2, 4, START_MS // 1000 + 70 * 86_400)


def test_another_half_life_begins_anew() -> None:
    kept, state = carried(SMALL, replace(SMALL, half_life_days=30), "order_lines", [line(1, 0)])
    assert not kept
    assert not state["product"].any()


def test_a_product_takes_26_bytes() -> None:
    def size(repertoire: Repertoire) -> int:
        return sum(np.dtype(f.dtype).itemsize * f.length for f in repertoire.fields())

    assert size(LARGE) - size(SMALL) == 5 * 26


def test_a_table_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="repertoire 'repertoire': a table has at least two places, not 1"):
        replace(SMALL, size=1)
