"""What ranking is learnt from, and that no label of the test is in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from export.datasets.baskets import Arrays
from export.datasets.sequences import Sequences
from export.tasks.chances import Known
from export.tasks.fed import Fed
from export.tasks.lists import Lists, lists_of

DAY_MS = 86_400_000


def no_sequences(groups: int = 10) -> Sequences:
    return Sequences(np.zeros((5, 8), np.int64), np.full((groups, 16), 4), np.full((groups, 16), np.nan, np.float32))


def some_lists() -> Lists:
    generator = torch.Generator().manual_seed(3)
    bought = torch.tensor([1, 0, 0, 0, 1, 1, 0, 0, 1.0])
    group = np.zeros(9, np.int64)
    fed = Fed(torch.randn(9, 4, generator=generator), group, group, no_sequences())
    return Lists(fed, bought, np.array([0, 4, 7, 9]), torch.ones(3))


def places(inputs: Any, *sequences: Any) -> Any:
    return torch.stack([inputs[:, 0], inputs[:, 1] * 3])


def test_the_loss_is_that_of_each_list_alone() -> None:
    lists, at = some_lists(), np.array([2, 0, 1])
    expected = []
    for i in at.tolist():
        rows = slice(lists.starts[i], lists.starts[i + 1])
        share = torch.log_softmax(places(lists.fed.inputs[rows]), dim=1)
        expected.append(-(share * lists.bought[rows]).sum(dim=1) / lists.bought[rows].sum())
    assert float(lists.loss(places, at)) == pytest.approx(float(torch.stack(expected).mean()), abs=1e-6)


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
        "features": np.zeros((4, 1), np.float32),
        "group": np.arange(4),
        "product": np.arange(4),
        "next_days": np.full(4, 3.0),
        "as_of_ms": until - np.array([31, 20, 10, 3]) * DAY_MS,
    }
    known = Known(arrays, np.ones(4, bool), until, lambda x: x, no_sequences())
    assert (known.weight > 0).tolist() == [[True] * 3, [True, True, False], [True, False, False], [False] * 3]
