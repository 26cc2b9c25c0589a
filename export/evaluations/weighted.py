"""Figures of merit with a weight a row: sorted once, then cheap for each of many resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.evaluations.bootstrap import Figures

Floats = NDArray[np.float64]


def calibration(label: NDArray[Any], probability: NDArray[Any], bins: int = 15) -> Figures:
    """ECE of 0/1 labels, over bins of equal width.

    Source: C. Guo et al., "On calibration of modern neural networks" (ICML 2017).

    >>> calibration(np.array([0, 1, 1]), np.array([0.2, 0.6, 0.1]))(np.ones(3))
    {'ECE': 0.5}
    """
    p = probability.astype(np.float64)
    place, over = np.minimum((p * bins).astype(np.int64), bins - 1), p - label.astype(np.float64)

    def figures(weight: Floats) -> dict[str, float]:
        gap = np.bincount(place, weights=weight * over, minlength=bins)
        with np.errstate(invalid="ignore"):
            return {"ECE": float(np.abs(gap).sum() / weight.sum())}

    return figures


def probabilities(label: NDArray[Any], probability: NDArray[Any], bins: int = 15) -> Figures:
    """AUC, AP, log loss and ECE of 0/1 labels.

    >>> found = probabilities(np.array([0, 1, 1]), np.array([0.2, 0.6, 0.1]))(np.ones(3))
    >>> {name: round(value, 3) for name, value in found.items()}
    {'AUC': 0.5, 'AP': 0.833, 'log loss': 1.012, 'ECE': 0.5}
    """
    p, y = probability.astype(np.float64), label.astype(np.float64)
    order = np.argsort(-p, kind="stable")
    sorted_, sorted_y = p[order], y[order]
    starts = np.flatnonzero(np.r_[True, sorted_[1:] != sorted_[:-1]])
    inside = np.clip(p, 1e-7, 1 - 1e-7)
    loss = np.where(y > 0, -np.log(inside), -np.log1p(-inside))
    calibrated = calibration(label, probability, bins)

    def figures(weight: Floats) -> dict[str, float]:
        w = weight[order]
        positive = np.add.reduceat(w * sorted_y, starts)
        negative = np.add.reduceat(w * (1 - sorted_y), starts)
        found, wrong, total = positive.cumsum(), negative.cumsum(), float(weight.sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            right = (positive * (wrong[-1] - wrong + negative / 2)).sum() / (found[-1] * wrong[-1])
            precision = np.where(positive > 0, positive * found / (found + wrong), 0.0).sum() / found[-1]
            return {
                "AUC": float(right),
                "AP": float(precision),
                "log loss": float((weight * loss).sum() / total),
            } | calibrated(weight)

    return figures


def rankings(basket: NDArray[np.int64], label: NDArray[Any], score: NDArray[Any], size: NDArray[Any], k: int) -> Any:
    """Gains of the baskets that were ranked.

    Args:
        basket: of each row, int64 of shape (n,).
        label, score: of each row.
        size: products of each basket, of shape (b,): also those that no row proposes.
        k: how many are shown.

    Returns:
        The baskets in ascending order, int64 of shape (m,); NDCG, Recall and PHR of each, float64 of shape (m, 3). The
        ideal DCG is that of the whole basket, cut at k.

    >>> baskets, gains = rankings(np.zeros(2, int), np.array([0, 1]), np.array([0.1, 0.2]), np.array([2]), 10)
    >>> gains.round(3).tolist()
    [[0.613, 0.5, 1.0]]
    """
    order = np.lexsort((-score, basket))
    of, hit = basket[order], label[order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
    place = np.arange(len(of)) - np.repeat(starts, np.diff(np.r_[starts, len(of)]))
    shown = np.where(place < k, hit, 0.0)
    ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))
    held = size[of[starts]]
    gain = np.add.reduceat(shown / np.log2(place + 2.0), starts) / ideal[np.minimum(held, k) - 1]
    found = np.add.reduceat(shown, starts)
    return of[starts], np.column_stack([gain, found / held, found > 0])


def tops(label: NDArray[Any], score: NDArray[Any], wanted: NDArray[Any], k: int) -> Floats:
    """Gains of lists that all have the same number of candidates, as `rankings` tells them, in a fraction of its time.

    Args:
        label, score: of each candidate of each list, (n, c); of equal scores the earlier column comes first.
        wanted: how many products each list's basket holds, of shape (n,).
        k: how many are shown.

    Returns:
        NDCG, Recall and PHR of each list, float64 of shape (n, 3).

    >>> tops(np.array([[0, 1]]), np.array([[0.1, 0.2]]), np.array([2]), 1).tolist()
    [[1.0, 0.5, 1.0]]
    """
    k_ = min(k, score.shape[1])
    last = -np.partition(-score, k_ - 1, axis=1)[:, k_ - 1, None]
    above, level = score > last, score == last
    shown = above | (level & (np.cumsum(level, axis=1, dtype=np.int32) <= k_ - above.sum(axis=1, keepdims=True)))
    column = np.nonzero(shown)[1].reshape(len(score), k_)
    order = np.argsort(-np.take_along_axis(score, column, axis=1), axis=1, kind="stable")
    hit = np.take_along_axis(label, np.take_along_axis(column, order, axis=1), axis=1).astype(np.float64)
    worth = 1.0 / np.log2(np.arange(k) + 2.0)
    found = hit.sum(axis=1)
    return np.column_stack([hit @ worth[:k_] / np.cumsum(worth)[np.minimum(wanted, k) - 1], found / wanted, found > 0])


def means(gains: Floats, k: int) -> Figures:
    """NDCG, Recall and PHR over baskets."""
    names = (f"NDCG@{k}", f"Recall@{k}", f"PHR@{k}")

    def figures(weight: Floats) -> dict[str, float]:
        with np.errstate(invalid="ignore"):
            return dict(zip(names, (weight @ gains / weight.sum()).tolist(), strict=True))

    return figures


def mean(name: str, values: NDArray[Any]) -> Figures:
    """The mean of values, by that name."""

    def figures(weight: Floats) -> dict[str, float]:
        with np.errstate(invalid="ignore"):
            return {name: float(weight @ values / weight.sum())}

    return figures
