"""What a product's price in its region tells: the day's discount there, and what it is less than before.

The price of the region and not the item's own, though it is told before the day begins: a data set may have made an
item's price of a day of what was sold on it (docs/research/stockout.md). The median of a region's shops has little of
that, and foretells as much.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.ownhours import Features, Floats

#: Days back of which the mean discount is the usual one.
_USUAL_DAYS = 14


class RegionPrices:
    """Discounts by day and region.

    Args:
        discount: of each item on each day as was told before it began, 0 to 1, NaN where none was, of shape (d, s);
            None where no price was ever told.
        region: the group of each item: a product in a region, int64 of shape (s,).
    """

    def __init__(self, discount: NDArray[np.floating[Any]] | None, region: NDArray[np.int64]) -> None:
        self._region = region
        self._told = None if discount is None else _medians(discount.astype(np.float64), region)

    def features(self, day: int, at: NDArray[np.int64]) -> Features:
        """The features of some items on a day, counted from the first of the discounts."""
        if self._told is None:
            today = yesterday = last_week = usual = np.full(len(at), np.nan)
        else:
            told, here = self._told, self._region[at]
            today, before = told[day], told[max(day - _USUAL_DAYS, 0) : day]
            yesterday, last_week = (told[day - back] if day >= back else np.full_like(today, np.nan) for back in (1, 7))
            usual = _mean(before)
            today, yesterday, last_week, usual = today[here], yesterday[here], last_week[here], usual[here]
        return {
            "region_discount": today,
            "region_discount_less_1d_ago": today - yesterday,
            "region_discount_less_7d_ago": today - last_week,
            "region_discount_less_usual": today - usual,
        }


def _medians(discount: Floats, region: NDArray[np.int64]) -> Floats:
    """The median of each region, of shape (d, regions)."""
    order = np.argsort(region, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(region[order])) + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # medians of nothing are NaN here
        return np.column_stack([np.nanmedian(discount[:, part], axis=1) for part in parts])


def _mean(before: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN here
        return np.asarray(np.nanmean(before, axis=0))
