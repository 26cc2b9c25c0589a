"""How an item's last days ended: what was sold late, how long it was there to be sold, and by this hour yesterday.

What is left on a shelf in the evening is there in the morning; no sale and no restocking tells of it. The evening
before does: an item that was in stock and sold well until closing time begins the day with less.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.datasets.hourly import IN_STOCK, OUT_OF_STOCK
from export.datasets.ownhours import Features

#: The last opening hours of a day.
_LATE, _VERY_LATE = 6, 3
_DAYS = 7
_LITTLE = 0.1


class Evenings:
    """The state of s items.

    Args:
        items: how many.
        a_day: opening hours a day.

    `closed_out` says which were out of stock at yesterday's closing time.
    """

    def __init__(self, items: int, a_day: int) -> None:
        self.sold, self.here = np.zeros((_DAYS, items)), np.zeros((_DAYS, items))
        self.very_late, self.day = np.zeros((2, items))
        self.by_hour = np.zeros((a_day, items))
        self.closed_out = np.zeros(items, bool)

    def end_day(self, sold: NDArray[np.floating], state: NDArray[np.int8]) -> None:
        """Evening: takes in the day's opening hours, of shape (a_day, s)."""
        units, here = sold.astype(np.float64), state == IN_STOCK
        for ring, newest in ((self.sold, units[-_LATE:]), (self.here, here[-_LATE:])):
            ring[1:] = ring[:-1].copy()
            ring[0] = newest.sum(axis=0)
        self.by_hour = np.cumsum(units, axis=0)
        self.very_late, self.day = units[-_VERY_LATE:].sum(axis=0), self.by_hour[-1]
        self.closed_out = state[-1] == OUT_OF_STOCK

    def features(self, hour: int, at: NDArray[np.int64]) -> Features:
        """The features of some items in an opening hour (0 is the first)."""
        sold, here = self.sold[:, at], self.here[:, at]
        return {
            "sold_by_now_yesterday": self.by_hour[hour, at],
            "sold_late_yesterday": sold[0],
            "sold_very_late_yesterday": self.very_late[at],
            "sold_late_7d": sold.mean(axis=0),
            "late_share_yesterday": sold[0] / (self.day[at] + _LITTLE),
            "late_hours_in_stock_1d_ago": here[0],
            "late_hours_in_stock_2d_ago": here[1],
            "late_hours_in_stock_7d": here.mean(axis=0),
        }
