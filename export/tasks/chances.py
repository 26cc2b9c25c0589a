"""Chances: what the probabilities of reorder are learnt from, and how they are calibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from export.networks.reorder import ACTIVE_DAYS, HORIZONS_DAYS
from export.tasks.base import Arrays
from export.tasks.fed import Plain, rows_of
from export.tasks.level import shift_of
from features.aggregations.base import DAY_MS
from features.vectors.reorder import FEATURES

_HORIZON_WEIGHTS = (0.2, 0.2, 0.6)
#: A row that is so many days older weighs half: rates rise and fall with the season.
HALF_LIFE_DAYS = 60.0
_PRODUCTS = list(FEATURES).index("repertoire_products")


class Known:
    """Rows with what was known of their labels at a time: a horizon that reaches past it weighs nothing.

    So the weeks before a test help with the shorter horizons, and none of their labels is from the test. What is learnt
    from at once are the rows of some moments of customers.

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
        at = at[np.argsort(arrays["group"][at], kind="stable")]
        as_of, group = arrays["as_of_ms"][at][:, None], arrays["group"][at]
        with torch.no_grad():
            self.fed = Plain(inputs(torch.from_numpy(arrays["features"][at])))
        self.y = labels(arrays, at)
        self._starts = np.flatnonzero(np.r_[True, np.diff(group) != 0, True])
        weight = (as_of + np.array(HORIZONS_DAYS) * DAY_MS <= until_ms) * np.array(_HORIZON_WEIGHTS)
        if recent:
            weight = weight * recency(as_of, until_ms)
        weight = weight * _stands_for(arrays, at, group)[:, None]
        self.weight = torch.from_numpy(weight.astype(np.float32))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def loss(self, network: Any, at: NDArray[np.int64]) -> Any:
        """Weighed mean loss of the rows of some moments, a scalar tensor."""
        rows, _ = rows_of(self._starts, at)
        logits = network.logits(*network.raw(*self.fed.at(rows)))
        return mean_loss(logits, self.y[rows], self.weight[rows])

    def whole(self, network: Any) -> float:
        """Weighed mean loss of all rows."""
        longest, steps = raw(network, self)
        return float(mean_loss(network.logits(longest, steps), self.y, self.weight))


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


def raw(network: Any, known: Known) -> tuple[Any, Any]:
    """What the network says of all rows before calibration."""
    with torch.no_grad():
        found = [network.raw(*given) for _, given in known.fed.parts()]
    return torch.cat([longest for longest, _ in found]), torch.cat([steps for _, steps in found])


def calibrate(network: Any, known: Known) -> None:
    """Platt scaling of the longest horizon, and a factor for each step to a shorter one; in place.

    Source: J. Platt, "Probabilistic outputs for support vector machines" (1999).
    """
    longest, steps = raw(network, known)
    free = torch.tensor([1.0, 0.0, 1.0, 1.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([free], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        last = free[0] * longest + free[1]
        middle = last - free[3].clamp_min(0.1) * steps[:, 1]
        logits = torch.stack([middle - free[2].clamp_min(0.1) * steps[:, 0], middle, last], dim=1)
        value = mean_loss(logits, known.y, known.weight)
        value.backward()
        return value

    optimiser.step(closure)
    fitted = free.detach()
    network.scale.copy_(fitted[:1])
    network.shift.copy_(fitted[1:2])
    network.steps.copy_(fitted[2:].clamp_min(0.1))


def level(network: Any, known: Known) -> None:
    """Shifts the longest horizon so that on some rows its mean probability is their rate; in place.

    A slope that was found on rows a network has not seen is right for one that was fitted later on. Its level is not:
    rates move with the season, and the later one knows newer ones.
    """
    longest, _ = raw(network, known)
    network.shift.fill_(
        shift_of((network.scale * longest).numpy(), known.y[:, -1].numpy(), known.weight[:, -1].numpy())
    )


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

    def loss(self, active: Any, rows: Any) -> Any:
        """Weighed mean loss of some moments, a scalar tensor."""
        return mean_loss(active(self.inputs[rows]), self.y[rows], self.weight[rows])
