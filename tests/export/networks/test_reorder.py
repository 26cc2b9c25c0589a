"""The reorder network: what it makes of sequences, that its reasons find a planted cause, and when something is due."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from export.networks.reorder import ACTIVE_DAYS, HORIZONS_DAYS, ReorderNet, days_until
from export.tasks.chances import Known, correct, learn
from features.vectors.reorder import FEATURES

ROWS, CUSTOMERS, PRODUCTS, LENGTH = 64, 8, 20, 16
CAUSE = list(FEATURES).index("product_in_last_5")


def sequences(seed: int = 0, rows: int = ROWS) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    age = np.sort(rng.exponential(20, (CUSTOMERS, LENGTH)), axis=1).astype(np.float32)
    age[0, 3:], age[1] = np.nan, np.nan
    return {
        "customer": torch.arange(rows) % CUSTOMERS,
        "item": torch.from_numpy(rng.integers(0, PRODUCTS, rows)),
        "words": torch.from_numpy(rng.integers(0, 8192, (PRODUCTS, 8))),
        "place": torch.from_numpy(rng.integers(0, PRODUCTS, (CUSTOMERS, LENGTH))),
        "age_days": torch.from_numpy(age),
    }


def network(seed: int = 1) -> ReorderNet:
    torch.manual_seed(seed)
    made = ReorderNet()
    made.inputs.learn(features().numpy())
    return made.eval()  # type: ignore[no-any-return]


def features(seed: int = 2, rows: int = ROWS) -> Any:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.lognormal(0.0, 1.0, (rows, len(FEATURES))).astype(np.float32))


def rank(net: Any, given: dict[str, Any]) -> Any:
    with torch.no_grad():
        return net(features(), *given.values())[2]


def test_what_is_no_purchase_counts_for_nothing() -> None:
    net, given = network(), sequences()
    before = rank(net, given)
    place = given["place"].clone()
    place[0, 3:], place[1] = 0, 0
    torch.testing.assert_close(rank(net, given | {"place": place}), before)
    place[2, 0] = (place[2, 0] + 1) % PRODUCTS
    changed = (rank(net, given | {"place": place}) - before).abs() > 1e-6
    assert set(given["customer"][changed].tolist()) == {2}


def test_a_recent_purchase_is_not_an_old_one_and_a_new_product_means_what_its_words_mean() -> None:
    net, given = network(), sequences()
    aged = given["age_days"].clone()
    aged[3, 0] += 300.0
    assert ((rank(net, given | {"age_days": aged}) - rank(net, given)).abs() > 1e-6)[given["customer"] == 3].any()
    twin = torch.cat([given["words"], given["words"][given["item"][:1]].flip(1)])
    item = given["item"].clone()
    item[0] = PRODUCTS
    found = rank(net, given | {"words": twin, "item": item})
    torch.testing.assert_close(found, rank(net, given))


def test_a_planted_cause_is_the_reason() -> None:
    """Bought again is made to depend on one feature; its contribution is the largest, and all of them add up."""
    net, given = network(), sequences(rows=4000)
    rows = features(rows=4000)
    odds = np.random.default_rng(4).random(4000) < 0.8
    again = (rows[:, CAUSE].numpy() > 1.0) == odds
    arrays = {
        "features": rows.numpy(),
        "next_days": np.where(again, 5.0, 90.0),
        "as_of_ms": np.zeros(4000, np.int64),
        "group": np.arange(4000),
        "wide": np.zeros(4000, np.bool_),
    }
    known = Known(arrays, np.ones(4000, np.bool_), 60 * 86_400_000, net.inputs)
    learn(net, known, lambda text, share: None)
    correct(net, known, 1)
    with torch.no_grad():
        net.centre.copy_(net.terms(rows, known.inputs)[0].mean(dim=0))
        chance, contributions, *_ = net(rows, *given.values())
    assert len(net.corrections.tree)
    assert int(contributions.abs().mean(dim=0).argmax()) == CAUSE
    score = torch.logit(chance[:, 2].double())
    assert float((contributions.double().sum(dim=1) + net.baseline - score).abs().max()) < 1e-3


@pytest.mark.parametrize("chance", [(0.1, 0.2, 0.4), (0.02, 0.02, 0.03), (0.3, 0.9, 0.95), (0.0, 0.0, 0.5)])
def test_days_until_is_the_mean_of_its_hazard(chance: tuple[float, ...]) -> None:
    days = np.linspace(0.0, 4000.0, 400_001)
    left = np.interp(days, (0, *HORIZONS_DAYS), np.log1p(-np.array([0.0, *chance])))
    rate = np.log((1 - chance[1]) / (1 - chance[2])) / (HORIZONS_DAYS[2] - HORIZONS_DAYS[1])
    left = np.where(days > HORIZONS_DAYS[2], np.log1p(-chance[2]) - rate * (days - HORIZONS_DAYS[2]), left)
    expected = float(np.trapezoid(np.exp(left), days))
    assert float(days_until(torch.tensor([chance]))) == pytest.approx(min(expected, 365.0), rel=1e-2)


@pytest.mark.parametrize("chance", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)])
def test_days_until_is_never_absurd(chance: tuple[float, ...]) -> None:
    assert 0.0 <= float(days_until(torch.tensor([chance]))) <= 365.0


def test_activity_knows_the_customer_alone() -> None:
    net, rows = network(), features()
    other = rows.clone()
    for i, name in enumerate(FEATURES):
        if name.startswith(("product_", "shop_")):
            other[:, i] = 7.0
    with torch.no_grad():
        torch.testing.assert_close(net.active(net.inputs(rows)), net.active(net.inputs(other)))
    assert ACTIVE_DAYS == 30
