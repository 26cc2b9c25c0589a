"""Boosted trees of lists, which rank beside the networks: both are right more often than either.

Few and stiff, since each costs 10 to 25 ns a row, and more of them rank no better (docs/research/reorder.md).

Source: C. Burges, "From RankNet to LambdaRank to LambdaMART: an overview" (Microsoft Research, 2010); G. Ke et al.,
"LightGBM" (NeurIPS 2017).
"""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np

from export.tasks.base import Arrays
from export.tasks.corrected import SMALL
from export.tasks.lists import Lists

#: What a tree's score counts beside the networks' mean, which is on the same scale: both losses are of differences.
WEIGHT = 0.4
_TREES = 16
_HOW = SMALL | {
    "objective": "lambdarank",
    "lambdarank_truncation_level": 30,
    "learning_rate": 0.3,
    "num_leaves": 31,
}


def boosted(arrays: Arrays, lists: Lists, seed: int) -> Any:
    """A LightGBM booster of some lists of a data set; None where there is none."""
    if len(lists) == 0:
        return None
    sizes = np.diff(lists.starts)
    data = lgb.Dataset(
        arrays["features"][lists.rows],
        lists.bought.numpy().astype(int),
        group=sizes,
        weight=np.repeat(lists.weight.numpy(), sizes),
    )
    return lgb.train(_HOW | {"seed": seed}, data, num_boost_round=_TREES)
