"""Boosted trees of what a fitted network still misses: each tree is fitted to what is left by the ones before it.

Few and stiff. They see the rows that the network was fitted on, so they must not be able to learn single rows by heart.

Source: J. H. Friedman, "Greedy function approximation: a gradient boosting machine" (Annals of Statistics, 2001), its
least absolute deviation.
"""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

#: Of small trees, which come out the same every time: each sees a part of the rows and columns.
SMALL: dict[str, Any] = {
    "min_data_in_leaf": 1000,
    "max_bin": 63,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}
_HOW = SMALL | {
    "boost_from_average": False,
    "num_leaves": 15,
    "min_sum_hessian_in_leaf": 1e-3,
}
#: How many, and how much of what is left each of them takes. What a leaf adds to each of many features costs more than
#: one number, so there are fewer of log-odds (docs/research/reorder.md).
_OF_MEDIANS, _OF_ODDS = (20, 0.15), (12, 0.25)
#: Data that has not so many rows, two leaves of the least size, gets no trees.
_LEAST_ROWS = 2 * SMALL["min_data_in_leaf"]
#: The second derivative of a row's loss is taken to be at least this.
_FLAT = 1e-9

Rows = NDArray[Any]


def corrected(features: Rows, actual: Rows, told: Rows, weight: Rows, seed: int) -> Any:
    """A LightGBM booster whose sum, added to what was told, is nearer to the median; None where there are few rows.

    Args:
        features: (n, width), raw.
        actual, told: what happened and what the network said of it (n,), in the same unit.
        weight: of each row (n,).
        seed: of the features and rows that each tree sees.
    """
    if len(features) < _LEAST_ROWS:
        return None
    data = lgb.Dataset(features, actual, weight=weight, init_score=told.astype(np.float64))
    return _boosted(data, _OF_MEDIANS, objective="l1", seed=seed)


def corrected_odds(features: Rows, happened: Rows, odds: Rows, weight: Rows, seed: int) -> Any:
    """A LightGBM booster whose sum, added to all log-odds of a row, mends them; None where there are few rows.

    Args:
        features: (n, width), raw.
        happened, odds: 1 or 0, and its log-odds as the network said them, (n, k).
        weight: of each of them (n, k); rows without any weight are left out.
        seed: of the features and rows that each tree sees.
    """
    counts = weight.sum(axis=1) > 0
    features, happened, odds, weight = (each[counts] for each in (features, happened, odds, weight))
    if len(features) < _LEAST_ROWS:
        return None
    odds = odds.astype(np.float64)

    def slopes(by: Rows, _: lgb.Dataset) -> tuple[Rows, Rows]:
        chance = 1.0 / (1.0 + np.exp(-(odds + by[:, None])))
        first = ((chance - happened) * weight).sum(axis=1)
        return first, np.maximum((chance * (1.0 - chance) * weight).sum(axis=1), _FLAT)

    data = lgb.Dataset(features, np.zeros(len(features)))
    return _boosted(data, _OF_ODDS, objective=slopes, seed=seed)


def _boosted(data: lgb.Dataset, size: tuple[int, float], **how: Any) -> Any:
    trees, rate = size
    return lgb.train(_HOW | {"learning_rate": rate} | how, data, num_boost_round=trees)
