from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.datasets.hazard import HazardRows
from export.datasets.hourly import Hourly
from export.errors import UsageError
from export.evaluations.stockout import MEAN, RATES, UNSEEN, Plan, evaluate, held_out, measure
from tests.export.hours import FIRST_DAY, made_up

DAY_MS = 86_400_000
STOCKOUT = Path(__file__).parents[3] / "models" / "artifacts" / "stockout"


def truth(hours: Hourly, rows: HazardRows) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return rows.out.astype(np.float64)


def test_a_model_is_measured_beside_the_rates_also_on_unseen_shops() -> None:
    hours = made_up(shops=10)
    found = {m.name: m for m in measure(hours, truth, None, Plan(items=20, draws=10))}
    assert len(found) == 2 * (12 + 4)
    for where in ("", UNSEEN):
        auc = found[f"AUC of out within 4 h{where}"]
        assert auc.value == 1.0 > auc.baselines[RATES]
        assert found[f"WAPE of the next day{where}"].ci95 is not None


def test_the_test_period_is_the_last_week_unless_it_is_told() -> None:
    hours, plan = made_up(), Plan(draws=0)
    last_week = measure(hours, None, None, plan)
    assert last_week == measure(hours, None, (FIRST_DAY + 33) * DAY_MS, plan)
    assert last_week != measure(hours, None, (FIRST_DAY + 30) * DAY_MS, plan)
    with pytest.raises(UsageError, match="begins too early; the event log allows"):
        measure(hours, None, (FIRST_DAY + 10) * DAY_MS, plan)


def test_whole_shops_are_held_out() -> None:
    items = made_up(shops=20).items
    shops = {item.partition(":")[0] for item, out in zip(items, held_out(items, 0), strict=True) if out}
    assert len(shops) == 2
    assert sum(item.partition(":")[0] in shops for item in items) == held_out(items, 0).sum()
    assert MEAN.startswith("mean")


def test_a_model_without_a_hazard_head_is_refused(tmp_path: Path) -> None:
    model = max(STOCKOUT.iterdir())
    with pytest.raises(UsageError, match="the model has no hazard head; its outputs are p_stockout"):
        evaluate(model, tmp_path)
