"""Trees correct the chances of a reorder where validation says that they help, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from export.datasets.reorder import AFTER
from export.datasets.sequences import Sequences
from export.networks.reorder import ReorderNet
from export.split import Split
from export.tasks.base import Arrays
from export.tasks.reorderfit import Fits, validated
from features.aggregations.base import DAY_MS
from features.vectors.reorder import FEATURES

ROWS, DAYS = 9_000, 180
SPLIT = Split(0, 90 * DAY_MS, 120 * DAY_MS, 150 * DAY_MS, DAYS * DAY_MS, (DAYS + 1) * DAY_MS, 30)


def rows(bend: bool) -> Arrays:
    """Moments of one product each, bought again by a feature's distance from 0, which no sum tells, or by lot."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(ROWS, len(FEATURES))).astype(np.float32)
    odds = 2.0 * np.abs(features[:, 1]) - 2.5 if bend else np.full(ROWS, -1.0)
    again = rng.random(ROWS) < 1 / (1 + np.exp(-odds))
    return {
        "features": features,
        "bought": again,
        "next_days": np.where(again, rng.choice([3.0, 10.0, 20.0], ROWS), 90.0),
        "order_days": np.full(ROWS, 3.0),
        "group": np.arange(ROWS),
        "product": np.zeros(ROWS, np.int64),
        "as_of_ms": np.sort(rng.integers(0, DAYS, ROWS)) * DAY_MS,
        "wide": np.zeros(ROWS, np.bool_),
        "moment": np.full(ROWS, AFTER, np.int8),
    }


@pytest.mark.parametrize("bend", [True, False])
def test_validation_decides(bend: bool) -> None:
    none = Sequences(np.zeros((2, 8), np.int64), np.ones((ROWS, 16), np.int64), np.full((ROWS, 16), np.nan, "f4"))
    figures = validated(Fits(ReorderNet, rows(bend), none, 7, lambda text, share: None), SPLIT, epochs=0)
    assert figures["trees_help"] == float(bend)
