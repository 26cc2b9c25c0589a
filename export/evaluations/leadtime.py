"""Figures of the demand over the lead time, and of what follows for the stock that an event log tells of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # ships no types

from export.datasets.stockout import Arrays
from export.evaluations.bootstrap import Figures, Resamples, beside, resamples
from export.evaluations.weighted import calibration, mean, probabilities
from features.vectors.deliveries import before_deliveries, p_empty
from features.vectors.stockout import FEATURES
from models.manifest import Metric

_UNITS, _SPREAD, _DAYS = (list(FEATURES).index(name) for name in ("units_28d", "units_std_28d", "days_with_demand_28d"))
#: Days with demand, from and to.
_ASKED = {"at most 3": (0, 3), "4 to 10": (4, 10), "over 10": (11, 28)}
_LEVELS = (0.1, 0.5, 0.9)
NEGATIVE_BINOMIAL = "negative binomial, 28 days"
#: From features (n, k), days and positions (n,): what `Told` has, P(shelf empty) left out.
Ask = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of n rows.

    Args:
        quantiles: 0.1, 0.5 and 0.9 of the demand, in units, of shape (n, 3).
        risk: P(demand over the lead time > position), NaN where the position is unknown, of shape (n,).
        lost: expected units that cannot be served, of shape (n,).
        empty: P(the shelf is empty at some time of the lead time), as a score tells it, like that; of shape (n,).
    """

    quantiles: NDArray[Any]
    risk: NDArray[Any]
    lost: NDArray[Any]
    empty: NDArray[Any]

    def take(self, at: NDArray[Any]) -> Told:
        """Some of the rows."""
        return Told(self.quantiles[at], self.risk[at], self.lost[at], self.empty[at])


def told_of(rows: Arrays, ask: Ask) -> Told:
    """What a model, or a baseline, tells of rows as `datasets.stockout.build` gives them."""
    quantiles, risk, lost = ask(rows["features"], rows["horizon_days"], rows["position"])
    on_hand = rows["on_hand"].astype(np.float64)
    lowest = before_deliveries(rows["order_units"], rows["order_due_days"], on_hand, rows["horizon_days"])
    _, then, _ = ask(rows["features"][lowest.row], lowest.days, lowest.position)
    empty = p_empty(risk.astype(np.float64), on_hand, lowest, then.astype(np.float64))
    return Told(quantiles, risk, lost, empty)


def leadtime_metrics(rows: Arrays, model: Told, draws: int = 200, seed: int = 7) -> list[Metric]:
    """Figures beside a negative binomial by moments, and the same with the log's own positions.

    Args:
        rows: as `datasets.stockout.build` gives them.
        model: what the model tells of them.
        draws: resamples of items for the intervals; 0 leaves them out.
        seed: of the resamples.

    Returns:
        Pinball losses and coverage of the quantiles; where the log tells stock levels, how well P(demand > position)
        is calibrated against what was ordered, P(shelf empty) against the shelf of the log, and lost sales against
        those that happened.
    """
    told = {"model": model, NEGATIVE_BINOMIAL: told_of(rows, negative_binomial)}
    owner = np.unique(rows["item"], return_inverse=True)[1].astype(np.int64)
    drawn = resamples(int(owner.max()) + 1, draws, seed)
    demand = rows["demand"].astype(np.float64)
    found = beside(
        {who: _quantiles(demand, of.quantiles) for who, of in told.items()},
        owner,
        drawn,
        "{} of demand over the lead time",
        NEGATIVE_BINOMIAL,
    )
    for name, inside in _by_demand(rows).items():
        part = {"model": _coverage(demand[inside], model.quantiles[inside])}
        found += beside(part, owner[inside], drawn, f"{{}} of demand over the lead time, {name}")
    known = np.flatnonzero(np.isfinite(rows["position"]))
    if len(known):
        some = {name: array[known] for name, array in rows.items()}
        found += _positions(some, {who: of.take(known) for who, of in told.items()}, owner[known], drawn)
    return found


def _positions(rows: Arrays, told: Mapping[str, Told], owner: NDArray[np.int64], drawn: Resamples) -> list[Metric]:
    position, demand = rows["position"].astype(np.float64), rows["demand"].astype(np.float64)
    questions = {
        "P(demand > position)": (demand > position, {who: of.risk for who, of in told.items()}),
        "P(runs out), by the shelf of the log": (rows["ran_out"] > 0, {who: of.empty for who, of in told.items()}),
    }
    found = []
    for name, (label, said) in questions.items():
        figures = {who: probabilities(label, p) for who, p in said.items()}
        found += beside(figures, owner, drawn, f"{{}} of {name}", NEGATIVE_BINOMIAL)
        for segment, at in _by_demand(rows).items():
            part = {"model": calibration(label[at], said["model"][at])}
            found += beside(part, owner[at], drawn, f"{{}} of {name}, {segment}")
    lost = np.maximum(demand - position, 0.0)
    losses = {who: _lost(lost, of.lost.astype(np.float64)) for who, of in told.items()}
    return found + beside(losses, owner, drawn, "{}")


def _by_demand(rows: Arrays) -> dict[str, NDArray[np.bool_]]:
    """Segments of rows that have any: by how many of the last 28 days an item was asked for."""
    days = rows["features"][:, _DAYS]
    found = {f"asked for on {name} of 28 days": (days >= low) & (days <= high) for name, (low, high) in _ASKED.items()}
    return {name: inside for name, inside in found.items() if inside.any()}


def negative_binomial(
    features: NDArray[Any], days: NDArray[Any], position: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """By moments: the 28-day mean and variance of daily units, as if days were independent. See `Ask`."""
    features, position = features.astype(np.float64), position.astype(np.float64)
    mean = np.maximum(np.maximum(features[:, _UNITS], 0.0) / 28.0 * days, 1e-3)
    variance = np.maximum(features[:, _SPREAD] ** 2 * days, mean * 1.01)
    p = mean / variance
    size = mean * p / (1 - p)
    law, larger = stats.nbinom(size, p), stats.nbinom(size + 1, p)
    # E[(D - x)+] = E[D; D > x] - x P(D > x), and the law weighed by its size is that of one more success, moved by one.
    lost = mean * larger.sf(position - 1) - position * law.sf(position)
    return np.column_stack([law.ppf(q) for q in _LEVELS]), law.sf(position), np.maximum(lost, 0.0)


def _quantiles(demand: NDArray[np.float64], quantiles: NDArray[Any]) -> Figures:
    losses, below = {}, {}
    for column, level in enumerate(_LEVELS):
        over = demand - quantiles[:, column]
        losses[level], below[level] = np.maximum(level * over, (level - 1) * over), over <= 0
    logged = np.log1p(demand) - np.log1p(quantiles[:, 2].astype(np.float64))
    high = np.maximum(0.9 * logged, -0.1 * logged)

    def figures(weight: NDArray[np.float64]) -> dict[str, float]:
        total = float(weight.sum())
        found = {f"pinball {level}": float(weight @ losses[level] / total) for level in (0.5, 0.9)}
        found["pinball 0.9, log1p"] = float(weight @ high / total)
        return found | {f"coverage {level}": float(weight @ below[level] / total) for level in _LEVELS}

    return figures


def _coverage(demand: NDArray[np.float64], quantiles: NDArray[Any]) -> Figures:
    return mean("coverage 0.9", demand <= quantiles[:, _LEVELS.index(0.9)])


def _lost(happened: NDArray[np.float64], expected: NDArray[np.float64]) -> Figures:
    def figures(weight: NDArray[np.float64]) -> dict[str, float]:
        units = max(float(weight @ happened), 1e-9)
        return {"expected over actual lost sales": float(weight @ expected) / units}

    return figures
