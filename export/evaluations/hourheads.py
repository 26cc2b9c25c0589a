"""Measuring hazards and the next day on a log of hours: all items, shops never seen, and segments of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.dayfeatures import day_features
from export.datasets.days import Days, days_of
from export.datasets.hazard import HazardRows, hazard_rows
from export.datasets.hazardfeatures import GROUPS, hazard_features, hour_names, thinned
from export.datasets.hourly import Hourly
from export.datasets.periods import WARM_UP_DAYS, Periods, held_out
from export.datasets.shelfrows import shelf_features
from export.evaluations.hazard import QUESTIONS, hazard_metrics, of_hazards, product_hour_rate
from export.evaluations.nextday import DayRows, day_rows, next_day_metrics
from export.evaluations.trees import ALL, MOST_ROWS, OWN, hazard_trees, quantile_trees, some
from export.evaluations.weighted import calibration
from features.rows import region_of
from models.manifest import Metric

Tell = Callable[[str, float], None]
#: From features (n, k): hazards (n, 4), or the quantiles 0.1, 0.5 and 0.9 of the next day (n, 3).
Hazards = Callable[[NDArray[np.float32]], NDArray[Any]]
Quantiles = Callable[[NDArray[np.float32]], NDArray[Any]]

RATES, MEAN = "product and hour", "mean of 28 days in stock"
UNSEEN = ", unseen shops"
#: Said of what a worker tells.
WORKER = ", as a worker tells it"
_PARTS_OF_DAY = {"morning": (0, 5), "midday": (5, 10), "evening": (10, 24)}
_REGIONS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Args:
        items: how many items are drawn; all where there are fewer.
        seed: of the items and of the shops that are held out.
        draws: resamples for the intervals.
        trees: whether LightGBM is fitted on the same features, as a baseline.
    """

    items: int = 2000
    seed: int = 0
    draws: int = 200
    trees: bool = True


@dataclass(frozen=True)
class Bench:
    """A log of hours, and the items of it that are measured.

    Args:
        hours: of all items.
        groups: from `groups_of`.
        periods: what is learnt from, and what is tested.
        plan: how much.
        tell: hears what is being done.
    """

    hours: Hourly
    groups: Mapping[str, NDArray[np.int64]]
    periods: Periods
    plan: Plan
    tell: Tell = lambda text, share: None
    days: Days = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "days", days_of(self.hours))

    @property
    def measured(self) -> dict[str, NDArray[np.int64]]:
        """Items by what is said behind the metrics of them: those drawn, and all of shops that training left out."""
        items = self.hours.items
        found = {
            "": drawn(len(items), self.plan),
            UNSEEN: np.flatnonzero(held_out(items, self.plan.seed)),
        }
        return {where: of for where, of in found.items() if len(of)}

    def hazards(self, model: Hazards) -> list[Metric]:
        """Figures of running out, beside the rates of product and hour, and LightGBM."""
        measured = self.measured
        every = np.unique(np.concatenate(list(measured.values())))
        test = hazard_rows(self.hours, every, self.periods.test, self.periods.end)
        past = self._past()
        both = _joined(past, test)
        order = np.argsort(both.row, kind="stable")
        _, features = hazard_features(self.hours, self.groups, both.take(order), self.tell)
        features[order] = features.copy()
        asked = features[len(past) :]
        scores = {"model": of_hazards(model(asked), test), **self._trees(features[: len(past)], past, asked)}
        return self._beside_rates(test, scores, "")

    def _beside_rates(self, test: HazardRows, scores: dict[str, NDArray[np.float64]], how: str) -> list[Metric]:
        """Figures of the drawn items and of unseen shops, and of segments of both."""
        found: list[Metric] = []
        for where, items in self.measured.items():
            at = np.flatnonzero(np.isin(test.item, items))
            learnt = hazard_rows(self.hours, items, self.periods.first, self.periods.validation)
            rows = test.take(at)
            here = {who: p[at] for who, p in scores.items()}
            here[RATES] = product_hour_rate(learnt, rows, _products(self.hours), self.hours.hour)
            found += hazard_metrics(rows, here, self.plan.draws, where=f"{how}{where}", less=ALL)
            found += self._segments(rows, here["model"], f"{how}{where}")
        return found

    def shelves(self, model: Hazards, events: Path) -> list[Metric]:
        """Figures of running out by what a worker knows, beside the rates, and LightGBM on the same features."""
        measured = self.measured
        test = hazard_rows(
            self.hours, np.unique(np.concatenate(list(measured.values()))), self.periods.test, self.periods.end
        )
        past = self._past()
        both = _joined(past, test)
        order = np.argsort(both.row, kind="stable")
        features = shelf_features(events, self.hours, both.take(order), self.tell)
        features[order] = features.copy()
        asked, every = features[len(past) :], np.arange(features.shape[1])
        scores = {"model": of_hazards(model(asked), test)}
        if self.plan.trees:
            scores[ALL] = hazard_trees(features[: len(past)], past, asked, every, self.plan.seed)
        return self._beside_rates(test, scores, WORKER)

    def _past(self) -> HazardRows:
        """Rows before the test, of items that training saw as well; none where no trees are wanted."""
        taught = np.flatnonzero(~held_out(self.hours.items, self.plan.seed))
        rows = hazard_rows(self.hours, taught, self.periods.first + WARM_UP_DAYS, self.periods.test)
        share = min(1.0, MOST_ROWS / max(len(rows), 1)) if self.plan.trees else 0.0
        return thinned(rows, np.full(len(self.hours.items), share), self.plan.seed)

    def _trees(
        self, features: NDArray[np.float32], past: HazardRows, asked: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float64]]:
        if not self.plan.trees:
            return {}
        names = hour_names()
        own = np.array([at for at, name in enumerate(names) if not name.startswith(tuple(f"{g}_" for g in GROUPS))])
        columns = {OWN: own, ALL: np.arange(len(names))}
        return {who: hazard_trees(features, past, asked, of, self.plan.seed) for who, of in columns.items()}

    def _segments(self, rows: HazardRows, p: NDArray[np.float64], where: str) -> list[Metric]:
        """ECE of each question, by region and part of the day."""
        region = np.array([region_of(item.partition(":")[0]) or "" for item in self.hours.items])[rows.item]
        names, many = np.unique(region[region != ""], return_counts=True)
        inside = {f", {name}": region == name for name in names[np.argsort(-many)][:_REGIONS].tolist()}
        hour = self.hours.hour[rows.row]
        inside |= {f", {name}": (hour >= a) & (hour < b) for name, (a, b) in _PARTS_OF_DAY.items()}
        found = []
        for name, of in inside.items():
            if of.any():
                part, score, said = rows.take(of), {"model": p[of]}, f"{where}{name}"
                found += hazard_metrics(part, score, self.plan.draws, where=said, figures=calibration)
        return found

    def next_day(self, model: Quantiles) -> list[Metric]:
        """Figures of the next day's demand, beside the mean of the past, and LightGBM."""
        found: list[Metric] = []
        taught = np.flatnonzero(~held_out(self.hours.items, self.plan.seed))
        past = None
        if self.plan.trees:
            past = day_rows(self.hours, taught, self.periods.first + WARM_UP_DAYS, self.periods.test)
            past = past.take(some(len(past.day), self.plan.seed))
        for where, items in self.measured.items():
            rows = day_rows(self.hours, items, self.periods.test, self.periods.end)
            asked = self._day_features(rows)
            told = {"model": model(asked)[:, 1:].astype(np.float64)}
            if past is not None:
                told[ALL] = quantile_trees(self._day_features(past), past.demand, asked, self.plan.seed)
            found += next_day_metrics(rows, told | {MEAN: rows.naive}, self.plan.draws, where=where, less=ALL)
        return found

    def _day_features(self, rows: DayRows) -> NDArray[np.float32]:
        return day_features(self.days, self.groups, rows.day, rows.item)[1]


def drawn(items: int, plan: Plan) -> NDArray[np.int64]:
    """The items that are measured, in order.

    >>> drawn(5, Plan(items=3)).tolist()
    [2, 3, 4]
    """
    return np.sort(np.random.default_rng(plan.seed).choice(items, min(plan.items, items), replace=False))


def _products(hours: Hourly) -> NDArray[np.int64]:
    return np.unique([item.partition(":")[2] for item in hours.items], return_inverse=True)[1].astype(np.int64)


def _joined(a: HazardRows, b: HazardRows) -> HazardRows:
    columns = [np.concatenate([getattr(rows, name) for rows in (a, b)]) for name in ("row", "item", "out", "open")]
    return HazardRows(*columns)


__all__ = ["MEAN", "QUESTIONS", "RATES", "UNSEEN", "WORKER", "Bench", "Plan", "drawn"]
