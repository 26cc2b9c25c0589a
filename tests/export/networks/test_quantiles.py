from __future__ import annotations

import numpy as np
import torch

from export.networks.quantiles import LEVELS, around_median, expected_excess, quantile


def test_expected_excess_is_the_mean_of_what_is_over() -> None:
    """Against a million draws by the quantile function itself."""
    generator = torch.Generator().manual_seed(3)
    steps = torch.rand(len(LEVELS) - 1, 20, generator=generator) * 0.3
    held = around_median(torch.randn(1, 20, generator=generator) + 2, steps).clamp_min(0.0)
    levels = (torch.arange(40_000) + 0.5) / 40_000
    drawn = torch.expm1(torch.stack([quantile(held, level) for level in levels], dim=1)).double()
    for share in (0.0, 0.5, 1.0, 2.0):
        at = torch.expm1(held[LEVELS.index(0.5)]) * share
        expected = (drawn - at[:, None].double()).clamp_min(0.0).mean(dim=1).numpy()
        found = expected_excess(held, torch.log1p(at)).double().numpy()
        assert np.allclose(found, expected, rtol=0.05, atol=0.02)


def test_expected_excess_falls_with_what_is_there_and_stays_finite() -> None:
    held = torch.zeros(len(LEVELS), 3)
    held[:, 1], held[:, 2] = torch.linspace(0.0, 18.0, len(LEVELS)), 18.0
    found = torch.stack([expected_excess(held, torch.full((3,), at)) for at in (0.0, 1.0, 5.0, 17.0, 69.0)])
    assert bool(torch.isfinite(found).all())
    assert bool((found >= 0).all())
    assert bool((found[1:] <= found[:-1] + 1e-3 * found[:-1]).all())
