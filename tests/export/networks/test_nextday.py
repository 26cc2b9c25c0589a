from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
import torch

from export.networks.nextday import LEVELS, NextDayNet, apart, censored_pinball, flagged

ROWS, WIDTH = 400, 8


def features(seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rng = np.random.default_rng(seed)
    x = rng.lognormal(0.0, 1.0, (ROWS, WIDTH)).astype(np.float32)
    x[:, 0] = rng.integers(0, 7, ROWS)
    x[::9, 3] = np.nan
    return x


def network(seed: int = 0, moved: float = 0.0) -> NextDayNet:
    """By so many levels, up or down, trees move what the network says."""
    torch.manual_seed(seed)
    made = NextDayNet(WIDTH, hidden=(16, 8))
    made.learn(features())
    if moved:
        made.trees.learn(booster(moved), 1.0)
    return made.eval()  # type: ignore[no-any-return]


def booster(moved: float) -> Any:
    """Says `moved` where the fifth feature is above 1, else the contrary."""
    x = np.concatenate([features(seed) for seed in range(20)])
    how = {"objective": "l2", "num_leaves": 4, "verbose": -1, "num_threads": 1, "learning_rate": 0.5}
    return lgb.train(how, lgb.Dataset(x, np.where(x[:, 4] > 1.0, moved, -moved)), 12)


@pytest.mark.parametrize("moved", [0.0, 1e-7, 0.1, 3.0])
def test_quantiles_do_not_cross_and_contributions_add_up(moved: float) -> None:
    net, x = network(moved=moved), features(1)
    x[:3] = 1e30
    with torch.no_grad():
        units, parts = (found.double().numpy() for found in net(torch.from_numpy(x)))
    assert (np.diff(units, axis=1) >= 0).all()
    assert (units >= 0).all()
    assert np.abs(parts.sum(axis=1) + net.baseline - np.log(units[:, 1])).max() < 1e-3


def test_trees_move_every_quantile_by_as_many_levels_but_not_below_a_share_of_it() -> None:
    x = torch.from_numpy(features(2))
    with torch.no_grad():
        plain, moved = network()(x), network(moved=0.1)(x)
        level = torch.exp(network().level(x))[:, None]
        by = network(moved=0.1).trees(x).sum(dim=1, keepdim=True)
    np.testing.assert_allclose(moved[0], torch.maximum(plain[0] + by * level, 0.1 * plain[0]), rtol=1e-4, atol=1e-6)
    assert float(by.abs().min()) > 0.03
    cause = (moved[1] - plain[1]).numpy()
    assert (np.sign(cause[:, 4]) == np.sign(by[:, 0].numpy())).mean() > 0.99
    assert np.abs(cause[:, 4]).mean() > 10 * np.abs(np.delete(cause, 4, axis=1)).mean(axis=0).max()


@pytest.mark.parametrize("moved", [0.0, 0.1])
def test_nothing_known_is_nothing_told(moved: float) -> None:
    x = features()
    x[5] = np.nan
    with torch.no_grad():
        units, parts = (found.numpy() for found in network(moved=moved)(torch.from_numpy(x)))
    assert np.isnan(units[5]).all()
    assert (parts[5] == 0).all()
    assert np.isfinite(np.delete(units, 5, axis=0)).all()


def test_a_day_that_ran_out_costs_from_below_only() -> None:
    sold, short = torch.tensor([4.0]), torch.zeros(1)
    low, high, higher = (torch.full((1, len(LEVELS)), units) for units in (2.0, 5.0, 50.0))
    assert float(censored_pinball(low, sold, short, 1.0)) > 0
    assert float(censored_pinball(high, sold, short, 1.0)) == float(censored_pinball(higher, sold, short, 1.0)) == 0
    whole = torch.ones(1)
    assert float(censored_pinball(higher, sold, whole, 1.0)) > float(censored_pinball(high, sold, whole, 1.0)) > 0


def test_days_that_ran_out_may_weigh_more_above_the_median() -> None:
    sold, short, middle = torch.tensor([4.0]), torch.zeros(1), LEVELS.index(0.5)
    told = torch.full((1, len(LEVELS)), 2.0, requires_grad=True)
    pulls = []
    for above in (None, 0.3):
        pulls += torch.autograd.grad(censored_pinball(told, sold, short, 0.1, above), told)
    assert torch.equal(pulls[0][:, : middle + 1], pulls[1][:, : middle + 1])
    assert torch.allclose(pulls[1][:, middle + 1 :], 3 * pulls[0][:, middle + 1 :])


def test_rows_count_as_much_as_they_are_worth() -> None:
    sold, whole = torch.tensor([4.0, 9.0]), torch.ones(2)
    told, other = torch.full((2, len(LEVELS)), 2.0), torch.full((2, len(LEVELS)), 3.0)
    losses: list[Callable[[Any], Any]] = [
        lambda worth: censored_pinball(told, sold, whole, 0.1, None, worth),
        lambda worth: apart(told, other, worth),
    ]
    for loss in losses:
        first, second = (float(loss(torch.tensor(worth))) for worth in ([1.0, 0.0], [0.0, 1.0]))
        assert first > 0
        assert float(loss(None)) == pytest.approx(first + second)
        assert float(loss(torch.tensor([3.0, 1.0]))) == pytest.approx(3 * first + second)
    assert float(apart(told, told)) == 0.0


def test_censored_days_lift_what_plain_sales_would_say() -> None:
    """Demand is Poisson(6), the shelf holds 4 to 9: sales alone say too little, with censoring it is nearly 6."""
    rng = np.random.default_rng(2)
    demand, shelf = rng.poisson(6.0, 4000), rng.integers(4, 10, 4000)
    sold = torch.from_numpy(np.minimum(demand, shelf).astype(np.float32))
    short = torch.from_numpy((demand < shelf).astype(np.float32))
    medians = []
    for whole in (torch.ones(4000), short):
        level = torch.nn.Parameter(torch.full((len(LEVELS),), 3.0))
        optimiser = torch.optim.Adam([level], lr=0.05)
        for _ in range(300):
            optimiser.zero_grad()
            censored_pinball(level.expand(4000, -1), sold, whole, 1.0).backward()
            optimiser.step()
        medians.append(float(level[LEVELS.index(0.5)].detach()))
    assert medians[0] < medians[1]


def test_columns_that_may_be_unknown_are_found() -> None:
    assert flagged(features()) == [3]
