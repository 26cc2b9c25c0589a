"""Prices of items by the day, from an event log's `price_set`: what was known of a day's price before it began."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.aggregations.base import DAY_MS

_COLUMNS = {"item": pl.Int64, "told_ms": pl.Int64, "from_ms": pl.Int64, "discount": pl.Float64}


def prices_of(inventory: pl.LazyFrame, items: list[str]) -> pl.DataFrame:
    """The prices of some items.

    Args:
        inventory: of an event log; it may tell no prices, and have no columns for them.
        items: their keys.

    Returns:
        `item` (its index), `told_ms` and `from_ms` (event times), `discount` (0 to 1).
    """
    if not {"discount", "valid_from_ms"} <= set(inventory.collect_schema().names()):
        return pl.DataFrame(schema=_COLUMNS)
    item = pl.concat_str("location", "sku", separator=":")
    told = inventory.filter(pl.col("type") == "price_set").select(
        item.replace_strict(items, range(len(items)), default=None, return_dtype=pl.Int64).alias("item"),
        pl.col("event_time_ms").alias("told_ms"),
        pl.col("valid_from_ms").alias("from_ms"),
        "discount",
    )
    return told.drop_nulls().collect()


def planned_discount(prices: pl.DataFrame, first_day: int, days: int, items: int) -> NDArray[np.float32] | None:
    """The discount of each day as was told before it began: of the prices valid by its start, that valid from the
    latest time; of two from the same time, the one told later. What is told or valid later counts for the next day.

    Args:
        prices: from `prices_of`.
        first_day: counted from 1970.
        days, items: the shape.

    Returns:
        float32 of shape (days, items), NaN where none was told; None where there are no prices.
    """
    if prices.is_empty():
        return None
    ordered = prices.sort("from_ms", "told_ms", maintain_order=True)
    told_ms, from_ms, item = (ordered[name].to_numpy() for name in ("told_ms", "from_ms", "item"))
    day = np.maximum(np.maximum(told_ms // DAY_MS + 1, -(-from_ms // DAY_MS)) - first_day, 0)
    on = np.flatnonzero(day < days)
    # The place in that order, from 1: the highest that counts by a day is what stands.
    place = np.zeros((days, items), np.int64)
    np.maximum.at(place, (day[on], item[on]), on + 1)
    np.maximum.accumulate(place, axis=0, out=place)
    return np.concatenate([[np.nan], ordered["discount"].to_numpy()]).astype(np.float32)[place]
