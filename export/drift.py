"""Drift: how features were spread in training, and how far others are from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import Histogram

_BINS = 10
#: Shares below this count as this: an empty bin must not make the index infinite.
_LEAST = 1e-4
#: Above this a feature has moved: the usual reading of the index.
MOVED = 0.25


def histograms(features: NDArray[Any], names: Sequence[str]) -> dict[str, Histogram]:
    """How each column is spread: tenths, and the share that is unknown.

    Args:
        features: of shape (n, len(names)); NaN is unknown.
        names: of the columns.
    """
    return {name: _histogram(features[:, column].astype(np.float64)) for column, name in enumerate(names)}


def _histogram(values: NDArray[np.float64]) -> Histogram:
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return Histogram([], [], 1.0)
    edges = np.unique(np.quantile(known, np.arange(1, _BINS) / _BINS).astype(np.float32)).astype(np.float64)
    return Histogram(edges.tolist(), _shares(known, edges).tolist(), round(1 - len(known) / len(values), 6))


def _shares(known: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    at = np.searchsorted(edges, known.astype(np.float32), side="right")
    return np.round(np.bincount(at, minlength=len(edges) + 1) / max(len(known), 1), 6)


def drift(reference: Mapping[str, Histogram], features: NDArray[Any], names: Sequence[str]) -> dict[str, float]:
    """The population stability index of each feature, the unknown as a bin of its own; above 0.25 it has moved.

    Args:
        reference: of training, as in the manifest.
        features: of shape (n, len(names)); NaN is unknown.

    Returns:
        By name, most moved first; only features that the reference has.

    Source: the index is the symmetrised Kullback–Leibler divergence of binned shares, Σ (p − q) ln(p / q).

    >>> x = np.arange(1000.0)[:, None]
    >>> drift(histograms(x, ["age"]), x, ["age"])
    {'age': 0.0}
    """
    found = {
        name: _index(reference[name], features[:, column].astype(np.float64))
        for column, name in enumerate(names)
        if name in reference
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _index(then: Histogram, values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    unknown = 1 - len(known) / max(len(values), 1)
    if not then.shares:  # nothing was known then: all that can move is that it is known now
        was, now = np.array([1.0, 0.0]), np.array([unknown, 1 - unknown])
    else:
        shares = _shares(known, np.array(then.edges))
        was = np.append(np.array(then.shares) * (1 - then.unknown), then.unknown)
        now = np.append(shares * (1 - unknown), unknown)
    was, now = np.maximum(was, _LEAST), np.maximum(now, _LEAST)
    return round(float(((now - was) * np.log(now / was)).sum()), 6)
