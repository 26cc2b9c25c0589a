"""What was bought before and what was not come true at rates of their own, and are calibrated each by its own line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.tasks.next_best_offer import _lines

ROWS = 40_000


def drawn(own_share: float) -> tuple[torch.Tensor, torch.Tensor, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    """Log-odds z; what was bought before comes true at 0.8 z + 1, the rest at 0.5 z - 1."""
    rng = np.random.default_rng(5)
    z, own = rng.normal(0.0, 1.5, ROWS), rng.random(ROWS) < own_share
    true = np.where(own, 0.8 * z + 1.0, 0.5 * z - 1.0)
    label = (rng.random(ROWS) < 1.0 / (1.0 + np.exp(-true))).astype(np.float32)
    return torch.from_numpy(z), torch.from_numpy(own.astype(np.float32)), label


def test_each_has_its_line() -> None:
    found = _lines(*drawn(0.3))
    assert found["scale"] == pytest.approx(0.5, abs=0.03)
    assert found["shift"] == pytest.approx(-1.0, abs=0.05)
    assert found["scale"] + found["own_scale"] == pytest.approx(0.8, abs=0.04)
    assert found["shift"] + found["own_shift"] == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("own_share", [0.0, 0.001, 1.0])
def test_too_few_of_one_kind_have_the_line_of_all(own_share: float) -> None:
    found = _lines(*drawn(own_share))
    assert (found["own_scale"], found["own_shift"]) == (0.0, 0.0)
    assert 0.4 < found["scale"] < 0.9
