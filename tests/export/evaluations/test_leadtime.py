from __future__ import annotations

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]  # ships no types

from export.datasets.stockout import nothing
from export.evaluations.leadtime import NEGATIVE_BINOMIAL, Told, leadtime_metrics, negative_binomial, told_of
from features.vectors.stockout import FEATURES

ROWS = 4000
UNITS, SPREAD = (list(FEATURES).index(name) for name in ("units_28d", "units_std_28d"))


def rows(seed: int = 0) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """A week of demand that is a negative binomial of the mean and spread that the features tell."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = dict(nothing())
    features = np.zeros((ROWS, len(FEATURES)), np.float32)
    features[:, UNITS] = rng.uniform(28, 280, ROWS)
    features[:, SPREAD] = 2.0 * np.sqrt(features[:, UNITS] / 28)
    mean = features[:, UNITS] / 4
    p = mean / (features[:, SPREAD] ** 2 * 7)
    demand = rng.negative_binomial(mean * p / (1 - p), p)
    position = np.rint(mean * rng.uniform(0.5, 1.5, ROWS))
    position[::4] = np.nan
    nothing_due = np.full((ROWS, 4), np.nan, np.float32)
    return found | {
        "recent": np.zeros(ROWS, np.float32),
        "as_of_ms": np.zeros(ROWS, np.int64),
        "features": features,
        "horizon_days": np.full(ROWS, 7),
        "lead_days": np.full(ROWS, 7),
        "demand": demand.astype(np.float32),
        "position": position.astype(np.float32),
        "on_hand": position.astype(np.float32),
        "order_units": nothing_due,
        "order_due_days": nothing_due,
        "ran_out": (demand >= np.nan_to_num(position)).astype(np.float32),
        "item": rng.integers(0, 50, ROWS),
    }


def test_the_true_law_is_calibrated_and_so_are_its_lost_sales() -> None:
    made = rows()
    found = {m.name: m for m in leadtime_metrics(made, told_of(made, negative_binomial), draws=20)}
    assert found["coverage 0.9 of demand over the lead time"].value == pytest.approx(0.9, abs=0.02)
    assert found["ECE of P(demand > position)"].value < 0.03
    assert found["expected over actual lost sales"].value == pytest.approx(1.0, abs=0.05)
    less = found[f"pinball 0.9 of demand over the lead time, less {NEGATIVE_BINOMIAL}"]
    assert less.value == 0.0
    assert less.ci95 == (0.0, 0.0)


def test_a_worse_model_is_found_out() -> None:
    made = rows()
    true = told_of(made, negative_binomial)
    worse = Told(true.quantiles * 0.5, 1.0 - true.risk, true.lost * 3, 1.0 - true.empty)
    found = {m.name: m for m in leadtime_metrics(made, worse, draws=20)}
    less = found[f"pinball 0.9 of demand over the lead time, less {NEGATIVE_BINOMIAL}"]
    assert less.ci95 is not None
    assert less.ci95[0] > 0
    assert found["AUC of P(demand > position)"].value < 0.5
    assert found["AUC of P(runs out), by the shelf of the log"].value < 0.5
    assert found["expected over actual lost sales"].value == pytest.approx(3.0, abs=0.2)


def test_lost_sales_by_summing_the_law() -> None:
    made = rows()
    told, units = told_of(made, negative_binomial), np.arange(4000)
    for row in (1, 2, 3):
        mean = float(made["features"][row, UNITS]) / 4
        p = mean / (float(made["features"][row, SPREAD]) ** 2 * 7)
        law = stats.nbinom.pmf(units, mean * p / (1 - p), p)
        expected = (law * np.maximum(units - float(made["position"][row]), 0)).sum()
        assert told.lost[row] == pytest.approx(expected, rel=1e-6)


def test_a_shelf_that_is_empty_before_its_delivery_counts_as_run_out() -> None:
    made, rng = rows(), np.random.default_rng(3)
    position = np.rint(1.3 * made["position"].astype(np.float64))
    ordered, day = np.rint(position * rng.uniform(0, 0.6, ROWS)), rng.integers(1, 7, ROWS)
    mean = made["features"][:, UNITS].astype(np.float64) / 28
    p = mean / made["features"][:, SPREAD].astype(np.float64) ** 2
    asked = rng.negative_binomial(mean * p / (1 - p), p, (7, ROWS)).cumsum(axis=0)
    before, whole = asked[day - 1, np.arange(ROWS)], asked[-1]
    due, units = (np.full((ROWS, 4), np.nan, np.float32) for _ in range(2))
    due[:, 0], units[:, 0] = day, ordered
    made |= {"order_units": units, "order_due_days": due, "on_hand": (position - ordered).astype(np.float32)}
    made["position"] = position.astype(np.float32)
    made["demand"] = whole.astype(np.float32)
    made["ran_out"] = ((before > position - ordered) | (whole > position)).astype(np.float32)
    told = told_of(made, negative_binomial)
    by_position = Told(told.quantiles, told.risk, told.lost, told.risk)
    right, wrong = ({m.name: m.value for m in leadtime_metrics(made, of, draws=0)} for of in (told, by_position))
    ece, loss = (f"{what} of P(runs out), by the shelf of the log" for what in ("ECE", "log loss"))
    assert right[ece] < 0.6 * wrong[ece]
    assert right[loss] < wrong[loss]
