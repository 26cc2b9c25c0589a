"""Curves: how chances compare with what came true, and how much of it the highest scores hold."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

#: Bins of equal width, as the calibration error has them.
BINS = 15
_POINTS = 20


class Bin(msgspec.Struct, frozen=True):
    """Rows of about the same chance: the mean chance, the share that came true, how many rows."""

    chance: float
    rate: float
    rows: int


class Curve(msgspec.Struct, frozen=True):
    """What the reliability diagram and the lift plot show of one question.

    Args:
        name: of the question, such as "bought again within 30 days".
        bins: with rows only.
        lift: for the top 5%, 10%, … 100% of rows by chance: the share of all that came true which is among them.
    """

    name: str
    bins: list[Bin]
    lift: list[float]


def curve_of(name: str, label: NDArray[Any], chance: NDArray[Any]) -> Curve:
    """The curve of rows.

    Args:
        name: of the question.
        label: 0 or 1, of shape (n,).
        chance: in [0, 1], of shape (n,).

    >>> curve_of("it rains", np.array([0, 1]), np.array([0.1, 0.9])).bins
    [Bin(chance=0.1, rate=0.0, rows=1), Bin(chance=0.9, rate=1.0, rows=1)]
    """
    y, p = label.astype(np.float64), chance.astype(np.float64)
    at = np.clip((p * BINS).astype(np.int64), 0, BINS - 1)
    rows = np.bincount(at, minlength=BINS)
    chances, rates = (np.bincount(at, weights=v, minlength=BINS) / np.maximum(rows, 1) for v in (p, y))
    bins = [Bin(*one) for one in zip(chances.tolist(), rates.tolist(), rows.tolist(), strict=True) if one[2]]
    true = np.cumsum(y[np.argsort(-p, kind="stable")])
    tops = np.ceil(np.arange(1, _POINTS + 1) / _POINTS * len(y)).astype(np.int64)
    lift = true[tops - 1] / max(true[-1], 1.0) if len(y) else np.zeros(_POINTS)
    return Curve(name, bins, [round(share, 6) for share in lift.tolist()])
