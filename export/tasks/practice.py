"""A ranking network of campaigns that practises first: on campaigns' lists shown to random households on random days.

Real campaigns have few lists with a success. What a household buys of a list within days can be asked on any day, so
there is no end of lists to practise on; then the network is tuned on the real ones.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.datasets.campaignrows import FEATURES, Rows
from export.datasets.campaigns import Campaign, Purchases
from export.fit import Recipe, seeded, train
from export.networks.members import Members
from export.networks.preprocess import Standardise
from export.tasks.fed import Plain
from export.tasks.lists import Lists
from features.aggregations.base import DAY_MS

#: Products of a list that training looks at: so many that the household knows, and so many others.
KNOWN, OTHERS = 120, 40
_FIRST_DAYS = 28
_SMALLEST = 150
_MOST_DRAWS = 50
_PRACTICE = Recipe(epochs=4, batch=32, rate=4e-3, decay=0.05)
_TUNING = Recipe(epochs=2, batch=32, rate=8e-4, decay=0.05)


class CampaignNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Rows of a list to a score each, of several members."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = Standardise(len(FEATURES))
        self.places = Members(2 * len(FEATURES), hidden=(32, 16), members=4, drop=0.15)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """The members' mean score of each row, float64 of shape (n,)."""
        with torch.no_grad():
            parts = [self.places(self.inputs(part)).mean(dim=0) for part in torch.from_numpy(features).split(65_536)]
        return np.asarray(torch.cat(parts).numpy(), np.float64)


def practice_lists(
    campaigns: list[Campaign], purchases: Purchases, apart_ms: NDArray[np.int64], lists: int, seed: int
) -> list[tuple[Campaign, int, int]]:
    """Random households on random days with a campaign's list, of which they then bought something.

    Args:
        campaigns: whose lists are shown; small ones are left out.
        purchases: of all households.
        apart_ms: times from which every day is at least five days away, so that no label here is one there.
        lists: how many, at most.
        seed: of the draws.
    """
    large = [campaign for campaign in campaigns if len(campaign.product) >= _SMALLEST] or campaigns
    first = int(purchases.time_ms.min()) // DAY_MS + _FIRST_DAYS
    last = int(purchases.time_ms.max()) // DAY_MS - 5
    rng = np.random.default_rng(seed)
    found: list[tuple[Campaign, int, int]] = []
    for _ in range(_MOST_DRAWS * lists):
        campaign = large[int(rng.integers(len(large)))]
        customer, at_ms = int(rng.integers(len(purchases.customers))), int(rng.integers(first, max(last, first + 1)))
        at_ms *= DAY_MS
        if (np.abs(apart_ms - at_ms) >= 5 * DAY_MS).all() and len(purchases.taken(campaign, customer, at_ms)):
            found.append((campaign, customer, at_ms))
        if len(found) == lists:
            break
    return found


def practised(rows: Rows, seed: int) -> CampaignNet:
    """A network that has seen practice only."""
    seeded(seed)
    network = CampaignNet()
    network.inputs.learn(rows.features)
    _fit(network, rows, np.ones(len(rows.wanted), np.bool_), _PRACTICE, seed)
    return network


def tuned(network: CampaignNet, rows: Rows, which: NDArray[np.bool_], seed: int) -> CampaignNet:
    """A copy of the network, trained on some real lists, bool of shape (l,)."""
    seeded(seed + 1)
    changed = copy.deepcopy(network)
    _fit(changed, rows, which, _TUNING, seed + 1)
    return changed


def thinned(rows: Rows, which: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """Rows to train on, by list: drawn without a look at the labels, of lists that keep a success and a failure.

    Args:
        rows: all lists.
        which: the lists to take, bool of shape (l,).
        seed: of the draw.
    """
    of = rows.list_of
    known = rows.column("own_baskets") > 0
    chance = np.random.default_rng(seed).random(len(of))
    order = np.lexsort((chance, known, of))
    run = 2 * of[order] + known[order]
    place = np.empty(len(of), np.int64)
    place[order] = np.arange(len(of)) - np.searchsorted(run, run)
    keep = which[of] & (place < np.where(known, KNOWN, OTHERS))
    count = np.bincount(of[keep], minlength=len(rows.wanted))
    share = np.bincount(of[keep], weights=rows.label[keep], minlength=len(rows.wanted)) / np.maximum(count, 1)
    return np.flatnonzero(keep & ((share > 0) & (share < 1))[of])


def _fit(network: CampaignNet, rows: Rows, which: NDArray[np.bool_], recipe: Recipe, seed: int) -> None:
    at = thinned(rows, which, seed)
    if not len(at):
        return
    with torch.no_grad():
        inputs: Any = network.inputs(torch.from_numpy(rows.features[at]))
    starts = np.flatnonzero(np.r_[True, np.diff(rows.list_of[at]) != 0, True])
    lists = Lists(Plain(inputs), torch.from_numpy(rows.label[at]), starts, torch.ones(len(starts) - 1), at)
    train(network.places, lambda i: lists.loss(network.places, i), len(lists), recipe)
