from __future__ import annotations

import numpy as np
import torch

from export.networks.expanded import Expanded, Level

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
