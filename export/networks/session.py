"""The session network: attention of the last view over those before it, products compared by their angle alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

#: What a cosine is multiplied with before the softmax.
_SHARPNESS = 16.0


class SessionNet(nn.Module):
    """From views to a direction, and from directions to log-odds of products.

    Each product has a vector of length 1, for what was viewed and for what comes next alike: a frequent product is not
    nearer to everything. Views carry how long ago they were, and attention weighs them as the last view and the whole
    session ask for. (A gated recurrent layer on top was no better and twice as slow.)

    Args:
        products: how many there are.
        width: of vectors.
        length: views of a row.
        drop: share of numbers that are dropped in training.

    Source: Q. Liu et al., "STAMP" (KDD 2018); S. Wu et al., "SR-GNN" (AAAI 2019); P. Gupta et al., "NISER: Normalized
    Item and Session Representations with Graph Neural Networks" (2019).
    """

    def __init__(self, products: int, width: int = 96, length: int = 20, drop: float = 0.15) -> None:
        super().__init__()
        self.vectors = nn.Embedding(products + 1, width)
        self.places = nn.Parameter(torch.zeros(length, width))
        self.of_last = nn.Linear(width, width)
        self.of_mean = nn.Linear(width, width, bias=False)
        self.of_each = nn.Linear(width, width, bias=False)
        self.weigh = nn.Linear(width, 1, bias=False)
        self.mix = nn.Linear(2 * width, width, bias=False)
        self.drop = nn.Dropout(drop)
        nn.init.normal_(self.vectors.weight, std=0.1)
        nn.init.normal_(self.places, std=0.02)

    def products(self) -> Any:
        """The vectors of all products, float32 of shape (products, width), each of length 1."""
        return F.normalize(self.vectors.weight[1:], dim=1)

    def product(self, products: Any) -> Any:
        """The vectors of some products, float32 of shape (n, width)."""
        return F.normalize(self.vectors(products + 1), dim=1)

    def session(self, views: Any) -> Any:
        """Where sessions point to.

        Args:
            views: product + 1, newest last, 0 for none, int64 of shape (n, length).

        Returns:
            float32 of shape (n, width), each of length 1, times the sharpness.
        """
        here = (views > 0).to(torch.float32)[:, :, None]
        viewed = self.drop(F.normalize(self.vectors(views), dim=2)) * here
        each = (viewed + self.places[-views.shape[1] :]) * here
        last = viewed[:, -1]
        mean = viewed.sum(dim=1) / here.sum(dim=1).clamp(min=1.0)
        asked = self.of_last(last) + self.of_mean(mean)
        weight = self.weigh(torch.sigmoid(self.of_each(each) + asked[:, None])) * here
        recalled = (weight * viewed).sum(dim=1)
        return _SHARPNESS * F.normalize(self.mix(torch.cat([recalled, last], dim=1)), dim=1)

    def forward(self, views: Any) -> Any:
        """Log-odds of all products, float32 of shape (n, products)."""
        return self.session(views) @ self.products().T
