"""Own products: how often, how lately and at what rhythm a customer bought each product of its repertoire."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times, kernel
from features.aggregations.repertoire import bought_ever, weight_of
from features.table import EntityTable

#: Numbers of a product that the customer bought, in column order, with what each means.
OWN: dict[str, str] = {
    "own_orders": "orders with this product",
    "own_share": "share of the customer's baskets with this product",
    "own_days_since": "days since this product was last bought",
    "own_gap_days": "mean days between purchases of this product, since it has been held",
    "own_due": "days since last bought over the product's own mean gap",
    "own_weight": "orders with this product, decayed (half-life 60 days)",
    "own_orders_since": "baskets since this product was last bought",
    "own_in_last_5": "how many of the last 5 baskets had this product",
}


@kernel
def of_last(most: int, bits: Any, behind: Any) -> int:
    """How many of the last `most` baskets had a product that was last in the basket `behind` baskets ago."""
    n = 0
    for place in range(most - behind):
        n += (bits >> place) & 1
    return n


@kernel
def baskets_behind(number: Any, basket: Any) -> int:
    """Baskets since the one with this number; both count to 65,536 and begin again."""
    return int((np.int64(number) - np.int64(basket)) & 0xFFFF)


@kernel
def fill_numbers(
    now_s: Any,
    baskets: Any,
    behind: Any,
    last_s: Any,
    strength: Any,
    first_day: Any,
    n: Any,
    past: Any,
    half_life_days: float,
    out: Any,
) -> None:
    """Puts the numbers of one product into the first columns of `out`, as `OWN` has them."""
    held: Any = np.int64(n)
    bought: Any = bought_ever(n, past, baskets)
    latest: Any = np.int64(last_s)
    first: Any = np.int64(first_day) * 86400 + 43200
    since: Any = max(now_s - latest, 0) / 86400.0
    gap: Any = max(latest - first, 0) / 86400.0 / (held - 1) if held > 1 else np.nan
    out[0] = bought
    out[1] = bought / max(np.int64(baskets), 1)
    out[2] = since
    out[3] = gap
    out[4] = since / max(gap, 1.0) if held > 1 else np.nan
    out[5] = weight_of(strength, since / half_life_days)
    out[6] = behind
    out[7] = of_last(5, np.int64(past), behind)


@kernel
def _assemble(
    slots: Any,
    as_of: Any,
    baskets: Any,
    number: Any,
    product: Any,
    last: Any,
    strength: Any,
    first_day: Any,
    n: Any,
    past: Any,
    basket: Any,
    half_life_days: float,
    out_product: Any,
    out: Any,
) -> None:
    for i in range(slots.shape[0]):
        s = slots[i]
        for j in range(product.shape[1]):
            out_product[i, j] = product[s, j]
            if product[s, j] == 0:
                for c in range(out.shape[2]):
                    out[i, j, c] = np.nan
                continue
            fill_numbers(
                as_of[i] // 1000,
                baskets[s],
                baskets_behind(number[s], basket[s, j]),
                last[s, j],
                strength[s, j],
                first_day[s, j],
                n[s, j],
                past[s, j],
                half_life_days,
                out[i, j],
            )


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
        state["strength"],
        state["first_day"],
        state["n"],
        state["past"],
        state["basket"],
        repertoire.half_life_days,
        product,
        own,
    )
    return product, own, state["baskets"][at].astype(np.float64)
