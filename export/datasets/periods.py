"""The time split of a log of hours, and the shops that training leaves out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.datasets.hourly import Hourly
from export.errors import UsageError
from export.split import Split, date_of
from features.aggregations.base import DAY_MS

#: Days that fill the windows before the first row.
WARM_UP_DAYS = 14
#: Days of the test period where no beginning is given, and days of validation before it.
TEST_DAYS = VALIDATION_DAYS = 7


@dataclass(frozen=True, slots=True)
class Periods:
    """Days counted from 1970; a label of hours stays within its day, so no gaps are needed.

    Args:
        first: of the log; rows begin `WARM_UP_DAYS` later.
        validation, test, end: the first day of each part, and the day after the last.
    """

    first: int
    validation: int
    test: int
    end: int

    @property
    def split(self) -> Split:
        """As event times."""
        validation, test = self.validation * DAY_MS, self.test * DAY_MS
        return Split(self.first * DAY_MS, validation, validation, test, test, self.end * DAY_MS, horizon_days=0)


def periods_of(hours: Hourly, from_ms: int | None = None) -> Periods:
    """The periods of a log; the test is its last week where no beginning is given.

    Raises:
        UsageError: too little is left to learn from.
    """
    end = int(hours.day[-1]) + 1
    test = end - TEST_DAYS if from_ms is None else from_ms // DAY_MS
    first = hours.first_day + WARM_UP_DAYS + VALIDATION_DAYS + 1
    if first >= end:
        raise UsageError(
            f"the event log has sales by the hour of {end - hours.first_day} days, from "
            f"{date_of(hours.first_day * DAY_MS)} on: too few for a time split, which takes "
            f"{first + 1 - hours.first_day} at least, and {first + TEST_DAYS - hours.first_day} for a test of a week"
        )
    if not first <= test < end:
        raise UsageError(
            f"the test can't begin on {date_of(test * DAY_MS)}: this event log of hours allows "
            f"{date_of(first * DAY_MS)} to {date_of((end - 1) * DAY_MS)}"
        )
    return Periods(hours.first_day, test - VALIDATION_DAYS, test, end)


def held_out(items: list[str], seed: int) -> NDArray[np.bool_]:
    """Whether an item's shop is one of the tenth that training must leave out.

    >>> held_out([f"n/shop-{i % 10}:{i}" for i in range(20)], seed=0).sum()
    np.int64(2)
    """
    shop = np.array([item.partition(":")[0] for item in items])
    shops = np.unique(shop)
    chosen = np.random.default_rng(seed + 1).choice(shops, len(shops) // 10, replace=False)
    return np.isin(shop, chosen)
