"""A made-up chain of shops: hours of items, without an event log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from export.datasets.hourly import IN_STOCK, OUT_OF_STOCK, Hourly

OPENS, A_DAY = 6, 16
FIRST_DAY = 19_810


def made_up(days: int = 40, shops: int = 4, products: int = 3, seed: int = 1) -> Hourly:
    """Every morning each item gets a seeded number of units; each opening hour sells some, until they are gone."""
    rng = np.random.default_rng(seed)
    items = [f"city-{shop % 2}/store-{shop}:{product}" for shop in range(shops) for product in range(products)]
    supply = rng.integers(8, 40, (days, len(items)))
    wanted = rng.poisson(1.5, (days, A_DAY, len(items)))
    before = np.cumsum(wanted, axis=1) - wanted
    left = np.maximum(supply[:, None] - before, 0)
    state = np.where(left > 0, IN_STOCK, OUT_OF_STOCK).astype(np.int8)
    sold = np.minimum(wanted, left).astype(np.float32)
    shape = (days * A_DAY, len(items))
    return Hourly(items, FIRST_DAY, OPENS, A_DAY, sold.reshape(shape), state.reshape(shape))


def write_hours(directory: Path, hours: Hourly) -> Path:
    """Writes inventory.parquet and catalog.parquet as the importer does."""
    changed = np.diff(hours.state, axis=0, prepend=np.zeros((1, len(hours.items)), np.int8))
    told = hours.sold > 0
    told[hours.hour == hours.a_day - 1] = True
    begins_ms = (hours.day * 24 + hours.opens + hours.hour) * 3_600_000
    parts = [
        _events(hours, begins_ms + late, of, kind)
        for kind, of, late in (
            ("ran_out", changed > 0, 0),
            ("restocked", changed < 0, 0),
            ("units_sold", told, 3_599_999),
        )
    ]
    table = pl.concat(parts).sort("event_time_ms", maintain_order=True)
    directory.mkdir(parents=True, exist_ok=True)
    table.with_columns(event_id=pl.concat_str(pl.lit("e"), pl.int_range(pl.len()))).write_parquet(
        directory / "inventory.parquet"
    )
    skus = sorted({item.partition(":")[2] for item in hours.items})
    catalog = {"sku": skus, "name": [f"thing {s}" for s in skus], "unit_price": [1.0] * len(skus)}
    pl.DataFrame(catalog | {"lead_time_days": [1.0] * len(skus), "category": ["things"] * len(skus)}).write_parquet(
        directory / "catalog.parquet"
    )
    return directory


def _events(hours: Hourly, at_ms: NDArray[np.int64], of: NDArray[np.bool_], kind: str) -> pl.DataFrame:
    row, column = np.nonzero(of)
    places = [hours.items[c].split(":", 1) for c in column.tolist()]
    quantity = hours.sold[row, column].astype(np.float64) if kind == "units_sold" else np.full(len(row), np.nan)
    return pl.DataFrame(
        {
            "type": [kind] * len(row),
            "event_time_ms": at_ms[row],
            "location": [location for location, _ in places],
            "sku": [sku for _, sku in places],
            "quantity": quantity,
            "period_ms": [3_600_000 if kind == "units_sold" else None] * len(row),
        },
        schema_overrides={"period_ms": pl.Int64},
    ).with_columns(pl.col("quantity").fill_nan(None))
