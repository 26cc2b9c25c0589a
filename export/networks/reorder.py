"""Reorder: features added up to the log-odds of the longest horizon, less positive steps; beside it, a rank.

Where a shop's log teaches enough of it, a few boosted trees correct the sum; what each feature adds in them is told
with what its weight adds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from export.networks.added import Added
from export.networks.members import Members
from export.networks.preprocess import Standardise, softplus
from export.networks.sequence import Sequence
from export.networks.trees import ToldTrees, Trees
from features.vectors.reorder import FEATURES

#: Bought again within so many days, in the order of the output's columns.
HORIZONS_DAYS = (7, 14, 30)
#: Within so many days a customer that is active orders again.
ACTIVE_DAYS = 30
#: The next date is at most so many days away.
MOST_DAYS = 365.0
#: A hazard a day below this is taken for it: what follows of it is beyond the most days.
_LEAST = 1e-3
#: Embeddings of words, and what `Sequence` makes of them.
_WORD = 8
_BESIDE = 3 * _WORD
_CUSTOMER = [i for i, name in enumerate(FEATURES) if name.startswith(("customer_", "repertoire_"))]


class Sequenced(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A network of the features, and of what the customer bought lately."""

    def __init__(self, net: nn.Module, drop: float) -> None:
        super().__init__()
        self.sequence, self.net = Sequence(_WORD, drop), net

    def forward(self, inputs: Any, *sequences: Any) -> Any:
        """See `Sequence` and the network."""
        return self.net(inputs, self.sequence(*sequences))


class Active(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """What is known of the customer (n, 2 · width), added up to the log-odds that it orders again, (n,)."""

    columns: Any

    def __init__(self) -> None:
        super().__init__()
        columns = _CUSTOMER + [i + len(FEATURES) for i in _CUSTOMER]
        self.register_buffer("columns", torch.tensor(columns))
        self.sum = nn.Linear(len(columns), 1)
        nn.init.zeros_(self.sum.weight)
        nn.init.zeros_(self.sum.bias)

    def forward(self, inputs: Any) -> Any:
        """See the class."""
        return self.sum(inputs[:, self.columns]).squeeze(1)


class ReorderNet(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The task's inputs to probability (n, 3), contributions (n, 33), rank, next_days and active (n,).

    `sum(contributions) + baseline` is the log-odds of the 30-day probability; contributions are 0 on average over the
    training rows. The rank is trained on whole baskets: of two products of a customer, the one with the higher rank is
    more likely in the next one. It is the mean of `places` and, to it, `trees`. The parts share no weights.
    """

    centre: Any

    def __init__(self) -> None:
        super().__init__()
        width = len(FEATURES)
        self.inputs = Standardise(width)
        self.chances = Added(width, len(HORIZONS_DAYS) - 1)
        self.corrections = ToldTrees(width)
        self.places = Sequenced(Members(2 * width + _BESIDE, hidden=(64, 32), members=4, drop=0.3), drop=0.3)
        self.trees = Trees()
        self.active = Active()
        self.register_buffer("centre", torch.zeros(width))

    def logits(self, longest: Any, steps: Any) -> Any:
        """Log-odds (n, 3), not decreasing from left to right, of the sums of `chances`."""
        down = softplus(steps)
        middle = longest - down[:, 1]
        return torch.stack([middle - down[:, 0], middle, longest], dim=1)

    def terms(self, features: Any, inputs: Any) -> tuple[Any, Any]:
        """What each feature adds to the log-odds of the longest horizon (n, 33), and the steps to the others."""
        terms, steps = self.chances(inputs)
        return (terms + self.corrections(features) if len(self.corrections.tree) else terms), steps

    @property
    def baseline(self) -> float:
        """Log-odds of the 30-day probability where every contribution is 0."""
        return float((self.chances.bias + self.centre.sum()).detach())

    def forward(
        self, features: Any, customer: Any, item: Any, words: Any, place: Any, age_days: Any
    ) -> tuple[Any, ...]:
        """The graph: see `models.manifest.TASKS`."""
        inputs, sequences = self.inputs(features), (customer, item, words, place, age_days)
        terms, steps = self.terms(features, inputs)
        chance = torch.sigmoid(self.logits(terms.sum(dim=1) + self.chances.bias, steps))
        rank = self.places(inputs, *sequences).mean(dim=0) + self.trees(features)
        return chance, terms - self.centre, rank, days_until(chance), torch.sigmoid(self.active(inputs))


def days_until(chance: Any) -> Any:
    """The mean days until a product is bought again, from its chances within 7, 14 and 30 days, (n, 3) to (n,).

    Between two horizons the hazard is taken to be constant, and after the last to go on; at most a year.

    >>> round(float(days_until(torch.tensor([[1 - 0.5**0.5, 0.5, 1 - 0.5 ** (30 / 14)]]))), 2)
    20.2
    """
    left = 1.0 - chance.clamp(0.0, 1.0 - 1e-6)
    left = torch.cat([torch.ones_like(left[:, :1]), left], dim=1)
    total = torch.zeros_like(chance[:, 0])
    rate = total
    for i, (begin, end) in enumerate(zip((0, *HORIZONS_DAYS[:-1]), HORIZONS_DAYS, strict=True)):
        rate = torch.log(left[:, i] / left[:, i + 1]).clamp_min(_LEAST * (end - begin)) / (end - begin)
        total = total + left[:, i] * (1.0 - torch.exp(-rate * (end - begin))) / rate
    return (total + left[:, -1] / rate).clamp_max(MOST_DAYS)
