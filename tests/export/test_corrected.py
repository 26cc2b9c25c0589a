from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.networks.trees import ToldTrees
from export.tasks.corrected import corrected, corrected_odds

ROWS, WIDTH = 12_000, 6


def rows(seed: int = 3) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any]]:
    """Features, what happened, and what a network says that has not noticed what the third feature does."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    told = 1.0 + 0.5 * (features[:, 0] > 0)
    actual = told + 0.4 * (features[:, 2] > 0.5) + rng.laplace(0.0, 0.2, ROWS)
    return features, actual, told


def missed(booster: Any, features: Any, actual: Any, told: Any) -> float:
    return float(np.abs(actual - told - booster.predict(features, num_threads=1)).mean())


def test_they_find_what_was_missed_and_name_it() -> None:
    features, actual, told = rows()
    booster = corrected(features, actual, told, np.ones(ROWS), 1)
    known = told + 0.4 * (features[:, 2] > 0.5)
    best, first = np.abs(actual - known).mean(), np.abs(actual - told).mean()
    assert missed(booster, *rows(4)) < best + 0.1 * (first - best) + 0.005
    trees = ToldTrees(WIDTH)
    trees.learn(booster, 1.0)
    blame = np.abs(trees(torch.from_numpy(rows(4)[0])).numpy()).mean(axis=0)
    assert blame[2] > 5 * np.delete(blame, 2).max()


def test_where_nothing_was_missed_they_learn_no_row_by_heart() -> None:
    features, actual, told = rows()
    actual = told + np.random.default_rng(5).laplace(0.0, 0.2, ROWS)
    booster = corrected(features, actual, told, np.ones(ROWS), 1)
    new, _, said = rows(6)
    happened = said + np.random.default_rng(7).laplace(0.0, 0.2, ROWS)
    assert missed(booster, new, happened, said) < 1.005 * np.abs(happened - said).mean()


def test_rows_without_weight_are_not_learnt_from() -> None:
    features, actual, told = rows()
    other = features[:, 1] > 0
    booster = corrected(features, np.where(other, actual + 5.0, actual), told, np.where(other, 1e-9, 1.0), 1)
    assert missed(booster, features[~other], actual[~other], told[~other]) < np.abs(actual - told)[~other].mean()


def test_the_same_seed_gives_the_same_trees() -> None:
    features, actual, told = rows()
    first, again, other = (corrected(features, actual, told, np.ones(ROWS), seed) for seed in (1, 1, 2))
    assert first.model_to_string() == again.model_to_string() != other.model_to_string()


def test_few_rows_get_none() -> None:
    features, actual, told = (part[:1500] for part in rows())
    assert corrected(features, actual, told, np.ones(1500), 1) is None


def odd_rows(seed: int = 3) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any]]:
    """Features, what happened at two horizons, and log-odds that do not know what the third feature does."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    odds = np.stack([features[:, 0] - 1.5, features[:, 0] - 0.5], axis=1)
    true = 1 / (1 + np.exp(-(odds + 1.5 * (features[:, 2] > 0.5)[:, None])))
    return features, (rng.random((ROWS, 1)) < true).astype(np.float64), odds


def unlikely(happened: Any, odds: Any) -> float:
    return float(np.logaddexp(0.0, np.where(happened > 0, -odds, odds)).mean())


def test_odds_of_all_horizons_are_mended_by_one_sum() -> None:
    features, happened, odds = odd_rows()
    booster = corrected_odds(features, happened, odds, np.ones((ROWS, 2)), 1)
    new, then, said = odd_rows(4)
    mended = said + booster.predict(new, num_threads=1)[:, None]
    known = said + 1.5 * (new[:, 2] > 0.5)[:, None]
    assert unlikely(then, mended) < unlikely(then, known) + 0.2 * (unlikely(then, said) - unlikely(then, known))


def test_horizons_without_weight_are_not_learnt_from() -> None:
    features, happened, odds = odd_rows()
    weight = np.ones((ROWS, 2))
    weight[:, 1] = 0.0
    wrong = np.stack([happened[:, 0], 1 - happened[:, 1]], axis=1)
    booster, right = (corrected_odds(features, of, odds, weight, 1) for of in (wrong, happened))
    np.testing.assert_array_equal(booster.predict(features), right.predict(features))
    assert corrected_odds(features, happened, odds, 0 * weight, 1) is None
    assert corrected_odds(features[:1500], happened[:1500], odds[:1500], weight[:1500], 1) is None
