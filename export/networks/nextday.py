"""Next day: quantiles of an item's demand on the day after, and why.

Trained on sales. A day on which it ran out says only that demand was at least what was sold, so the loss of such a day
counts from below: a quantile that is too low costs, one that is higher does not.

A network says most of it. A few boosted trees move all its quantiles by the same units: what it misses is of another
kind than what more of it would learn (docs/research/stockout.md).

Source: J. L. Powell, "Censored regression quantiles" (Journal of Econometrics, 1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from export.networks.expanded import Expanded, Level, unless
from export.networks.preprocess import softplus
from export.networks.quantiles import around_median
from export.networks.rescaled import Rescaled, chord
from export.networks.trees import ToldTrees

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
MEDIAN = LEVELS.index(0.5)
PUBLISHED = (LEVELS.index(0.1), MEDIAN, LEVELS.index(0.9))
#: The median and what is published count more.
_WEIGHT = (0.5, 0.5, 0.7, 2.0, 0.7, 2.0, 0.5, 0.5)
LITTLE = 0.05
_MOST_UNITS = 1e6
_LOW, _HIGH = -8.0, 5.0
_NARROW = -1.0
#: Trees leave of each quantile at least this share. Where they move it by less than `_STILL` of the level, the slope
#: there stands for that of the chord.
_LEAST, _STILL = 0.1, 1e-5


class NextDayNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Features (n, width) of which the first two are the weekday and the usual level, to quantiles and reasons.

    Demand is told as a multiple of the level. Contributions add up to the logarithm of the median less `baseline`:
    those of the network by the rescale rule, those of the trees as `ToldTrees` tells them, times how far what they sum
    to moves that logarithm. A row of which nothing is known has NaN for quantiles, and contributions of 0.

    Args:
        width: how many features.
        hidden: units of each hidden layer.
        flagged: the features of which it matters that they are unknown; all where None.
        units: the features that are told in units.
    """

    usual: Any

    def __init__(
        self,
        width: int,
        hidden: tuple[int, ...] = (64, 48),
        flagged: Sequence[int] | None = None,
        units: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.expanded = Expanded(width, flagged, (7,), Level(1, tuple(units), LITTLE))
        self.net = Rescaled((self.expanded.size, *hidden, len(LEVELS)))
        self.trees = ToldTrees(width)
        self.register_buffer("usual", torch.zeros(1))
        with torch.no_grad():
            self.net.layers[-1].bias.fill_(_NARROW)
            self.net.layers[-1].bias[0] = 0.0  # the median begins at the level

    def learn(self, features: NDArray[Any]) -> None:
        """Takes mean and deviation of the features from training rows."""
        self.expanded.learn(features)
        with torch.no_grad():
            self.usual.copy_(torch.tensor([float(self.level(torch.from_numpy(features)).mean())]))

    def level(self, features: Any) -> Any:
        """The logarithm of the level (n,); an unknown one counts as none."""
        level = features[:, 1]
        return torch.log(torch.where(torch.isnan(level), 0.0, level).clamp(0.0, _MOST_UNITS) + LITTLE)

    def quantiles(self, expanded: Any, level: Any) -> Any:
        """Units at `LEVELS` (n, levels), of the network alone, for training."""
        return torch.exp(_told(self.net(expanded), 1) + level[:, None])

    @property
    def baseline(self) -> float:
        """The logarithm of the median where every contribution is 0."""
        with torch.no_grad():
            return float(self.usual + self.net.reference()[0, 0].clamp(_LOW, _HIGH))

    def forward(self, features: Any) -> tuple[Any, Any]:
        """Quantiles 0.1, 0.5 and 0.9 of units (n, 3), and contributions (n, width)."""
        (x, known), level = self.expanded.told(features), self.level(features)
        moves, reference = self.net.moves(x), self.net.reference().T
        # level by level: what is told apart in each row takes onnxruntime as long as a row of two hundred
        outputs = reference + moves.given[-1].T
        told, adds = torch.exp(_told(outputs, 0)[list(PUBLISHED)]), self.trees(features)
        added = adds.sum(dim=1)
        units = torch.maximum(told + added, _LEAST * told) * torch.exp(level)
        slope = chord(lambda v: v.clamp(_LOW, _HIGH), reference[0], moves.given[-1][:, 0], _inside)
        only_median = F.one_hot(torch.tensor([0]), len(LEVELS)).to(slope.dtype)
        slopes = self.net.slopes(moves, (known * slope)[:, None] * only_median)
        parts = self.expanded.of_features(slopes, x, 1, known * (level - self.usual))
        steepness = known * _steepness(told[1], added)
        return (units + unless(known)).T, parts + adds * steepness[:, None]


def _told(outputs: Any, along: int) -> Any:
    """Logarithms of multiples of the level, at `LEVELS` along an axis, of what the network gives along it."""
    median, steps = outputs.split([1, len(LEVELS) - 1], dim=along)
    return around_median(median, softplus(steps), MEDIAN, along).clamp(_LOW, _HIGH)


def _steepness(median: Any, added: Any) -> Any:
    """How much of the logarithm of a median each unit of what is added to it is worth, (n,)."""
    still = added.abs() < _STILL
    change = torch.log((1.0 + added / median).clamp_min(_LEAST))
    return torch.where(still, 1.0 / median, change / torch.where(still, 1.0, added))


def _inside(x: Any) -> Any:
    """The slope of the median's limits."""
    return ((x > _LOW) & (x < _HIGH)).to(x.dtype)


def censored_pinball(
    quantiles: Any, sold: Any, whole: Any, weight: float, above: float | None = None, worth: Any = None
) -> Any:
    """Mean loss over `LEVELS`.

    Args:
        quantiles: (n, levels), in units.
        sold: units (n,).
        whole: 1 where the item was in stock all day: sales are demand; 0 where demand was at least that.
        weight: of the latter.
        above: that for the quantiles above the median, if it is another.
        worth: what each row counts (n,); all the same where None.
    """
    levels = torch.tensor(LEVELS)
    over = sold[:, None] - quantiles
    known = torch.maximum(levels * over, (levels - 1.0) * over)
    weights = torch.where(levels > 0.5, weight if above is None else above, weight)
    below = weights * levels * over.clamp_min(0.0)
    return _weighed(torch.where(whole[:, None] > 0, known, below), worth)


def apart(quantiles: Any, told: Any, worth: Any = None) -> Any:
    """Mean distance of quantiles (n, levels) from those that others tell, in units; `worth` as above."""
    return _weighed((quantiles - told).abs(), worth)


def _weighed(loss: Any, worth: Any) -> Any:
    loss = (loss * torch.tensor(_WEIGHT)).mean(dim=1)
    return (loss if worth is None else loss * worth).mean()


def flagged(features: NDArray[Any], least: float = 1e-4) -> list[int]:
    """The columns in which at least that share of the rows is NaN.

    >>> flagged(np.array([[1.0, np.nan], [2.0, 3.0]]))
    [1]
    """
    return np.flatnonzero(np.isnan(features).mean(axis=0) > least).tolist()
