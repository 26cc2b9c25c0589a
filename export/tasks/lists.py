"""Lists: the products of a customer at the moment of an order, and how far a ranking puts what was bought in front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.metrics import ranking
from export.tasks.base import Arrays


@dataclass(frozen=True, slots=True)
class Lists:
    """Rows of l lists, one after another.

    Args:
        inputs: of the network, (n, width).
        bought: 1 or 0, (n,).
        starts: where each list begins, and the end, int64 of shape (l + 1,).
    """

    inputs: Any
    bought: Any
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, at: NDArray[np.int64]) -> tuple[Any, Any]:
        """The rows of some lists, and the place of each row's list among them, int64 tensors of shape (m,)."""
        sizes = self.starts[at + 1] - self.starts[at]
        place = np.repeat(np.arange(len(at)), sizes)
        begun = np.cumsum(sizes) - sizes
        rows = np.arange(sizes.sum()) - begun[place] + self.starts[at][place]
        return torch.from_numpy(rows), torch.from_numpy(place)

    def loss(self, places: Any, at: NDArray[np.int64]) -> Any:
        """Mean cross-entropy between a list's softmax and what was bought of it, over members and lists.

        Args:
            places: gives each row a score of each member, (members, n).
            at: which lists.
        """
        rows, place = self.rows(at)
        scores, bought = places(self.inputs[rows]), self.bought[rows]
        top = torch.full((len(scores), len(at)), -torch.inf)
        index = place.expand(len(scores), -1)
        top = top.scatter_reduce(1, index, scores.detach(), "amax")
        total = torch.zeros(len(scores), len(at)).scatter_add(1, index, torch.exp(scores - top.gather(1, index)))
        share = scores - (top + torch.log(total)).gather(1, index)
        weight = bought / torch.zeros(len(at)).index_add(0, place, bought)[place]
        return -(share * weight).sum() / (len(scores) * len(at))

    def ndcg(self, places: Any) -> float:
        """NDCG@10 of the members' mean; the ideal is all that was bought of the list."""
        scores = torch.cat([places(part).mean(dim=0) for part in self.inputs.split(65_536)])
        group = np.repeat(np.arange(len(self)), np.diff(self.starts))
        return ranking(group, self.bought.numpy(), scores.numpy())["NDCG@10"]


def lists_of(arrays: Arrays, rows: NDArray[np.bool_], inputs: Any) -> Lists:
    """The lists in some rows of which something was bought, and something not.

    Args:
        arrays: as `export.datasets.reorder.build` makes them.
        rows: which, bool of shape (n,).
        inputs: makes network inputs of features.
    """
    at = np.flatnonzero(rows)
    at = at[np.argsort(arrays["group"][at], kind="stable")]
    group, bought = arrays["group"][at], arrays["bought"][at]
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    share = np.bincount(number, weights=bought) / size
    at = at[((share > 0) & (share < 1))[number]]
    starts = np.flatnonzero(np.r_[True, np.diff(arrays["group"][at]) != 0, True])
    with torch.no_grad():
        made = inputs(torch.from_numpy(arrays["features"][at]))
    return Lists(made, torch.from_numpy(arrays["bought"][at].astype(np.float32)), starts)
