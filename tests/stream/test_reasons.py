"""The selections behind reasons, against the plainest way to make them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.scorers.reasons import NONE, largest, largest_by_product, null_for_nan


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("most", [1, 3, 10])
def test_largest_are_what_a_stable_sort_puts_first(dtype: type, most: int) -> None:
    random = np.random.default_rng(most)
    contributions: NDArray[Any] = random.integers(-4, 5, (200, 7)).astype(dtype)  # many are equal in size
    contributions[random.random(contributions.shape) < 0.1] = np.nan
    order = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :most]
    wanted = np.full((200, most), NONE)
    wanted[:, : order.shape[1]] = order
    np.testing.assert_array_equal(largest(contributions, most), wanted)


Parts = dict[tuple[float, int], tuple[int, float]]


def naive(product: NDArray[Any], viewed: NDArray[Any], moved: NDArray[Any], other: NDArray[Any]) -> Parts:
    """(kind, product) to its first place and what it adds up to, in the order in which they come."""
    parts: Parts = {}
    for j, p in enumerate(product.tolist()):
        if p:
            place, total = parts.get((viewed[j], p), (j, 0.0))
            parts[viewed[j], p] = (place, total + float(moved[j]))
    for j, value in enumerate(other.tolist()):
        parts[-1.0 - j, 0] = (len(product) + j, value)
    return parts


@pytest.mark.parametrize("most", [1, 3, 10])
def test_places_of_one_product_are_one_part(most: int) -> None:
    random = np.random.default_rng(most)
    n, length = 40, 8
    product = random.integers(0, 4, (n, length)).astype(np.uint64)
    viewed = random.integers(0, 2, (n, length)).astype(np.float32)
    sequence = random.normal(size=(n, 5, length)).astype(np.float32)
    other = random.normal(size=(n, 5, 2)).astype(np.float32)
    customer, rank = (at.astype(np.int64) for at in np.nonzero(random.random((n, 5)) < 0.7))
    place, total = largest_by_product(product, viewed, sequence, other, customer, rank, most)
    assert place.shape == total.shape == (len(customer), most)
    for row, (i, k) in enumerate(zip(customer.tolist(), rank.tolist(), strict=True)):
        parts = naive(product[i], viewed[i], sequence[i, k], other[i, k]).values()
        wanted = sorted(parts, key=lambda part: -abs(part[1]))[:most]
        held = place[row] != NONE
        assert list(zip(place[row][held].tolist(), total[row][held].tolist(), strict=True)) == wanted


def test_the_unknown_is_null() -> None:
    told = null_for_nan(np.array([1.5, np.nan, 0.1], np.float32))
    assert told == [1.5, None, float(np.float32(0.1))]
    assert [type(value) for value in told] == [float, type(None), float]
