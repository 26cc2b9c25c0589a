"""An event log without the last order of each customer, to train on what may be known when that one is asked.

Example: `python -m export.datasets.lastbaskets events events-but-last`
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import polars as pl


def without_last(events: Path, into: Path) -> Path:
    """Writes the log; orders of unknown customers, cancellations and returns stay.

    Args:
        events: the event log.
        into: the directory to write, which is made.

    Returns:
        That directory.
    """
    orders = pl.read_parquet(events / "orders.parquet").with_row_index("at")
    placed = orders.filter((pl.col("type") == "order_placed") & pl.col("customer_id").is_not_null())
    last = placed.group_by("customer_id").agg(pl.col("at").max())
    into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(events / "catalog.parquet", into / "catalog.parquet")
    left = orders.join(last, on="at", how="anti").sort("at").drop("at")
    left.write_parquet(into / "orders.parquet.part")
    (into / "orders.parquet.part").rename(into / "orders.parquet")  # whoever finds it finds it whole
    return into


if __name__ == "__main__":
    without_last(Path(sys.argv[1]), Path(sys.argv[2]))
