"""Exploration: now and then another of the shown offers comes first, with a probability that is told.

What is never shown first is never learnt about. The policy is ε-greedy over the list: with probability ε the first
place is drawn from all offers of the list, each with the same chance; the others keep their order. The propensity of an
offer is the probability that the policy put *it first*, given the list; those of a list add up to 1.
"""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray


def propensities(place: NDArray[np.int64], length: NDArray[np.int64], explore: float) -> NDArray[np.float64]:
    """The probability to be first of offers at some places of the model's ranking.

    Args:
        place: in the model's ranking, from 0, of shape (n,).
        length: how many offers the list of each has, of shape (n,).
        explore: ε, 0 to 1.

    >>> propensities(np.arange(4), np.full(4, 4), 0.2).round(2).tolist()
    [0.85, 0.05, 0.05, 0.05]
    """
    return np.where(place == 0, 1.0 - explore, 0.0) + explore / length


def first_place(customer: str, as_of_ms: int, length: int, explore: float) -> int:
    """Which place of the model's ranking comes first; the same for the same customer and event time.

    So that a replay publishes what the first run did, whatever else is in its micro-batches.

    >>> first_place("42", 1_300_000_000_000, 5, explore=0.0)
    0
    """
    if explore <= 0.0 or length <= 1:
        return 0
    drawn = xxhash.xxh3_64_intdigest(f"explore\n{customer}\n{as_of_ms}".encode()) / 2.0**64
    return min(int(drawn / explore * length), length - 1) if drawn < explore else 0
