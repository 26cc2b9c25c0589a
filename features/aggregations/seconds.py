"""Seconds: event times kept as whole seconds in four bytes; 0 is never, and they reach to the year 2106."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Times, age_days


def second_age_days(seconds: NDArray[Any], as_of_ms: Times) -> NDArray[np.float64]:
    """Days from whole seconds to `as_of_ms`, at least 0; NaN where there was no event (second 0).

    >>> second_age_days(np.array([0, 86_400], np.uint32), np.array([0, 3 * 86_400_000])).tolist()
    [nan, 2.0]
    """
    return age_days(seconds.astype(np.int64) * 1000, as_of_ms)
