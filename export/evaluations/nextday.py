"""Figures of the next day's demand, on days in stock in every opening hour: sales are demand then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.hourly import IN_STOCK, Hourly
from export.evaluations.bootstrap import Figures, beside, resamples
from models.manifest import Metric

#: Days that the mean looks back.
DAYS_BACK = 28


@dataclass(frozen=True, slots=True)
class DayRows:
    """n rows of (item, day), as of the close of the day before.

    Args:
        day: of the demand, counted from 1970, int64 of shape (n,).
        item: index of the item, int64 of shape (n,).
        demand: units sold in opening hours, float64 of shape (n,).
        mean: mean units of the days in stock among the 28 before, float64 of shape (n,).
        high: their 0.9 quantile, float64 of shape (n,).
    """

    day: NDArray[np.int64]
    item: NDArray[np.int64]
    demand: NDArray[np.float64]
    mean: NDArray[np.float64]
    high: NDArray[np.float64]

    def take(self, at: NDArray[Any]) -> DayRows:
        """Some of the rows."""
        return DayRows(self.day[at], self.item[at], self.demand[at], self.mean[at], self.high[at])

    @property
    def naive(self) -> NDArray[np.float64]:
        """What the past says as it is: its mean for the median, and its 0.9 quantile, of shape (n, 2)."""
        return np.column_stack([self.mean, self.high])


def day_rows(hours: Hourly, items: NDArray[Any], from_day: int, until_day: int) -> DayRows:
    """Days in stock of some items, from `from_day` to before `until_day`, that have a mean to be compared with."""
    shape = (-1, hours.a_day, len(items))
    sold = hours.sold[:, items].astype(np.float64).reshape(shape).sum(axis=1)
    full = (hours.state[:, items].reshape(shape) == IN_STOCK).all(axis=1)
    units = np.where(full, sold, np.nan)
    number = hours.first_day + np.arange(len(sold))
    wanted = ((number >= from_day) & (number < until_day))[:, None] & full & (full.cumsum(axis=0) > 1)
    days = np.flatnonzero(wanted.any(axis=1)).tolist()
    parts = [_rows_of_day(units, items, day, np.flatnonzero(wanted[day])) for day in days]
    day, item, demand, mean, high = (np.concatenate(column) for column in zip(*parts, strict=True))
    return DayRows(hours.first_day + day, item, demand, mean, high)


def _rows_of_day(units: NDArray[np.float64], items: NDArray[Any], day: int, at: NDArray[np.int64]) -> Any:
    back = units[max(day - DAYS_BACK, 0) : day, at]
    at, back = at[np.isfinite(back).any(axis=0)], back[:, np.isfinite(back).any(axis=0)]
    mean, high = np.nanmean(back, axis=0), np.nanquantile(back, 0.9, axis=0)
    return np.full(len(at), day), np.asarray(items)[at], units[day, at], mean, high


def next_day_metrics(
    rows: DayRows,
    quantiles: Mapping[str, NDArray[Any]],
    draws: int = 200,
    seed: int = 7,
    where: str = "",
    less: str | None = None,
) -> list[Metric]:
    """WAPE of the median, pinball losses, and coverage of the 0.9 quantile.

    Args:
        rows: the days.
        quantiles: the median and the 0.9 quantile, of shape (n, 2), by name; the first are those of the model.
        draws: resamples of items for the interval; 0 leaves it out.
        seed: of the resamples.
        where: said behind each metric's name.
        less: a baseline; the paired difference to it is told as well.
    """
    item = np.unique(rows.item, return_inverse=True)[1].astype(np.int64)
    of = {who: _figures(rows.demand, q) for who, q in quantiles.items()}
    drawn = resamples(int(item.max()) + 1, draws, seed)
    return beside(of, item, drawn, f"{{}}{where}", less)


def _figures(demand: NDArray[np.float64], quantiles: NDArray[Any]) -> Figures:
    median, high = quantiles[:, 0].astype(np.float64), quantiles[:, 1].astype(np.float64)
    error, below = np.abs(demand - median), demand <= high
    over = demand - high
    high_loss = np.maximum(0.9 * over, -0.1 * over)

    def figures(weight: NDArray[np.float64]) -> dict[str, float]:
        total = float(weight.sum())
        return {
            "WAPE of the next day": float(weight @ error / (weight @ demand)),
            "pinball 0.5 of the next day": float(weight @ error / total / 2),
            "pinball 0.9 of the next day": float(weight @ high_loss / total),
            "coverage 0.9 of the next day": float(weight @ below / total),
        }

    return figures
