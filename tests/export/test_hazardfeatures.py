from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.datasets.hazard import hazard_rows
from export.datasets.hazardfeatures import (
    HOUR_FLAGGED,
    groups_of,
    hazard_features,
    hour_names,
    hour_units,
    thinned,
)
from export.datasets.hourly import IN_STOCK, OUT_OF_STOCK, Hourly
from export.datasets.regionprices import RegionPrices
from tests.export.hours import A_DAY, FIRST_DAY, made_up

ALL = np.arange(12)


def table(
    hours: Hourly, from_day: int = 14, until_day: int = 40
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    rows = hazard_rows(hours, ALL, FIRST_DAY + from_day, FIRST_DAY + until_day)
    names, found = hazard_features(hours, groups_of(hours.items, {}), rows)
    assert len(set(names)) == len(names) == found.shape[1]
    return {"row": rows.row, "item": rows.item, **dict(zip(names, found.T, strict=True))}


def test_no_feature_knows_the_future() -> None:
    hours = made_up()
    cut = 30 * A_DAY + 7
    rng = np.random.default_rng(3)
    sold, state = hours.sold.copy(), hours.state.copy()
    later = rng.permutation(len(sold) - cut) + cut
    sold[cut:], state[cut:] = sold[later] + 1, state[later]
    before, shuffled = table(hours), table(replace(hours, sold=sold, state=state))
    a, b = (np.flatnonzero(found["row"] < cut) for found in (before, shuffled))
    a = a[before["row"][a] < cut - 1]  # whether there is a row is told by the next hour
    b = b[shuffled["row"][b] < cut - 1]
    for name in before:
        assert np.array_equal(before[name][a], shuffled[name][b], equal_nan=True), name


def test_own_figures_by_hand() -> None:
    hours = made_up()
    found = table(hours)
    sold, state = hours.sold.astype(np.float64), hours.state
    for i in np.random.default_rng(5).integers(0, len(found["row"]), 60).tolist():
        row, item = int(found["row"][i]), int(found["item"][i])
        day = row // A_DAY
        assert found["opening_hour"][i] == row % A_DAY
        assert found["weekday"][i] == (FIRST_DAY + day + 3) % 7
        assert found["sold_today"][i] == sold[day * A_DAY : row + 1, item].sum()
        assert found["sold_3h"][i] == sold[row - 2 : row + 1, item].sum()
        last = np.flatnonzero((state[1:row, item] == OUT_OF_STOCK) & (state[: row - 1, item] == IN_STOCK))[-1] + 1
        clock = [at // A_DAY * 24 + at % A_DAY for at in (row, int(last))]
        assert found["hours_since_run_out"][i] == min(clock[0] - clock[1], 500)
        assert found["level_last"][i] == pytest.approx(sold[last // A_DAY * A_DAY : last + 1, item].sum())
        full = [(state[d * A_DAY : (d + 1) * A_DAY, item] == IN_STOCK).all() for d in range(day - 7, day)]
        assert found["days_short_7d"][i] == 7 - sum(full)


def test_others_are_those_of_the_same_product_in_the_region() -> None:
    hours = made_up()
    found = table(hours, 14, 20)
    region = [item.partition("/")[0] + item.rpartition(":")[2] for item in hours.items]
    for i in range(0, len(found["row"]), 37):
        row, item = int(found["row"][i]), int(found["item"][i])
        others = [j for j in range(12) if region[j] == region[item] and j != item]
        out = [hours.state[row, j] == OUT_OF_STOCK for j in others]
        assert (found["region_others"][i], found["region_others_out"][i]) == (len(others), sum(out))
        assert found["region_out_share"][i] == pytest.approx(np.mean(out))


def test_rows_are_thinned_by_item() -> None:
    rows = hazard_rows(made_up(), ALL, FIRST_DAY, FIRST_DAY + 40)
    some = thinned(rows, np.where(ALL < 6, 1.0, 0.2), seed=1)
    assert (some.item < 6).sum() == (rows.item < 6).sum()
    assert 0.1 < (some.item >= 6).sum() / (rows.item >= 6).sum() < 0.3


def test_the_evening_before_by_hand() -> None:
    hours = made_up()
    found = table(hours)
    sold = hours.sold.astype(np.float64).reshape(-1, A_DAY, 12)
    here = (hours.state == IN_STOCK).reshape(sold.shape)
    region = [item.partition("/")[0] + item.rpartition(":")[2] for item in hours.items]
    for i in np.random.default_rng(6).integers(0, len(found["row"]), 60).tolist():
        (day, hour), item = divmod(int(found["row"][i]), A_DAY), int(found["item"][i])
        yesterday = sold[day - 1, :, item]
        assert found["sold_by_now_yesterday"][i] == yesterday[: hour + 1].sum()
        assert found["sold_late_yesterday"][i] == yesterday[-6:].sum()
        assert found["sold_very_late_yesterday"][i] == yesterday[-3:].sum()
        assert found["late_share_yesterday"][i] == pytest.approx(yesterday[-6:].sum() / (yesterday.sum() + 0.1))
        late = here[day - 7 : day, -6:, item].sum(axis=1)
        assert (found["late_hours_in_stock_1d_ago"][i], found["late_hours_in_stock_2d_ago"][i]) == (late[-1], late[-2])
        assert found["late_hours_in_stock_7d"][i] == pytest.approx(late.mean())
        others = [j for j in range(12) if region[j] == region[item] and j != item]
        assert found["region_closed_out"][i] == pytest.approx(np.mean(~here[day - 1, -1, others]))


def test_what_is_told_in_units_is_named() -> None:
    units = set(hour_units())
    assert {"sold_today", "usual_next_4h", "level_mean", "rate_7d", "sold_late_yesterday"} <= units
    assert not units & {"usual_day", "level_share", "pace_3h", "days_above", "hours_since_sale", "region_others_out"}
    assert set(HOUR_FLAGGED) <= set(hour_names())


def test_the_price_of_a_region_is_the_median_of_its_shops() -> None:
    discount = np.full((20, 3), np.nan)
    discount[8:, 0], discount[8:, 1], discount[15:, 1], discount[:, 2] = 0.1, 0.2, 0.4, 0.9
    prices, both = RegionPrices(discount, np.array([0, 0, 1])), np.array([1, 2])
    assert np.isnan(prices.features(3, both)["region_discount"]).tolist() == [True, False]
    found = prices.features(15, both)
    assert found["region_discount"].tolist() == pytest.approx([0.25, 0.9])
    assert found["region_discount_less_1d_ago"].tolist() == pytest.approx([0.1, 0.0])
    assert found["region_discount_less_7d_ago"].tolist() == pytest.approx([0.1, 0.0])
    assert found["region_discount_less_usual"].tolist() == pytest.approx([0.1, 0.0])
    assert all(np.isnan(v).all() for v in RegionPrices(None, np.array([0, 0, 1])).features(15, both).values())
