"""Joined columns of an item: what the region's shops say of its product, as of the end of the last full hour.

The item itself is one of them. A location that names no region has none: all is unknown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS, Slots, Times
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
    "region_stock.shops",
)

#: Columns in order, with what each means.
FEATURES: dict[str, str] = {
    "region_shops": "shops of the region that had the product, until yesterday",
    "region_out_share": "share of them that were out of it at the end of the last full hour",
    "region_out_share_1h": "share of them that were out of it an hour before that",
    "region_out_share_24h": "share of them that were out of it a day before that",
    "region_pace_1h": "units that they sold in the last full hour, over the mean of that hour in the 7 days before",
    "region_pace_3h": "units that they sold in the last 3 full hours, over the mean of those in the 7 days before",
}

_DAY_HOURS, _USUAL_DAYS = 24, 7
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


def region_columns(records: NDArray[np.void], as_of_ms: Times) -> NDArray[np.float32]:
    """What records say as of the end of the hour before that of `as_of_ms`.

    Args:
        records: of `region_stock`, of shape (n,).
        as_of_ms: int64 of shape (n,).

    Returns:
        float32 of shape (n, 6), columns as `FEATURES`; NaN is unknown: no shop had it before today.
    """
    slots = np.arange(len(records))
    sketch, state, at = _part(records, "shops", slots, as_of_ms)
    shops = sketch.until(state, at, as_of_ms // DAY_MS - 1)
    some = np.where(shops > 0, np.maximum(shops, 1.0), np.nan)
    shares = [_out(records, slots, as_of_ms, hours) / some for hours in (0, 1, _DAY_HOURS)]
    paces = [np.where(shops > 0, _pace(records, slots, as_of_ms, hours), np.nan) for hours in (1, 3)]
    return np.column_stack([shops, *(np.clip(share, 0.0, 1.0) for share in shares), *paces]).astype(np.float32)


def _part(records: NDArray[np.void], name: str, slots: Slots, as_of_ms: Times) -> Any:
    return discover()[VIEW].part(records, name, slots, as_of_ms)


def _between(
    records: NDArray[np.void], name: str, slots: Slots, as_of_ms: Times, newest: int, oldest: int
) -> NDArray[np.float64]:
    """What came in the hours from `oldest` to `newest` hours before that of `as_of_ms`; the future is negative."""
    tiles, state, at = _part(records, name, slots, as_of_ms)
    back = np.tile(np.array([[newest, oldest]]), (len(slots), 1))
    return np.asarray(tiles.sums(state, at, as_of_ms, back[:, :1], back[:, 1:])[:, 0])


def _out(records: NDArray[np.void], slots: Slots, as_of_ms: Times, hours: int) -> NDArray[np.float64]:
    """Shops that were out at the end of the last full hour, or so many hours before: those now, but for what turned."""
    now = discover()[VIEW].read(records, slots, as_of_ms)
    ahead = -discover()[VIEW].raw(records, "turned")["ring"].shape[1]
    since = _between(records, "turned", slots, as_of_ms, ahead, hours)
    return np.asarray(now["ran_out"] - now["restocked"] - since)


def _pace(records: NDArray[np.void], slots: Slots, as_of_ms: Times, hours: int) -> NDArray[np.float64]:
    sold = _between(records, "sold", slots, as_of_ms, 1, hours)
    days = [_DAY_HOURS * day for day in range(1, _USUAL_DAYS + 1)]
    before = [_between(records, "sold", slots, as_of_ms, back + 1, back + hours) for back in days]
    return np.asarray((sold + _SOME) / (np.mean(before, axis=0) + _SOME))
