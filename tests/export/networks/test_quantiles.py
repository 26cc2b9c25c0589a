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


def exact(quantiles: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """The same without a tail, by 20,000 parts of each piece, in float64."""
    inside = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    low = torch.cat([torch.zeros_like(quantiles[:1]), quantiles[:-1]]).double()
    told = low[..., None] + (quantiles.double() - low)[..., None] * inside
    mean = (torch.exp(told) - torch.exp(at.double())[:, None]).clamp_min(0.0).mean(dim=2)
    weight = torch.diff(torch.tensor([0.0, *LEVELS], dtype=torch.float64))
    return weight @ mean


def test_quantiles_that_nearly_coincide_keep_their_share() -> None:
    """Items that sell now and then have many quantiles at one place: steps of 1e-9 to 1e-4, some of them of nothing."""
    generator = torch.Generator().manual_seed(5)
    steps = 10.0 ** (-9.0 + 5.0 * torch.rand(len(LEVELS) - 1, 200, generator=generator))
    steps[:, ::3] *= (torch.rand(len(LEVELS) - 1, 67, generator=generator) < 0.5).float()
    steps[-4:] += torch.rand(4, 200, generator=generator)
    held = around_median(torch.rand(1, 200, generator=generator) * 2, steps).clamp_min(0.0)
    at = held[3] * torch.rand(200, generator=generator).round()
    tail = expected_excess(held, held[-1])  # what is beyond the last, where nothing else is
    beyond = tail + (1.0 - LEVELS[-1]) * (torch.exp(held[-1]) - torch.exp(at))
    found = expected_excess(held, at) - beyond
    np.testing.assert_allclose(found.numpy(), exact(held, at).numpy(), rtol=1e-5, atol=2e-6)
