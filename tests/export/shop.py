"""A small made-up shop: customers with habits, 200 days, so that a whole release takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

DAY_MS = 86_400_000
FIRST_MS = 15_000 * DAY_MS


def write_shop(directory: Path, days: int = 215, customers: int = 60, products: int = 80, seed: int = 3) -> Path:
    """Writes orders.parquet and catalog.parquet as the importer does."""
    rng = np.random.default_rng(seed)
    favourites = [rng.choice(products, min(12, products), replace=False) for _ in range(customers)]
    rows = []
    for customer in range(customers):
        gap = rng.uniform(3, 12)
        time = rng.uniform(0, gap)
        while time < days:
            habits = rng.choice(favourites[customer], min(4, products), replace=False).tolist()
            basket = sorted({*habits, int(rng.integers(products))})
            rows.append((FIRST_MS + int(time * DAY_MS), customer, basket))
            time += rng.exponential(gap) + 0.1
    rows.sort()
    orders = [
        {
            "type": "order_cancelled" if i % 50 == 49 else "order_placed",
            "event_id": f"e{i}",
            "event_time_ms": time,
            "order_id": f"o{i}",
            "location": "warehouse",
            "lines": [
                {"sku": f"{10_000 + p}", "quantity": float(rng.integers(1, 20)), "unit_price": 1.5, "discount": 0.0}
                for p in basket
            ],
            "customer_id": None if i % 40 == 39 else str(customer),
            "region": "UK",
        }
        for i, (time, customer, basket) in enumerate(rows)
    ]
    directory.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(orders).write_parquet(directory / "orders.parquet")
    colours, things = ("red", "blue", "green", "white"), ("mug", "bag", "bowl", "box", "lamp")
    catalog = [
        {
            "sku": f"{10_000 + p}",
            "name": f"{colours[p % 4]} {things[p % 5]} {p}",
            "unit_price": 1.0 + p / 10,
            "lead_time_days": float(3 + p % 19),
        }
        for p in range(products)
    ]
    pl.DataFrame(catalog).write_parquet(directory / "catalog.parquet")
    return directory
