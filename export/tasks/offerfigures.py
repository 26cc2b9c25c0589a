"""Figures of next best offer on orders: ranks among all products, chances of the popular ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.evaluations.bootstrap import beside, resamples
from export.evaluations.segments import by_customers, heaviest
from export.evaluations.weighted import calibration, means, probabilities, tops
from export.tasks.candidates import POPULAR, Candidates, candidates_of, in_parts
from models.manifest import Metric

#: Places of a list that count.
PLACES = 10
_DRAWS, _SEED = 200, 7
_MODEL, _COUNTING = "", "personal frequency"
_RANKED = (_MODEL, "popularity", _COUNTING, "the same 16 purchases")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Ranked:
    """What came of n orders.

    Args:
        gains: NDCG, Recall and PHR by who ranked, float64 of shape (n, 3) each; NaN of an order that holds no product.
        label: 1 where the order held a popular product, float32 of shape (n, p).
        share: of the shop's orders that held it, float32 of shape (n, p).
        logits: what the model says of it, float32 of shape (n, p).
    """

    gains: dict[str, NDArray[np.float64]]
    label: NDArray[np.float32]
    share: NDArray[np.float32]
    logits: NDArray[np.float32]

    @property
    def some(self) -> NDArray[np.intp]:
        """The orders that hold a product."""
        return np.flatnonzero(np.isfinite(self.gains[_MODEL][:, 0]))

    @property
    def means(self) -> dict[str, float]:
        """Of the model, over the orders that hold a product."""
        some = self.gains[_MODEL][self.some]
        return means(some, PLACES)(np.ones(len(some)))


def ranked(arrays: Arrays, rows: NDArray[np.int64], score: Callable[[Candidates], NDArray[Any]]) -> Ranked:
    """Ranks all products for some orders, part by part: all of them at once may not fit into memory.

    Args:
        arrays: as `export.datasets.next_best_offer.build` makes them.
        rows: the orders, rows of the data set.
        score: what the model says of each candidate, float32 of shape (n, c).
    """
    products = len(arrays["product_price"])
    popular = min(POPULAR, products)
    gains = {who: np.full((len(rows), 3), np.nan) for who in _RANKED}
    label, share, logits = (np.empty((len(rows), popular), np.float32) for _ in range(3))
    for at in in_parts(arrays["as_of_ms"][rows], products):
        part = candidates_of(arrays, rows[at])
        told = score(part)
        scores = (
            told,
            part.popularity,
            part.personal + 1e-6 * part.popularity,
            part.recent + 1e-6 * part.popularity,
        )
        some = np.flatnonzero(part.label.any(axis=1))
        wanted = part.label[some].sum(axis=1).astype(np.int64)
        for who, each in zip(_RANKED, scores, strict=True):
            gains[who][at[some]] = tops(part.label[some], each[some], wanted, PLACES)
        for held, column in ((label, part.label), (share, part.share), (logits, told)):
            held[at] = column[:, :popular]
    return Ranked(gains, label, share, logits)


def offer_figures(found: Ranked, chance: NDArray[Any], customer: NDArray[Any], orders: NDArray[Any]) -> list[Metric]:
    """Ranking beside popularity and two ways of counting; chances beside the share of orders that held a product.

    Args:
        found: of the orders.
        chance: P(the order holds it) of each popular product, (n, p).
        customer: of each order, (n,).
        orders: that the customer had before, (n,).

    Returns:
        Metrics with intervals that resample customers; calibration by segment as well. Offers are made for products
        that sell: chances are measured on the popular ones.
    """
    owner = np.unique(customer, return_inverse=True)[1].astype(np.int64)
    drawn = resamples(int(owner.max()) + 1, _DRAWS, _SEED)
    some, popular = found.some, found.label.shape[1]
    gains = {who: means(each[some], PLACES) for who, each in found.gains.items()}
    metrics = beside(gains, owner[some], drawn, "{}", less=_COUNTING)
    label, share, told = found.label.ravel(), found.share.ravel(), chance.ravel()
    whose, known = np.repeat(owner, popular), np.repeat(orders, popular)
    metrics += beside({"": probabilities(label, told), "popularity": probabilities(label, share)}, whose, drawn, "{}")
    for name, at in by_customers(known, whose, heaviest(owner)).items():
        metrics += beside({"": calibration(label[at], told[at])}, whose[at], drawn, f"{{}}, {name}")
    return metrics
