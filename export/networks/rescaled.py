"""A network of rectified layers that says exactly how much each input moved its outputs.

Every layer passes on what came from where: a linear one by its weights, a rectifier by the slope of the chord between
its value at the row and at a reference row. The contributions so found add up to output minus output at the reference,
and cost as much again as the outputs.

Source: A. Shrikumar et al., "Learning important features through propagating activation differences" (ICML 2017), the
rescale rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

#: Below this change a chord is taken for the tangent between its ends: what is left of the difference of two values
#: would be rounding. Of functions made of straight pieces nothing is lost before that.
NEAR, NEAR_OF_PIECES = 1e-2, 1e-5
#: So that no change is nothing to divide by; too small to be seen in any other.
_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class Moves:
    """How far a row's values are from those of the reference row, layer by layer.

    Args:
        given: what each layer gives before its rectifier, (n, width) each; the last has none.
        rectified: after it, of all layers but the last.
    """

    given: list[Any]
    rectified: list[Any]


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
        return self._passes(inputs)[-1]

    def _passes(self, inputs: Any) -> list[Any]:
        """What each layer gives before its rectifier."""
        found: list[Any] = []
        for layer in self.layers:
            if found:
                inputs = torch.relu(found[-1])
                if self.dropout and self.training:
                    inputs = F.dropout(inputs, self.dropout)
            found.append(layer(inputs))
        return found

    def reference(self) -> Any:
        """The outputs of the reference row, (1, widths[-1])."""
        return self._at_reference()[-1]

    def _at_reference(self) -> list[Any]:
        return self._passes(torch.zeros(1, self.layers[0].in_features))

    def moves(self, inputs: Any) -> Moves:
        """What inputs (n, widths[0]) move; the outputs are `reference() + moves(inputs).given[-1]`.

        Told of changes, a layer has no bias to add, and a chord of the rectifier is one division.
        """
        given, rectified = [F.linear(inputs, self.layers[0].weight)], list[Any]()
        for at, layer in zip(self._at_reference(), self.layers[1:], strict=False):
            rectified.append(moved(given[-1], at))
            given.append(F.linear(rectified[-1], layer.weight))
        return Moves(given, rectified)

    def slopes(self, moves: Moves, slope: Any) -> Any:
        """How much of each input moved a score that is a sum of functions of the outputs.

        Args:
            moves: of the inputs.
            slope: of the score's chord along each output, from the reference to the row, (n, widths[-1]).

        Returns:
            (n, widths[0]); times the inputs it sums to `(slope * moves.given[-1]).sum(1)`.
        """
        for number in range(len(self.layers) - 1, 0, -1):
            slope = slope @ self.layers[number].weight
            slope = slope * (moves.rectified[number - 1] / (moves.given[number - 1] + _TINY))
        return slope @ self.layers[0].weight


def moved(change: Any, reference: Any) -> Any:
    """relu(reference + change) - relu(reference), exactly 0 where both are below 0, in two passes over the change.

    Args:
        change: (n, width).
        reference: (1, width), the same for all rows: what hangs on it alone costs nothing.

    >>> moved(torch.tensor([[-4.0, 2.0, 1.0]]), torch.tensor([[2.0, 1.0, -3.0]])).tolist()
    [[-2.0, 2.0, 0.0]]
    """
    return torch.maximum(change, -reference) + reference.clamp_max(0.0)


def chord(function: Any, reference: Any, change: Any, tangent: Any, near: float = NEAR_OF_PIECES) -> Any:
    """(f(reference + change) - f(reference)) / change, for f whose slope is between 0 and 1.

    Args:
        function: f.
        reference, change: of shapes that fit.
        tangent: the slope of f.
        near: below this change the tangent between both stands for the chord.

    >>> chord(torch.relu, torch.tensor([-2.0, 1.0, 1.0]), torch.tensor([4.0, 2.0, 0.0]), torch.sign).tolist()
    [0.5, 1.0, 1.0]
    """
    close = change.abs() < near
    slope = (function(reference + change) - function(reference)) / torch.where(close, 1.0, change)
    return torch.where(close, tangent(reference + change / 2.0), slope.clamp(0.0, 1.0))
