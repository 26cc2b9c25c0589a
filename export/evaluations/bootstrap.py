"""Intervals by resampling customers, or items: rows of one are not independent, they themselves nearly are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import Metric

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


def beside(
    of: Mapping[str, Figures],
    owner: NDArray[np.int64],
    drawn: Resamples,
    told: str,
    less: str | None = None,
    only: str | None = None,
) -> list[Metric]:
    """The figures of the first, with their intervals, beside those of the others on the same rows.

    Args:
        of: figures by who they are of; the first is the model, the others are baselines.
        owner: the customer or item of each row, int64 of shape (n,).
        drawn: of them; without draws there are no intervals.
        told: the metric's name, with `{}` for the figure's.
        less: a baseline; the difference to it, with its paired interval, is told of each figure as well.
        only: the one figure that is wanted; all where None.

    Returns:
        Those that the rows define: where nothing was bought, there is no AUC.
    """
    model, *others = of
    values = {who: figures(ones(owner)) for who, figures in of.items()}
    spread = drawn.of(of[model], owner)
    apart = drawn.of(of[less], owner) if less is not None and less in of else {}
    found = []
    for figure, value in values[model].items():
        if only not in (None, figure) or not np.isfinite(value):
            continue
        beaten = {who: values[who][figure] for who in others if np.isfinite(values[who][figure])}
        mine = spread.get(figure, np.empty(0))
        found.append(Metric(name=told.format(figure), value=value, baselines=beaten, ci95=interval(mine)))
        if less is not None and less in beaten:
            gap = interval(mine - apart[figure]) if figure in apart else None
            found.append(Metric(name=f"{told.format(figure)}, less {less}", value=value - beaten[less], ci95=gap))
    return found
