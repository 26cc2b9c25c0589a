"""Hazard: how likely an item that is in stock runs out in each of the next four opening hours, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from export.datasets.hazard import HOURS_AHEAD
from export.networks.expanded import Expanded, Level, unless
from export.networks.preprocess import softplus
from export.networks.rescaled import NEAR, Rescaled, chord

#: Hours and weekdays are told apart, not measured.
_HOURS, _WEEKDAYS = 24, 7
_RARE = -3.4


class HazardNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Features (n, width) of which the first two are the opening hour and the weekday, to hazards and reasons.

    The score that is explained is the cumulative hazard `-log(1 - P(out within 4 h))`: it is a sum over hours, so
    contributions add up to it exactly, less `baseline`, its value at a row of mean features with the shop open. What
    closing time takes off is a contribution of the hour. A row of which nothing is known has NaN for hazards, and
    contributions of 0.

    Args:
        width: how many features.
        a_day: opening hours a day; later hours of the day carry no risk.
        hidden: units of each hidden layer.
        flagged: the features of which it matters that they are unknown; all where None.
        level: what features in units are measured by.
    """

    def __init__(
        self,
        width: int,
        a_day: int = 16,
        hidden: tuple[int, ...] = (128, 64),
        flagged: Sequence[int] | None = None,
        level: Level | None = None,
    ) -> None:
        super().__init__()
        self.a_day = a_day
        self.expanded = Expanded(width, flagged, (_HOURS, _WEEKDAYS), level)
        self.net = Rescaled((self.expanded.size, *hidden, HOURS_AHEAD))
        with torch.no_grad():
            self.net.layers[-1].bias.fill_(_RARE)

    def learn(self, features: NDArray[Any]) -> None:
        """Takes mean and deviation of the features from training rows."""
        self.expanded.learn(features)

    def open(self, features: Any) -> Any:
        """1 where the shop is still open so many hours later, (4, n); an unknown hour counts as open."""
        later = features[:, 0] + torch.arange(1, HOURS_AHEAD + 1)[:, None]
        return 1.0 - (later >= self.a_day).to(features.dtype)

    def logits(self, features: Any) -> Any:
        """Hazards as log-odds (n, 4), for training."""
        return self.net(self.expanded(features))

    @property
    def baseline(self) -> float:
        """The cumulative hazard where every contribution is 0."""
        with torch.no_grad():
            return float(F.softplus(self.net.reference()).sum())

    def forward(self, features: Any) -> tuple[Any, Any]:
        """Hazards (n, 4), 0 after closing time, and contributions (n, width)."""
        x, known = self.expanded.told(features)
        moves = self.net.moves(x)
        # hour by hour: what is told apart in each row takes onnxruntime as long as a row of two hundred
        change, reference, open_ = moves.given[-1].T, self.net.reference().T, self.open(features)
        slope = known * open_ * chord(softplus, reference, change, torch.sigmoid, NEAR)
        closed = known * (softplus(reference).T @ (open_ - 1.0))[0]
        parts = self.expanded.of_features(self.net.slopes(moves, slope.T), x, 0, closed)
        return (torch.sigmoid(reference + change) * open_ + unless(known)).T, parts


def likelihood(logits: Any, out: Any, open_: Any, told: Any = None) -> Any:
    """Mean negative log-likelihood an hour at risk: an item that has run out, or a shop that has closed, is at none.

    Args:
        logits: (n, 4).
        out: 1 where the item is out of stock so many hours later, (n, 4).
        open_: 1 where the shop is still open then, (n, 4).
        told: hazards that others tell, (n, 4), to learn from in place of what happened.
    """
    before = torch.cat([torch.zeros_like(out[:, :1]), out[:, :-1]], dim=1).cumsum(dim=1)
    at_risk = open_ * (before == 0).to(out.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, out if told is None else told, reduction="none")
    return (loss * at_risk).sum() / at_risk.sum().clamp_min(1.0)
