"""Lists: the products of a customer at the moment of an order, and how far a ranking puts what was bought in front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets.sequences import Sequences
from export.metrics import ranking
from export.tasks.base import Arrays
from export.tasks.chances import recency
from export.tasks.fed import Feeding, fed, rows_of
from export.tasks.lambdaloss import lambda_loss

#: A list that is so many days older weighs half: rankings change less with the season than rates.
_HALF_LIFE_DAYS = 150.0


@dataclass(frozen=True, slots=True)
class Lists:
    """Rows of l lists, one after another.

    Args:
        fed: the rows as networks take them.
        bought: 1 or 0, (n,).
        starts: where each list begins, and the end, int64 of shape (l + 1,).
        weight: of each list, a tensor of shape (l,).
        rows: which of the data set, int64 of shape (n,).
    """

    fed: Feeding
    bought: Any
    starts: NDArray[np.int64]
    weight: Any
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def loss(self, places: Any, at: NDArray[np.int64]) -> Any:
        """`lambda_loss` of some lists.

        Args:
            places: gives each row a score of each member, (members, n).
            at: which lists.
        """
        rows, _ = rows_of(self.starts, at)
        return lambda_loss(places(*self.fed.at(rows)), self.bought[rows], np.diff(self.starts)[at], self.weight[at])

    def scores(self, places: Any) -> Any:
        """The members' mean, a tensor of shape (n,)."""
        return torch.cat([places(*given).mean(dim=0) for _, given in self.fed.parts()])

    def ndcg(self, scores: Any) -> float:
        """NDCG@10 of a score of each row; the ideal is all that was bought of the list."""
        group = np.repeat(np.arange(len(self)), np.diff(self.starts))
        return ranking(group, self.bought.numpy(), scores.numpy())["NDCG@10"]


def lists_of(
    arrays: Arrays, rows: NDArray[np.bool_], inputs: Any, sequences: Sequences, until_ms: int | None = None
) -> Lists:
    """The lists in some rows of which something was bought, and something not.

    Args:
        arrays: as `export.datasets.reorder.build` makes them.
        rows: which, bool of shape (n,).
        inputs: makes network inputs of features.
        sequences: of the data set.
        until_ms: later lists weigh more, one of then 1; None: all weigh the same.
    """
    at = np.flatnonzero(rows)
    at = at[np.argsort(arrays["group"][at], kind="stable")]
    group, bought = arrays["group"][at], arrays["bought"][at]
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    share = np.bincount(number, weights=bought) / size
    at = at[((share > 0) & (share < 1))[number]]
    starts = np.r_[np.flatnonzero(np.diff(arrays["group"][at], prepend=-1)), len(at)]
    begun = arrays["as_of_ms"][at[starts[:-1]]]
    weight = np.ones(len(begun)) if until_ms is None else recency(begun, until_ms, _HALF_LIFE_DAYS)
    return Lists(
        fed(arrays, at, inputs, sequences),
        torch.from_numpy(arrays["bought"][at].astype(np.float32)),
        starts,
        torch.from_numpy(weight.astype(np.float32)),
        at,
    )
