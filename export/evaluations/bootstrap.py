"""Intervals by resampling customers: rows of one customer are not independent, customers nearly are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Figures by name, from the weight of each row.
Figures = Callable[[NDArray[np.float64]], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Resamples:
    """How often each customer was drawn; all scores are measured on the same draws, so differences are paired.

    Args:
        counts: of shape (draws, customers), float64.
    """

    counts: NDArray[np.float64]

    def of(self, figures: Figures, customer: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """The figures of each draw, by name; rows where nobody was drawn weigh 0."""
        found = [figures(count[customer]) for count in self.counts]
        return {name: np.array([one[name] for one in found]) for name in (found[0] if found else {})}


def resamples(customers: int, draws: int, seed: int) -> Resamples:
    """Draws so many customers with replacement, again and again.

    >>> resamples(5, draws=2, seed=1).counts.sum(axis=1).tolist()
    [5.0, 5.0]
    """
    rng = np.random.default_rng(seed)
    even = np.full(customers, 1.0 / customers)
    return Resamples(rng.multinomial(customers, even, size=draws).astype(np.float64))


def interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The middle 95% of draws; None where there are none.

    >>> interval(np.arange(101.0))
    (2.5, 97.5)
    """
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def ones(rows: NDArray[Any]) -> NDArray[np.float64]:
    """The weights of the data as they are."""
    return np.ones(len(rows))
