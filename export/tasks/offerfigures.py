"""Figures of next best offer on orders of the test period: ranks among all products, chances of the popular ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.evaluations.bootstrap import Figures, beside, resamples
from export.evaluations.segments import by_customers, heaviest
from export.evaluations.weighted import calibration, means, probabilities, rankings
from export.tasks.candidates import Candidates
from models.manifest import Metric

#: Places of a list that count.
PLACES = 10
_DRAWS, _SEED = 200, 7
_COUNTING = "personal frequency"


def offer_figures(
    test: Candidates, score: NDArray[Any], chance: NDArray[Any], customer: NDArray[Any], orders: NDArray[Any]
) -> list[Metric]:
    """Ranking beside popularity and two ways of counting; chances beside the share of orders that held a product.

    Args:
        test: candidates of each order, (n, c).
        score: what they are ranked by, (n, c).
        chance: P(the order holds it), (n, c).
        customer: of each order, (n,).
        orders: that the customer had before, (n,).

    Returns:
        Metrics with intervals that resample customers; calibration by segment as well. Offers are made for products
        that sell: chances are measured on the popular ones.
    """
    owner = np.unique(customer, return_inverse=True)[1].astype(np.int64)
    drawn = resamples(int(owner.max()) + 1, _DRAWS, _SEED)
    ranked = {
        "": score,
        "popularity": test.popularity,
        _COUNTING: test.personal + 1e-6 * test.popularity,
        "the same 16 purchases": test.recent + 1e-6 * test.popularity,
    }
    some = np.flatnonzero(test.label.any(axis=1))
    gains = {who: _gains(test, each, some) for who, each in ranked.items()}
    found = beside(gains, owner[some], drawn, "{}", less=_COUNTING)
    popular = slice(0, test.popular)
    label, share = test.label[:, popular].ravel(), test.share[:, popular].ravel()
    told, whose, known = chance[:, popular].ravel(), np.repeat(owner, test.popular), np.repeat(orders, test.popular)
    found += beside({"": probabilities(label, told), "popularity": probabilities(label, share)}, whose, drawn, "{}")
    for name, at in by_customers(known, whose, heaviest(owner)).items():
        found += beside({"": calibration(label[at], told[at])}, whose[at], drawn, f"{{}}, {name}")
    return found


def _gains(test: Candidates, score: NDArray[Any], some: NDArray[np.intp]) -> Figures:
    """Of the lists that hold what was bought."""
    label = test.label[some]
    group = np.repeat(np.arange(len(some)), label.shape[1])
    wanted = label.sum(axis=1).astype(np.int64)
    return means(rankings(group, label.ravel(), np.asarray(score)[some].ravel(), wanted, PLACES)[1], PLACES)
