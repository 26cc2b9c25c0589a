from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from export.datasets.dayfeatures import LEVEL, day_features, day_names, day_units
from export.datasets.days import days_of
from export.datasets.hazardfeatures import groups_of, hour_names
from tests.export.hours import A_DAY, FIRST_DAY, made_up

DAYS = np.repeat(np.arange(14, 40), 12)
ITEMS = np.tile(np.arange(12), 26)


def planned(days: int, items: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).choice([0.0, 0.1, 0.4], (days, items)).astype(np.float32)


def test_no_feature_knows_its_own_day_or_later() -> None:
    hours = made_up()
    cut = 30
    sold, state = hours.sold.copy(), hours.state.copy()
    sold[cut * A_DAY :] += 5
    state[cut * A_DAY :] = 1 - state[cut * A_DAY :]
    told = []
    price = planned(40, 12)
    later = price.copy()
    later[cut + 1 :] += 0.1  # the price of the day itself is known by then
    hours = replace(hours, discount=price)
    for of in (hours, replace(hours, sold=sold, state=state, discount=later)):
        names, found = day_features(days_of(of), groups_of(of.items, {}), DAYS + FIRST_DAY, ITEMS)
        told.append(found)
    until = cut >= DAYS
    assert np.array_equal(told[0][until], told[1][until], equal_nan=True)
    assert not np.array_equal(told[0][~until], told[1][~until], equal_nan=True)
    assert tuple(names) == day_names()


def test_own_figures_by_hand() -> None:
    hours = made_up()
    days = days_of(hours)
    names, found = day_features(days, groups_of(hours.items, {}), DAYS + FIRST_DAY, ITEMS)
    column = {name: found[:, at] for at, name in enumerate(names)}
    sold = hours.sold.reshape(-1, A_DAY, 12).sum(axis=1)
    full = (hours.state.reshape(-1, A_DAY, 12) == 0).all(axis=1)
    for i in (0, 57, 200, 311):
        day, item = int(DAYS[i]), int(ITEMS[i])
        back = slice(max(day - 28, 0), day)
        assert column["weekday"][i] == (FIRST_DAY + day + 3) % 7
        assert column["sold_1d_ago"][i] == sold[day - 1, item]
        assert column["sold_7d_ago"][i] == sold[day - 7, item]
        assert column["days_full_7d"][i] == full[day - 7 : day, item].sum()
        if full[back, item].any():
            assert column["level"][i] == pytest.approx(sold[back, item][full[back, item]].mean(), rel=1e-5)
    assert names[LEVEL] == "level"


def test_the_price_of_the_day_against_earlier_ones_by_hand() -> None:
    hours, price = made_up(), planned(40, 12)
    names, found = day_features(
        days_of(replace(hours, discount=price)), groups_of(hours.items, {}), DAYS + FIRST_DAY, ITEMS
    )
    column = {name: found[:, at] for at, name in enumerate(names)}
    for i in (0, 57, 200, 311):
        day, item = int(DAYS[i]), int(ITEMS[i])
        today = price[day, item]
        assert column["discount"][i] == today
        assert column["discount_less_1d_ago"][i] == pytest.approx(today - price[day - 1, item])
        assert column["discount_less_7d_ago"][i] == pytest.approx(today - price[day - 7, item])
        assert column["discount_less_usual"][i] == pytest.approx(today - price[day - 14 : day, item].mean(), abs=1e-6)


def test_without_prices_only_their_features_are_unknown() -> None:
    hours = made_up()
    told = [
        day_features(days_of(of), groups_of(of.items, {}), DAYS + FIRST_DAY, ITEMS)[1]
        for of in (hours, replace(hours, discount=planned(40, 12)))
    ]
    priced = np.array([name.startswith("discount") for name in day_names()])
    assert np.isnan(told[0][:, priced]).all()
    assert np.isfinite(told[1][:, priced]).all()
    assert np.array_equal(told[0][:, ~priced], told[1][:, ~priced], equal_nan=True)


def test_sales_of_a_short_day_are_scaled_up() -> None:
    hours = made_up()
    days = days_of(hours)
    full = days.full & days.known
    assert np.allclose(days.demand[full], days.sold[full])
    short = ~days.full & (days.share > 0) & (days.sold > 0)
    assert (days.demand[short] > days.sold[short]).all()


def test_names_are_known_without_data() -> None:
    assert len(hour_names()) == len(set(hour_names())) == 143
    assert hour_names()[:2] == ("opening_hour", "weekday")
    assert len(day_names()) == len(set(day_names())) == 103


def test_how_often_it_sold_by_hand() -> None:
    hours = made_up()
    names, found = day_features(days_of(hours), groups_of(hours.items, {}), DAYS + FIRST_DAY, ITEMS)
    column = {name: found[:, at] for at, name in enumerate(names)}
    sold = hours.sold.astype(np.float64).reshape(-1, A_DAY, 12)
    here = (hours.state == 0).reshape(sold.shape)
    region = [item.partition("/")[0] + item.rpartition(":")[2] for item in hours.items]
    for i in (0, 57, 200, 311):
        day, item = int(DAYS[i]), int(ITEMS[i])
        week = slice(day - 7, day)
        selling, there = (sold[..., item] > 0).sum(axis=1), here[..., item].sum(axis=1)
        assert column["sell_rate_7d"][i] == pytest.approx(selling[week].sum() / (there[week].sum() + 1))
        assert column["sell_rate_3d_ago"][i] == pytest.approx(selling[day - 3] / (there[day - 3] + 1))
        units = sold[day - 14 : day, :, item].sum()
        assert column["units_a_selling_hour"][i] == pytest.approx(units / (selling[day - 14 : day].sum() + 0.5))
        assert column["most_an_hour_7d_ago"][i] == sold[day - 7, :, item].max()
        yesterday = sold[day - 1, :, item]
        assert column["sold_early_yesterday"][i] == yesterday[:5].sum()
        assert column["hours_in_stock_yesterday"][i] == there[day - 1]
        assert column["evening_share_yesterday"][i] == pytest.approx(yesterday[-6:].sum() / (yesterday.sum() + 0.1))
        others = [j for j in range(12) if region[j] == region[item] and j != item]
        all_day, late = sold[day - 1][:, others].sum(), sold[day - 1, -6:][:, others].sum()
        assert column["region_evening_share"][i] == pytest.approx(late / (all_day + 0.5))
    assert {"sold_early_yesterday", "most_an_hour_7d_ago", "mean_28d"} <= set(day_units())
    assert not {"level", "sell_rate_7d", "units_a_selling_hour", "share_1d_ago"} & set(day_units())
