"""Figures of merit, each on plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def log_loss(label: Floats, probability: Floats) -> float:
    """Mean negative log-likelihood of 0/1 labels.

    >>> round(log_loss(np.array([1, 0]), np.array([0.5, 0.5])), 4)
    0.6931
    """
    p = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(label > 0, np.log(p), np.log1p(-p))))


def ranking(group: Floats, label: Floats, score: Floats, k: int = 10) -> dict[str, float]:
    """Mean NDCG@k and Recall@k over groups that have a positive; the ideal DCG is cut at k.

    >>> ranking(np.array([0, 0, 0]), np.array([0, 1, 0]), np.array([1.0, 3.0, 2.0]))
    {'NDCG@10': 1.0, 'Recall@10': 1.0}
    """
    order = np.lexsort((-score, group))
    g, y = group[order], label[order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, g[1:] != g[:-1]])
    sizes = np.diff(np.r_[starts, len(g)])
    place = np.arange(len(g)) - np.repeat(starts, sizes)
    found = np.where(place < k, y, 0.0)
    positives = np.add.reduceat(y, starts)
    gain = np.add.reduceat(found / np.log2(place + 2.0), starts)
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))])
    any_ = positives > 0
    best = ideal[np.minimum(positives[any_], k).astype(np.int64)]
    recall = np.add.reduceat(found, starts)[any_] / positives[any_]
    return {f"NDCG@{k}": float((gain[any_] / best).mean()), f"Recall@{k}": float(recall.mean())}
