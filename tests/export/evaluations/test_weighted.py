"""Weighted figures against the same from rows that are written out as often as they weigh."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from export.evaluations.bootstrap import interval, resamples
from export.evaluations.weighted import means, probabilities, rankings


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(3)
    label, score = rng.random(400) < 0.3, rng.random(400).round(2)
    weight = rng.integers(0, 4, 400)
    found = probabilities(label, score)(weight.astype(float))
    y, p = np.repeat(label, weight).astype(float), np.repeat(score, weight)
    place = np.minimum((p * 15).astype(int), 14)
    expected = {
        "AUC": metrics.roc_auc_score(y, p),
        "AP": metrics.average_precision_score(y, p),
        "log loss": metrics.log_loss(y, np.clip(p, 1e-7, 1 - 1e-7)),
        "ECE": sum(abs((p - y)[place == at].sum()) for at in range(15)) / len(p),
    }
    assert found == pytest.approx(expected)


def test_the_ideal_is_the_whole_basket() -> None:
    """One of two products is found at the first place: ranking it perfectly is not enough."""
    basket, label, score = np.array([4, 4, 7]), np.array([True, False, False]), np.array([2.0, 1.0, 1.0])
    baskets, gains = rankings(basket, label, score, np.array([0] * 4 + [2] + [0] * 2 + [3]), 10)
    assert baskets.tolist() == [4, 7]
    assert gains[0] == pytest.approx([1 / (1 + 1 / np.log2(3)), 0.5, 1.0])
    assert gains[1].tolist() == [0, 0, 0]
    assert means(gains, 10)(np.array([1.0, 3.0]))["PHR@10"] == 0.25


def test_what_stands_behind_the_last_place_is_not_shown() -> None:
    label = np.arange(12) == 11
    _, gains = rankings(np.zeros(12, int), label, -np.arange(12.0), np.array([1]), 10)
    assert gains.tolist() == [[0, 0, 0]]


def test_equal_scores_on_the_same_draws_never_differ() -> None:
    """Paired: what is common to both falls out of the difference."""
    rng = np.random.default_rng(5)
    customer, label, score = rng.integers(0, 30, 500), rng.random(500) < 0.2, rng.random(500)
    drawn = resamples(30, draws=40, seed=1)
    one, other = (drawn.of(probabilities(label, s), customer) for s in (score, score / 2))
    assert interval(one["AUC"] - other["AUC"]) == pytest.approx((0, 0))
    low, high = interval(one["AUC"]) or (0, 0)
    assert low < metrics.roc_auc_score(label, score) < high


def test_no_draws_give_no_interval() -> None:
    assert interval(np.empty(0)) is None
    assert interval(np.array([np.nan])) is None
