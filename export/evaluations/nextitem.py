"""Figures of the next view: how often it is among the first k, and how high. Intervals resample sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.prefixes import Prefixes
from export.evaluations.bootstrap import Figures, Resamples, beside, interval, ones, resamples
from models.manifest import Metric

#: Scores of all products for some rows, float of shape (rows, products).
Scores = Callable[[NDArray[np.int64]], NDArray[Any]]

CUTS = (20, 10)
_AT_ONCE = 256


def ranks(scores: Scores, rows: Prefixes) -> NDArray[np.float64]:
    """How many products come before the one that was viewed next; of equal ones half, of shape (n,).

    >>> from export.datasets.prefixes import prefixes_of
    >>> from export.datasets.sessions import Sessions
    >>> rows = prefixes_of(Sessions(["a", "b", "c"], np.array([0, 1]), np.array([0, 2]), np.array([5])))
    >>> ranks(lambda at: np.array([[0.9, 0.1, 0.1]]), rows).tolist()
    [1.5]
    """
    found = []
    for begin in range(0, len(rows), _AT_ONCE):
        at = np.arange(begin, min(begin + _AT_ONCE, len(rows)))
        score = scores(at)
        own = np.take_along_axis(score, rows.target[at][:, None], axis=1)
        found.append((score > own).sum(axis=1) + ((score == own).sum(axis=1) - 1) / 2)
    return np.concatenate(found)


def figures_of(rank: NDArray[np.float64]) -> Figures:
    """P@k (that the next view is among the first k) and MRR@k.

    >>> figures_of(np.array([0.0, 1.0, 30.0, 15.0]))(np.ones(4))
    {'P@20': 0.75, 'MRR@20': 0.390625, 'P@10': 0.5, 'MRR@10': 0.375}
    """
    gains = {}
    for k in CUTS:
        gains[f"P@{k}"] = (rank < k).astype(np.float64)
        gains[f"MRR@{k}"] = np.where(rank < k, 1.0 / (rank + 1.0), 0.0)

    def figures(weight: NDArray[np.float64]) -> dict[str, float]:
        total = max(float(weight.sum()), 1e-9)
        return {name: float(weight @ gain) / total for name, gain in gains.items()}

    return figures


def next_item_metrics(
    rows: Prefixes, rank: Mapping[str, NDArray[np.float64]], draws: int = 200, seed: int = 7
) -> list[Metric]:
    """The figures of the next view, and how much better the model is than each baseline.

    Args:
        rows: of the test.
        rank: as `ranks` gives it, by name; the first is the model's, the others are baselines.
        draws: resamples of sessions for the intervals.
        seed: of the resamples.
    """
    owner = np.unique(rows.session, return_inverse=True)[1].astype(np.int64)
    drawn = resamples(int(owner.max()) + 1, draws, seed)
    of = {who: figures_of(rank[who]) for who in rank}
    metrics = beside(of, owner, drawn, "{} of the next view")
    model, *others = rank
    return metrics + [_less(of[model], of[who], who, owner, drawn) for who in others]


def _less(mine: Figures, other: Figures, who: str, owner: NDArray[np.int64], drawn: Resamples) -> Metric:
    """The paired difference of P@20 to a baseline."""

    def gap(weight: NDArray[np.float64]) -> dict[str, float]:
        return {"gap": mine(weight)["P@20"] - other(weight)["P@20"]}

    return Metric(
        name=f"P@20 of the next view less {who}",
        value=gap(ones(owner))["gap"],
        ci95=interval(drawn.of(gap, owner)["gap"]),
    )
