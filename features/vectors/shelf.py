"""Shelf vectors: what an item's own sales and its region say of running out within the next opening hours.

For items whose stock level nobody knows, as long as somebody tells what they sell by the hour and when they run out.
Rows are as of the end of the last full hour, of a moment within an hour as well. Nothing is asked of an item that is
out of stock, of a shop that is closed or has been open for less than an hour, and of an item of which nothing was told
today: who tells sales by the day must not be taken for one who sells nothing by the hour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import HOUR_MS, Slots, Times
from features.aggregations.seconds import second_age_days
from features.table import EntityTable
from features.vectors import regional

VIEW = "item_stock"
#: What is read, as view.aggregation.
READS = ("item_stock.stock", "item_stock.shelf", *regional.READS)
#: Opening hours, UTC.
OPENING = range(6, 22)

_OWN: dict[str, str] = {
    "opening_hour": "opening hours of the day before the last full one",
    "weekday": "day of the week, Monday is 0",
    "sold_1h": "units sold in the last full hour",
    "sold_2h": "units sold in it and the hour before",
    "sold_3h": "units sold in it and the 2 before",
    "sold_6h": "units sold in it and the 5 before",
    "sold_today": "units sold today",
    "sold_since_restock": "units sold since an empty shelf was last filled",
    "sold_late_yesterday": "units of the last 6 hours that were told of on the day before",
    "usual_day": "mean units of a day, half-life 14 days",
    "level_last": "units of the day that were sold when it last ran out",
    "level_before": "the same of the times before",
    "hours_since_sale": "hours since the last hour with a sale began",
    "hours_since_restock": "hours since an empty shelf was last filled, at most 500",
    "hours_since_run_out": "hours since it ran out, at most 500",
    "sold_of_level_last": "units sold today over those of the day when it last ran out",
    "sold_of_level_before": "units sold today over those of the times before",
}
_MADE: dict[str, str] = {
    "usual_so_far": "units that it usually sells by this hour: those of a usual day, spread as in the region",
    "usual_next_1h": "units that it usually sells in the next hour",
    "usual_next_2h": "units that it usually sells in the next 2 hours",
    "usual_next_4h": "units that it usually sells in the next 4 hours",
    "usual_rest": "units that it usually sells until the end of the day",
    "pace_today": "units sold today over those that it usually sells by this hour",
}
#: Columns in order, with what each means.
FEATURES: dict[str, str] = {**_OWN, **_MADE, **regional.FEATURES}
#: Columns that are told in units; what they say hangs on `usual_day`.
UNITS = (
    *(f"sold_{when}" for when in ("1h", "2h", "3h", "6h", "today", "since_restock", "late_yesterday")),
    *("level_last", "level_before"),
    *(f"usual_{when}" for when in ("so_far", "next_1h", "next_2h", "next_4h", "rest")),
)

#: What names of these columns begin with in logged vectors.
PREFIX = "shelf_"
#: Columns of which it says something that they are unknown.
FLAGGED = (
    *("level_last", "level_before", "sold_of_level_last", "sold_of_level_before"),
    *("hours_since_sale", "hours_since_restock", "hours_since_run_out", "usual_rest", "region_out_share"),
)
_LONGEST = 500.0
_SOME = 0.2
_SPREAD = ("region_sold_by_now", "region_sold_1h_later", "region_sold_2h_later", "region_sold_4h_later")
_REGION = {name: at for at, name in enumerate(regional.FEATURES)}


def is_joined(feature: str) -> bool:
    """Whether a feature of a logged vector is of the region, or made of what is.

    >>> is_joined("shelf_region_shops"), is_joined("shelf_usual_rest"), is_joined("shelf_usual_day")
    (True, True, False)
    """
    name = feature.removeprefix(PREFIX)
    return name != feature and (name in _MADE or name in regional.FEATURES)


def joined_columns() -> list[int]:
    """Which columns are of the region, or made of what is."""
    return [at for at, name in enumerate(FEATURES) if is_joined(PREFIX + name)]


def asked(items: EntityTable, slots: Slots, as_of_ms: Times) -> NDArray[np.bool_]:
    """Of which items something is asked as of event times, bool of shape (n,)."""
    _, state, at = items.part(VIEW, "shelf", slots, as_of_ms)
    hour = _full_hour(as_of_ms)
    told_day = state["head_h"][at].astype(np.int64) // 24
    of_day = hour % 24
    here = (state["out"][at] == 0) & (told_day > 0) & (told_day >= hour // 24)
    return np.asarray(here & (of_day >= OPENING.start) & (of_day < OPENING.stop - 1))


def shelf_rows(
    items: EntityTable, slots: Slots, as_of_ms: Times, region: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The rows of the items at `slots`.

    Args:
        items: their records.
        slots, as_of_ms: int64 of shape (n,).
        region: columns as `regional.FEATURES` as of the millisecond after, float32 of shape (n, 18); None: unknown.

    Returns:
        float32 of shape (n, 41), columns as `FEATURES`; NaN is unknown.
    """
    sales, state, at = items.part(VIEW, "shelf", slots, as_of_ms)
    hour = _full_hour(as_of_ms)
    told = sales.read_ended(state, at, hour * HOUR_MS + HOUR_MS - 1)
    _, stock, at = items.part(VIEW, "stock", slots, as_of_ms)
    ages = {
        f"hours_since_{what}": np.minimum(second_age_days(stock[f"{name}_s"][at], as_of_ms) * 24, _LONGEST)
        for what, name in (("restock", "restocked"), ("run_out", "ran_out"))
    }
    found: dict[str, Any] = {
        "opening_hour": hour % 24 - OPENING.start,
        "weekday": (hour // 24 + 3) % 7,  # 1970-01-01 was a Thursday
        **{name: told[f"shelf_{name}"] for name in _OWN if f"shelf_{name}" in told},
        "sold_today": told["shelf_sold_1d"],
        "sold_late_yesterday": told["shelf_sold_late"],
        "hours_since_sale": np.round(told["shelf_sale_age_days"] * 24),
        **ages,
        "sold_of_level_last": told["shelf_sold_1d"] / told["shelf_level_last"],
        "sold_of_level_before": told["shelf_sold_1d"] / told["shelf_level_before"],
    }
    if region is None:
        region = np.full((len(slots), len(_REGION)), np.nan, np.float32)
    made = _made(found["usual_day"], found["sold_today"], region.astype(np.float64))
    own = np.column_stack([*(found[name] for name in _OWN), *made])
    return np.hstack([own.astype(np.float32), region])


def _full_hour(as_of_ms: Times) -> Times:
    """The last hour that is over by then, counted from 1970; one ends with its last millisecond."""
    return (as_of_ms + 1) // HOUR_MS - 1


def _made(usual: NDArray[np.float64], today: NDArray[np.float64], region: NDArray[np.float64]) -> list[Any]:
    """A usual day, spread as in the region."""
    by_now, *later = (usual * region[:, _REGION[name]] for name in _SPREAD)
    return [by_now, *later, usual - by_now, (today + _SOME) / (by_now + _SOME)]
