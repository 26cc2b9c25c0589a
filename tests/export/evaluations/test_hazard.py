from __future__ import annotations

import numpy as np
import pytest

from export.datasets.hazard import HazardRows, hazard_rows
from export.datasets.hourly import IN_STOCK, OUT_OF_STOCK, Hourly
from export.evaluations.hazard import hazard_metrics, of_hazards, product_hour_rate
from tests.export.hours import A_DAY, FIRST_DAY, made_up

ALL = np.arange(12)


def one(out: list[int]) -> HazardRows:
    """The rows of one item for one day, out of stock in some of its opening hours."""
    state = np.full((A_DAY, 1), IN_STOCK, np.int8)
    state[out] = OUT_OF_STOCK
    hours = Hourly(["a/b:1"], FIRST_DAY, 6, A_DAY, np.zeros((A_DAY, 1), np.float32), state)
    return hazard_rows(hours, np.arange(1), FIRST_DAY, FIRST_DAY + 1)


def test_labels_say_when_it_ran_out() -> None:
    rows = one([9, 10])
    assert rows.row.tolist() == [*range(9), 11, 12, 13, 14], "in stock, and the shop is open an hour later"
    assert rows.row[rows.next].tolist() == [8]
    assert rows.row[rows.after_next].tolist() == [7]
    assert rows.row[rows.within].tolist() == [5, 6, 7, 8]


def test_closing_time_ends_the_risk() -> None:
    rows = one([])
    assert rows.open.sum(axis=1).tolist() == [4] * 12 + [3, 2, 1]
    p = of_hazards(np.full((len(rows), 4), 0.5), rows)
    assert p[0].tolist() == [0.5, 0.25, 0.9375]
    assert p[-1].tolist() == [0.5, 0.0, 0.5]


def test_days_are_cut() -> None:
    rows = hazard_rows(made_up(), ALL, FIRST_DAY + 30, FIRST_DAY + 31)
    assert set((rows.row // A_DAY).tolist()) == {30}


def test_the_truth_is_told_from_guesses() -> None:
    rows = hazard_rows(made_up(), ALL, FIRST_DAY + 30, FIRST_DAY + 40)
    truth = np.column_stack([rows.next, rows.after_next, rows.within]).astype(np.float64)
    found = {m.name: m for m in hazard_metrics(rows, {"model": truth, "even": np.full(truth.shape, 0.1)}, draws=20)}
    assert len(found) == 12
    auc = found["AUC of runs out the hour after next"]
    assert (auc.value, auc.ci95, auc.baselines) == (1.0, (1.0, 1.0), {"even": 0.5})
    assert found["ECE of out within 4 h"].baselines["even"] == pytest.approx(abs(rows.within.mean() - 0.1))


def test_rates_are_those_of_product_and_hour() -> None:
    hours = made_up()
    train, test = (hazard_rows(hours, ALL, FIRST_DAY + a, FIRST_DAY + b) for a, b in ((0, 30), (30, 40)))
    product = np.array([int(item.rpartition(":")[2]) for item in hours.items])
    rates = product_hour_rate(train, test, product, hours.hour)
    here = (product[train.item] == 1) & (hours.hour[train.row] == 9)
    there = (product[test.item] == 1) & (hours.hour[test.row] == 9)
    expected = (train.within[here].sum() + 20 * train.within.mean()) / (here.sum() + 20)
    assert rates[there, 2] == pytest.approx(np.full(there.sum(), expected))
