"""The level of probabilities: what is added to their log-odds so that their mean is what happened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special  # type: ignore[import-untyped]  # ships no types

#: A shift is looked for within so much.
_FURTHEST = 40.0
#: Log-odds beyond this are taken for it.
_MOST = 20.0
_RARELY = 1e-6


def shift_of(odds: NDArray[Any], happened: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """What is to be added to log-odds.

    Args:
        odds: of n rows.
        happened: 1 or 0, of n rows. Where nothing did, or everything, one in a million is taken for it.
        weight: of the rows; None: all weigh the same.

    Returns:
        The shift; 0 where there are no rows.

    >>> round(shift_of(np.zeros(10), np.arange(10) < 2), 3)  # the log-odds of 0.2
    -1.386
    """
    if not len(odds) or (weight is not None and not weight.sum()):
        return 0.0
    rate = np.clip(np.average(happened, weights=weight), _RARELY, 1.0 - _RARELY)
    told = np.clip(odds.astype(np.float64), -_MOST, _MOST)
    return float(
        optimize.brentq(
            lambda shift: np.average(special.expit(told + shift), weights=weight) - rate, -_FURTHEST, _FURTHEST
        )
    )
