"""A loss of rankings that looks at the top: a pair in the wrong order costs what it takes from NDCG.

Source: C. Burges, "From RankNet to LambdaRank to LambdaMART: an overview" (Microsoft Research, 2010); X. Wang et al.,
"The LambdaLoss framework for ranking metric optimization" (CIKM 2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

#: Of a pair, one stands among so many first ones.
TOP = 20
#: Places of the ideal list.
_PLACES = 10
_NOWHERE = -1e9


def lambda_loss(scores: Any, bought: Any, sizes: NDArray[np.int64], weight: Any) -> Any:
    """Mean over members and lists, by weight.

    Args:
        scores: of the rows of l lists, one list after another, by m members, (m, n).
        bought: 1 or 0, (n,); something of each list is 1.
        sizes: rows of each list, int64 of shape (l,).
        weight: of each list, (l,).

    Returns:
        A scalar tensor.
    """
    list_of = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes))
    at = torch.from_numpy(np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes))
    shape = (len(scores), len(sizes), int(sizes.max()))
    score = torch.full(shape, _NOWHERE)
    score[:, list_of, at] = scores
    label, there = torch.zeros(2, *shape[1:])
    label[list_of, at], there[list_of, at] = bought, 1.0

    order = score.detach().argsort(dim=2, descending=True)
    place = torch.empty_like(order).scatter_(2, order, torch.arange(shape[2]).expand(shape))
    gain = 1.0 / torch.log2(place + 2.0)
    ideal = (1.0 / torch.log2(torch.arange(_PLACES) + 2.0)).cumsum(dim=0)
    best = ideal[label.sum(dim=1).long().clamp(1, _PLACES) - 1]

    top = order[:, :, :TOP]
    higher = score.gather(2, top)[..., None] - score[:, :, None, :]
    better = label.expand(shape).gather(2, top)[..., None] - label[None, :, None, :]
    moved = (gain.gather(2, top)[..., None] - gain[:, :, None, :]).abs() / best[:, None, None]
    both = there.expand(shape).gather(2, top)[..., None] * there[None, :, None, :]
    loss = F.softplus(-better * higher) * better.abs() * moved * both
    return (loss.sum(dim=(2, 3)) * weight).sum() / (len(scores) * weight.sum())
