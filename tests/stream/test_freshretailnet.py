from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from features.eventlog import read_inventory
from features.rows import InventoryKind
from stream.errors import UsageError
from stream.events import InventoryEvent, PriceSet, RanOut, Restocked, UnitsSold
from stream.imports import build_event_log, known_sets
from stream.imports.dataset import Imported
from stream.imports.freshretailnet import WAYS, read_freshretailnet

HOUR_MS = 3_600_000
START = date(2024, 3, 28)
START_MS = int(datetime(2024, 3, 28, tzinfo=UTC).timestamp() * 1000)
TYPES: dict[str, Any] = {
    **dict.fromkeys(("city_id", "store_id", "product_id"), pl.Int16),
    **dict.fromkeys(("first_category_id", "second_category_id", "third_category_id"), pl.Int16),
    "dt": pl.Date,
    "discount": pl.Float32,
    "hourly_sale": pl.List(pl.Float32),
    "hourly_stockout": pl.List(pl.UInt8),
}


def row(
    day: int = 1,
    product: int = 17,
    sold: dict[int, float] | None = None,
    out: Any = (),
    store: int = 5,
    price: float | None = 1.0,
) -> Any:
    """A day (1 is the 28th of March), with sales by hour and the hours that are flagged."""
    sale = [(sold or {}).get(hour, 0.0) for hour in range(24)]
    flags = [int(hour in out) for hour in range(24)]
    return 2, store, product, 29, 12, 101, START + timedelta(days=day - 1), price, sale, flags


def written(tmp_path: Path, *rows: Any) -> Path:
    source = tmp_path / "fresh.parquet"
    pl.DataFrame(list(rows), schema=TYPES, orient="row").write_parquet(source)
    return source


def imported(tmp_path: Path, *rows: Any) -> tuple[Imported, list[InventoryEvent]]:
    made = read_freshretailnet(written(tmp_path, *rows))
    assert made.inventory is not None
    return made, list(made.inventory)


def stock_of(events: list[InventoryEvent]) -> list[InventoryEvent]:
    return [event for event in events if not isinstance(event, PriceSet)]


def prices(events: list[InventoryEvent]) -> list[tuple[float, int, int]]:
    """Discounts, the day that each is valid from, and how many ms before that it was told."""
    found = [event for event in events if isinstance(event, PriceSet)]
    days = [(e.valid_from_ms - START_MS) / HOUR_MS / 24 for e in found]
    return [(e.discount, int(day) + 1, e.valid_from_ms - e.event_time_ms) for e, day in zip(found, days, strict=True)]


def told(events: list[InventoryEvent]) -> list[tuple[str, float]]:
    """What happened, and how many hours after the first midnight; prices and hours without sales are left out."""
    names = {UnitsSold: "sold", RanOut: "out", Restocked: "in"}
    kept = [event for event in stock_of(events) if getattr(event, "quantity", 1.0) > 0]
    return [(names[type(event)], (event.event_time_ms - START_MS) / HOUR_MS) for event in kept]


def test_an_hour_with_sales_is_told_at_its_last_millisecond(tmp_path: Path) -> None:
    made, events = imported(tmp_path, row(sold={9: 0.12, 23: 1.5}))
    first, closing, second = stock_of(events)
    assert isinstance(closing, UnitsSold)
    assert (closing.quantity, closing.event_time_ms) == (0.0, START_MS + 22 * HOUR_MS - 1)
    assert isinstance(first, UnitsSold)
    assert (first.location, first.sku, first.quantity, first.period_ms) == ("city-2/store-5", "17", 0.12, HOUR_MS)
    assert first.event_time_ms == START_MS + 10 * HOUR_MS - 1
    assert second.event_time_ms == START_MS + 24 * HOUR_MS - 1
    assert not first.simulated
    assert made.report.rows == {"days": 1, "rejected": 0}
    assert made.report.events == {"price_set": 1, "product": 1, "ran_out": 0, "restocked": 0, "units_sold": 3}


def test_flags_make_events_where_they_change(tmp_path: Path) -> None:
    _, events = imported(tmp_path, row(out=range(12, 15)))
    assert told(events) == [("out", 12.0), ("in", 15.0)]


def test_overnight_flags_are_noise_but_overnight_sales_are_sales(tmp_path: Path) -> None:
    _, events = imported(tmp_path, row(1, sold={3: 1.0}, out=[0, 5, 22, 23]), row(2, out=range(6)))
    assert told(events) == [("sold", 4.0 - 1 / HOUR_MS)]


def test_what_is_out_at_closing_time_is_out_until_a_later_opening_hour(tmp_path: Path) -> None:
    _, events = imported(tmp_path, row(1, out=range(20, 24)), row(2, out=range(8)), row(4, out=[21]))
    assert told(events) == [("out", 20.0), ("in", 24.0 + 8.0), ("out", 72.0 + 21.0)]


def test_an_item_that_begins_out_of_stock_has_run_out_at_its_first_opening_hour(tmp_path: Path) -> None:
    _, events = imported(tmp_path, row(out=range(7)))
    assert told(events) == [("out", 6.0), ("in", 7.0)]


def test_a_price_is_told_the_evening_before_where_it_changes(tmp_path: Path) -> None:
    off = {1: 0.8, 2: 0.8, 3: 1.0, 4: 1.05, 6: 0.799}
    made, events = imported(tmp_path, *(row(day, price=price) for day, price in off.items()))
    assert prices(events) == [(0.2, 1, 1), (0.0, 3, 1), (0.201, 6, 1)]
    assert made.report.events["price_set"] == 3


def test_each_item_has_prices_of_its_own(tmp_path: Path) -> None:
    rows = [
        row(1, 7, price=0.5),
        row(1, 8, price=0.9),
        row(2, 7, price=0.9),
        row(2, 8, price=0.9),
        row(2, 9, price=1.0),
    ]
    _, events = imported(tmp_path, *rows)
    found = [(e.sku, e.discount) for e in events if isinstance(e, PriceSet)]
    assert found == [("7", 0.5), ("8", 0.1), ("7", 0.1), ("9", 0.0)]


def test_events_of_all_items_are_in_order_of_time(tmp_path: Path) -> None:
    sold = dict.fromkeys(range(24), 1.0)
    rows = [row(day, product, sold, out=[product]) for product in (9, 8, 7) for day in (2, 1)]
    _, events = imported(tmp_path, *rows)
    times = [event.event_time_ms for event in events]
    assert times == sorted(times)
    assert len({event.event_id for event in events}) == len(events) == 2 * 3 * (24 + 2) + 3


def test_rows_that_cannot_be_read_are_rejected_and_counted(tmp_path: Path) -> None:
    good, short, twice = row(1, sold={8: 1.0}), list(row(2)), row(1, sold={8: 2.0})
    short[8] = short[8][:23]
    negative, endless, flag = row(3, sold={8: -1.0}), row(4, sold={8: float("nan")}), list(row(5))
    flag[9] = [2] * 24
    priced = [row(7, price=price) for price in (-0.1, float("nan"), float("inf"), None)]
    made, events = imported(tmp_path, good, short, twice, negative, endless, flag, *priced, row(6))
    assert made.report.rows == dict(zip(WAYS, (2, 9), strict=True))
    assert [getattr(event, "quantity", None) for event in stock_of(events)] == [1.0, 0.0, 0.0]


def test_the_catalog_says_what_is_made_up(tmp_path: Path) -> None:
    made, _ = imported(tmp_path, row(product=17), row(product=3, store=6))
    assert [(p.sku, p.name, p.category) for p in made.catalog] == [
        ("3", "Product 3", "29/12/101"),
        ("17", "Product 17", "29/12/101"),
    ]
    assert made.catalog[0].simulated == ["name", "unit_price", "lead_time_days"]


def test_the_event_log_has_what_the_set_has_and_nothing_simulated(tmp_path: Path) -> None:
    source = written(tmp_path, row(1, sold={8: 0.5}, out=[20, 21]))
    info = build_event_log("freshretailnet", source, tmp_path / "log")
    assert info.records == {"catalog": 1, "inventory": 4}
    assert not info.simulate
    assert build_event_log("freshretailnet", source, tmp_path / "log") == info, "made once"
    rows = read_inventory(tmp_path / "log")
    assert list(rows.entities) == ["city-2/store-5:17"] * 3
    kinds = [InventoryKind.UNITS_SOLD, InventoryKind.RAN_OUT, InventoryKind.UNITS_SOLD]
    assert rows.columns["kind"].tolist() == kinds
    assert rows.columns["quantity"].tolist() == [500, 0, 0]
    report = msgspec.json.decode((tmp_path / "log" / "import_report.json").read_bytes())
    assert report["rows_read"] == 1


def test_other_tables_and_options_are_refused(tmp_path: Path) -> None:
    assert known_sets()["freshretailnet"].attribution.endswith("CC BY 4.0")
    other = tmp_path / "other.parquet"
    pl.DataFrame({"dt": [START]}).write_parquet(other)
    with pytest.raises(UsageError, match=r"has no column city_id, .*this is not the FreshRetailNet table"):
        read_freshretailnet(other)
    with pytest.raises(UsageError, match=r"gone\.parquet: cannot be read"):
        read_freshretailnet(tmp_path / "gone.parquet")
    with pytest.raises(UsageError, match="no orders to count; leave --orders out"):
        read_freshretailnet(written(tmp_path, row()), orders=10)


def test_the_set_as_it_is_published(tmp_path: Path) -> None:
    source = written(tmp_path, row(sold={9: 0.5}, out=(12, 13)), row(day=2, price=0.8))
    published = pl.read_parquet(source).rename({"hourly_sale": "hours_sale", "hourly_stockout": "hours_stock_status"})
    other = tmp_path / "train.parquet"
    published.with_columns(pl.col("dt").cast(pl.String), sale_amount=pl.lit(0.5)).write_parquet(other)
    mine, theirs = (read_freshretailnet(path) for path in (source, other))
    assert mine.inventory is not None
    assert theirs.inventory is not None
    assert list(mine.inventory) == list(theirs.inventory)
    assert (mine.catalog, mine.report) == (theirs.catalog, theirs.report)


@pytest.mark.parametrize(
    ("column", "holds", "why"),
    [
        ("dt", pl.lit("yesterday"), r"column dt holds String, not Date: .*parse dates"),
        ("store_id", pl.lit("corner shop"), r"column store_id holds String, not Int64: .*corner shop"),
        ("hourly_sale", pl.lit(1.0), r"column hourly_sale holds Float64, not List\(Float64\)"),
    ],
)
def test_a_column_that_holds_something_else_is_named(tmp_path: Path, column: str, holds: pl.Expr, why: str) -> None:
    source = written(tmp_path, row())
    pl.read_parquet(source).with_columns(holds.alias(column)).write_parquet(source)
    with pytest.raises(UsageError, match=rf"fresh\.parquet: {why}"):
        read_freshretailnet(source)


def test_the_command_asks_for_the_file() -> None:
    from stream.cli import app

    refused = CliRunner().invoke(app, ["import", "freshretailnet"])
    assert refused.exit_code != 0
    assert "does not come with Tidecast; give its file as --source" in str(refused.exception) + refused.output
