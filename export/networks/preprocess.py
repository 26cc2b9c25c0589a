"""Raw numbers to network inputs, inside the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

_LIMIT = 1e30
_CLIP = 4.0
#: Times this, and cut to ±1, a number is its own sign. onnxruntime's own Sign takes four times as long as both.
_STEEP = 1e38


def signed_log(x: Any) -> Any:
    """sign(x) · log(1 + |x|), so that counts, money and days share a scale; NaN stays NaN."""
    x = x.clamp(-_LIMIT, _LIMIT)
    return (x * _STEEP).clamp(-1.0, 1.0) * torch.log1p(torch.abs(x))


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), of operators that onnxruntime has fast kernels for.

    >>> softplus(torch.tensor([-100.0, 0.0, 100.0])).double().numpy().round(4).tolist()
    [0.0, 0.6931, 100.0]
    """
    return torch.relu(x) + torch.log1p(torch.exp(-torch.abs(x)))


def chance(x: Any) -> Any:
    """1 / (1 + exp(-x)), right for small chances as well.

    The sigmoid of onnxruntime 1.32 is 0.6% off at 4e-6, 5% at 6e-7, and 0 below 2e-8: of a shop with many products most
    offers have such a chance, and offers are ranked by it.

    >>> chance(torch.tensor([-200.0, -16.0, 0.0, 200.0])).double().numpy().round(12).tolist()
    [0.0, 1.12535e-07, 0.5, 1.0]
    """
    return 1.0 / (1.0 + torch.exp(-x))


class Standardise(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Signed logarithm, standardised by the training rows, clipped; NaN becomes 0 with an indicator.

    A feature that never changed in training is switched off: nothing was learnt about it.

    Args:
        width: how many features.

    Returns of a call: float32 (…, 2 · width), values then indicators of NaN.
    """

    mean: Any
    scale: Any

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def learn(self, features: NDArray[Any]) -> None:
        """Takes mean and deviation from training rows, (n, width)."""
        logged = np.sign(features) * np.log1p(np.abs(features.astype(np.float64)))
        known = np.isfinite(logged)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, logged, 0.0).sum(axis=0) / count
        deviation = np.sqrt((np.where(known, logged - mean, 0.0) ** 2).sum(axis=0) / count)
        scale = np.where(deviation > 1e-4, 1.0 / np.maximum(deviation, 1e-4), 0.0)
        self.mean.copy_(torch.tensor(mean, dtype=torch.float32))
        self.scale.copy_(torch.tensor(scale, dtype=torch.float32))

    def forward(self, features: Any) -> Any:
        """Raw features (…, width) to inputs (…, 2 · width)."""
        return torch.cat(self.parts(features), dim=-1)

    def parts(self, features: Any) -> tuple[Any, Any]:
        """Values and indicators of NaN, (…, width) each."""
        unknown = torch.isnan(features)
        z = ((signed_log(features) - self.mean) * self.scale).clamp(-_CLIP, _CLIP)
        return torch.where(unknown, 0.0, z), unknown.to(z.dtype)
