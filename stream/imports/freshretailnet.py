"""FreshRetailNet-50K: hourly sales and real stock-outs of fresh goods in stores, to `inventory` and `catalog`.

A row of the source is a day of a product in a store, with 24 hourly sales and 24 hourly out-of-stock flags. Rules:

* Times have no zone in the source; they are taken as UTC, so that a day here is a day there.
* An item is `city-C/store-S:P`: what stands before the slash of a location is its region.
* Each hour with sales is `units_sold`, at the last millisecond of the hour; so is the last opening hour of each day
  even without sales, that a day without sales differs from one without data. Another hour without event sold nothing.
* Flags count in opening hours (6 to 21) only; overnight they are noise. An opening hour that is flagged after one that
  is not (of the same item, the day before included) is `ran_out` at its start; the other way round is `restocked`.
  An item that begins out of stock has run out at its first opening hour; one that begins in stock makes no event.
* Overnight sales are kept: they were sold. Sales within a flagged hour are kept as well: they came before it ran out.
* `price_set` where the discount of an item's day is another than that of its day before, and for its first day: told at
  the last millisecond of the day before, valid from the day's start. The source's 0.8 is 0.2 taken off; what is above
  1, a price above the usual, is 0 off.
* A row is rejected where a list is not 24 long, a sale is negative or no number, a flag is neither 0 nor 1, the
  discount is negative or no number, or the day of the item was seen before.
* The source's products have no names, prices and lead times. The catalog says so: price 0 and one day are made up. The
  category is "first/second/third", in the source's numbers.
* Activity, holiday and weather are left out; weather of the same day was not known that morning anyway.

What is weak in the prices: the source tells one discount a day, of that day, and not when it was set. It is taken as
the plan that the shop had the evening before; it is probably the average of what was paid, so it may hold a markdown
made later that day, and on a day without a sale it is nearer to the usual price than in the city's other shops. What
comes of that is measured in docs/research/stockout.md.

Source: Dingdong, FreshRetailNet-50K (2025), https://huggingface.co/datasets/Dingdong-Inc/FreshRetailNet-50K, CC BY 4.0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.rows import MAX_AMOUNT, MAX_QUANTITY
from stream.errors import UsageError
from stream.eventlog import Progress
from stream.events import InventoryEvent, PriceSet, Product, RanOut, Restocked, UnitsSold
from stream.imports.dataset import Imported, ImportReport, KnownSet
from stream.imports.source import Kind, read_columns

#: Opening hours, 6:00 to 21:59.
OPENING = range(6, 22)

#: What a row can become: the keys of the report's `rows`.
WAYS = ("days", "rejected")

_HOUR_MS = 3_600_000
_HOURS = 24
_IDS = ("city_id", "store_id", "product_id")
_CATEGORIES = ("first_category_id", "second_category_id", "third_category_id")
_COLUMNS: dict[str, Kind] = {
    **dict.fromkeys((*_IDS, *_CATEGORIES), pl.Int64),
    "dt": pl.Date,
    "discount": pl.Float64,
    "hourly_sale": pl.List(pl.Float64),
    "hourly_stockout": pl.List(pl.Int64),
}
#: What the columns of hours are called where the set is published; in the shipped part they are called as above.
_PUBLISHED = {"hourly_sale": "hours_sale", "hourly_stockout": "hours_stock_status"}
_RAN_OUT, _RESTOCKED = 1, -1


@dataclass(frozen=True, slots=True)
class _Day:
    """One day of all items that have it.

    Args:
        date: the day.
        item: index of the item, int64 of shape (n,).
        sold: units by hour, float64 of shape (n, 24).
        change: 1 where the item runs out at the start of the hour, -1 where it is restocked, int8 of shape (n, 24).
        discount: share of the usual price taken off, NaN where it is that of the day before, float64 of shape (n,).
    """

    date: date
    item: NDArray[np.int64]
    sold: NDArray[np.float64]
    change: NDArray[np.int8]
    discount: NDArray[np.float64]

    @property
    def told(self) -> NDArray[np.bool_]:
        """Where an hour's sales are an event, of shape (n, 24)."""
        told = self.sold > 0
        told[:, OPENING[-1]] = True
        return told


def read_freshretailnet(
    source: Path, orders: int | None = None, seed: int = 7, progress: Progress | None = None
) -> Imported:
    """Reads the data set into records; the inventory is made day by day, as it is taken.

    Args:
        source: the data set (or any part of its rows) as parquet, as it is published or as the shipped part.
        orders: must be None; the set has no orders.
        seed: takes no part: nothing is simulated.
        progress: told about each step.

    Returns:
        The catalog, the inventory, and the report; its row counts add up to the rows of the source.

    Raises:
        UsageError: the source is missing or is another table, or `orders` is given.
    """
    if orders is not None:
        raise UsageError("freshretailnet has no orders to count; leave --orders out")
    tell = progress or (lambda step, share: None)
    tell("reading days", 0.0)
    table = read_columns(source, _COLUMNS, "the FreshRetailNet table", "the FreshRetailNet file", _PUBLISHED)
    fit = table.filter(_fits()).unique(("store_id", "product_id", "dt"), keep="first", maintain_order=True)
    fit = fit.sort("dt", "city_id", "store_id", "product_id", maintain_order=True)
    items = fit.select(_IDS).unique(maintain_order=True)
    days = list(_days(fit, items))
    catalog = _catalog(fit)
    return Imported(
        orders=[],
        adjustments=[],
        catalog=catalog,
        report=_report(table.height, fit.height, days, len(catalog)),
        inventory=_events(days, items, tell),
    )


def _fits() -> pl.Expr:
    sale, flag = pl.col("hourly_sale"), pl.col("hourly_stockout")
    priced = pl.col("discount").is_between(0, MAX_AMOUNT)
    named = pl.all_horizontal(pl.col(*_IDS, *_CATEGORIES, "dt").is_not_null())
    sold = sale.list.eval(pl.element().is_between(0, MAX_QUANTITY).fill_null(False)).list.all()
    flagged = flag.list.eval(pl.element().is_in([0, 1]).fill_null(False)).list.all()
    return (named & priced & (sale.list.len() == _HOURS) & (flag.list.len() == _HOURS) & sold & flagged).fill_null(
        False
    )


def _days(table: pl.DataFrame, items: pl.DataFrame) -> Iterator[_Day]:
    numbered = table.join(items.with_row_index("item"), on=_IDS, how="left", maintain_order="left")
    out = np.zeros(items.height, np.int8)  # an item is in stock until it is seen to be out
    price = np.full(items.height, np.nan)
    for part in numbered.partition_by("dt", maintain_order=True):
        item = part["item"].to_numpy().astype(np.int64)
        flags = part["hourly_stockout"].explode().to_numpy().reshape(-1, _HOURS)[:, OPENING].astype(np.int8)
        before = np.column_stack([out[item], flags[:, :-1]])
        out[item] = flags[:, -1]
        change = np.zeros((len(item), _HOURS), np.int8)
        change[:, OPENING] = flags - before
        sold = part["hourly_sale"].explode().to_numpy().reshape(-1, _HOURS)
        # The source has four-byte floats: 0.12 is told as 0.12, not as 0.11999999731779099.
        off = (1.0 - np.minimum(part["discount"].to_numpy(), 1.0)).round(6)
        yield _Day(part["dt"][0], item, sold.round(6), change, np.where(off == price[item], np.nan, off))
        price[item] = off


def _catalog(table: pl.DataFrame) -> list[Product]:
    """A product a number, in order of the numbers; its category is that of its first row."""
    first = table.unique("product_id", keep="first", maintain_order=True).sort("product_id")
    return [
        Product(
            sku=str(product),
            name=f"Product {product}",
            unit_price=0.0,
            category="/".join(map(str, categories)),
            lead_time_days=1.0,
            simulated=["name", "unit_price", "lead_time_days"],
        )
        for product, *categories in first.select("product_id", *_CATEGORIES).iter_rows()
    ]


def _report(read: int, fit: int, days: list[_Day], products: int) -> ImportReport:
    made: Counter[str] = Counter()
    for day in days:
        made["units_sold"] += int(day.told.sum())
        made["ran_out"] += int((day.change == _RAN_OUT).sum())
        made["price_set"] += int(np.isfinite(day.discount).sum())
        made["restocked"] += int((day.change == _RESTOCKED).sum())
    rows = dict(zip(WAYS, (fit, read - fit), strict=True))
    return ImportReport(rows_read=read, rows=rows, events=dict(sorted({**made, "product": products}.items())))


def _events(days: list[_Day], items: pl.DataFrame, tell: Progress) -> Iterator[InventoryEvent]:
    """In event-time order: a day's prices the evening before, what changes as an hour begins, what it has sold."""
    places = [(f"city-{city}/store-{store}", str(product)) for city, store, product in items.iter_rows()]
    for number, day in enumerate(days):
        tell("making inventory events", number / len(days))
        yield from _prices(day, places)
        for hour in range(_HOURS):
            yield from _changes(day, hour, places)
            yield from _sales(day, hour, places)


def _prices(day: _Day, places: list[tuple[str, str]]) -> Iterator[InventoryEvent]:
    at, begins_ms = np.flatnonzero(np.isfinite(day.discount)), _start_ms(day, 0)
    for item, off in zip(day.item[at].tolist(), day.discount[at].tolist(), strict=True):
        common = _common(day, 0, places[item], "price")
        yield PriceSet(**common, event_time_ms=begins_ms - 1, discount=off, valid_from_ms=begins_ms)


def _changes(day: _Day, hour: int, places: list[tuple[str, str]]) -> Iterator[InventoryEvent]:
    at = np.flatnonzero(day.change[:, hour])
    for item, change in zip(day.item[at].tolist(), day.change[at, hour].tolist(), strict=True):
        kind = RanOut if change == _RAN_OUT else Restocked
        yield kind(**_common(day, hour, places[item], "stock"), event_time_ms=_start_ms(day, hour))


def _sales(day: _Day, hour: int, places: list[tuple[str, str]]) -> Iterator[InventoryEvent]:
    at = np.flatnonzero(day.told[:, hour])
    end_ms = _start_ms(day, hour) + _HOUR_MS - 1
    for item, sold in zip(day.item[at].tolist(), day.sold[at, hour].tolist(), strict=True):
        common = _common(day, hour, places[item], "sold")
        yield UnitsSold(**common, event_time_ms=end_ms, quantity=sold, period_ms=_HOUR_MS)


def _common(day: _Day, hour: int, place: tuple[str, str], what: str) -> dict[str, Any]:
    location, sku = place
    return {"event_id": f"frn-{location}-{sku}-{day.date}-{hour}-{what}", "location": location, "sku": sku}


def _start_ms(day: _Day, hour: int) -> int:
    return ((day.date - date(1970, 1, 1)) // timedelta(days=1) * _HOURS + hour) * _HOUR_MS


DATASET = KnownSet(
    name="freshretailnet",
    title="FreshRetailNet-50K: hourly sales and stock-outs of fresh goods, 90 days",
    attribution="Dingdong, FreshRetailNet-50K (2025), CC BY 4.0",
    read=read_freshretailnet,
    shipped=False,
    simulate=False,
)
