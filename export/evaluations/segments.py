"""Parts of the rows that figures are told of apart: by how much is known of a customer, and without the heaviest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Orders of a customer, from and to.
ORDERS = {"1 or 2 orders": (0, 2), "3 to 5 orders": (3, 5), "6 to 20 orders": (6, 20), "over 20 orders": (21, 10**9)}
_HEAVY = 3


def by_customers(
    orders: NDArray[Any], owner: NDArray[np.int64], heavy: NDArray[np.int64]
) -> dict[str, NDArray[np.bool_]]:
    """Segments that have any rows, by name.

    Args:
        orders: that the customer of each row had before, (n,).
        owner: the customer of each row, int64 of (n,).
        heavy: customers, from `heaviest`.

    Returns:
        bool of (n,) each; all but the last are apart from each other.

    >>> found = by_customers(np.array([1, 4, 4]), np.array([0, 1, 2]), np.array([1]))
    >>> {name: inside.tolist() for name, inside in found.items()} # doctest: +NORMALIZE_WHITESPACE
    {'1 or 2 orders before': [True, False, False], '3 to 5 orders before': [False, True, True],
     'without the 3 customers with most rows': [True, False, True]}
    """
    found = {f"{name} before": (orders >= low) & (orders <= high) for name, (low, high) in ORDERS.items()}
    found[f"without the {_HEAVY} customers with most rows"] = ~np.isin(owner, heavy)
    return {name: inside for name, inside in found.items() if inside.any()}


def heaviest(owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """The customers with most rows."""
    return np.argsort(-np.bincount(owner), kind="stable")[:_HEAVY]
