"""The session network: attention of the last view over those before it, products compared by their angle alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

#: What a cosine is multiplied with before the softmax.
_SHARPNESS = 16.0
#: The logarithm of a chance that is none.
_NEVER = -30.0


class SessionNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """From views to chances of products: one that was viewed in the session is viewed again, or another comes.

    Each product has a vector of length 1, for what was viewed and for what comes next alike: a frequent product is not
    nearer to everything. Views carry how long ago they were, and attention weighs them as the last view and the whole
    session ask for. (A gated recurrent layer on top was no better and twice as slow.)

    Args:
        products: how many there are.
        width: of vectors.
        length: views of a row, at most.
        drop: share of numbers that are dropped in training.

    Source: Q. Liu et al., "STAMP" (KDD 2018); S. Wu et al., "SR-GNN" (AAAI 2019); P. Gupta et al., "NISER: Normalized
    Item and Session Representations with Graph Neural Networks" (2019); P. Ren et al., "RepeatNet" (AAAI 2019).
    """

    def __init__(self, products: int, width: int = 96, length: int = 20, drop: float = 0.15) -> None:
        super().__init__()
        self.vectors = nn.Embedding(products + 1, width)
        self.places = nn.Parameter(torch.zeros(length, width))
        self.of_last = nn.Linear(width, width)
        self.of_mean = nn.Linear(width, width, bias=False)
        self.of_each = nn.Linear(width, width, bias=False)
        self.weigh = nn.Linear(width, 2, bias=False)
        self.mix = nn.Linear(2 * width, width, bias=False)
        self.again = nn.Linear(2 * width, 1)
        self.lately = nn.Parameter(torch.zeros(length))
        self.drop = nn.Dropout(drop)
        nn.init.normal_(self.vectors.weight, std=0.1)
        nn.init.normal_(self.places, std=0.02)
        nn.init.constant_(self.again.bias, -2.0)

    def products(self) -> Any:
        """The vectors of all products, float32 of shape (products, width), each of length 1."""
        return F.normalize(self.vectors.weight[1:], dim=1)

    def product(self, products: Any) -> Any:
        """The vectors of some products, float32 of shape (n, width)."""
        return F.normalize(self.vectors(products + 1), dim=1)

    def session(self, views: Any) -> tuple[Any, Any, Any]:
        """What a session asks for.

        Args:
            views: product + 1, newest last, 0 for none, int64 of shape (n, length).

        Returns:
            Where it points to: float32 of shape (n, width), of length `_SHARPNESS`.
            The log-odds that a product of it is viewed again, of shape (n, 1).
            If so, the chances that it is each view's, of shape (n, length).
        """
        held = views > 0
        here = held.to(torch.float32)[:, :, None]
        viewed = self.drop(F.normalize(self.vectors(views), dim=2)) * here
        each = (viewed + self.places[-views.shape[1] :]) * here
        last = viewed[:, -1]
        mean = viewed.sum(dim=1) / here.sum(dim=1).clamp(min=1.0)
        asked = self.of_last(last) + self.of_mean(mean)
        weight, return_ = self.weigh(torch.sigmoid(self.of_each(each) + asked[:, None])).split(1, dim=2)
        both = torch.cat([(weight * here * viewed).sum(dim=1), last], dim=1)
        lately = (return_[:, :, 0] + self.lately[-views.shape[1] :]).masked_fill(~held, _NEVER)
        return _SHARPNESS * F.normalize(self.mix(both), dim=1), self.again(both), torch.softmax(lately, dim=1)

    def forward(self, views: Any) -> Any:
        """Chances of all products, which add up to 1, float32 of shape (n, products)."""
        to, again, which = self.session(views)
        again = torch.sigmoid(again)
        chance = (1.0 - again) * torch.softmax(to @ self.products().T, dim=1)
        old = torch.zeros(views.shape[0], self.vectors.num_embeddings).scatter_add(1, views, again * which)
        return chance + old[:, 1:]
