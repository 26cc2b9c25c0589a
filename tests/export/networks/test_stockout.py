"""The head of the lead time: what the log's positions teach of the risk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.datasets.stockout import nothing
from export.networks.quantiles import LEVELS, shifted_levels
from export.networks.stockout import StockoutNet
from export.split import Split
from export.tasks.leadtime import calibrate
from export.tasks.level import shift_of
from features.aggregations.base import DAY_MS
from features.vectors.stockout import FEATURES

ROWS = 4000
#: Rows of day 0 are fitted, those of day 50 tested.
SPLIT = Split(0, 5 * DAY_MS, 6 * DAY_MS, 10 * DAY_MS, 40 * DAY_MS, 60 * DAY_MS, horizon_days=28)


def network() -> StockoutNet:
    torch.manual_seed(5)
    net = StockoutNet()
    net.eval()
    return net


def asked(position: float | NDArray[np.float32] = 2.0, rows: int = ROWS) -> list[Any]:
    features = torch.rand(rows, len(FEATURES), generator=torch.Generator().manual_seed(1)) * 20
    return [features, torch.full((rows,), 7.0), torch.zeros(rows) + position, torch.tensor([0.9])]


def told(net: StockoutNet, *of: Any) -> list[NDArray[np.float64]]:
    with torch.no_grad():
        return [out.double().numpy() for out in net(*(of or asked()))]


def rows(net: StockoutNet, above: float, horizon: int = 7, day: int = 0) -> dict[str, Any]:
    """Rows of which a share is above its position."""
    features, _, position, _ = asked()
    happened = np.random.default_rng(2).random(ROWS) < above
    return nothing() | {
        "features": features.numpy(),
        "horizon_days": np.full(ROWS, horizon),
        "lead_days": np.full(ROWS, 7),
        "position": position.numpy(),
        "demand": np.where(happened, 3.0, 1.0).astype(np.float32),
        "as_of_ms": np.full(ROWS, day * DAY_MS),
    }


def test_no_shift_changes_nothing_and_a_shift_is_one_of_log_odds() -> None:
    levels = torch.tensor(LEVELS)
    assert torch.allclose(shifted_levels(torch.zeros(1)), levels, atol=1e-7)
    shifted = shifted_levels(torch.tensor([-0.4]))
    assert torch.allclose(torch.logit(1 - shifted), torch.logit(1 - levels) - 0.4, atol=1e-4)
    assert bool((shifted[1:] > shifted[:-1]).all())


def test_the_shift_makes_the_mean_risk_what_happened() -> None:
    risk = np.random.default_rng(0).uniform(0.01, 0.6, 5000)
    odds = np.log(risk / (1 - risk))
    shift = shift_of(odds, np.arange(5000) < 500)
    assert (1 / (1 + np.exp(-odds - shift))).mean() == pytest.approx(0.1, abs=1e-6)
    assert shift < 0


def test_a_shift_is_there_where_nothing_happened_everything_did_or_there_is_nothing() -> None:
    odds = np.array([-30.0, 0.0, 30.0])
    assert -np.inf < shift_of(odds, np.zeros(3)) < -20
    assert 20 < shift_of(odds, np.ones(3)) < np.inf
    assert shift_of(np.empty(0), np.empty(0)) == shift_of(odds, np.ones(3), np.zeros(3)) == 0.0


def test_positions_of_the_log_teach_risk_and_lost_sales_and_nothing_else() -> None:
    net = network()
    risk, demand, order, why, lost = told(net)
    assert calibrate(net, rows(net, above=risk.mean() / 2), SPLIT) < 0
    after = told(net)
    assert after[0].mean() == pytest.approx(risk.mean() / 2, rel=0.1)
    assert (after[4] < lost).all()
    for before, now in zip((demand, order, why), after[1:4], strict=True):
        assert np.array_equal(before, now)


def test_the_risk_falls_with_the_position_and_lost_sales_are_its_integral() -> None:
    net = network()
    net.shift.fill_(-0.7)
    steps = np.linspace(0, 400, 8001)
    features = asked(rows=1)[0].expand(len(steps), -1)
    many = [features, torch.full((len(steps),), 7.0), torch.from_numpy(steps).float(), torch.tensor([0.9])]
    risk, _, _, _, lost = told(net, *many)
    assert (np.diff(risk) <= 1e-7).all()
    assert (np.diff(lost) <= 1e-4).all()
    assert -np.gradient(lost, steps)[20:2000] == pytest.approx(
        risk[10:1990], abs=0.02
    )  # the risk is of half a unit more


@pytest.mark.parametrize(
    "made",
    [
        {"position": np.full(ROWS, np.nan, np.float32)},
        {"lead_days": np.full(ROWS, 20)},
        {"as_of_ms": np.full(ROWS, 50 * DAY_MS)},
    ],
)
def test_what_tells_no_positions_that_are_asked_for_teaches_nothing(made: dict[str, Any]) -> None:
    net = network()
    assert calibrate(net, rows(net, above=0.05) | made, SPLIT) == 0.0
    assert net.shift.tolist() == [0.0]


def test_few_outcomes_teach_nothing() -> None:
    net = network()
    assert calibrate(net, rows(net, above=0.01), SPLIT) == 0.0
