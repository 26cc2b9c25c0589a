"""Hours of items, from the inventory of an event log: what each item sold, and whether it was in stock.

An hour counts as out of stock from the `ran_out` at its start to the `restocked` of a later hour. A day on which
nothing at all was told of an item is unknown. A log without `price_set` has no prices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from export.datasets.prices import planned_discount, prices_of
from export.errors import UsageError
from features.aggregations.base import DAY_MS, HOUR_MS
from features.logfile import EventLogError, has_topic, topic_file
from features.vectors.shelf import OPENING

IN_STOCK, OUT_OF_STOCK, UNKNOWN = 0, 1, 2
DAY_HOURS = 24
#: What is read of a line of JSON.
_COLUMNS = {
    "type": pl.String,
    "event_time_ms": pl.Int64,
    "location": pl.String,
    "sku": pl.String,
    "quantity": pl.Float64,
    "discount": pl.Float64,
    "valid_from_ms": pl.Int64,
}


@dataclass(frozen=True, slots=True)
class Hourly:
    """Whole days, opening hours only; t hours by s items.

    Args:
        items: item keys in natural order of location (within its region) and product, length s.
        first_day: the day of the first rows, counted from 1970.
        opens: the first opening hour of a day.
        a_day: opening hours a day.
        sold: units sold in each hour, float32 of shape (t, s).
        state: `IN_STOCK`, `OUT_OF_STOCK` or `UNKNOWN`, int8 of shape (t, s).
        discount: what is taken off the usual price on each day and on the one after the last, as was told before it
            began, 0 to 1, NaN where no price was told, float32 of shape (days + 1, s); None where the log tells no
            prices.
    """

    items: list[str]
    first_day: int
    opens: int
    a_day: int
    sold: NDArray[np.float32]
    state: NDArray[np.int8]
    discount: NDArray[np.float32] | None = None

    @property
    def day(self) -> NDArray[np.int64]:
        """The day of each row, counted from 1970, of shape (t,)."""
        return self.first_day + np.arange(len(self.sold)) // self.a_day

    @property
    def hour(self) -> NDArray[np.int64]:
        """Opening hours before that of each row on its day, of shape (t,)."""
        return np.arange(len(self.sold)) % self.a_day

    def until_day(self, day: int) -> Hourly:
        """The days before that one (counted from 1970), as if nothing of it had been told but its prices."""
        days = day - self.first_day
        rows, discount = days * self.a_day, None if self.discount is None else self.discount[: days + 1]
        return replace(self, sold=self.sold[:rows], state=self.state[:rows], discount=discount)

    def ahead(self, hours: int) -> NDArray[np.int8]:
        """The state so many opening hours later; unknown after closing time. Of shape (t, s)."""
        later = np.full_like(self.state, UNKNOWN)
        later[:-hours] = self.state[hours:]
        later[self.hour + hours >= self.a_day] = UNKNOWN
        return later


def read_hourly(events: Path, opening: range = OPENING, until_ms: int | None = None) -> Hourly:
    """The hours of all items of an event log.

    Args:
        events: the event log's directory.
        opening: opening hours, UTC.
        until_ms: event time; what is told from then on is not read. The day that is under way then is the last: of it,
            an item counts as known that was known on the day before, and its hours to come as sold nothing.

    Raises:
        UsageError: there is no inventory, or it tells of no sales (until then).
    """
    scan = _scan(events)
    if until_ms is not None:
        scan = scan.filter(pl.col("event_time_ms") < until_ms)
    table = _read(scan)
    sales = table.filter(pl.col("type") == "units_sold")
    if sales.is_empty():
        raise _nothing(events, "" if until_ms is None else " before the moment asked about")
    items = sorted(table["item"].unique().to_list(), key=natural)
    code = pl.col("item").replace_strict(items, range(len(items)), return_dtype=pl.Int64)
    table = table.with_columns(item=code)
    first, last = int(sales["hour"].min()) // DAY_HOURS, int(sales["hour"].max()) // DAY_HOURS  # type: ignore[arg-type]
    last = last if until_ms is None else (until_ms - 1) // DAY_MS
    days, shape = last - first + 1, ((last - first + 1) * DAY_HOURS, len(items))
    at = table.filter(pl.col("hour").is_between(first * DAY_HOURS, (last + 1) * DAY_HOURS - 1))
    hour, item = at["hour"].to_numpy() - first * DAY_HOURS, at["item"].to_numpy()
    sold = np.zeros(shape, np.float32)
    units = np.where(at["type"] == "units_sold", at["quantity"].fill_null(0.0).to_numpy(), 0.0)
    np.add.at(sold, (hour, item), units.astype(np.float32))
    state = _states(at, hour, item, shape)
    known = np.zeros((days, len(items)), bool)
    known[hour // DAY_HOURS, item] = True
    if until_ms is not None and until_ms % DAY_MS and days > 1:
        known[-1] |= known[-2]
    state[~np.repeat(known, DAY_HOURS, axis=0)] = UNKNOWN
    open_ = np.isin(np.arange(shape[0]) % DAY_HOURS, np.array(opening))
    discount = planned_discount(prices_of(scan, items), first, days + 1, len(items))
    return Hourly(items, first, opening.start, len(opening), sold[open_], state[open_], discount)


def told_until(events: Path) -> int:
    """The end of the last hour of which a log tells, as event time.

    Raises:
        UsageError: its inventory tells nothing by the hour.
    """
    last = _by_the_hour(_scan(events)).select(pl.col("event_time_ms").max()).collect().item()
    if last is None:
        raise _nothing(events)
    return (int(last) // HOUR_MS + 1) * HOUR_MS


def _nothing(events: Path, when: str = "") -> UsageError:
    return UsageError(f"{events}: its inventory has no units_sold{when}; import a data set with sales by the hour")


def has_hours(events: Path) -> bool:
    """Whether an event log tells sales by the hour."""
    if not has_topic(events, "inventory"):
        return False
    sales = _scan(events).filter(pl.col("type") == "units_sold").head(1).collect()
    return len(sales) > 0


def natural(item: str) -> list[tuple[int, str]]:
    """A key that sorts numbers as numbers; what stands before a slash, the region, takes no part.

    >>> sorted(["north/shop-10:2", "south/shop-9:3"], key=natural)
    ['south/shop-9:3', 'north/shop-10:2']
    """
    location, _, sku = item.partition(":")
    parts = re.split(r"(\d+)", f"{location.rpartition('/')[2]}:{sku}")
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _scan(events: Path) -> pl.LazyFrame:
    try:
        path = topic_file(events, "inventory")
    except (FileNotFoundError, EventLogError) as error:
        raise UsageError(str(error)) from error
    return pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_ndjson(path, schema=_COLUMNS)


def _by_the_hour(scan: pl.LazyFrame) -> pl.LazyFrame:
    return scan.filter(pl.col("type").is_in(["units_sold", "ran_out", "restocked"]))


def _read(scan: pl.LazyFrame) -> pl.DataFrame:
    item, hour = pl.concat_str("location", "sku", separator=":"), pl.col("event_time_ms") // HOUR_MS
    return _by_the_hour(scan).select("type", "quantity", hour=hour, item=item).collect()


def _states(
    table: pl.DataFrame, hour: NDArray[np.int64], item: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.int8]:
    """In or out of stock, carried on from the latest change; items begin in stock."""
    change = np.full(shape, -1, np.int8)
    for kind, state in (("ran_out", OUT_OF_STOCK), ("restocked", IN_STOCK)):
        of = (table["type"] == kind).to_numpy()
        change[hour[of], item[of]] = state
    row = np.where(change >= 0, np.arange(shape[0])[:, None], 0)
    np.maximum.accumulate(row, axis=0, out=row)
    change[0] = np.maximum(change[0], IN_STOCK)
    return np.take_along_axis(change, row, axis=0)
