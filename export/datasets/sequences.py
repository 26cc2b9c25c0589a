"""Sequences: what a customer bought lately, as the graph of reorder takes it, for any rows of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets.baskets import Arrays

#: Inputs of the graph behind the features, in its order.
INPUTS = ("customer", "item", "words", "place", "age_days")


@dataclass(frozen=True, slots=True)
class Sequences:
    """The products of a log and the latest purchases at many moments.

    Args:
        words: word ids of each product, and of none in the last row, int64 of shape (p + 1, 8).
        recent: the latest purchases at each moment, an index into `words`, int64 of shape (g, 16).
        age_days: of those, float32 of shape (g, 16), NaN where there is none.
    """

    words: NDArray[np.int64]
    recent: NDArray[np.int64]
    age_days: NDArray[np.float32]

    def feeds(self, group: NDArray[np.int64], product: NDArray[np.int64]) -> Arrays:
        """The inputs `INPUTS` of rows: each moment and each product that occurs is there once.

        Args:
            group: the moment of each row, int64 of shape (n,).
            product: the product of each row, int64 of shape (n,).
        """
        moments, customer = np.unique(group, return_inverse=True)
        recent = self.recent[moments]
        occurring, at = np.unique(np.concatenate([product, recent.ravel()]), return_inverse=True)
        return {
            "customer": customer.astype(np.int64),
            "item": at[: len(product)].astype(np.int64),
            "words": self.words[occurring],
            "place": at[len(product) :].reshape(recent.shape).astype(np.int64),
            "age_days": self.age_days[moments],
        }

    def tensors(self, group: NDArray[np.int64], product: NDArray[np.int64]) -> tuple[Any, ...]:
        """`feeds` as tensors, in the order of `INPUTS`."""
        feeds = self.feeds(group, product)
        return tuple(torch.from_numpy(feeds[name]) for name in INPUTS)


def sequences_of(rows: Arrays) -> Sequences:
    """The sequences of rows as `export.datasets.baskets` and `export.datasets.reorder` make them."""
    words = np.concatenate([rows["words"], np.zeros((1, rows["words"].shape[1]), rows["words"].dtype)])
    none = len(rows["words"])
    recent = np.where(rows["recent"] >= 0, rows["recent"], none)
    return Sequences(words.astype(np.int64), recent.astype(np.int64), rows["recent_age_days"])
