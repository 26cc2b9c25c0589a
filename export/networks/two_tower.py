"""Next best offer: a user tower that is a sum over the customer's recent products, an offer tower, their product, and
a personal term where the customer bought the offer's very product before.

The log-odds are additive over the elements of the sequence, so each can be given as a reason.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from export.networks.personal import Personal, matched, matched_sparsely, matched_top
from export.networks.preprocess import Standardise, chance
from features.text import VOCABULARY, WORDS
from features.vectors.joined import FEATURES as SOLD
from features.vectors.next_best_offer import FEATURES

#: Views count as this share of a purchase. Declared, not learnt: the views at hand are simulated.
VIEW_WEIGHT = 0.5
#: Half-lives of the decays whose mixture is learnt.
_HALF_LIVES_DAYS = (3.0, 14.0, 60.0, 240.0)
#: Places of names for their popularity: many, since a rare product that shares one with a popular one looks popular.
_POPULAR = 65_536
_MIXERS = (1, 31, 1009, 32749, 65537, 131071, 524287, 999983)
_BEST = 5
_SOLD_HIDDEN = 16
#: Log-odds of an offer before anything is learnt.
START = -4.0
#: Share of a customer's vector that a training step does not see: a year of orders is soon learnt by heart.
_DROPOUT = 0.3
_LOST = -3.0e38


class Customers(NamedTuple):
    """Inputs of customers, as in `models.manifest.TASKS`: `words` are those of the products in the sequences, `place`
    says which of them each element is. A name is looked up once, however many customers have it."""

    features: Any
    words: Any
    place: Any
    age_days: Any
    viewed: Any
    own_product: Any
    own: Any


class Offers(NamedTuple):
    """Inputs of candidates: int64 (c, 8), float32 (c,), float32 (c, 6) and int64 (c,)."""

    words: Any
    price: Any
    sold: Any
    product: Any


class Alone(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """What an offer is worth by itself: from what the shop sells of its product now, and its price.

    Where the shop says nothing of the product, its popularity in training counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sold = Standardise(len(SOLD))
        self.price = Standardise(1)
        self.net = nn.Sequential(nn.Linear(2 * len(SOLD) + 3, _SOLD_HIDDEN), nn.ReLU(), nn.Linear(_SOLD_HIDDEN, 2))

    def forward(self, offers: Offers, popular: Any) -> Any:
        """For who never bought the product and for who did, (c, 2); `popular` is what was counted in training, (c,)."""
        values, unknown = self.sold.parts(offers.sold)
        counted = popular[:, None] * unknown[:, :1]
        return self.net(torch.cat([values, unknown, self.price(offers.price[:, None]), counted], dim=1))


class Names(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Product names (…, 8 word ids) to vectors (…, width) and a popularity (…,).

    The mean of the words' vectors, plus a vector of the whole name (hashed into as many buckets as there are words),
    which starts from 0: a name that training has not seen is its words alone. Popularity is counted, not learnt.
    """

    mixers: Any
    popular: Any

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.whole = nn.Embedding(VOCABULARY, width)
        nn.init.normal_(self.words.weight, std=0.1)
        nn.init.zeros_(self.whole.weight)
        self.register_buffer("popular", torch.zeros(_POPULAR))
        self.register_buffer("mixers", torch.tensor(_MIXERS[:WORDS], dtype=torch.int64))

    def key(self, words: Any) -> Any:
        """One number a name, int64 (…,), 0 for no name; equal for equal names."""
        return (words.clamp(0, VOCABULARY - 1) * self.mixers).sum(dim=-1)

    def know(self, words: Any, popularity: Any) -> None:
        """Takes popularities that were counted: of names (p, 8), log-odds (p,); of one place the largest."""
        self.popular.fill_(float(popularity.min()))
        self.popular.scatter_reduce_(0, self.key(words) % _POPULAR, popularity, "amax")

    def forward(self, words: Any) -> tuple[Any, Any]:
        """Vectors and popularity."""
        words = words.clamp(0, VOCABULARY - 1)
        key = self.key(words)
        held = (words > 0).to(torch.float32)[..., None]
        count = held.sum(dim=-2).clamp_min(1.0)
        named = (key > 0).to(torch.float32)[..., None]
        bucket = key % VOCABULARY
        vector = (self.words(words) * held).sum(dim=-2) / count + self.whole(bucket) * named
        return vector, self.popular[key % _POPULAR] * named[..., 0]


class Pieces(NamedTuple):
    """What log-odds are made of.

    Args:
        offer, alone: vectors of the offers (c, width), and what each is worth by itself (c, 2), see `Alone`.
        vector, like: of the elements (b, 32, …): vector, and weight of likeness.
        mind, level: what the customer's numbers make: a vector (b, width) and a number (b,).
        own: the personal terms, (b, 32).
    """

    offer: Any
    alone: Any
    vector: Any
    like: Any
    mind: Any
    level: Any
    own: Any


class OfferNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Customers (b) and candidates (c) to the five best offers of each customer, with reasons.

    `sum(sequence_contributions) + sum(other_contributions) + baseline` is the log-odds of an offer's probability.
    """

    offer_centre: Any
    number_centre: Any
    rates: Any

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.inputs = Standardise(len(FEATURES))
        self.names = Names(width)
        self.personal = Personal()
        self.alone = Alone()
        self.to_user = nn.Linear(width, width, bias=False)
        self.to_offer = nn.Linear(width, width, bias=False)
        self.numbers = nn.Sequential(nn.Linear(2 * len(FEATURES), 16), nn.ReLU(), nn.Linear(16, width + 1))
        self.dropout = nn.Dropout(_DROPOUT)
        self.ages = nn.Parameter(torch.zeros(len(_HALF_LIVES_DAYS)))
        self.bias = nn.Parameter(torch.full((1,), START))
        self.register_buffer("rates", 0.6931 / torch.tensor(_HALF_LIVES_DAYS))
        self.register_buffer("offer_centre", torch.zeros(1))
        self.register_buffer("number_centre", torch.zeros(1))

    def offers(self, offers: Offers) -> tuple[Any, Any]:
        """Offer vectors (c, width) and what each is worth by itself, as `Alone` tells it (c, 2)."""
        vector, popular = self.names(offers.words)
        return self.to_offer(vector), self.alone(offers, popular)

    def weights(self, age_days: Any, viewed: Any) -> Any:
        """How much each element of the sequence counts for likeness, (b, 32)."""
        gone = torch.isnan(age_days)
        age = torch.where(gone, torch.zeros_like(age_days), age_days).clamp(0.0, 3650.0)
        seen = torch.where(torch.isnan(viewed), torch.zeros_like(viewed), viewed).clamp(0.0, 1.0)
        here = torch.where(gone, torch.zeros_like(age), 1.0 - (1.0 - VIEW_WEIGHT) * seen)
        decays = torch.exp(-age[:, :, None] * self.rates)
        like = here * (decays * torch.nn.functional.softplus(self.ages)).sum(dim=2)
        return like / (1.0 + like.sum(dim=1, keepdim=True))

    def user(self, features: Any) -> tuple[Any, Any]:
        """The part of the customer that its standardised numbers make: a vector (b, width) and a number (b,)."""
        out = self.numbers(features)
        return out[:, :-1], out[:, -1]

    def logits(self, customers: Customers, offers: Offers) -> tuple[Any, Any, Pieces]:
        """Log-odds (b, c); 1 where the customer bought the offer's product before, else 0, (b, c); and the pieces that
        reasons are made of."""
        offer, alone = self.offers(offers)
        vector = self.to_user(self.names(customers.words)[0])[customers.place]
        like = self.weights(customers.age_days, customers.viewed)
        numbers = self.inputs(customers.features)
        mind, level = self.user(numbers)
        own = self.personal(customers.own_product, customers.own, numbers)
        taste = self.dropout((like[:, None, :] @ vector)[:, 0] + mind)
        match = matched_sparsely if self.training else matched
        # Offers of no product, 0, are not what was bought.
        mine, bought = match(customers.own_product, offers.product, own)
        bought = bought * (offers.product != 0).to(bought.dtype)
        by_itself = alone[:, 0] + bought * (alone[:, 1] - alone[:, 0])
        total = self.personal.gate(bought) * (taste @ offer.T) + by_itself + level[:, None] + self.bias + mine
        return total, bought, Pieces(offer, alone, vector, like, mind, level, own)

    @property
    def baseline(self) -> float:
        """Log-odds where every contribution is 0, of a product that was not bought before."""
        return float((self.bias + self.offer_centre + self.number_centre).detach())

    def forward(
        self,
        features: Any,
        words: Any,
        place: Any,
        age_days: Any,
        viewed: Any,
        own_product: Any,
        own: Any,
        offer_words: Any,
        offer_numbers: Any,
        offer_sold: Any,
        offer_product: Any,
        eligible: Any,
    ) -> Any:
        """The graph: see `models.manifest.TASKS`."""
        customers = Customers(features, words, place, age_days, viewed, own_product, own)
        offers = Offers(offer_words, offer_numbers[:, 0], offer_sold, offer_product)
        logits, _, pieces = self.logits(customers, offers)
        probability = chance(logits)
        margin = offer_numbers[:, 2]
        margin = torch.where(torch.isnan(margin), torch.zeros_like(margin), margin).clamp(-1e9, 1e9)
        worth = probability * margin
        open_ = eligible > 0
        _, top = torch.topk(torch.where(open_, worth, torch.full_like(worth, _LOST)), _BEST, dim=1)
        told = torch.gather(probability, 1, top) * torch.gather(open_.to(worth.dtype), 1, top)
        held = (own_product != 0).to(worth.dtype)
        sequence, other = self._reasons(pieces, top, matched_top(own_product, offer_product[top], held))
        return top, told, told * margin[top], sequence, other

    def _reasons(self, pieces: Pieces, top: Any, same: Any) -> tuple[Any, Any]:
        """Of the sequence, and of all else; `same` says which of the own products each offer is, (b, 5, 32)."""
        chosen, mine = pieces.offer[top], (same * pieces.own[:, None, :]).sum(dim=2)
        bought = same.sum(dim=2).clamp_max(1.0)
        like_gate = self.personal.gate(bought)
        sequence = (chosen @ pieces.vector.transpose(1, 2)) * pieces.like[:, None, :] * like_gate[:, :, None]
        number = like_gate * (chosen * pieces.mind[:, None, :]).sum(dim=2) + pieces.level[:, None] - self.number_centre
        of_top = pieces.alone[top]
        alone = of_top[..., 0] + bought * (of_top[..., 1] - of_top[..., 0]) - self.offer_centre
        return sequence, torch.stack([number, alone, mine], dim=2)
