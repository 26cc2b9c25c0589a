"""Next best offer: a user tower that is a sum over the customer's recent products, an offer tower, and their product.

The log-odds are additive over the elements of the sequence, so each can be given as a reason.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from export.networks.preprocess import Standardise
from features.text import VOCABULARY, WORDS
from features.vectors.next_best_offer import FEATURES

#: Views count as this share of a purchase. Declared, not learnt: the views at hand are simulated.
VIEW_WEIGHT = 0.5
#: Half-lives of the decays whose mixture is learnt.
_HALF_LIVES_DAYS = (3.0, 14.0, 60.0, 240.0)
_MIXERS = (1, 31, 1009, 32749, 65537, 131071, 524287, 999983)
_BEST = 5
_LOST = -3.0e38


class Names(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Product names (…, 8 word ids) to vectors (…, width) and a popularity (…,).

    The mean of the words' vectors, plus a vector of the whole name (hashed into as many buckets as there are words),
    which starts from 0: a name that training has not seen is its words alone.
    """

    mixers: Any

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.whole = nn.Embedding(VOCABULARY, width)
        self.popular = nn.Embedding(VOCABULARY, 1)
        self.popular_whole = nn.Embedding(VOCABULARY, 1)
        nn.init.normal_(self.words.weight, std=0.1)
        for table in (self.whole, self.popular, self.popular_whole):
            nn.init.zeros_(table.weight)
        self.register_buffer("mixers", torch.tensor(_MIXERS[:WORDS], dtype=torch.int64))

    def key(self, words: Any) -> Any:
        """One number a name, int64 (…,), 0 for no name; equal for equal names."""
        return (words.clamp(0, VOCABULARY - 1) * self.mixers).sum(dim=-1)

    def forward(self, words: Any) -> tuple[Any, Any]:
        """Vectors and popularity."""
        words = words.clamp(0, VOCABULARY - 1)
        key = self.key(words)
        held = (words > 0).to(torch.float32)[..., None]
        count = held.sum(dim=-2).clamp_min(1.0)
        named = (key > 0).to(torch.float32)[..., None]
        bucket = key % VOCABULARY
        vector = (self.words(words) * held).sum(dim=-2) / count + self.whole(bucket) * named
        popular = (self.popular(words) * held).sum(dim=-2) / count + self.popular_whole(bucket) * named
        return vector, popular[..., 0]


class OfferNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Customers (b) and candidates (c) to the five best offers of each customer, with reasons.

    `sum(sequence_contributions) + sum(other_contributions) + baseline` is the log-odds of an offer's probability.
    """

    offer_centre: Any
    number_centre: Any
    scale: Any
    shift: Any
    rates: Any

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.inputs = Standardise(len(FEATURES))
        self.names = Names(width)
        self.price = Standardise(1)
        self.to_user = nn.Linear(width, width, bias=False)
        self.to_offer = nn.Linear(width, width, bias=False)
        self.numbers = nn.Sequential(nn.Linear(2 * len(FEATURES), 16), nn.ReLU(), nn.Linear(16, width + 1))
        self.price_effect = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        self.ages = nn.Parameter(torch.zeros(len(_HALF_LIVES_DAYS)))
        self.again = nn.Parameter(torch.full((len(_HALF_LIVES_DAYS),), 0.5))
        self.bias = nn.Parameter(torch.full((1,), -4.0))
        self.register_buffer("rates", 0.6931 / torch.tensor(_HALF_LIVES_DAYS))
        self.register_buffer("offer_centre", torch.zeros(1))
        self.register_buffer("number_centre", torch.zeros(1))
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("shift", torch.zeros(1))

    def offers(self, words: Any, price: Any) -> tuple[Any, Any]:
        """Offer vectors (c, width) and what each is worth by itself (c,)."""
        vector, popular = self.names(words)
        return self.to_offer(vector), popular + self.price_effect(self.price(price[:, None]))[:, 0]

    def weights(self, age_days: Any, viewed: Any) -> tuple[Any, Any]:
        """How much each element of the sequence counts, for likeness and for being the same product, (b, 32)."""
        gone = torch.isnan(age_days)
        age = torch.where(gone, torch.zeros_like(age_days), age_days).clamp(0.0, 3650.0)
        seen = torch.where(torch.isnan(viewed), torch.zeros_like(viewed), viewed).clamp(0.0, 1.0)
        here = torch.where(gone, torch.zeros_like(age), 1.0 - (1.0 - VIEW_WEIGHT) * seen)
        decays = torch.exp(-age[:, :, None] * self.rates)
        like = here * (decays * torch.nn.functional.softplus(self.ages)).sum(dim=2)
        same = here * (decays * torch.nn.functional.softplus(self.again)).sum(dim=2)
        return like / (1.0 + like.sum(dim=1, keepdim=True)), same

    def user(self, features: Any) -> tuple[Any, Any]:
        """The part of the customer that its numbers make: a vector (b, width) and a number (b,)."""
        out = self.numbers(self.inputs(features))
        return out[:, :-1], out[:, -1]

    def logits(
        self, features: Any, words: Any, place: Any, age_days: Any, viewed: Any, offer_words: Any, price: Any
    ) -> Any:
        """Uncalibrated log-odds (b, c), and the pieces that reasons are made of.

        `words` (p, 8) are those of the products in the sequences, `place` (b, 32) which of them each element is: a name
        is looked up once, however many customers have it.
        """
        offer, alone = self.offers(offer_words, price)
        vector = self.to_user(self.names(words)[0])[place]
        like, same = self.weights(age_days, viewed)
        mind, level = self.user(features)
        taste = (like[:, None, :] @ vector)[:, 0] + mind
        total = taste @ offer.T + alone + level[:, None] + self.bias
        keys, offer_keys = self.names.key(words)[place], self.names.key(offer_words)
        same = same * (keys > 0).to(same.dtype)
        for at in range(place.shape[1]):
            total = total + (keys[:, at, None] == offer_keys).to(total.dtype) * same[:, at, None]
        return total, (offer, alone, vector, like, same, mind, level, keys, offer_keys)

    @property
    def baseline(self) -> float:
        """Log-odds where every contribution is 0."""
        return float((self.scale * (self.bias + self.offer_centre + self.number_centre) + self.shift).detach())

    def forward(
        self,
        features: Any,
        words: Any,
        place: Any,
        age_days: Any,
        viewed: Any,
        offer_words: Any,
        offer_numbers: Any,
        eligible: Any,
    ) -> Any:
        """The graph: see `models.manifest.TASKS`."""
        logits, pieces = self.logits(features, words, place, age_days, viewed, offer_words, offer_numbers[:, 0])
        probability = torch.sigmoid(self.scale * logits + self.shift)
        margin = offer_numbers[:, 2]
        margin = torch.where(torch.isnan(margin), torch.zeros_like(margin), margin).clamp(-1e9, 1e9)
        worth = probability * margin
        open_ = eligible > 0
        _, top = torch.topk(torch.where(open_, worth, torch.full_like(worth, _LOST)), _BEST, dim=1)
        held = torch.gather(open_.to(worth.dtype), 1, top)
        chance = torch.gather(probability, 1, top) * held
        sequence, other = self._reasons(pieces, top)
        return top, chance, chance * margin[top], sequence * self.scale, other * self.scale

    def _reasons(self, pieces: Any, top: Any) -> tuple[Any, Any]:
        offer, alone, vector, like, same, mind, level, keys, offer_keys = pieces
        chosen = offer[top]
        sequence = (chosen @ vector.transpose(1, 2)) * like[:, None, :]
        match = (keys[:, None, :] == offer_keys[top][:, :, None]).to(sequence.dtype)
        number = (chosen * mind[:, None, :]).sum(dim=2) + level[:, None] - self.number_centre
        return sequence + match * same[:, None, :], torch.stack([number, alone[top] - self.offer_centre], dim=2)
