from __future__ import annotations

import numpy as np
import pytest
import torch

from export.networks.expanded import Expanded, Level, unless
from export.networks.preprocess import signed_log

UNITS = (2, 3)


def features(rows: int = 200) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rng = np.random.default_rng(4)
    found = rng.lognormal(0.0, 1.0, (rows, 5)).astype(np.float32)
    found[:, 0] = rng.integers(0, 7, rows)
    return found


def expanded(level: Level | None) -> Expanded:
    made = Expanded(5, [3], (7,), level)
    made.learn(features())
    return made


def test_units_are_measured_by_the_level() -> None:
    net, small = expanded(Level(1, UNITS, 0.0)), features()
    large = small.copy()
    large[:, [1, *UNITS]] *= 100.0
    told = [net(torch.from_numpy(x)).numpy() for x in (small, large)]
    same = [*UNITS, 0, 4, 5]
    np.testing.assert_allclose(told[0][:, same], told[1][:, same], rtol=1e-4, atol=1e-5)
    assert (np.abs(told[0][:, 1] - told[1][:, 1]) > 0.5).mean() > 0.9
    plain = expanded(None)
    assert bool(((plain(torch.from_numpy(small)) - plain(torch.from_numpy(large))).abs()[:, 2] > 0.5).any())


def test_whatever_the_level_is_there_is_something_to_see() -> None:
    net, x = expanded(Level(1, UNITS, 0.1)), features(6)
    x[:, 1] = [np.nan, 0.0, -5.0, np.inf, -np.inf, 1e38]
    x[1, 3] = np.nan
    told = net(torch.from_numpy(x)).numpy()
    assert np.isfinite(told).all()
    assert told[:, 5].tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]  # the flag of column 3


def test_what_is_seen_of_a_feature_is_what_it_contributes() -> None:
    """Its value, its flag and its categories; and what it moves beside what is seen."""
    net, x = expanded(Level(1, UNITS, 0.1)), features(4)
    x[1, 3] = np.nan
    told, known = net.told(torch.from_numpy(x))
    slope, more = torch.arange(1.0, 1.0 + told.shape[1]).expand(4, -1), torch.tensor([5.0, 0.0, -1.0, 2.0])
    parts = net.of_features(slope, told, 2, more)
    expected = (slope * told)[:, :5].clone()
    expected[:, 0] += (slope * told)[:, 6:].sum(dim=1)  # its categories
    expected[:, 3] += (slope * told)[:, 5]  # its flag
    expected[:, 2] += more
    torch.testing.assert_close(parts, expected)
    assert known.tolist() == [1.0] * 4


def test_a_row_is_known_as_soon_as_one_feature_is() -> None:
    x = np.full((2, 5), np.nan, np.float32)
    x[1, 4] = 3.0
    told, known = expanded(Level(1, UNITS, 0.1)).told(torch.from_numpy(x))
    assert known.tolist() == [0.0, 1.0]
    assert bool(torch.isfinite(told).all())
    assert np.isnan(unless(known).numpy()).tolist() == [True, False]


@pytest.mark.parametrize("tiny", [0.0, -0.0, 1e-37, -1e-37, 1e-3, -1e-3, 7.0, -7.0, np.inf, -np.inf])
def test_a_signed_logarithm_has_the_sign_of_what_it_is_of(tiny: float) -> None:
    found = float(signed_log(torch.tensor([tiny], dtype=torch.float32)))
    assert found == pytest.approx(np.sign(tiny) * np.log1p(min(abs(tiny), 1e30)), rel=1e-6, abs=1e-30)
