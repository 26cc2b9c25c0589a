"""Sequences: what rows of a data set feed a graph."""

from __future__ import annotations

import numpy as np

from export.datasets.baskets import Arrays
from export.datasets.sequences import sequences_of


def test_each_moment_and_product_is_fed_once() -> None:
    words = np.arange(32, dtype=np.int16).reshape(4, 8)
    recent = np.array([[1, -1], [3, 1], [0, 0]], np.int32)
    ages = np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 5.0]], np.float32)
    rows: Arrays = {"words": words, "recent": recent, "recent_age_days": ages}
    group, product = np.array([1, 0, 1]), np.array([3, 2, 1])
    fed = sequences_of(rows).feeds(group, product)
    assert fed["words"][fed["item"]].tolist() == words[product].tolist()
    assert fed["customer"].tolist() == [1, 0, 1]
    np.testing.assert_array_equal(fed["age_days"], ages[:2])
    placed = fed["words"][fed["place"]]
    assert placed[1].tolist() == words[[3, 1]].tolist()
    assert placed[0, 0].tolist() == words[1].tolist()
    assert not placed[0, 1].any()
    assert len(fed["words"]) == 4  # products 1, 2 and 3, and none
