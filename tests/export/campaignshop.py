"""The made-up shop with four campaigns: 20 products each, mailed to every household."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from tests.export.shop import DAY_MS, FIRST_MS, write_shop

BEGINS_DAYS = (60, 90, 120, 150)


def write_campaign_shop(directory: Path, seed: int = 3) -> Path:
    """As `write_shop`, with offers.parquet and clicks.parquet as the importer writes them."""
    write_shop(directory, seed=seed)
    rng = np.random.default_rng(seed)
    offers, clicks = [], []
    for number, day in enumerate(BEGINS_DAYS):
        begins, name = FIRST_MS + day * DAY_MS, f"campaign-{number}-{'AB'[number % 2]}"
        skus = [f"{10_000 + p}" for p in rng.choice(80, 20, replace=False)]
        for coupon, held in (("7", skus), ("8", skus[:5])):
            offers.append({"offer_id": f"{name}/{coupon}", "sku": held[0], "skus": held, "valid_from_ms": begins})
        clicks += [
            {"type": "offer_impression", "customer_id": str(who), "offer_id": name, "event_time_ms": begins}
            for who in range(60)
        ]
    offers.append({"offer_id": "simulated", "sku": "10000", "skus": [], "valid_from_ms": FIRST_MS})
    pl.DataFrame(offers).write_parquet(directory / "offers.parquet")
    pl.DataFrame(clicks).write_parquet(directory / "clicks.parquet")
    return directory
