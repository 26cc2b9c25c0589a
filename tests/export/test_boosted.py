"""Trees are fitted on the lists before a time, the same ones every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from export.datasets.baskets import Arrays
from export.datasets.reorder import BEFORE
from export.datasets.sequences import Sequences
from export.networks.reorder import ReorderNet
from export.tasks.reorderfit import Fits
from features.vectors.reorder import FEATURES

LISTS, SIZE = 300, 30
UNTIL_MS = 200 * 86_400_000


def made_lists(lists: int = LISTS) -> Arrays:
    """Lists of one a day, in which what is bought is what the first feature says."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(lists), SIZE)
    features = rng.lognormal(0.0, 1.0, (len(group), len(FEATURES))).astype(np.float32)
    features[rng.random(features.shape) < 0.1] = np.nan
    return {
        "features": features,
        "bought": np.nan_to_num(features[:, 0]) > 2.0,
        "group": group,
        "product": np.zeros(len(group), np.int64),
        "as_of_ms": group * 86_400_000,
        "moment": np.full(len(group), BEFORE, np.int8),
    }


def trees_of(arrays: Arrays) -> dict[str, Any]:
    groups = int(arrays["group"].max(initial=0)) + 1
    none = Sequences(np.zeros((2, 8), np.int64), np.ones((groups, 16), np.int64), np.full((groups, 16), np.nan, "f4"))
    fits = Fits(ReorderNet, arrays, none, 7, lambda text, share: None)
    network = fits.fresh(UNTIL_MS)
    fits.ranks(network, UNTIL_MS, epochs=0)
    return dict(network.trees.named_buffers())


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_lists_grow_the_same_trees() -> None:
    first = trees_of(made_lists())
    assert len(torch.unique(first["tree"])) > 10
    assert same(first, trees_of(made_lists()))


def test_nothing_from_the_end_on_is_learnt_from() -> None:
    arrays = made_lists()
    late = arrays["as_of_ms"] >= UNTIL_MS
    other = arrays | {"bought": np.where(late, ~arrays["bought"], arrays["bought"])}
    other["features"] = np.where(late[:, None], np.float32(5.0), arrays["features"])
    assert same(trees_of(arrays), trees_of(other))
    turned = arrays | {"bought": np.where(late, arrays["bought"], ~arrays["bought"])}
    assert not same(trees_of(arrays), trees_of(turned))


def test_too_few_rows_grow_none() -> None:
    assert len(trees_of(made_lists(lists=20))["tree"]) == 0
    assert len(trees_of(made_lists() | {"bought": np.zeros(LISTS * SIZE, np.bool_)})["tree"]) == 0
