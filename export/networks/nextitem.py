"""The graph of next-item: the session network's chances, mixed with what was seen to follow."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from export.networks.session import SessionNet

#: How many products the graph names.
BEST = 20


class Seen(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Chances of products from the neighbours of each view, older views counting less, or not at all.

    Of a last view that is no known product nothing is said then.

    Args:
        products: how many there are.
        most: neighbours of each.
    """

    def __init__(self, products: int, most: int) -> None:
        super().__init__()
        self.register_buffer("who", torch.zeros(products + 1, most, dtype=torch.int32))
        self.register_buffer("share", torch.zeros(products + 1, most))
        self.register_buffer("decay", torch.zeros(()))

    def learn(self, who: Any, share: Any, decay: float) -> None:
        """Takes the tables that `transitions.neighbours` makes, and how much a view counts of the one after it."""
        self.decay.fill_(decay)
        self.who.copy_(torch.from_numpy(who))
        self.share.copy_(torch.from_numpy(share))

    def forward(self, views: Any) -> Any:
        """Chances, which add up to at most 1, float32 of shape (n, products)."""
        age = torch.arange(views.shape[1] - 1, -1, -1, dtype=torch.float32)
        weight = self.decay**age * (views > 0).to(torch.float32)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-9)
        chance = (weight[:, :, None] * self.share[views]).flatten(1)
        nothing = torch.zeros(views.shape[0], self.who.shape[0])
        return nothing.scatter_add(1, self.who[views].to(torch.int64).flatten(1), chance)[:, 1:]


class NextItem(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(1 - mix) times the network's chances and mix times what was seen; where little was seen, more of the network.

    The two err in different places: the network knows what alike products lead to, the tables what happened. The
    tables hold the very views that they would be trained on, so `mix` is chosen on later sessions, not learnt.

    Args:
        products: how many there are.
        width: of the network's vectors.
        most: neighbours of each product.
    """

    def __init__(self, products: int, width: int, most: int) -> None:
        super().__init__()
        self.network = SessionNet(products, width)
        self.seen = Seen(products, most)
        self.register_buffer("mix", torch.zeros(()))

    def chances(self, views: Any) -> Any:
        """Chances of all products, which add up to 1, float32 of shape (n, products)."""
        seen = self.mix * self.seen(views)
        return seen + (1.0 - seen.sum(dim=1, keepdim=True)) * self.network(views)

    def forward(self, views: Any) -> Any:
        """The likeliest products.

        Args:
            views: product + 1, newest last, 0 for none, int64 of shape (n, 20).

        Returns:
            Products, int64 of shape (n, 20), likeliest first (all, where there are fewer).
            Their chances, float32 of shape (n, 20).
        """
        # A number that no product has comes as no view: look-ups must not leave their tables.
        known = (views > 0) & (views < self.seen.who.shape[0])
        chances = self.chances(torch.where(known, views, torch.zeros_like(views)))
        chance, top = torch.topk(chances, min(BEST, chances.shape[1]), dim=1)
        return top, chance
