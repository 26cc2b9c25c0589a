"""What ranking is learnt from, and that no label of the test is in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from export.datasets.baskets import Arrays
from export.datasets.sequences import Sequences
from export.networks.reorder import ReorderNet
from export.tasks.chances import Known, learn
from export.tasks.fed import Fed
from export.tasks.lambdaloss import lambda_loss
from export.tasks.lists import Lists, lists_of
from features.vectors.reorder import FEATURES

DAY_MS = 86_400_000


def no_sequences(groups: int = 10) -> Sequences:
    return Sequences(np.zeros((5, 8), np.int64), np.full((groups, 16), 4), np.full((groups, 16), np.nan, np.float32))


def some_lists() -> Lists:
    generator = torch.Generator().manual_seed(3)
    bought = torch.tensor([1, 0, 0, 0, 1, 1, 0, 0, 1.0])
    group = np.zeros(9, np.int64)
    fed = Fed(torch.randn(9, 4, generator=generator), group, group, no_sequences())
    return Lists(fed, bought, np.array([0, 4, 7, 9]), torch.ones(3), np.arange(9))


def places(inputs: Any, *sequences: Any) -> Any:
    return torch.stack([inputs[:, 0], inputs[:, 1] * 3])


def test_the_loss_is_that_of_each_list_alone() -> None:
    lists, at = some_lists(), np.array([2, 0, 1])
    alone = [float(lists.loss(places, at[i : i + 1])) for i in range(3)]
    assert float(lists.loss(places, at)) == pytest.approx(sum(alone) / 3, abs=1e-6)
    assert len(set(alone)) == 3


def test_an_older_list_weighs_less() -> None:
    lists, both = some_lists(), np.array([0, 1])
    first, second = (float(lists.loss(places, np.array([i]))) for i in (0, 1))
    lists.weight[1] = 0.25
    assert float(lists.loss(places, both)) == pytest.approx((first + 0.25 * second) / 1.25, abs=1e-6)


def test_a_list_that_teaches_nothing_is_left_out() -> None:
    group, bought = np.array([1, 2, 1, 3, 2, 3]), np.array([True, False, False, True, False, True])
    arrays = {
        "group": group,
        "product": group,
        "bought": bought,
        "features": np.arange(6, dtype=np.float32)[:, None],
        "as_of_ms": np.zeros(6, np.int64),
    }
    found = lists_of(arrays, np.ones(6, bool), lambda x: x, no_sequences())
    assert found.fed.inputs[:, 0].tolist() == [0, 2]
    assert found.starts.tolist() == [0, 2]


def test_a_label_that_reaches_past_the_end_weighs_nothing() -> None:
    until = 100 * DAY_MS
    arrays: Arrays = {
        "features": np.zeros((4, len(FEATURES)), np.float32),
        "group": np.arange(4),
        "product": np.arange(4),
        "wide": np.zeros(4, np.bool_),
        "next_days": np.full(4, 3.0),
        "as_of_ms": until - np.array([31, 20, 10, 3]) * DAY_MS,
    }
    known = Known(arrays, np.ones(4, bool), until, lambda x: x)
    assert (known.weight > 0).tolist() == [[True] * 3, [True, True, False], [True, False, False], [False] * 3]


def test_a_row_of_a_thinned_table_stands_for_the_others() -> None:
    features = np.zeros((3, len(FEATURES)), np.float32)
    features[:, list(FEATURES).index("repertoire_products")] = [18, 18, 9]
    arrays: Arrays = {
        "features": features,
        "group": np.array([0, 0, 1]),
        "product": np.arange(3),
        "wide": np.array([True, True, False]),
        "next_days": np.full(3, 3.0),
        "as_of_ms": np.zeros(3, np.int64),
    }
    known = Known(arrays, np.ones(3, bool), 60 * DAY_MS, lambda x: x, recent=False)
    assert (known.weight[:, 2] / known.weight[2, 2]).tolist() == pytest.approx([3.0, 3.0, 1.0])


def test_the_best_answer_is_found_and_the_mean_probability_is_the_rate() -> None:
    random = np.random.default_rng(5)
    features = np.zeros((4000, len(FEATURES)), np.float32)
    features[:, 3] = random.normal(size=4000)
    again = random.random(4000) < 1 / (1 + np.exp(1.5 - 0.8 * features[:, 3]))
    arrays: Arrays = {
        "features": features,
        "group": np.arange(4000),
        "product": np.arange(4000),
        "wide": np.zeros(4000, np.bool_),
        "next_days": np.where(again, random.choice([3.0, 10.0, 20.0], 4000), 90.0),
        "as_of_ms": np.zeros(4000, np.int64),
    }
    network = ReorderNet()
    known = Known(arrays, np.ones(4000, bool), 60 * DAY_MS, lambda x: torch.cat([x, torch.zeros_like(x)], 1))
    learn(network, known, lambda text, share: None)
    chance = torch.sigmoid(known.added(network)).detach().numpy()
    for column, days in enumerate((7, 14, 30)):
        assert chance[:, column].mean() == pytest.approx((arrays["next_days"] <= days).mean(), abs=2e-3)
    assert network.chances.weights[3].item() == pytest.approx(0.8, abs=0.1)


def plain_lambda_loss(score: list[float], bought: list[int]) -> float:
    """The same, pair by pair, of a list with fewer rows than the top holds."""
    order = sorted(range(len(score)), key=lambda i: -score[i])
    gain = {row: 1 / np.log2(place + 2) for place, row in enumerate(order)}
    ideal = sum(1 / np.log2(place + 2) for place in range(min(sum(bought), 10)))
    pairs = [(i, j) for i in order for j in order if bought[i] != bought[j]]
    costs = (
        abs(gain[i] - gain[j]) / ideal * np.log1p(np.exp(-(bought[i] - bought[j]) * (score[i] - score[j])))
        for i, j in pairs
    )
    return float(sum(costs))


def test_a_pair_costs_what_it_takes_from_ndcg() -> None:
    first, second = ([0.3, -1.0, 2.0, 0.0], [1, 0, 0, 1]), ([1.0, 0.5], [0, 1])
    scores = torch.tensor([[*first[0], *second[0]]])
    found = lambda_loss(
        scores, torch.tensor([*first[1], *second[1]]).float(), np.array([4, 2]), torch.tensor([1.0, 0.5])
    )
    expected = (plain_lambda_loss(*first) + 0.5 * plain_lambda_loss(*second)) / 1.5
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_what_stands_below_the_top_is_learnt_against_the_top_alone() -> None:
    scores = torch.linspace(1.0, 0.0, 40, requires_grad=True)
    bought = torch.zeros(40)
    bought[39] = 1.0
    lambda_loss(scores[None], bought, np.array([40]), torch.ones(1)).backward()
    assert scores.grad is not None
    assert (scores.grad != 0).tolist() == [True] * 20 + [False] * 19 + [True]
