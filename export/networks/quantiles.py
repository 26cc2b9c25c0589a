"""A quantile function given at a few levels, and what one wants from it; all in log1p of units.

The levels are along the first axis: what is done to each of them is then done to one long row, which onnxruntime is
fast at. Between levels it is linear; beyond the last it has an exponential tail (a power law in units), whose slope is
that between the last levels. Everything is monotone.
"""

from __future__ import annotations

import math
from typing import Any

import torch

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.94, 0.97, 0.985, 0.995)
MEDIAN = LEVELS.index(0.5)
PUBLISHED = (LEVELS.index(0.1), MEDIAN, LEVELS.index(0.9))

_TAIL_FROM = -3
_TAIL_LOG = math.log((1 - LEVELS[_TAIL_FROM]) / (1 - LEVELS[-1]))
_SMALL = 1e-6
_NEAR = 0.25
_STEEPEST = 0.8


def around_median(median: Any, steps: Any, below: int = MEDIAN, along: int = 0) -> Any:
    """Quantiles that do not cross: cumulated positive steps up and down from the median.

    Args:
        median: 1 along that axis.
        steps: levels - 1 along it, positive; the first ones go down, nearest to the median first.
        below: how many go down.
        along: the axis of levels.

    Returns:
        Levels along it, not decreasing.
    """
    down, up = steps.split([below, steps.shape[along] - below], dim=along)
    down, up = torch.cumsum(down, dim=along).flip(along), torch.cumsum(up, dim=along)
    return torch.cat([median - down, median, median + up], dim=along)


def _tail(quantiles: Any) -> Any:
    return ((quantiles[-1] - quantiles[_TAIL_FROM]) / _TAIL_LOG).clamp_min(0.02)


def shifted_levels(shift: Any) -> Any:
    """What `LEVELS` become where `shift` is added to the log-odds of being above each quantile.

    Args:
        shift: a tensor of one value; 0 changes nothing, below it less demand is told of.

    Returns:
        (levels,), rising.
    """
    levels = torch.tensor(LEVELS)
    return levels / (levels + (1 - levels) * torch.exp(shift))


def exceedance(quantiles: Any, at: Any, levels: Any = None) -> Any:
    """P(demand > at), where quantiles (levels, n) and at (n,) are at least 0, in log1p of units; `LEVELS` if none."""
    levels = torch.tensor(LEVELS) if levels is None else levels
    width = quantiles[1:] - quantiles[:-1]
    inside = ((at - quantiles[:-1]) / width.clamp_min(_SMALL)).clamp(0, 1)
    below = (at / quantiles[0].clamp_min(_SMALL)).clamp(0, 1) * levels[0]
    within = (levels[1:] - levels[:-1]) @ inside
    beyond = (at - quantiles[-1]).clamp_min(0) / _tail(quantiles)
    over = (1 - levels[-1]) * (1 - torch.exp(-beyond))
    return (1 - below - within - over).clamp(0, 1)


def quantile(quantiles: Any, level: Any) -> Any:
    """The quantile at `level` (a tensor of one value in [0, 1)), (n,) in log1p of units."""
    levels = torch.tensor(LEVELS)
    inside = ((level - levels[:-1]) / (levels[1:] - levels[:-1])).clamp(0, 1)
    first = quantiles[0] * (level / LEVELS[0]).clamp(0, 1)
    within = inside @ (quantiles[1:] - quantiles[:-1])
    beyond = torch.log((1 - LEVELS[-1]) / (1 - level)).clamp_min(0)
    return first + within + beyond * _tail(quantiles)


def _over(step: Any) -> Any:
    """How much the mean of exp between 0 and a step is above 1: exp(step) / step - 1 / step - 1.

    A series where the step is small: there nothing would be left of exp(step) - 1 - step, which onnxruntime has no
    operator for.

    >>> _over(torch.tensor([0.0, 1e-6, 0.1, 2.0])).double().numpy().round(7).tolist()
    [0.0, 5e-07, 0.0517092, 2.1945281]
    """
    series = step * (1 / 2 + step * (1 / 6 + step * (1 / 24 + step * (1 / 120 + step / 720))))
    far = step.clamp_min(_NEAR)
    return torch.where(step < _NEAR, series, (torch.exp(far) - 1.0) / far - 1.0)


def expected_excess(quantiles: Any, at: Any, levels: Any = None) -> Any:
    """E[(demand - at)+] in units; arguments as those of `exceedance`.

    The integral of the quantile function above `at`, piece by piece; the tail is taken to be no heavier than that its
    mean is finite.
    """
    levels = torch.tensor(LEVELS) if levels is None else levels
    levels = torch.cat([torch.zeros_like(levels[:1]), levels])
    low = torch.cat([torch.zeros_like(quantiles[:1]), quantiles[:-1]])
    a, b = torch.maximum(low, at), torch.maximum(quantiles, at)
    # Of what is between two levels, the part above `at`: all of it, however near the two quantiles are, where both are.
    above = torch.where(low >= at, torch.ones_like(low), (b - a) / (quantiles - low).clamp_min(_SMALL))
    mean = torch.exp(a) * _over(b - a) + (torch.exp(a) - torch.exp(at))
    within = (levels[1:] - levels[:-1]) @ (above * mean).clamp_min(0.0)
    slope, from_ = _tail(quantiles).clamp_max(_STEEPEST), torch.maximum(quantiles[-1], at)
    left = (1 - levels[-1]) * torch.exp(-(from_ - quantiles[-1]) / slope)
    beyond = left * (torch.exp(from_) / (1 - slope) - torch.exp(at))
    return (within + beyond).clamp_min(0.0)
