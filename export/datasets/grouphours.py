"""What other items tell: the same product in the region or in all shops, the shop, the category in the region.

How many of them are out of stock now, how many ran out just now, whether they sell faster than usual, and how that
compares with what is usual at this hour. The item itself is left out of each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.datasets.hourly import IN_STOCK, OUT_OF_STOCK, UNKNOWN
from export.datasets.ownhours import Features, Floats, OwnHours

#: Days over which the usual share that is out of stock is averaged.
USUAL_DAYS = 7
_SOME = 0.2


class GroupHours:
    """The state of g groups of items.

    Args:
        name: what the features are called by.
        group: of each item, int64 of shape (s,).
        a_day: opening hours a day.
    """

    def __init__(self, name: str, group: NDArray[np.int64], a_day: int) -> None:
        self.name, self.group, self.a_day = name, group, a_day
        self.groups = int(group.max()) + 1
        self.usual_out, self.yesterday_out = np.zeros((2, a_day, self.groups))
        self.out = np.zeros(self.groups)
        self.days = 0

    def total(self, of_items: NDArray[np.generic]) -> Floats:
        """Sums of items by group."""
        return np.bincount(self.group, weights=of_items, minlength=self.groups).astype(np.float64)

    def observe(self, own: OwnHours) -> None:
        """Takes in the hour that `own` has taken in."""
        known = self.total(own.state != UNKNOWN)
        self.out = self.total(own.state == OUT_OF_STOCK) / np.maximum(known, 1.0)

    def remember(self, own: OwnHours) -> None:
        """Takes the hour into what is usual; after its features were read."""
        if own.hour == 0:
            self.days += 1
        self.yesterday_out[own.hour] = self.out
        self.usual_out[own.hour] += (self.out - self.usual_out[own.hour]) / min(self.days, USUAL_DAYS)

    def features(self, own: OwnHours, closed_out: NDArray[np.bool_], at: NDArray[np.int64]) -> Features:
        """The features of some items in stock; others are those of the same group.

        Args:
            own: all items, as of the hour.
            closed_out: which were out of stock at yesterday's closing time, bool of shape (s,).
            at: the items that are asked for.
        """
        here, now = self.group[at], own.hour
        in_stock, known = own.state == IN_STOCK, own.state != UNKNOWN
        others = np.maximum(self.total(known)[here] - 1, 0.0)
        some = np.maximum(others, 1.0)
        out = self.total(own.state == OUT_OF_STOCK)[here]
        ever = self.total(own.ran_out)[here] - own.ran_out[at]
        exposed = np.maximum(self.total(own.exposure[:, now + 1])[here], 1.0)
        found: Features = {
            "others": others,
            "others_out": out,
            "out_share": out / some,
            "out_more_than_usual": (self.out - self.usual_out[now])[here],
            "out_more_than_yesterday": (self.out - self.yesterday_out[now])[here],
            "ran_out_now": self.total(own.recent_onsets[0])[here] / some,
            "ran_out_3h": self.total(own.recent_onsets[:3].sum(axis=0))[here] / some,
            "ran_out_today": np.maximum(ever, 0.0) / some,
            "pace_3h": self._pace(own.recent[:3].sum(axis=0), own.recent_usual[:3].sum(axis=0), in_stock, at),
            "pace_today": self._pace(own.today, own.usual[:, : now + 1].sum(axis=1), in_stock, at),
            "run_outs_1h": self.total(own.run_outs[:, now + 1])[here] / exposed,
            "run_outs_within_4h": self.total(own.run_outs[:, now + 1 : now + 5].sum(axis=1))[here] / exposed,
        }
        for k in (1, 2, 4):
            later = min(now + k, self.a_day - 1)
            found[f"out_usually_{k}h_later"] = (self.usual_out[later] - self.usual_out[now])[here]
        found["closed_out"] = (self.total(closed_out)[here] - closed_out[at]) / some
        return {f"{self.name}_{name}": values for name, values in (found | self._supply(own, at)).items()}

    def _pace(self, sold: Floats, usual: Floats, in_stock: NDArray[np.bool_], at: NDArray[np.int64]) -> Floats:
        """Sales of the others that are in stock, against their usual ones."""
        here = self.group[at]
        of_others = self.total(np.where(in_stock, sold, 0.0))[here] - sold[at]
        expected = self.total(np.where(in_stock, usual, 0.0))[here] - usual[at]
        return np.asarray((np.maximum(of_others, 0.0) + _SOME) / (np.maximum(expected, 0.0) + _SOME))

    def _supply(self, own: OwnHours, at: NDArray[np.int64]) -> Features:
        """At what share of a usual day the others ran out today, and how far this one is on the way there."""
        here, usual = self.group[at], own.usual.sum(axis=1) + _SOME
        share = np.where(own.ran_out, own.level / usual, 0.0)
        others = self.total(own.ran_out)[here] - own.ran_out[at]
        total = self.total(share)[here] - share[at]
        mean = np.where(others > 0, total / np.maximum(others, 1.0), np.nan)
        mine = own.today[at] / usual[at]
        return {"supply_share": mean, "supply_used": mine / (mean + 0.05)}
