"""Figures of running out: next hour, exactly the hour after next, within four hours. Intervals resample items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.datasets.hazard import HazardRows
from export.evaluations.bootstrap import Figures, beside, resamples
from export.evaluations.weighted import probabilities
from models.manifest import Metric

#: What is foretold; a column each of the probabilities.
QUESTIONS = ("runs out next hour", "runs out the hour after next", "out within 4 h")


def of_hazards(hazards: NDArray[np.float64], rows: HazardRows) -> NDArray[np.float64]:
    """P(runs out next hour, exactly the hour after next, within 4 h) from the hazard of each of four hours.

    Args:
        hazards: P(runs out in that hour, if it has not before), of shape (n, 4).
        rows: the hours after closing time are no risk.

    Returns:
        float64 of shape (n, 3).
    """
    at_risk = np.where(rows.open, hazards, 0.0)
    still = np.cumprod(1.0 - at_risk, axis=1)
    return np.column_stack([at_risk[:, 0], still[:, 0] * at_risk[:, 1], 1.0 - still[:, -1]])


def hazard_metrics(
    rows: HazardRows,
    scores: Mapping[str, NDArray[Any]],
    draws: int = 200,
    seed: int = 7,
    where: str = "",
    less: str | None = None,
    figures: Callable[[NDArray[Any], NDArray[Any]], Figures] = probabilities,
) -> list[Metric]:
    """AUC, AP, log loss and ECE of each question, if no other figures are wanted.

    Args:
        rows: what was asked of, and what happened.
        scores: probabilities of shape (n, 3) by name; the first are those of the model, the others baselines.
        draws: resamples of items for the interval; 0 leaves it out.
        seed: of the resamples.
        where: said behind each metric's name.
        less: a baseline; the paired difference to it is told as well.
        figures: of labels and probabilities.

    Returns:
        Those of each of three questions. The hour after next is measured where the shop is still open then.
    """
    item = np.unique(rows.item, return_inverse=True)[1].astype(np.int64)
    drawn = resamples(int(item.max()) + 1, draws, seed)
    found = []
    for question, (name, label) in enumerate(zip(QUESTIONS, (rows.next, rows.after_next, rows.within), strict=True)):
        at = np.flatnonzero(rows.open[:, 1]) if question == 1 else np.arange(len(rows))
        of = {who: figures(label[at], p[at, question]) for who, p in scores.items()}
        found += beside(of, item[at], drawn, f"{{}} of {name}{where}", less)
    return found


def product_hour_rate(train: HazardRows, test: HazardRows, product: NDArray[np.int64], hour: NDArray[np.int64]) -> Any:
    """How often it happened to that product at that hour of the day; twenty hours of the overall rate are added.

    Args:
        train, test: rows to learn from, and to tell of.
        product: of each item.
        hour: of each row of the grid.

    Returns:
        Probabilities of shape (n, 3).
    """
    hours = int(hour.max()) + 1
    cell = product * hours
    of = cell[train.item] + hour[train.row]
    at = cell[test.item] + hour[test.row]
    found = []
    for label in (train.next, train.after_next, train.within):
        size = (int(product.max()) + 1) * hours
        seen, happened = np.bincount(of, minlength=size), np.bincount(of, weights=label, minlength=size)
        found.append(((happened + 20.0 * label.mean()) / (seen + 20.0))[at])
    return np.column_stack(found)
