"""LightGBM as a baseline of stock-out, on the features that the model sees, or on fewer of them.

Source: G. Ke et al., "LightGBM" (NeurIPS 2017).
"""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from export.datasets.hazard import HazardRows

#: At most so many rows are fitted on: an evaluation must not take longer than the training that it measures.
MOST_ROWS = 250_000
OWN, ALL = "LightGBM, own features", "LightGBM"
_COMMON: dict[str, Any] = {
    "learning_rate": 0.08,
    "num_leaves": 63,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 63,
    "num_threads": 1,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}
_ROUNDS = 120


def hazard_trees(
    features: NDArray[Any], rows: HazardRows, asked: NDArray[Any], columns: NDArray[Any], seed: int
) -> NDArray[np.float64]:
    """Probabilities of the three questions of `evaluations.hazard`, (n, 3); one booster a question.

    Args:
        features: of the rows to learn from, (m, features).
        rows: what happened there.
        asked: of the rows to tell of, (n, features).
        columns: which features are seen.
        seed: of the boosters.
    """
    found = []
    for question, label in enumerate((rows.next, rows.after_next, rows.within)):
        at = np.flatnonzero(rows.open[:, 1]) if question == 1 else np.arange(len(rows))
        booster = _fitted(features[at][:, columns], label[at], {"objective": "binary"}, seed)
        found.append(np.asarray(booster.predict(asked[:, columns]), np.float64))
    return np.column_stack(found)


def quantile_trees(features: NDArray[Any], units: NDArray[Any], asked: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """The median and the 0.9 quantile, (n, 2); arguments as those of `hazard_trees`, of days in stock."""
    found = []
    for level in (0.5, 0.9):
        booster = _fitted(features, units, {"objective": "quantile", "alpha": level}, seed)
        found.append(np.asarray(booster.predict(asked), np.float64))
    return np.sort(np.column_stack(found), axis=1)


def _fitted(features: NDArray[Any], label: NDArray[Any], how: dict[str, Any], seed: int) -> Any:
    data = lgb.Dataset(features, label.astype(np.float64))
    return lgb.train(_COMMON | how | {"seed": seed}, data, num_boost_round=_ROUNDS)


def some(rows: int, seed: int, most: int = MOST_ROWS) -> NDArray[np.int64]:
    """At most so many of them, in order.

    >>> len(some(10, seed=1, most=4)), some(3, seed=1).tolist()
    (4, [0, 1, 2])
    """
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])
