"""The next product: figures are of what the graph shows, beside counting on the same candidates."""

from __future__ import annotations

import numpy as np
import pytest

from export.evaluations.bootstrap import resamples
from export.evaluations.next_product import SHOWN, figures
from export.tasks.candidates import Candidates
from models.manifest import Metric

_ORDERS, _PRODUCTS = 40, 30


def candidates() -> Candidates:
    """Every order holds candidates 3 and 9, but for the last, which holds none; 3 sells best, 9 was bought before."""
    shape = _ORDERS, _PRODUCTS
    label, popularity, personal = (np.zeros(shape, np.float32) for _ in range(3))
    label[:-1, [3, 9]] = 1
    popularity[:, 3], personal[:, 9] = 7, 2
    product = np.tile(np.arange(_PRODUCTS), (_ORDERS, 1))
    none = np.zeros(shape, np.float32)
    return Candidates(np.arange(_ORDERS), _PRODUCTS, product, label, popularity, none, personal, none)


def shown(*places: int, chance: float) -> dict[str, Metric]:
    score, chances = np.zeros((_ORDERS, _PRODUCTS)), np.full((_ORDERS, _PRODUCTS), np.nan)
    score[:, places] = np.arange(SHOWN, 0, -1)
    chances[:, places] = chance
    orders = np.resize([1, 9], _ORDERS)
    found = figures(candidates(), score, chances, np.arange(_ORDERS), orders, resamples(_ORDERS, 20, 1))
    return {metric.name.split(",")[0]: metric for metric in reversed(found)}


def test_what_is_bought_counts_by_its_place() -> None:
    best, late = shown(9, 3, 0, 1, 2, chance=0.4), shown(0, 1, 2, 9, 3, chance=0.4)
    assert best["NDCG@5"].value == pytest.approx(1.0)
    assert late["NDCG@5"].value < 0.6
    assert best["Recall@5"].value == late["Recall@5"].value == 1.0
    assert best["NDCG@5"].ci95 is not None


def test_counting_is_measured_on_the_same_orders() -> None:
    found = shown(9, 3, 0, 1, 2, chance=0.4)["NDCG@5"].baselines
    assert set(found) == {"popularity", "personal frequency"}
    assert found["personal frequency"] == pytest.approx(1.0), "ties by popularity"
    assert found["popularity"] < 1.0


def test_calibration_is_of_all_that_is_shown() -> None:
    rate = 2 * (_ORDERS - 1) / (SHOWN * _ORDERS)
    assert shown(9, 3, 0, 1, 2, chance=rate)["ECE"].value == pytest.approx(0.0, abs=1e-6)
    assert shown(9, 3, 0, 1, 2, chance=0.9)["ECE"].value == pytest.approx(0.9 - rate, abs=1e-6)


def test_calibration_is_told_of_customers_with_few_orders_and_many() -> None:
    score, chances = np.zeros((_ORDERS, _PRODUCTS)), np.full((_ORDERS, _PRODUCTS), np.nan)
    chances[:, 3] = 0.5
    chances[1::2, 3] = 0.9  # of those who ordered often
    orders = np.resize([1, 9], _ORDERS)
    found = figures(candidates(), score, chances, np.arange(_ORDERS), orders, resamples(_ORDERS, 20, 1))
    told = {m.name.split("shown, ")[1]: m for m in found if "shown, " in m.name}
    assert list(told) == ["1 or 2 orders before", "6 to 20 orders before", "without the 3 customers with most rows"]
    assert told["1 or 2 orders before"].value == pytest.approx(0.5)
    assert told["6 to 20 orders before"].value == pytest.approx(19 / 20 - 0.9)
    assert all(m.ci95 is not None for m in told.values())
