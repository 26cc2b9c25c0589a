"""The loss of a large softmax from a part of its products."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from export.networks.session import SessionNet

#: Products up to which all are compared with; more cost more than they teach.
ALL = 6_000
_DRAWN = 4_096
#: Log-odds of a product that is left out.
_NO_RIVAL = -1e9


class Softmax:
    """Negative log-likelihood of the product that was viewed next.

    With more than `ALL` products, it is compared with a draw of them, the same for all rows of a step, frequent ones
    more often, and each is corrected for how likely it was to be drawn.

    Args:
        seen: how often each product was viewed, of shape (products,).
        seed: of the draws.

    Source: Y. Bengio and J.-S. Senécal, "Adaptive importance sampling to accelerate training of a neural probabilistic
    language model" (2008).
    """

    def __init__(self, seen: NDArray[np.int64], seed: int) -> None:
        weight = seen.astype(np.float64) ** 0.75
        self._chance = weight / weight.sum()
        self._ends = np.cumsum(self._chance)
        self._rng = np.random.default_rng(seed)

    def __call__(self, network: SessionNet, views: Any, target: Any) -> Any:
        """A scalar tensor.

        Args:
            network: in training.
            views: as `SessionNet.session` takes them, int64 of shape (n, length).
            target: products, int64 of shape (n,).
        """
        to, again, which = network.session(views)
        if len(self._chance) <= ALL:
            other = -F.cross_entropy(to @ network.products().T, target, reduction="none")
        else:
            other = self._drawn(network, to, target)
        # The target comes as another product, or as one that was viewed; both may be so.
        old = (which * (views == target[:, None] + 1)).sum(dim=1).clamp(min=1e-9).log()
        both = torch.stack([F.logsigmoid(-again[:, 0]) + other, F.logsigmoid(again[:, 0]) + old])
        return -torch.logsumexp(both, dim=0).mean()

    def _drawn(self, network: SessionNet, to: Any, target: Any) -> Any:
        """Log-likelihoods beside a draw, of shape (n,)."""
        drawn, often = self._draw()
        others = torch.addmm(-often, to, network.product(drawn).T)
        # A target that was drawn is not its own rival.
        at = torch.searchsorted(drawn, target).clamp(max=len(drawn) - 1)
        own = (drawn[at] == target).nonzero()[:, 0]
        others[own, at[own]] = _NO_RIVAL
        wanted = (to * network.product(target)).sum(dim=1)
        return wanted - torch.logaddexp(wanted, others.logsumexp(dim=1))

    def _draw(self) -> tuple[Any, Any]:
        """Products, each once, and the logarithm of how likely each was to be among them."""
        at = np.searchsorted(self._ends, self._rng.random(_DRAWN)).clip(max=len(self._ends) - 1)
        drawn = np.unique(at)
        often = np.log(-np.expm1(_DRAWN * np.log1p(-self._chance[drawn])))
        return torch.from_numpy(drawn), torch.from_numpy(often.astype(np.float32))
