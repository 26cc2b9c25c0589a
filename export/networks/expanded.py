"""Raw features to what layers see: standardised values, flags of what is unknown, categories one by one; and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from export.networks.preprocess import Standardise

#: A level is taken to be this at most, in units.
_MOST = 1e6


@dataclass(frozen=True, slots=True)
class Level:
    """What units are measured by: they are divided by a level, so that small and large items share a scale.

    Args:
        column: of the level; unknown counts as 0.
        units: columns that are divided by it.
        little: added to it.
    """

    column: int
    units: tuple[int, ...]
    little: float


class Expanded(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Features (n, width) to (n, `size`).

    Args:
        width: how many features.
        flagged: which of them get a flag where they are NaN; all where None. A NaN without a flag counts as the mean.
        kinds: how many categories each of the first features has, which are told apart, not measured.
        level: what features in units are measured by, if anything.
    """

    back: Any
    flagged: Any
    in_units: Any

    def __init__(
        self, width: int, flagged: Sequence[int] | None, kinds: Sequence[int], level: Level | None = None
    ) -> None:
        super().__init__()
        flags = list(range(width) if flagged is None else flagged)
        self.width, self.kinds = width, tuple(kinds)
        self.size = width + len(flags) + sum(kinds)
        self.inputs, self.level = Standardise(width), level
        in_units = torch.zeros(width)
        in_units[list(level.units if level else ())] = 1.0
        self.register_buffer("in_units", in_units, persistent=False)
        self.register_buffer("flagged", torch.eye(width)[:, flags], persistent=False)
        origin = flags + [at for at, many in enumerate(kinds) for _ in range(many)]
        self.register_buffer("back", nn.functional.one_hot(torch.tensor(origin), width).float(), persistent=False)

    def learn(self, features: NDArray[Any]) -> None:
        """Takes mean and deviation of the features from training rows."""
        self.inputs.learn(self._measured(torch.from_numpy(features)).numpy())

    def _measured(self, features: Any) -> Any:
        """Features with those in units divided by the level."""
        if self.level is None:
            return features
        level = features[:, self.level.column]
        level = torch.where(torch.isnan(level), 0.0, level).clamp(0.0, _MOST)
        by = 1.0 / (level + self.level.little)
        return features * torch.addmm(1.0 - self.in_units, by[:, None], self.in_units[None])

    def forward(self, features: Any) -> Any:
        """What the layers see."""
        return self.told(features)[0]

    def told(self, features: Any) -> tuple[Any, Any]:
        """What the layers see, and 1 where anything is known of a row, else 0, (n,)."""
        values, unknown = self.inputs.parts(self._measured(features))
        flags = unknown @ self.flagged if self.flagged.shape[1] < self.width else unknown
        kinds = [features[:, at : at + 1] == torch.arange(many) for at, many in enumerate(self.kinds)]
        told = torch.cat([values, flags, *(each.to(features.dtype) for each in kinds)], dim=1)
        return told, 1.0 - unknown.amin(dim=1)

    def of_features(self, slope: Any, told: Any, at: int, more: Any) -> Any:
        """What each feature contributes.

        Args:
            slope: of each that the layers see, (n, size).
            told: what they see, (n, size).
            at: a feature that contributes more than it is seen to.
            more: by how much, (n,).

        Returns:
            (n, width); sums to `(slope * told).sum(1) + more`.
        """
        parts = slope * told
        others = torch.cat([parts[:, self.width :], more[:, None]], dim=1)
        to = nn.functional.one_hot(torch.tensor([at]), self.width).to(self.back.dtype)
        return torch.addmm(parts[:, : self.width], others, torch.cat([self.back, to]))


def unless(known: Any) -> Any:
    """What makes NaN of outputs that it is added to where nothing is known of a row, (n,): 0 over 0."""
    return 0.0 / known
