from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given

from features.aggregations import Gap
from features.aggregations.base import DAY_MS
from features.rows import OrderKind
from tests.features.streams import START_MS, Event, alone, assert_close, newest_ms, read, seeded, streams

GAP = Gap("gap", "days between orders", (OrderKind.PLACED,))


def oracle(gap: Gap, events: Sequence[Event], as_of_ms: int) -> dict[str, float]:
    """Exact arithmetic over the gaps between events that were each the newest, by whole seconds, when they came."""
    newest: list[int] = []
    for event in events:
        if event.kind in gap.where and (not newest or event.time_ms // 1000 > newest[-1]):
            newest.append(event.time_ms // 1000)
    gaps = [Fraction(b - a, 86_400) for a, b in pairwise(newest)]
    mean = float(statistics.mean(gaps)) if gaps else math.nan
    deviation = math.sqrt(statistics.variance(gaps)) if len(gaps) > 1 else math.nan
    return {f"{gap.name}_mean_days": mean, f"{gap.name}_std_days": deviation}


@given(streams("orders"))
@seeded
def test_equals_the_oracle(events: list[Event]) -> None:
    assert_close(read(alone(GAP, "orders"), events, newest_ms(events)), oracle(GAP, events, 0))


def test_equal_and_late_times_add_no_gap() -> None:
    days = [0, 0, 4, 2, 4, 10]
    events = [Event(OrderKind.PLACED, START_MS + day * DAY_MS) for day in days]
    found = read(alone(GAP, "orders"), events, START_MS)
    assert found == {"gap_mean_days": 5.0, "gap_std_days": math.sqrt(2)}


@pytest.mark.parametrize("orders", [1, 2, 3])
def test_nan_until_there_are_enough_orders(orders: int) -> None:
    events = [Event(OrderKind.PLACED, START_MS + n * DAY_MS) for n in range(orders)]
    mean, deviation = read(alone(GAP, "orders"), events, START_MS).values()
    assert math.isnan(mean) == (orders < 2)
    assert math.isnan(deviation) == (orders < 3)


def test_small_deviations_around_a_large_mean_survive() -> None:
    """E[x²] − E[x]² loses all but a few digits here."""
    times = [START_MS]
    for n in range(1000):
        times.append(times[-1] + 10 * DAY_MS + n % 2 * 1000)
    events = [Event(OrderKind.PLACED, t) for t in times]
    expected = oracle(GAP, events, 0)["gap_std_days"]
    assert read(alone(GAP, "orders"), events, times[-1])["gap_std_days"] == pytest.approx(expected, rel=1e-6)


def test_orders_within_one_second_are_no_gap() -> None:
    events = [Event(OrderKind.PLACED, START_MS + ms) for ms in (0, 999, 1000)]
    assert read(alone(GAP, "orders"), events, START_MS)["gap_mean_days"] == 1 / 86_400
