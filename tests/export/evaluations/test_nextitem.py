"""Figures and baselines of the next view, against the plainest way to compute them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.datasets.prefixes import Prefixes, prefixes_of
from export.datasets.sessions import Sessions
from export.datasets.transitions import NEAR, NEXT, followers, neighbours
from export.evaluations.nextitem import next_item_metrics, ranks
from export.evaluations.sessionknn import SessionKnn
from export.networks.nextitem import Seen

PRODUCTS = 12


def some_sessions(seed: int, count: int = 60) -> Sessions:
    rng = np.random.default_rng(seed)
    size = rng.integers(2, 7, count)
    item = rng.integers(0, PRODUCTS, size.sum())
    return Sessions([f"p{i}" for i in range(PRODUCTS)], item, np.r_[0, np.cumsum(size)], np.arange(count))


def views(sessions: Sessions) -> list[list[int]]:
    return [sessions.item[a:b].tolist() for a, b in pairwise(sessions.starts.tolist())]


def test_the_markov_chain_counts_each_pair() -> None:
    sessions = some_sessions(1)
    pairs = Counter((a, b) for one in views(sessions) for a, b in pairwise(one))
    expected = [[pairs[a, b] for b in range(PRODUCTS)] for a in range(PRODUCTS)]
    assert followers(prefixes_of(sessions), PRODUCTS).toarray().tolist() == expected


def test_neighbours_are_weighed_by_how_far_apart_they_are() -> None:
    sessions = some_sessions(2)
    near = np.zeros((PRODUCTS, PRODUCTS))
    for one in views(sessions):
        for i, a in enumerate(one):
            for j in range(i + 1, len(one)):
                near[a, one[j]] += (j - i) ** -2.0
                near[one[j], a] += 0.5 * (j - i) ** -2.0
    who, share = neighbours(prefixes_of(sessions), PRODUCTS, most=3)
    assert not who[0].any()
    assert not share[0].any()
    for a in range(PRODUCTS):
        assert share[a + 1] == pytest.approx(np.sort(near[a])[::-1][:3] / (near[a].sum() + 10), rel=1e-5)
        assert near[a, who[a + 1] - 1] / (near[a].sum() + 10) == pytest.approx(share[a + 1], rel=1e-5)


def test_what_comes_next_is_counted_alone_where_asked() -> None:
    rows = prefixes_of(some_sessions(2))
    counted = followers(rows, PRODUCTS).toarray()
    who, share = neighbours(rows, PRODUCTS, PRODUCTS, NEXT)
    found = np.zeros((PRODUCTS + 1, PRODUCTS + 1))
    np.add.at(found, (np.arange(PRODUCTS + 1)[:, None], who), share)
    np.testing.assert_allclose(found[1:, 1:], counted / (counted.sum(axis=1, keepdims=True) + 10), rtol=1e-5)


def test_tables_of_what_comes_next_look_at_the_last_view_alone() -> None:
    rows = prefixes_of(some_sessions(2))
    seen = Seen(PRODUCTS, PRODUCTS)
    seen.learn(*neighbours(rows, PRODUCTS, PRODUCTS, NEXT), NEXT.decay)
    alone, after = torch.zeros(1, 20, dtype=torch.int64), torch.ones(1, 20, dtype=torch.int64)
    alone[0, -1] = after[0, -1] = 2
    assert torch.equal(seen(alone), seen(after))
    seen.learn(*neighbours(rows, PRODUCTS, PRODUCTS, NEAR), NEAR.decay)
    assert not torch.equal(seen(alone), seen(after))


def knn_by_hand(train: Sessions, asked: list[int]) -> NDArray[np.float64]:
    place = {item: i + 1 for i, item in enumerate(asked)}
    alike = [(sum(place.get(i, 0) for i in set(one)) / len(asked), s) for s, one in enumerate(views(train))]
    score = np.zeros(PRODUCTS)
    for share, s in sorted((pair for pair in alike if pair[0] > 0), reverse=True)[:100]:
        met = max(place.get(i, 0) for i in views(train)[s])
        for item in set(views(train)[s]):
            score[item] += share / (len(asked) - met + 1)
    return score


def test_session_knn_is_what_it_is_by_hand() -> None:
    train, test = some_sessions(3, count=150), some_sessions(4, count=20)
    rows = prefixes_of(test)
    found = SessionKnn(train).scores(rows, np.arange(len(rows)))
    for row in range(len(rows)):
        asked = rows.item[rows.begin[row] : rows.place[row]].tolist()
        assert found[row] == pytest.approx(knn_by_hand(train, asked))


def uniform(rows: Prefixes, seed: int) -> NDArray[np.float64]:
    score = np.random.default_rng(seed).random((len(rows), PRODUCTS))
    return ranks(lambda at: score[at], rows)


def test_figures_are_beside_the_baselines_with_paired_differences() -> None:
    rows = prefixes_of(some_sessions(5, count=300))
    metrics = {m.name: m for m in next_item_metrics(rows, {"model": np.zeros(len(rows)), "chance": uniform(rows, 6)})}
    assert metrics["MRR@10 of the next view"].value == 1.0
    assert metrics["P@10 of the next view"].baselines["chance"] == pytest.approx(10 / PRODUCTS, abs=0.05)
    same = next_item_metrics(rows, {"model": uniform(rows, 6), "chance": uniform(rows, 6)})[-1]
    assert (same.name, same.value, same.ci95) == ("P@20 of the next view less chance", 0.0, (0.0, 0.0))
