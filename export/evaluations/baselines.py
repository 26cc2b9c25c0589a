"""Baselines of reorder: what a careful person would try first, fitted before the test on the same columns."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from export.datasets.baskets import Arrays
from features.vectors.reorder import FEATURES

_COMMON: dict[str, Any] = {
    "learning_rate": 0.06,
    "num_leaves": 31,
    "max_bin": 63,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}
_ORDERS, _SHARE, _POPULAR = (list(FEATURES).index(n) for n in ("product_orders", "product_share", "shop_ppm_84d"))


def frequency(rows: Arrays) -> NDArray[np.float64]:
    """How many baskets held the product; ties by popularity over 84 days."""
    popular = np.nan_to_num(rows["features"][:, _POPULAR])
    return np.asarray(rows["features"][:, _ORDERS] + 1e-7 * popular, np.float64)


def lambdarank(fitted: Arrays, asked: Arrays, seed: int) -> NDArray[np.float64]:
    """LightGBM's scores of rows, from rows of earlier baskets; both as `rows_before` gives them.

    Source: G. Ke et al., "LightGBM" (NeurIPS 2017); C. Burges, "From RankNet to LambdaRank to LambdaMART" (2010).
    """
    order = np.argsort(fitted["basket"], kind="stable")
    sizes = np.unique(fitted["basket"], return_counts=True)[1]
    data = lgb.Dataset(fitted["features"][order], fitted["label"][order].astype(int), group=sizes)
    how = {"objective": "lambdarank", "min_data_in_leaf": 100, "lambdarank_truncation_level": 20}
    booster = lgb.train(_COMMON | how | {"seed": seed}, data, num_boost_round=150)
    return np.asarray(booster.predict(asked["features"]), np.float64)


def trees(fitted: Arrays, asked: Arrays, seed: int) -> NDArray[np.float64]:
    """LightGBM's probabilities of rows, from earlier rows with labels."""
    data = lgb.Dataset(fitted["features"], fitted["label"].astype(int))
    how = {"objective": "binary", "min_data_in_leaf": 200}
    booster = lgb.train(_COMMON | how | {"seed": seed}, data, num_boost_round=200)
    return np.asarray(booster.predict(asked["features"]), np.float64)


def logistic(fitted: Arrays, asked: Arrays) -> NDArray[np.float64]:
    """Logistic regression on standardised logarithms; unknown values are told by a flag."""
    model = make_pipeline(FunctionTransformer(_plain), StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(fitted["features"], fitted["label"])
    return np.asarray(model.predict_proba(asked["features"])[:, 1], np.float64)


def frequency_probability(fitted: Arrays, asked: Arrays) -> NDArray[np.float64]:
    """The share of the customer's baskets that held the product, made a probability."""
    shares = [np.log(rows["features"][:, _SHARE : _SHARE + 1].clip(1e-3, 0.999)) for rows in (fitted, asked)]
    model = LogisticRegression().fit(shares[0], fitted["label"])
    return np.asarray(model.predict_proba(shares[1])[:, 1], np.float64)


def _plain(features: NDArray[np.float32]) -> NDArray[np.float64]:
    logs = np.sign(features) * np.log1p(np.abs(features))
    return np.column_stack([np.nan_to_num(logs), np.isnan(features)]).astype(np.float64)
