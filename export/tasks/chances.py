"""Chances: what the probabilities of reorder are learnt from."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from export.networks.reorder import ACTIVE_DAYS, HORIZONS_DAYS
from export.tasks.base import Arrays, Tell
from export.tasks.corrected import corrected_odds
from features.aggregations.base import DAY_MS
from features.vectors.reorder import FEATURES

_HORIZON_WEIGHTS = (0.2, 0.2, 0.6)
#: A row that is so many days older weighs half: rates rise and fall with the season.
HALF_LIFE_DAYS = 60.0
#: Of the search for the best weights, at most; and what the square of a weight costs.
_STEPS, _SMALL = 60, 1e-4
_PRODUCTS = list(FEATURES).index("repertoire_products")


class Known:
    """Rows with what was known of their labels at a time: a horizon that reaches past it weighs nothing.

    So the weeks before a test help with the shorter horizons, and none of their labels is from the test.

    Args:
        arrays: as `export.datasets.reorder.build` makes them.
        rows: which, bool of shape (n,).
        until_ms: the time.
        inputs: makes network inputs of features.
        recent: whether later rows weigh more.
    """

    def __init__(
        self,
        arrays: Arrays,
        rows: NDArray[np.bool_],
        until_ms: int,
        inputs: Any,
        recent: bool = True,
    ) -> None:
        at = np.flatnonzero(rows)
        as_of, group = arrays["as_of_ms"][at][:, None], arrays["group"][at]
        self.features = arrays["features"][at]
        with torch.no_grad():
            self.inputs = inputs(torch.from_numpy(self.features))
        self.y = labels(arrays, at)
        weight = (as_of + np.array(HORIZONS_DAYS) * DAY_MS <= until_ms) * np.array(_HORIZON_WEIGHTS)
        if recent:
            weight = weight * recency(as_of, until_ms)
        weight = weight * _stands_for(arrays, at, group)[:, None]
        self.weight = torch.from_numpy(weight.astype(np.float32))

    def added(self, network: Any) -> Any:
        """Log-odds (n, 3) by the sums alone, without what corrects them."""
        return network.logits(*network.chances.sums(self.inputs))

    def loss(self, network: Any) -> Any:
        """Weighed mean loss of all rows by the sums alone, a scalar tensor."""
        return mean_loss(self.added(network), self.y, self.weight)

    def whole(self, network: Any) -> Any:
        """That with what corrects the sums."""
        by = network.corrections(torch.from_numpy(self.features)).sum(dim=1, keepdim=True)
        return mean_loss(self.added(network) + by, self.y, self.weight)


def learn(network: Any, known: Known, tell: Tell) -> None:
    """Fits the sums, in place."""
    chances = network.chances
    weights = [chances.weights, chances.other.weight]
    _best(chances, lambda: known.loss(network), weights, lambda text, share: tell(f"chances: {text}", share))


def correct(network: Any, known: Known, seed: int) -> None:
    """Fits trees to where the sums are wrong, in place."""
    with torch.no_grad():
        odds = known.added(network).numpy()
    trees = corrected_odds(known.features, known.y.numpy(), odds, known.weight.numpy(), seed)
    network.corrections.learn(trees, 1.0)


def _best(module: Any, loss: Callable[[], Any], weights: list[Any], tell: Tell) -> None:
    """Fits a logistic regression: it has one best answer, which is found by all rows at once; in place.

    Source: J. Nocedal, "Updating quasi-Newton matrices with limited storage" (1980).

    Args:
        module: what is fitted; ends in eval mode.
        loss: of all rows, a scalar tensor.
        weights: of it, whose squares cost something.
        tell: hears the loss, and the share done at most.
    """
    optimiser = torch.optim.LBFGS(module.parameters(), max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe")
    asked = itertools.count(1)

    def closure() -> Any:
        optimiser.zero_grad()
        value = loss() + _SMALL * sum((weight**2).sum() for weight in weights)
        value.backward()
        tell(f"loss {float(value.detach()):.5f}", min(next(asked) / _STEPS, 1.0))
        return value

    optimiser.step(closure)
    module.eval()


def _stands_for(arrays: Arrays, at: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """The root of how many products of its customer each row stands for: those of wide tables are thinned.

    The root, so that the few customers with thousands of products are not all that is learnt from.
    """
    kept = np.bincount(group)[group]
    products = arrays["features"][at, _PRODUCTS]
    return np.asarray(np.where(arrays["wide"][at], np.sqrt(np.maximum(products / kept, 1.0)), 1.0))


def labels(arrays: Arrays, rows: NDArray[Any]) -> Any:
    """Whether each row's product was bought again within each horizon, float32 tensor of shape (n, 3)."""
    days = arrays["next_days"][rows]
    return torch.from_numpy(np.stack([days <= horizon for horizon in HORIZONS_DAYS], axis=1).astype(np.float32))


def recency(as_of_ms: NDArray[np.int64], until_ms: int, half_life_days: float = HALF_LIFE_DAYS) -> NDArray[np.float64]:
    """The weight of rows by their age, 1 for one of `until_ms`.

    >>> recency(np.array([0, 60 * DAY_MS]), 60 * DAY_MS).tolist()
    [0.5, 1.0]
    """
    return np.asarray(np.exp2((as_of_ms - until_ms) / DAY_MS / half_life_days))


def mean_loss(logits: Any, y: Any, weight: Any) -> Any:
    """Binary cross-entropy by weight."""
    loss = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    return (loss * weight).sum() / weight.sum().clamp_min(1e-6)


class Orders:
    """Customers at moments, and whether they ordered again: a row a moment, where it was known at a time."""

    def __init__(self, arrays: Arrays, rows: NDArray[np.bool_], until_ms: int, inputs: Any) -> None:
        known = rows & (arrays["as_of_ms"] + ACTIVE_DAYS * DAY_MS <= until_ms)
        at = np.flatnonzero(known)
        self.at = at[np.unique(arrays["group"][at], return_index=True)[1]]
        self.y = torch.from_numpy((arrays["order_days"][self.at] <= ACTIVE_DAYS).astype(np.float32))
        self.weight = torch.from_numpy(recency(arrays["as_of_ms"][self.at], until_ms).astype(np.float32))
        with torch.no_grad():
            self.inputs = inputs(torch.from_numpy(arrays["features"][self.at]))

    def learn(self, active: Any, tell: Tell) -> None:
        """Fits whether a customer orders again, in place; nothing where there are no rows."""
        if len(self.y):
            _best(
                active,
                lambda: mean_loss(active(self.inputs), self.y, self.weight),
                [active.sum.weight],
                lambda text, share: tell(f"customers: {text}", share),
            )
