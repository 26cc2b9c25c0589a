from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from numpy.typing import NDArray

from features.aggregations import Repertoire
from features.aggregations.base import DAY_MS, HOUR_MS
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, folded, newest_ms, read, seeded, streams

SMALL = Repertoire("repertoire", "products bought", (OrderKind.PLACED,), size=3, half_life_days=60)
LARGE = Repertoire("repertoire", "products bought", (OrderKind.PLACED,), size=8, half_life_days=60)


@dataclass
class Bought:
    """All purchases of a product that the table holds: their seconds, and numbers of the baskets they came in."""

    product: int
    seconds: list[int] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)
    latest_number: int = 0
    units: float = 0.0

    def weight(self, now_s: int, half_life_days: float) -> float:
        return math.fsum(0.5 ** ((now_s - s) / (half_life_days * 86_400)) for s in self.seconds)

    def statistics(self, half_life_days: float) -> dict[str, float]:
        first, last, n = min(self.seconds), max(self.seconds), len(self.seconds)
        return {
            "n": n,
            "first_s": first,
            "last_s": last,
            "gap_days": (last - first) / 86_400 / (n - 1) if n > 1 else 0.0,
            "weight": self.weight(last, half_life_days),
            "bits": sum(1 << k for k in range(32) if self.latest_number - k in self.numbers),
            "basket": self.latest_number,
            "units": self.units,
        }


class Ambiguous(Exception):
    """Two products weigh the same but for rounding: either may be evicted."""


def _weakest(places: Sequence[Bought], now_s: int, half_life_days: float) -> int:
    strengths = [p.weight(now_s, half_life_days) for p in places]
    lowest = min(strengths)
    near = [p for p, s in zip(places, strengths, strict=True) if s <= lowest * (1 + 1e-5)]
    if any(p.seconds != near[0].seconds for p in near):
        raise Ambiguous
    return strengths.index(lowest)


def table_of(repertoire: Repertoire, events: Sequence[Event]) -> tuple[list[Bought], int]:
    """The products held, place by place, and how many baskets there have been: from whole purchase histories."""
    places: list[Bought] = []
    baskets = newest_s = 0
    for event in (e for e in events if e.kind in repertoire.where):
        now_s = event.time_ms // 1000
        if now_s > newest_s:
            baskets, newest_s = baskets + 1, now_s
        held = next((p for p in places if p.product == event["product"]), None)
        if held is None:
            held = Bought(event["product"])
            if len(places) < repertoire.size:
                places.append(held)
            else:
                places[_weakest(places, now_s, repertoire.half_life_days)] = held
        held.units += event["quantity"] / 1000
        if not held.seconds or now_s > max(held.seconds):
            held.numbers.add(baskets)
            held.latest_number = baskets
            held.seconds.append(now_s)
        elif now_s not in (min(held.seconds), max(held.seconds)):
            held.seconds.append(now_s)
    return places, baskets


def oracle(repertoire: Repertoire, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    places, baskets = table_of(repertoire, events)
    return {f"{repertoire.name}_products": float(len(places)), f"{repertoire.name}_baskets": float(baskets)}


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


def line(product: int, day: float, units: float = 1.0, kind: OrderKind = OrderKind.PLACED) -> Event:
    return Event(kind, START_MS + int(day * DAY_MS), values={"product": product, "quantity": int(units * 1000)})


def product(events: Sequence[Event], place: int = 0) -> dict[str, float]:
    state = state_of(SMALL, events)
    return {name: float(state[name][0, place]) for name in ("n", "gap_days", "weight", "bits", "basket", "units")}


def test_lines_of_one_basket_are_one_purchase() -> None:
    assert product([line(1, 0, 2), line(2, 0), line(1, 0, 3)]) == {
        "n": 1,
        "gap_days": 0,
        "weight": 1,
        "bits": 1,
        "basket": 1,
        "units": 5,
    }


def test_bits_tell_which_of_the_last_baskets_had_the_product() -> None:
    found = product([line(1, 0), line(2, 10), line(1, 60), line(3, 70)])
    assert (found["bits"], found["basket"]) == (0b101, 3)
    assert (found["n"], found["gap_days"], found["weight"]) == (2, 60, 1.5)


@pytest.mark.parametrize(("baskets", "bits"), [(31, 1 + (1 << 31)), (32, 1), (63, 1), (64, 1), (65, 1), (128, 1)])
def test_baskets_further_back_than_the_bits_are_forgotten(baskets: int, bits: int) -> None:
    """64 is where a machine's shift begins anew."""
    assert product([line(1, 0), *[line(2, day) for day in range(1, baskets)], line(1, baskets)])["bits"] == bits


def test_the_weakest_gives_way() -> None:
    events = [line(1, 0), line(1, 1), line(2, 2), line(3, 100), line(4, 101)]
    assert state_of(SMALL, events)["product"][0].tolist() == [1, 4, 3]


def test_weakness_is_judged_at_the_time_of_the_newcomer() -> None:
    events = [line(1, 0), line(1, 1), line(1, 2), line(2, 200), line(3, 201), line(4, 202)]
    assert state_of(SMALL, events)["product"][0].tolist() == [4, 2, 3]


def test_undone_orders_take_no_part() -> None:
    events = [line(1, 0), line(1, 5, kind=OrderKind.CANCELLED), line(2, 5, kind=OrderKind.RETURNED)]
    assert product(events)["n"] == 1
    assert state_of(SMALL, events)["baskets"].tolist() == [1]


def test_a_late_line_counts_and_does_not_move_the_last_time_back() -> None:
    in_time = [line(1, 0), line(1, 10), line(1, 20)]
    late = [in_time[0], in_time[2], in_time[1]]
    found = state_of(SMALL, late)
    assert found["last_s"][0, 0] == (START_MS + 20 * DAY_MS) // 1000
    assert product(late)["n"] == 3
    assert product(late)["gap_days"] == product(in_time)["gap_days"] == 10
    assert product(late)["weight"] == pytest.approx(product(in_time)["weight"])


def test_a_late_first_purchase_is_the_first() -> None:
    state = state_of(SMALL, [line(1, 10), line(1, 0)])
    assert state["first_s"][0, 0] == START_MS // 1000
    assert product([line(1, 10), line(1, 0)])["gap_days"] == 10


def test_many_purchases_keep_the_mean_gap_exact() -> None:
    events = [Event(OrderKind.PLACED, START_MS + n * 7 * HOUR_MS, values={"product": 1}) for n in range(5000)]
    assert product(events)["gap_days"] == pytest.approx(7 / 24, rel=1e-7)
