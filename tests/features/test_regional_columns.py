"""What the shops of a region say of a product, against the plain definition over a list of events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, HOUR_MS
from features.discovery import discover
from features.ids import hash64
from features.rows import FIXED_POINT, InventoryKind
from features.shards import merged
from features.vectors.regional import FEATURES, region_columns
from tests.features.streams import START_MS, Event, folded

VIEW = discover()["region_stock"]
SHOPS = range(6)
#: What a sketch of so few shops is off by, at most.
NEARLY = 0.05


@dataclass(frozen=True)
class Told:
    """What a shop tells at the start of an hour: it turned (1: ran out, -1: restocked), or it sold units."""

    shop: int
    hour: int
    turned: int = 0
    sold: float = 0.0


def tell(seed: int, hours: int = 24 * 12) -> list[Told]:
    random, out, told = Random(seed), dict.fromkeys(SHOPS, False), list[Told]()
    for hour in range(hours):
        for shop in SHOPS:
            if random.random() < 0.1:
                told.append(Told(shop, hour, -1 if out[shop] else 1))
                out[shop] = not out[shop]
            if not out[shop] and random.random() < 0.5:
                told.append(Told(shop, hour, sold=random.randrange(1, 20) / 4))
    return told


def event(one: Told) -> Event:
    kind = {1: InventoryKind.RAN_OUT, -1: InventoryKind.RESTOCKED, 0: InventoryKind.UNITS_SOLD}[one.turned]
    values = {"shop": hash64(f"s{one.shop}"), "quantity": int(one.sold * FIXED_POINT)}
    return Event(kind, START_MS + one.hour * HOUR_MS, values=values)


def columns(told: Sequence[Told], as_of_hour: float, shards: int = 1) -> list[float]:
    """Through the view, with every shop in one of so many shards."""
    parts = [[event(one) for one in told if one.shop % shards == shard] for shard in range(shards)]
    records = merged(VIEW, np.stack([folded(VIEW, part)[1] if part else VIEW.empty(1) for part in parts]))
    found: list[float] = region_columns(records, at(as_of_hour)).columns[0].tolist()
    return found


def at(hour: float) -> NDArray[np.int64]:
    return np.array([START_MS + int(hour * HOUR_MS)])


def expected(told: Sequence[Told], as_of_hour: float) -> list[float]:
    """The definition."""
    now = int(as_of_hour)
    shops = len({one.shop for one in told if one.hour < now // 24 * 24})
    if not shops:
        return [0.0] + [math.nan] * (len(FEATURES) - 1)

    def out(hour: int) -> float:
        """Share that was out at the end of the hour before."""
        return min(max(sum(one.turned for one in told if one.hour < hour) / shops, 0.0), 1.0)

    def usual(ahead: int) -> float:
        return sum(out(now + ahead - 24 * day) for day in range(1, 8)) / 7

    def sold(end: int, hours: int) -> float:
        return sum(one.sold for one in told if end - hours <= one.hour < end)

    def usually(end: int, hours: int) -> float:
        return sum(sold(end - 24 * day, hours) for day in range(1, 8))

    def runs_out(hours: int) -> float:
        ends = [(now - 24 * day, now - 24 * day + min(hours, 23 - last)) for day in range(1, 8)]
        return sum(one.turned == 1 and any(a <= one.hour < b for a, b in ends) for one in told) / 7 / shops

    last = (now - 1) % 24
    paces = [(sold(now - 1, h) + 0.2) / (usually(now - 1, h) / 7 + 0.2) for h in (1, 3, last)]
    week = sold(now - 1 - last, 7 * 24)
    spread = [usually(now, last + 1)]
    spread += [usually(now + ahead, ahead) for ahead in (min(hours, 23 - last) for hours in (1, 2, 4))]
    return [
        shops,
        *(out(now - back) for back in (0, 1, 3, 24)),
        out(now) - usual(0),
        *(usual(ahead) - usual(0) for ahead in (1, 2, 4)),
        *(runs_out(hours) for hours in (1, 4)),
        *paces,
        *(units / week if week else math.nan for units in spread),
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("as_of_hour", [3, 24.5, 200, 287.99, 288])
@pytest.mark.parametrize("shards", [1, 3])
def test_they_are_what_the_definition_says(seed: int, as_of_hour: float, shards: int) -> None:
    """Also of events that are up to an hour further than what is asked."""
    told = [one for one in tell(seed) if one.hour <= as_of_hour + 1]
    np.testing.assert_allclose(columns(told, as_of_hour, shards), expected(told, as_of_hour), rtol=NEARLY, atol=1e-6)


def test_what_happens_within_the_hour_changes_nothing() -> None:
    told = [one for one in tell(5) if one.hour < 200]
    assert columns([*told, Told(0, 200, 1), Told(1, 200, sold=9.0)], 200.9) == columns(told, 200.9)


def test_a_shop_that_is_told_of_twice_is_no_more_than_all_of_them() -> None:
    told = [Told(0, hour, 1) for hour in range(5)]
    assert columns(told, 30)[1:4] == [1.0, 1.0, 1.0]


def test_nothing_known_is_told_as_unknown() -> None:
    found = region_columns(VIEW.empty(1), np.array([START_MS + DAY_MS]))
    assert found.columns[0, 0] == 0
    assert np.isnan(found.columns[0, 1:]).all()
    assert found.columns.shape == (1, len(FEATURES))
    assert np.isnan(found.version[0])


@pytest.mark.parametrize("as_of_hour", [24.5, 100, 190.99])
def test_the_version_grows_with_what_the_columns_are_made_of(as_of_hour: float) -> None:
    told, now = [one for one in tell(1) if one.hour <= as_of_hour + 1], int(as_of_hour)

    def version(events: Sequence[Told]) -> float:
        return float(region_columns(folded(VIEW, [event(one) for one in events])[1], at(as_of_hour)).version[0])

    def counts(one: Told) -> bool:
        return one.hour < now if one.turned else now - 189 <= one.hour < now - 1

    turns = sum(one.turned != 0 for one in told if counts(one))
    units = sum(one.sold for one in told if counts(one))
    assert version(told) == pytest.approx(turns + units + len(SHOPS), rel=1e-2)
    for one in told:
        if counts(one):
            assert version([other for other in told if other is not one]) < version(told)
    assert version([one for one in told if counts(one) or one.hour < now - 1]) == version(told)
