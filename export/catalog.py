"""The catalog of an event log, complete: every product that was ordered is in it, with the schema's defaults."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from features.eventlog import read_catalog
from features.logfile import topic_file

_DEFAULTS: dict[str, pl.Expr] = {
    "category": pl.lit(None, pl.String),
    "lead_time_days": pl.lit(7.0),
}
_COLUMNS = ("sku", "name", "unit_price", *_DEFAULTS)
#: What is read of a line of JSON.
_ORDER = {"lines": pl.List(pl.Struct({"sku": pl.String, "unit_price": pl.Float64}))}


def read_products(directory: Path) -> pl.DataFrame:
    """Products of a log: sku, name, unit_price, category and lead_time_days, in the catalog's order.

    A log may have no catalog, or lack products that were ordered: those are called by their sku and cost the median of
    what was paid.

    Raises:
        FileNotFoundError: there are no orders either.
    """
    try:
        listed = read_catalog(directory)
    except FileNotFoundError:
        return _ordered(directory)
    missing = [default.alias(name) for name, default in _DEFAULTS.items() if name not in listed.columns]
    listed = listed.with_columns(missing).select(_COLUMNS)
    listed = listed.with_columns(pl.col(name).fill_null(default) for name, default in _DEFAULTS.items())
    listed = listed.cast({"unit_price": pl.Float64, "lead_time_days": pl.Float64, "category": pl.String})
    try:
        more = _ordered(directory).join(listed, on="sku", how="anti")
    except FileNotFoundError:  # stock and clicks make a log, too
        return listed
    return pl.concat([listed, more]) if len(more) else listed


def categories(directory: Path) -> dict[str, str | None]:
    """The category of each product of a log."""
    return dict(read_products(directory).select("sku", "category").iter_rows())


def _ordered(directory: Path) -> pl.DataFrame:
    """Every product of the orders, by sku."""
    path = topic_file(directory, "orders")
    orders = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_ndjson(path, schema=_ORDER)
    lines = orders.select(pl.col("lines").explode()).select(
        pl.col("lines").struct.field("sku"), pl.col("lines").struct.field("unit_price").cast(pl.Float64)
    )
    found = lines.drop_nulls("sku").group_by("sku").agg(pl.col("unit_price").median().fill_null(0.0)).sort("sku")
    return (
        found.with_columns(pl.col("sku").alias("name"), *(d.alias(n) for n, d in _DEFAULTS.items()))
        .select(_COLUMNS)
        .collect()
    )
