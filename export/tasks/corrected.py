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

_TREES = 20
#: A leaf holds so many rows at least; data that has not twice as many gets no trees.
_ROWS_A_LEAF = 1000
_HOW: dict[str, Any] = {
    "objective": "l1",
    "boost_from_average": False,
    "learning_rate": 0.15,
    "num_leaves": 15,
    "min_data_in_leaf": _ROWS_A_LEAF,
    "max_bin": 63,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}


def corrected(features: NDArray[Any], actual: NDArray[Any], told: NDArray[Any], weight: NDArray[Any], seed: int) -> Any:
    """A LightGBM booster whose sum, added to what was told, is nearer to the median; None where there are few rows.

    Args:
        features: (n, width), raw.
        actual, told: what happened and what the network said of it (n,), in the same unit.
        weight: of each row (n,).
        seed: of the features and rows that each tree sees.
    """
    if len(features) < 2 * _ROWS_A_LEAF:
        return None
    data = lgb.Dataset(features, actual, weight=weight, init_score=told.astype(np.float64))
    return lgb.train(_HOW | {"seed": seed}, data, num_boost_round=_TREES)
