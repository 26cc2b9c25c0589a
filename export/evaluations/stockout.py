"""The stock-out evaluation: running out by the hour and the next day's demand, on any event log with sales by the hour.

Everything before `from_ms` is for learning: the rates of the baseline, and what is usual of each item. The shops of a
tenth, chosen by seed, are reported apart: a model whose training left them out has never seen them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.catalog import read_products
from export.datasets.hazard import HazardRows, hazard_rows
from export.datasets.hazardfeatures import WARM_UP_DAYS, groups_of, hazard_features
from export.datasets.hourly import Hourly, read_hourly
from export.errors import UsageError
from export.evaluations.hazard import hazard_metrics, of_hazards, product_hour_rate
from export.evaluations.nextday import day_rows, next_day_metrics
from features.aggregations.base import DAY_MS
from models.manifest import Metric
from models.session import Session

#: Days of the test period where no beginning is given, and days of validation before it.
TEST_DAYS = VALIDATION_DAYS = 7
RATES, MEAN = "product and hour", "mean of 28 days in stock"
UNSEEN = ", unseen shops"

#: Hazards of some rows, float64 of shape (n, 4).
Hazards = Callable[[Hourly, HazardRows], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Args:
        items: how many items are drawn; all where there are fewer.
        seed: of the items and of the shops that are held out.
        draws: resamples for the intervals.
    """

    items: int = 2000
    seed: int = 0
    draws: int = 200


def evaluate(model_dir: Path, events: Path, from_ms: int | None = None, plan: Plan | None = None) -> list[Metric]:
    """Measures a model with a hazard head beside the baselines.

    Args:
        model_dir: holds model.onnx with an input `features` and an output `hazards`, (n, 4).
        events: the event log.
        from_ms: event time at which the test period begins; its last seven days where None.
        plan: how many items, which seed.

    Returns:
        Figures of the drawn items, then of all items of unseen shops.

    Raises:
        UsageError: the model has no hazard head, or the event log no sales by the hour.
    """
    session = Session(model_dir / "model.onnx")
    if "hazards" not in session.outputs:
        raise UsageError(f"{model_dir}: the model has no hazard head; its outputs are {', '.join(session.outputs)}")
    category = dict(read_products(events).select("sku", "category").iter_rows())

    def hazards(hours: Hourly, rows: HazardRows) -> NDArray[Any]:
        names, features = hazard_features(hours, groups_of(hours.items, category), rows)
        if session.width != len(names):
            raise UsageError(f"{model_dir}: the model takes {session.width} features; there are {len(names)}")
        return session.run({"features": features}, len(features))["hazards"]

    return measure(read_hourly(events), hazards, from_ms, plan or Plan())


def measure(hours: Hourly, hazards: Hazards | None, from_ms: int | None, plan: Plan) -> list[Metric]:
    """Measures anything that tells hazards; the baseline itself where None.

    The figures of the next day's demand are those of the 28-day mean until a model tells quantiles.
    """
    end = int(hours.day[-1]) + 1
    test_from = end - TEST_DAYS if from_ms is None else from_ms // DAY_MS
    if test_from - VALIDATION_DAYS <= hours.first_day + WARM_UP_DAYS:
        first = hours.first_day + WARM_UP_DAYS + VALIDATION_DAYS + 1
        raise UsageError(f"the test period begins too early; the event log allows {first * DAY_MS} ms and later")
    found: list[Metric] = []
    for where, items in (
        ("", drawn(len(hours.items), plan)),
        (UNSEEN, np.flatnonzero(held_out(hours.items, plan.seed))),
    ):
        if len(items) == 0:
            continue
        train = hazard_rows(hours, items, hours.first_day, test_from - VALIDATION_DAYS)
        test = hazard_rows(hours, items, test_from, end)
        rates = product_hour_rate(train, test, _products(hours), hours.hour)
        scores = {RATES: rates} if hazards is None else {"model": of_hazards(hazards(hours, test), test), RATES: rates}
        found += hazard_metrics(test, scores, plan.draws, where=where)
        days = day_rows(hours, items, test_from, end)
        found += next_day_metrics(days, {MEAN: days.naive}, plan.draws, where=where)
    return found


def drawn(items: int, plan: Plan) -> NDArray[np.int64]:
    """The items that are measured, in order.

    >>> drawn(5, Plan(items=3)).tolist()
    [2, 3, 4]
    """
    return np.sort(np.random.default_rng(plan.seed).choice(items, min(plan.items, items), replace=False))


def held_out(items: list[str], seed: int) -> NDArray[np.bool_]:
    """Whether an item's shop is one of the tenth that training must leave out.

    >>> held_out([f"n/shop-{i % 10}:{i}" for i in range(20)], seed=0).sum()
    np.int64(2)
    """
    shop = np.array([item.partition(":")[0] for item in items])
    shops = np.unique(shop)
    chosen = np.random.default_rng(seed + 1).choice(shops, len(shops) // 10, replace=False)
    return np.isin(shop, chosen)


def _products(hours: Hourly) -> NDArray[np.int64]:
    return np.unique([item.partition(":")[2] for item in hours.items], return_inverse=True)[1].astype(np.int64)
