"""Reasons: which parts moved each of many scores most.

A selection of a few out of dozens, row by row: compiled, since sorting every row would cost more than the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import kernel

#: A place that is no part: a score has fewer parts than reasons are asked for.
NONE = -1


@kernel
def _largest(parts: Any, count: int, out: Any) -> None:
    """The places of the largest of the first `count` parts by size, the first of equal ones first; NaN is smallest."""
    for k in range(out.shape[0]):
        best, size = -1, -2.0
        for j in range(count):
            taken = False
            for earlier in range(k):
                if out[earlier] == j:
                    taken = True
            magnitude = abs(parts[j])
            if magnitude != magnitude:
                magnitude = -1.0
            if not taken and magnitude > size:
                best, size = j, magnitude
        out[k] = best


@kernel
def largest(contributions: Any, most: int) -> Any:
    """Where the contributions with the largest size are in each row, largest first.

    Args:
        contributions: floats of shape (n, width).
        most: how many are wanted.

    Returns:
        int64 of shape (n, most); `NONE` beyond the width.
    """
    out = np.empty((contributions.shape[0], most), np.int64)
    for i in range(contributions.shape[0]):
        _largest(contributions[i], contributions.shape[1], out[i])
    return out


@kernel
def _first_of_each(product: Any, viewed: Any, out: Any) -> None:
    """out[j]: the first place with the product of place j, bought or viewed like it; -1 where there is no product."""
    for j in range(product.shape[0]):
        out[j] = -1
        if product[j] != 0:
            out[j] = j
            for m in range(j):
                if product[m] == product[j] and viewed[m] == viewed[j]:
                    out[j] = m
                    break


@kernel
def largest_by_product(
    product: Any, viewed: Any, sequence: Any, other: Any, customer: Any, rank: Any, most: int
) -> tuple[Any, Any]:
    """The parts that moved offers most, where the places of a sequence that hold the same product are one part.

    Args:
        product, viewed: of each place of the customers' sequences, of shape (n, length).
        sequence: contributions of the places, float32 of shape (n, offers, length).
        other: of the parts that are no place, float32 of shape (n, offers, others).
        customer, rank: the offers that are asked about, int64 of shape (m,).
        most: how many are wanted.

    Returns:
        Parts, int64 of shape (m, most): the first place of a product, or `length` and on for the others, `NONE` where
        there are no more; and what each adds up to, float64 of that shape.
    """
    length, others = product.shape[1], other.shape[2]
    places = np.empty((customer.shape[0], most), np.int64)
    sums = np.zeros((customer.shape[0], most), np.float64)
    first = np.empty(length, np.int64)
    part = np.empty(length + others, np.int64)
    total = np.empty(length + others, np.float64)
    at = np.empty(length + others, np.int64)
    of = -1
    for row in range(customer.shape[0]):
        i, k = customer[row], rank[row]
        if i != of:
            _first_of_each(product[i], viewed[i], first)
            of = i
        count = 0
        for j in range(length):
            if first[j] == j:
                part[count], total[count], at[j] = j, 0.0, count
                count += 1
            if first[j] >= 0:
                total[at[first[j]]] += np.float64(sequence[i, k, j])
        for j in range(others):
            part[count], total[count] = length + j, np.float64(other[i, k, j])
            count += 1
        _largest(total, count, places[row])
        for n in range(most):
            chosen = places[row, n]
            if chosen >= 0:
                places[row, n], sums[row, n] = part[chosen], total[chosen]
    return places, sums


def null_for_nan(values: NDArray[Any]) -> list[float | None]:
    """Floats as Python's, which hold every float32 exactly; NaN, the unknown, is None."""
    out = values.astype(object)
    out[np.isnan(values)] = None
    told: list[float | None] = out.tolist()
    return told


def warm_up() -> None:
    """Compiles the kernels for what models give."""
    floats, places = np.zeros((1, 1), np.float32), np.zeros(1, np.int64)
    largest(floats, 1)
    deep = floats.reshape(1, 1, 1)
    largest_by_product(np.ones((1, 1), np.uint64), floats, deep, deep, places, places, 1)
