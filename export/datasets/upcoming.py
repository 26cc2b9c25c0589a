"""When something happens next, by binary search over all its times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BITS = 32
_DAY_S = 86_400


class Upcoming:
    """Times of many things.

    Args:
        of: which thing, a number of at least 0, int64 of shape (n,).
        second: when, in seconds, int64 of shape (n,).

    Example:
        >>> orders = Upcoming(np.array([0, 0, 1]), np.array([10, 86_410, 10]))
        >>> orders.days(np.array([0, 0, 1]), np.array([10, 86_410, 0])).round(4).tolist()
        [1.0, inf, 0.0001]
    """

    def __init__(self, of: NDArray[np.int64], second: NDArray[np.int64]) -> None:
        self._index = np.append(np.sort((of << _BITS) + second), np.int64(2**62))

    def days(self, of: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """Days from a second to the first later time of each thing, infinite where there is none; of shape (n,)."""
        key = of << _BITS
        found = self._index[np.searchsorted(self._index, key + second, side="right")]
        return np.where(found >> _BITS == of, (found - key - second) / _DAY_S, np.inf)
