"""What is known of a day's price before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from export.datasets.dayfeatures import day_features
from export.datasets.days import days_of
from export.datasets.hazard import hazard_rows
from export.datasets.hazardfeatures import groups_of, hazard_features
from export.datasets.hourly import Hourly, read_hourly
from tests.export.hours import FIRST_DAY, made_up, write_hours

DAY_MS = 86_400_000
DAYS = 20
#: Days of which a price is known: those of the log, and the one after the last.
PRICED = DAYS + 1
BEGIN_MS = FIRST_DAY * DAY_MS


def price(discount: float, told: float, valid: float, item: str = "city-0/store-0:0") -> dict[str, Any]:
    """Told and valid so many days after the log begins."""
    location, _, sku = item.partition(":")
    at = {"event_time_ms": BEGIN_MS + round(told * DAY_MS), "valid_from_ms": BEGIN_MS + round(valid * DAY_MS)}
    return {"type": "price_set", "location": location, "sku": sku, "discount": discount, **at}


def read(directory: Path, *prices: dict[str, Any], ending: str = "parquet") -> Hourly:
    """The hours of a log that tells these prices as well."""
    path = write_hours(directory, made_up(days=DAYS)) / "inventory.parquet"
    table = pl.read_parquet(path)
    if prices:
        table = pl.concat([table, pl.DataFrame(list(prices))], how="diagonal")
    path.unlink()
    if ending == "jsonl":
        table.write_ndjson(path.with_suffix(".jsonl"))
    else:
        table.write_parquet(path)
    return read_hourly(directory)


def of_first(hours: Hourly) -> list[float | None]:
    """The discounts of the first item, day by day; None where unknown."""
    assert hours.discount is not None
    return [None if np.isnan(x) else round(float(x), 3) for x in hours.discount[:, 0]]


def test_a_log_without_prices_has_none(tmp_path: Path) -> None:
    assert read(tmp_path).discount is None
    assert np.isnan(days_of(read(tmp_path)).discount).all()


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_price_stands_from_its_day_until_another(ending: str, tmp_path: Path) -> None:
    evening = 1 / DAY_MS
    found = read(tmp_path, price(0.2, 3 - evening, 3), price(0.0, 5 - evening, 5), ending=ending)
    assert of_first(found) == [None] * 3 + [0.2] * 2 + [0.0] * (PRICED - 5)
    assert found.discount is not None
    assert np.isnan(found.discount[:, 1:]).all()


def test_what_is_told_when_the_day_has_begun_counts_from_the_next(tmp_path: Path) -> None:
    assert of_first(read(tmp_path, price(0.2, 3, 3))) == [None] * 4 + [0.2] * (PRICED - 4)
    assert of_first(read(tmp_path, price(0.2, 2, 3.5))) == [None] * 4 + [0.2] * (PRICED - 4)


def test_what_was_told_long_before_waits_and_what_is_told_late_does_not_undo_it(tmp_path: Path) -> None:
    found = read(tmp_path, price(0.5, 1, 6), price(0.1, -3, -2), price(0.3, 7.5, 4), price(0.4, 1.5, 6))
    assert of_first(found) == [0.1] * 6 + [0.4] * (PRICED - 6)


def test_prices_of_items_that_sell_nothing_are_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, price(0.2, 1, 2, item="city-0/store-0:unknown")).discount is None


def test_features_of_a_day_do_not_know_a_price_told_after_it_began(tmp_path: Path) -> None:
    told = []
    asked = np.repeat(np.arange(14, DAYS), 12) + FIRST_DAY, np.tile(np.arange(12), DAYS - 14)
    for number, at in enumerate((16.0, 17 - 1 / DAY_MS)):
        hours = read(tmp_path / str(number), price(0.1, 0, 0), price(0.6, at, 16))
        told.append(day_features(days_of(hours), groups_of(hours.items, {}), *asked)[1])
    late = read(tmp_path / "none", price(0.1, 0, 0))
    never = day_features(days_of(late), groups_of(late.items, {}), *asked)[1]
    until = asked[0] <= FIRST_DAY + 16
    for found in told:
        assert np.array_equal(found[until], never[until], equal_nan=True)
        assert not np.array_equal(found[~until], never[~until], equal_nan=True)


def test_features_of_an_hour_do_not_know_a_price_told_after_its_day_began(tmp_path: Path) -> None:
    told = []
    for number, prices in enumerate(([], [(16.0, 16)], [(17 - 1 / DAY_MS, 16)])):
        more = [price(0.6, at, day, item=f"city-0/store-{shop}:0") for at, day in prices for shop in (0, 2)]
        hours = read(
            tmp_path / str(number), *(price(0.1, 0, 0, item=f"city-0/store-{shop}:0") for shop in (0, 2)), *more
        )
        rows = hazard_rows(hours, np.arange(12), FIRST_DAY + 14, FIRST_DAY + DAYS)
        names, found = hazard_features(hours, groups_of(hours.items, {}), rows)
        told.append(found)
        region = found[:, names.index("region_discount")]
    until = hours.day[rows.row] <= FIRST_DAY + 16
    mine = rows.item == 0
    assert region[mine & until].tolist() == pytest.approx([0.1] * (mine & until).sum())
    assert region[mine & ~until].tolist() == pytest.approx([0.6] * (mine & ~until).sum())
    for found in told[1:]:
        assert np.array_equal(found[until], told[0][until], equal_nan=True)
        assert not np.array_equal(found[mine & ~until], told[0][mine & ~until], equal_nan=True)
