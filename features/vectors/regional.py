"""Joined columns of an item: what the region's shops say of its product, as of the end of the last full hour.

The item itself is one of them. A location that names no region has none: all is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, HOUR_MS, Slots, Times, kernel
from features.discovery import discover
from features.rows import region_of

#: The view that is read.
VIEW = "region_stock"
#: What is read of it, as view.aggregation.
READS = (
    "region_stock.ran_out",
    "region_stock.restocked",
    "region_stock.turned",
    "region_stock.sold",
    "region_stock.turns",
    "region_stock.shops",
)

#: Columns in order, with what each means. What is sold is that until an hour before: tills report an hour when it is
#: over, and not all at once.
FEATURES: dict[str, str] = {
    "region_shops": "shops of the region that had the product, until yesterday",
    "region_out_share": "share of them that were out of it at the end of the last full hour",
    "region_out_share_1h": "share of them that were out of it an hour before that",
    "region_out_share_3h": "share of them that were out of it 3 hours before that",
    "region_out_share_24h": "share of them that were out of it a day before that",
    "region_out_more_than_usual": "share of them that were out of it, less the mean of that hour in the 7 days before",
    "region_out_usually_1h_later": "what that mean is higher an hour later",
    "region_out_usually_2h_later": "what that mean is higher two hours later",
    "region_out_usually_4h_later": "what that mean is higher four hours later",
    "region_runs_out_1h": "share of them that ran out in the hour after it, mean of the 7 days before",
    "region_runs_out_4h": "share of them that ran out in the four hours after it, mean of the 7 days before",
    "region_pace_1h": "units that they sold in the hour before the last, over the mean of it in the 7 days before",
    "region_pace_3h": "the same of the three hours before the last",
    "region_pace_today": "the same of the day until the hour before the last",
    "region_sold_by_now": "share of a day's units that was sold by the end of the last full hour, in the 7 days before",
    "region_sold_1h_later": "share of a day's units that was sold in the hour after it, in the 7 days before",
    "region_sold_2h_later": "share of a day's units that was sold in the two hours after it, in the 7 days before",
    "region_sold_4h_later": "share of a day's units that was sold in the four hours after it, in the 7 days before",
}

_DAY_HOURS, _USUAL_DAYS = 24, 7
_AHEAD = (1, 2, 4)
#: Hours that are looked back at: the same hours of the last seven days.
_HOURS = _DAY_HOURS * (_USUAL_DAYS + 1)
#: Of those, as many as a record still has that is a few hours further; until the evening no column needs more.
_KEPT = _HOURS - 3
#: Units that are added before they are compared.
_SOME = 0.2


def region_key(item: str) -> str | None:
    """The key of an item's product in its region; None where its location names none.

    >>> region_key("leeds/store-4:85123A"), region_key("warehouse:85123A")
    ('leeds:85123A', None)
    """
    location, _, sku = item.partition(":")
    region = region_of(location)
    return None if region is None else f"{region}:{sku}"


@dataclass(frozen=True, slots=True)
class RegionColumns:
    """What is joined, a row an item.

    Args:
        columns: float32 of shape (n, 18), as `FEATURES`; NaN is unknown.
        version: how much of what the columns are made of the records had taken in, float64 of shape (n,), NaN where
            there was no record: turns until the end of the last full hour, units until the hour before, and shops.
            Each of them only grows; equal versions as of one hour mean equal columns.
        event_time_ms: the newest event of each record, int64 of shape (n,); 0 is none.
    """

    columns: NDArray[np.float32]
    version: NDArray[np.float64]
    event_time_ms: NDArray[np.int64]


def unknown(rows: int) -> RegionColumns:
    """Nothing is known of so many rows."""
    nothing = np.full((rows, len(FEATURES)), np.nan, np.float32)
    return RegionColumns(nothing, np.full(rows, np.nan), np.zeros(rows, np.int64))


def region_columns(records: NDArray[np.void], as_of_ms: Times) -> RegionColumns:
    """What records say as of the end of the hour before that of `as_of_ms`.

    Args:
        records: of `region_stock`, of shape (n,).
        as_of_ms: int64 of shape (n,).

    Unknown is what no shop of the region had before today.
    """
    slots = np.arange(len(records))
    sketch, state, at = _part(records, "shops", slots, as_of_ms)
    shops = sketch.until(state, at, as_of_ms // DAY_MS - 1)
    out = np.empty((len(records), len(FEATURES)), np.float64)
    turned, ahead = _hours(records, "turned", slots, as_of_ms)
    turns, later = _hours(records, "turns", slots, as_of_ms)
    sold, _ = _hours(records, "sold", slots, as_of_ms)
    now = discover()[VIEW].read(records, slots, as_of_ms)
    out_now = now["ran_out"] - now["restocked"] - ahead
    _columns(shops, out_now, turned, (turns + turned) / 2, sold, as_of_ms // HOUR_MS, out)
    seen = now["ran_out"] + now["restocked"] - later + sold[:, 1:_KEPT].sum(axis=1) + shops
    version = np.where(records["version"] > 0, seen, np.nan)
    return RegionColumns(out.astype(np.float32), version, records["event_time_ms"].astype(np.int64))


def _part(records: NDArray[np.void], name: str, slots: Slots, as_of_ms: Times) -> Any:
    return discover()[VIEW].part(records, name, slots, as_of_ms)


def _hours(
    records: NDArray[np.void], name: str, slots: Slots, as_of_ms: Times
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What came in each full hour, the last one first, (n, 192); and what came after them, (n,)."""
    tiles, state, at = _part(records, name, slots, as_of_ms)
    back = np.broadcast_to(np.arange(1, _HOURS + 1), (len(slots), _HOURS)).copy()
    until, since = np.full((len(slots), 1), -tiles.length), np.zeros((len(slots), 1), np.int64)
    after = tiles.sums(state, at, as_of_ms, until, since)[:, 0]
    return tiles.sums(state, at, as_of_ms, back, back), after


@kernel
def _columns(shops: Any, out_now: Any, turned: Any, ran_out: Any, sold: Any, hour: Any, out: Any) -> None:
    """out: the columns of `FEATURES`, (n, 18); `hour` is that of the as-of time, counted from 1970."""
    share = np.empty(_HOURS)  # of the shops that were out at the end of the last full hour, and k hours before it
    for i in range(shops.shape[0]):
        out[i, 0] = shops[i]
        if not shops[i] > 0:
            out[i, 1:] = np.nan
            continue
        some, held = max(shops[i], 1.0), out_now[i]
        for k in range(_HOURS):
            share[k] = min(max(held / some, 0.0), 1.0)
            held -= turned[i, k]
        out[i, 1], out[i, 2], out[i, 3], out[i, 4] = share[0], share[1], share[3], share[_DAY_HOURS]
        usual = 0.0
        for day in range(1, _USUAL_DAYS + 1):
            usual += share[day * _DAY_HOURS] / _USUAL_DAYS
        out[i, 5] = share[0] - usual
        for j in range(3):
            later = 0.0
            for day in range(1, _USUAL_DAYS + 1):
                later += share[day * _DAY_HOURS - _AHEAD[j]] / _USUAL_DAYS
            out[i, 6 + j] = later - usual
        last = (hour[i] - 1) % _DAY_HOURS
        out[i, 9] = _later(ran_out[i], last, 1) / _USUAL_DAYS / some
        out[i, 10] = _later(ran_out[i], last, 4) / _USUAL_DAYS / some
        _sold(sold[i], last, out[i, 11:])


@kernel
def _later(hours: Any, last: int, ahead: int) -> Any:
    """What came in so many hours after that hour of each of the days before, until midnight."""
    total = 0.0
    for day in range(1, _USUAL_DAYS + 1):
        for k in range(1, min(ahead, _DAY_HOURS - 1 - last) + 1):
            total += hours[day * _DAY_HOURS - k]
    return total


@kernel
def _sold(sold: Any, last: int, out: Any) -> None:
    """Paces and shares of a day; `last` is the hour of the day of the last full hour."""
    for j in range(3):
        span = last if j == 2 else 1 + 2 * j
        new, before = 0.0, 0.0
        for k in range(1, span + 1):
            new += sold[k]
            for day in range(1, _USUAL_DAYS + 1):
                before += sold[k + day * _DAY_HOURS] / _USUAL_DAYS
        out[j] = (new + _SOME) / (before + _SOME)
    whole, so_far = 0.0, 0.0
    for k in range(last + 1, last + 1 + _USUAL_DAYS * _DAY_HOURS):
        whole += sold[k]
    for day in range(1, _USUAL_DAYS + 1):
        for k in range(last + 1):
            so_far += sold[k + day * _DAY_HOURS]
    out[3] = so_far / whole if whole > 0 else np.nan
    for j in range(3):
        out[4 + j] = _later(sold, last, _AHEAD[j]) / whole if whole > 0 else np.nan
