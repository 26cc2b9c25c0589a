from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from export.datasets.hourly import IN_STOCK, OUT_OF_STOCK, UNKNOWN, natural, read_hourly
from export.errors import UsageError

HOUR_MS = 3_600_000
DAY = 19_810
TYPES: Any = {
    "type": pl.String,
    "event_time_ms": pl.Int64,
    "location": pl.String,
    "sku": pl.String,
    "quantity": pl.Float64,
}


def event(kind: str, day: int, hour: int, quantity: float | None = None, shop: int = 1) -> tuple[Any, ...]:
    """At the start of the hour, but sales at its end."""
    at = ((DAY + day) * 24 + hour) * HOUR_MS + (HOUR_MS - 1 if quantity is not None else 0)
    return kind, at, f"city-0/store-{shop}", "7", quantity


def log(directory: Path, *events: tuple[Any, ...]) -> Path:
    pl.DataFrame(list(events), schema=TYPES, orient="row").write_parquet(directory / "inventory.parquet")
    return directory


def test_sales_are_in_their_hour_and_the_night_is_left_out(tmp_path: Path) -> None:
    told = [event("units_sold", 0, 3, 9.0), event("units_sold", 0, 6, 1.5), event("units_sold", 0, 21, 0.0)]
    hours = read_hourly(log(tmp_path, *told))
    assert (hours.items, hours.first_day, hours.opens, hours.a_day) == (["city-0/store-1:7"], DAY, 6, 16)
    assert hours.sold[:, 0].tolist() == [1.5] + [0.0] * 15
    assert (hours.state == IN_STOCK).all()


def test_an_item_is_out_until_it_is_restocked(tmp_path: Path) -> None:
    sales = [event("units_sold", day, 21, 0.0) for day in range(2)]
    hours = read_hourly(log(tmp_path, *sales, event("ran_out", 0, 20), event("restocked", 1, 8)))
    out = [IN_STOCK] * 14 + [OUT_OF_STOCK] * 2 + [OUT_OF_STOCK] * 2 + [IN_STOCK] * 14
    assert hours.state[:, 0].tolist() == out


def test_a_day_without_events_is_unknown(tmp_path: Path) -> None:
    hours = read_hourly(log(tmp_path, event("units_sold", 0, 21, 0.0), event("units_sold", 2, 21, 0.0)))
    assert hours.state.reshape(3, 16).tolist() == [[IN_STOCK] * 16, [UNKNOWN] * 16, [IN_STOCK] * 16]


def test_what_is_ahead_ends_at_closing_time(tmp_path: Path) -> None:
    hours = read_hourly(log(tmp_path, event("units_sold", 0, 21, 0.0), event("ran_out", 0, 20)))
    assert hours.ahead(2)[:, 0].tolist() == [IN_STOCK] * 12 + [OUT_OF_STOCK] * 2 + [UNKNOWN] * 2


def test_items_are_in_natural_order(tmp_path: Path) -> None:
    hours = read_hourly(log(tmp_path, *(event("units_sold", 0, 9, 1.0, shop) for shop in (10, 9))))
    assert hours.items == sorted(hours.items, key=natural) == ["city-0/store-9:7", "city-0/store-10:7"]


def test_a_log_without_sales_by_the_hour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its inventory has no units_sold; import a data set"):
        read_hourly(log(tmp_path, event("ran_out", 0, 9)))
    with pytest.raises(UsageError, match="is no event log"):
        read_hourly(tmp_path / "elsewhere")
