"""Drift: it sees what moved, and nothing where nothing did."""

from __future__ import annotations

import numpy as np
import pytest

from export.drift import MOVED, drift, histograms
from models.manifest import Histogram

NAMES = ["age", "count", "gap", "never"]


def rows(
    n: int, seed: int, older: float = 0.0, unknown: float = 0.3
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    gap = np.where(rng.random(n) < unknown, np.nan, rng.exponential(size=n))
    columns = [rng.normal(size=n) + older, rng.integers(0, 3, n).astype(float), gap, np.full(n, np.nan)]
    return np.column_stack(columns)


def test_the_same_source_has_not_moved() -> None:
    found = drift(histograms(rows(20_000, 1), NAMES), rows(20_000, 2), NAMES)
    assert max(found.values()) < 0.01


def test_what_moved_comes_first() -> None:
    found = drift(histograms(rows(5000, 1), NAMES), rows(5000, 2, older=1.0), NAMES)
    assert next(iter(found)) == "age"
    assert found["age"] > MOVED > max(found["count"], found["gap"])


def test_what_became_unknown_has_moved() -> None:
    reference = histograms(rows(5000, 1), NAMES)
    assert drift(reference, rows(5000, 2, unknown=0.9), NAMES)["gap"] > MOVED
    known = rows(5000, 2)
    known[:, 3] = 1.0
    assert drift(reference, known, NAMES)["never"] > MOVED


def test_the_index_is_as_its_definition_says() -> None:
    reference = {"age": Histogram([0.0], [0.5, 0.5], 0.0)}
    now = np.array([-1.0] * 8 + [1.0] * 2)[:, None]
    wanted = (0.8 - 0.5) * np.log(0.8 / 0.5) + (0.2 - 0.5) * np.log(0.2 / 0.5)
    assert drift(reference, now, ["age"])["age"] == pytest.approx(wanted, abs=1e-6)


def test_features_of_few_values_have_few_bins() -> None:
    flags = np.array([0.0] * 95 + [1.0] * 5)[:, None]
    found = histograms(flags, ["flag"])["flag"]
    assert found.edges == [0.0]
    assert sum(found.shares) == pytest.approx(1.0)
