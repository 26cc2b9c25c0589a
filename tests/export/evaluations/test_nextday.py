from __future__ import annotations

import numpy as np
import pytest

from export.datasets.hourly import IN_STOCK
from export.evaluations.nextday import day_rows, next_day_metrics
from tests.export.hours import A_DAY, FIRST_DAY, made_up

ALL = np.arange(12)


def test_only_days_in_stock_count_and_the_mean_knows_no_later_day() -> None:
    hours = made_up()
    rows = day_rows(hours, ALL, FIRST_DAY + 30, FIRST_DAY + 40)
    sold = hours.sold.reshape(-1, A_DAY, 12).sum(axis=1)
    full = (hours.state.reshape(-1, A_DAY, 12) == IN_STOCK).all(axis=1)
    assert len(rows.day) == full[30:40].sum() > 0
    told = zip(rows.day - FIRST_DAY, rows.item, rows.demand, rows.naive, strict=True)
    for day, item, demand, naive in told:
        back = slice(day - 28, day)
        assert demand == sold[day, item]
        past = sold[back, item][full[back, item]]
        assert naive.tolist() == pytest.approx([past.mean(), np.quantile(past, 0.9)])


def test_figures_by_hand() -> None:
    rows = day_rows(made_up(), ALL, FIRST_DAY + 30, FIRST_DAY + 40)
    truth = np.column_stack([rows.demand, rows.demand])
    found = {
        m.name: m for m in next_day_metrics(rows, {"model": truth + np.array([1.0, -1.0]), "truth": truth}, draws=10)
    }
    wape = found["WAPE of the next day"]
    assert wape.value == pytest.approx(1 / rows.demand.mean())
    assert wape.baselines == {"truth": 0.0}
    assert found["pinball 0.5 of the next day"].value == pytest.approx(0.5)
    assert found["pinball 0.9 of the next day"].value == pytest.approx(0.9)
    assert found["coverage 0.9 of the next day"].value == 0.0
    assert found["coverage 0.9 of the next day"].baselines == {"truth": 1.0}
