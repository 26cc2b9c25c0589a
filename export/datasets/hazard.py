"""Rows of (item, opening hour) where the item is in stock, and when it ran out after that.

The next hour is nearly told by the sales of this one, so the hour after next counts as well. An item that is still
there at closing time has not run out: what happens overnight is another day's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.hourly import IN_STOCK, OUT_OF_STOCK, UNKNOWN, Hourly

#: How many opening hours are looked ahead.
HOURS_AHEAD = 4


@dataclass(frozen=True, slots=True)
class HazardRows:
    """n rows, hour by hour.

    Args:
        row: the hour, a row of `Hourly`, int64 of shape (n,).
        item: index of the item, int64 of shape (n,).
        out: whether the item is out of stock 1 to 4 opening hours later, bool of shape (n, 4).
        open: whether the shop is still open then, bool of shape (n, 4); always true of the first.
    """

    row: NDArray[np.int64]
    item: NDArray[np.int64]
    out: NDArray[np.bool_]
    open: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, at: NDArray[Any]) -> HazardRows:
        """Some of the rows, by index or mask."""
        return HazardRows(self.row[at], self.item[at], self.out[at], self.open[at])

    @property
    def next(self) -> NDArray[np.bool_]:
        """Runs out in the next hour."""
        return self.out[:, 0]

    @property
    def after_next(self) -> NDArray[np.bool_]:
        """Runs out exactly in the hour after next."""
        return ~self.out[:, 0] & self.out[:, 1]

    @property
    def within(self) -> NDArray[np.bool_]:
        """Runs out within four hours."""
        return np.asarray(self.out.any(axis=1))


def hazard_rows(hours: Hourly, items: NDArray[Any], from_day: int, until_day: int) -> HazardRows:
    """The rows of some items on the days from `from_day` to before `until_day` (counted from 1970).

    Rows are hours in stock of which the next opening hour is known, in order of time.
    """
    ahead = np.stack([hours.ahead(k)[:, items] for k in range(1, HOURS_AHEAD + 1)], axis=-1)
    wanted = (hours.day >= from_day) & (hours.day < until_day)
    here = (hours.state[:, items] == IN_STOCK) & (ahead[:, :, 0] != UNKNOWN) & wanted[:, None]
    row, column = np.nonzero(here)
    out = ahead[row, column]
    return HazardRows(row, np.asarray(items)[column], out == OUT_OF_STOCK, out != UNKNOWN)
