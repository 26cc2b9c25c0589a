"""A network of rectified layers that says exactly how much each input moved its outputs.

Every layer passes on what came from where: a linear one by its weights, a rectifier by the slope of the chord between
its value at the row and at a reference row. The contributions so found add up to output minus output at the reference,
and cost as much again as the outputs.

Source: A. Shrikumar et al., "Learning important features through propagating activation differences" (ICML 2017), the
rescale rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

#: Below this difference a chord is taken for the tangent between its ends: what is left of the difference of two values
#: would be rounding. Of functions made of straight pieces nothing is lost before that.
NEAR, NEAR_OF_PIECES = 1e-2, 1e-5
#: So that a reference of 0 is nothing to divide by.
_TINY = 1e-7


class Rescaled(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Linear layers with rectifiers between.

    Args:
        widths: of the inputs, of each hidden layer, and of the outputs.

    The reference row is all zeros: standardised inputs at their mean. `dropout` is the share of each hidden layer that
    is left out while training.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.dropout = 0.0
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, inputs: Any) -> Any:
        """Inputs (n, widths[0]) to outputs (n, widths[-1])."""
        return self.passes(inputs)[-1]

    def passes(self, inputs: Any) -> list[Any]:
        """What each layer gives before its rectifier; the last has none."""
        found: list[Any] = []
        for layer in self.layers:
            if found:
                inputs = torch.relu(found[-1])
                if self.dropout and self.training:
                    inputs = F.dropout(inputs, self.dropout)
            found.append(layer(inputs))
        return found

    def slopes(self, passes: Sequence[Any], slope: Any) -> Any:
        """How much of each input moved a score that is a sum of functions of the outputs.

        Args:
            passes: of the inputs.
            slope: of the score's chord along each output, from the reference to the row, (n, widths[-1]).

        Returns:
            (n, widths[0]); times the inputs it sums to `(slope * (outputs - reference outputs)).sum(1)`.
        """
        at_reference = self.passes(torch.zeros(1, self.layers[0].in_features))
        for number in range(len(self.layers) - 1, 0, -1):
            slope = slope @ self.layers[number].weight
            slope = slope * rectified(passes[number - 1], at_reference[number - 1])
        return slope @ self.layers[0].weight


def chord(function: Any, x: Any, reference: Any, tangent: Any, near: float = NEAR_OF_PIECES) -> Any:
    """(f(x) - f(reference)) / (x - reference), for f whose slope is between 0 and 1.

    Args:
        function: f.
        x, reference: of shapes that fit.
        tangent: the slope of f.
        near: below this difference the tangent between both stands for the chord.

    >>> chord(torch.relu, torch.tensor([2.0, 3.0, 1.0]), torch.tensor([-2.0, 1.0, 1.0]), torch.sign).tolist()
    [0.5, 1.0, 1.0]
    """
    change = x - reference
    close = change.abs() < near
    slope = (function(x) - function(reference)) / torch.where(close, torch.ones_like(change), change)
    return torch.where(close, tangent((x + reference) / 2.0), slope.clamp(0.0, 1.0))


def rectified(x: Any, reference: Any) -> Any:
    """The chord of a rectifier, in few passes over x: it hangs on how far x is on the other side of 0 alone.

    Args:
        x: (n, width).
        reference: (1, width), the same for all rows: what hangs on it alone costs nothing.

    >>> rectified(torch.tensor([[2.0, 3.0, -1.0]]), torch.tensor([[-2.0, 1.0, 1.0]])).numpy().round(4).tolist()
    [[0.5, 1.0, 0.5]]
    """
    above = reference > 0
    side, size = torch.where(above, -1.0, 1.0), reference.abs() + _TINY
    return torch.where(above, 0.0, 1.0) - side * size / (torch.relu(side * x) + size)
