"""What a customer bought lately, and the product of a row, as vectors: words of names, pooled by attention.

Each word id has an embedding, and a product is the mean of its words', so that a new product means something. The
latest purchases are pooled once a customer, by weights that are learnt from product and age; rows only look them up.

Source: Z. Yang et al., "Hierarchical attention networks for document classification" (NAACL 2016), for the pooling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from features.text import VOCABULARY, WORDS

_NONE = -1e4
_AGES = 2


class Sequence(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The inputs `customer, item, words, place, age_days` to a vector a row, (n, 3 · width).

    Args:
        width: of the embeddings.
        drop: share of the vector that is left out at random in training.
    """

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.word = nn.Embedding(VOCABULARY, width, padding_idx=0)
        self.weigh = nn.Sequential(nn.Linear(width + _AGES, width), nn.Tanh(), nn.Linear(width, 1))
        self.mix = nn.Linear(width, width)
        self.drop = nn.Dropout(drop)
        with torch.no_grad():
            self.word.weight[1:].normal_(std=0.1)

    def forward(self, customer: Any, item: Any, words: Any, place: Any, age_days: Any) -> Any:
        """The product's vector, the customer's, and their product."""
        count = (words > 0).to(torch.float32).sum(dim=1, keepdim=True).clamp_min(1.0)
        # A look-up a place, since a sum over a short middle axis is slow; the embedding of no word is 0, and stays so.
        products = sum(self.word(words[:, i]) for i in range(WORDS)) / count
        own, recent = products[item], self._pooled(products[place], age_days)[customer]
        return self.drop(torch.cat([own, recent, own * recent], dim=1))

    def _pooled(self, bought: Any, age_days: Any) -> Any:
        """(b, length, width) and (b, length) to (b, width); 0 where nothing was bought."""
        there = torch.logical_not(torch.isnan(age_days))
        age = torch.log1p(torch.where(there, age_days, torch.zeros_like(age_days)).clamp(0.0, 1e6))[..., None]
        weight = self.weigh(torch.cat([bought, age, age * age / 5.0], dim=2)).squeeze(2)
        share = torch.softmax(torch.where(there, weight, torch.full_like(weight, _NONE)), dim=1)
        share = share * there.to(share.dtype)
        return torch.tanh(self.mix((share[..., None] * bought).sum(dim=1)))
