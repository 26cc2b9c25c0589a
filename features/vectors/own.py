"""Own products: how often, how lately and at what rhythm a customer bought each product of its repertoire."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times, kernel
from features.table import EntityTable

#: Numbers of a product that the customer bought, in column order, with what each means.
OWN: dict[str, str] = {
    "own_orders": "orders with this product",
    "own_share": "share of the customer's baskets with this product",
    "own_days_since": "days since this product was last bought",
    "own_gap_days": "mean days between purchases of this product",
    "own_due": "days since last bought over the product's own mean gap",
    "own_weight": "orders with this product, decayed (half-life 60 days)",
    "own_orders_since": "baskets since this product was last bought",
    "own_in_last_5": "how many of the last 5 baskets had this product",
}


@kernel
def _of_last_5(bits: Any, behind: Any) -> int:
    """How many of the last five baskets had a product that was last in the basket `behind` baskets ago."""
    n = 0
    for place in range(5 - behind):
        n += (bits >> place) & 1
    return n


@kernel
def _assemble(
    slots: Any,
    as_of: Any,
    baskets: Any,
    number: Any,
    product: Any,
    last: Any,
    weight: Any,
    first_day: Any,
    n: Any,
    bits: Any,
    basket: Any,
    half_life_days: float,
    out_product: Any,
    out: Any,
) -> None:
    for i in range(slots.shape[0]):
        s = slots[i]
        now = as_of[i] // 1000
        total = max(np.int64(baskets[s]), 1)
        for j in range(product.shape[1]):
            out_product[i, j] = product[s, j]
            if product[s, j] == 0:
                for c in range(out.shape[2]):
                    out[i, j, c] = np.nan
                continue
            bought: Any = np.int64(n[s, j])
            latest: Any = np.int64(last[s, j])
            first: Any = np.int64(first_day[s, j]) * 86400 + 43200
            since: Any = max(now - latest, 0) / 86400.0
            behind = (np.int64(number[s]) - np.int64(basket[s, j])) & 0xFFFF
            gap: Any = max(latest - first, 0) / 86400.0 / (bought - 1) if bought > 1 else np.nan
            out[i, j, 0] = bought
            out[i, j, 1] = bought / total
            out[i, j, 2] = since
            out[i, j, 3] = gap
            out[i, j, 4] = since / max(gap, 1.0) if bought > 1 else np.nan
            out[i, j, 5] = weight[s, j] * 2.0 ** (-since / half_life_days)
            out[i, j, 6] = behind
            out[i, j, 7] = _of_last_5(np.int64(bits[s, j]), behind)


def own_products(
    customers: EntityTable, slots: Slots, as_of_ms: Times
) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.float64]]:
    """The repertoires of the customers at `slots` as of event times `as_of_ms` (both of shape (n,)).

    Returns:
        Product ids, uint64 of shape (n, 32), 0 where there is none; their numbers, float32 of shape (n, 32, 8), columns
        as `OWN`, NaN is unknown; baskets of each customer, float64 of shape (n,).
    """
    repertoire, state, at = customers.part("customer_repertoire", "repertoire", slots, as_of_ms)
    product = np.empty((len(at), repertoire.size), np.uint64)
    own = np.empty((len(at), repertoire.size, len(OWN)), np.float32)
    _assemble(
        at,
        as_of_ms,
        state["baskets"],
        state["number"],
        state["product"],
        state["last_s"],
        state["weight"],
        state["first_day"],
        state["n"],
        state["bits"],
        state["basket"],
        repertoire.half_life_days,
        product,
        own,
    )
    return product, own, state["baskets"][at].astype(np.float64)
