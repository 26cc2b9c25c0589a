"""Raw features to what layers see: standardised values, flags of what is unknown, categories one by one; and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from export.networks.preprocess import Standardise


class Expanded(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Features (n, width) to (n, `size`).

    Args:
        width: how many features.
        flagged: which of them get a flag where they are NaN; all where None. A NaN without a flag counts as the mean.
        kinds: how many categories each of the first features has, which are told apart, not measured.
    """

    back: Any
    flags: Any

    def __init__(self, width: int, flagged: Sequence[int] | None, kinds: Sequence[int]) -> None:
        super().__init__()
        flags = list(range(width) if flagged is None else flagged)
        self.width, self.kinds = width, tuple(kinds)
        self.size = width + len(flags) + sum(kinds)
        self.inputs = Standardise(width)
        self.register_buffer("flags", torch.tensor(flags, dtype=torch.int64), persistent=False)
        origin = flags + [at for at, many in enumerate(kinds) for _ in range(many)]
        self.register_buffer("back", nn.functional.one_hot(torch.tensor(origin), width).float(), persistent=False)

    def learn(self, features: NDArray[Any]) -> None:
        """Takes mean and deviation of the features from training rows."""
        self.inputs.learn(features)

    def forward(self, features: Any) -> Any:
        """What the layers see."""
        values, unknown = self.inputs.parts(features)
        if len(self.flags) < self.width:
            unknown = torch.index_select(unknown, 1, self.flags)
        told = [features[:, at : at + 1] == torch.arange(many) for at, many in enumerate(self.kinds)]
        return torch.cat([values, unknown, *(each.to(features.dtype) for each in told)], dim=1)

    def of_features(self, parts: Any) -> Any:
        """Contributions of what the layers see, (n, size), each given to the feature that it was made of."""
        return parts[:, : self.width] + parts[:, self.width :] @ self.back


def unknown_rows(features: Any) -> Any:
    """1 where nothing is known of a row, else 0, (n, 1)."""
    return torch.isnan(features).to(features.dtype).amin(dim=1, keepdim=True)
