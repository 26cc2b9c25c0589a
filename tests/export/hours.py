"""A made-up chain of shops: hours of items, without an event log."""

from __future__ import annotations

import numpy as np

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
