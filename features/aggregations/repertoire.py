"""Repertoire: a bounded table of a customer's products, with statistics of each, for reorder scores.

A basket is all lines of one customer at one event time. A product that does not fit evicts the one with the smallest
decayed weight. Cancellations and returns do not take part: a basket that was undone was still a wish (they are
counted in `customer_orders`). Late lines count, but do not move a product's last time back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Aggregation, Columns, Field, Slots, State, Times, kernel

_DAY_S = 86_400.0


@kernel
def _find(product: Any, last: Any, weight: Any, s: int, wanted: Any, now: int, half_life_s: float) -> int:
    """The place of `wanted`, or of the first free place, or of the weakest product."""
    weakest = -1
    lowest = 1e300
    for j in range(product.shape[1]):
        if product[s, j] == wanted:
            return j
        if product[s, j] == 0:
            return j
        strength = weight[s, j] * 2.0 ** ((np.float64(last[s, j]) - now) / half_life_s)
        if strength < lowest:
            lowest = strength
            weakest = j
    return weakest


@kernel
def _update(
    product: Any,
    last: Any,
    first: Any,
    n: Any,
    gap: Any,
    weight: Any,
    bits: Any,
    basket: Any,
    units: Any,
    baskets: Any,
    basket_second: Any,
    slots: Any,
    kinds: Any,
    times: Any,
    products: Any,
    quantities: Any,
    mask: int,
    half_life_s: float,
) -> None:
    for i in range(slots.shape[0]):
        if not mask & (1 << kinds[i]):
            continue
        s = slots[i]
        now = times[i] // 1000
        if now > np.int64(basket_second[s]):
            baskets[s] += 1
            basket_second[s] = now
        j = _find(product, last, weight, s, products[i], now, half_life_s)
        amount = quantities[i] / 1000.0
        if product[s, j] != products[i]:
            product[s, j] = products[i]
            last[s, j] = now
            first[s, j] = now
            n[s, j] = 1
            gap[s, j] = 0.0
            weight[s, j] = 1.0
            bits[s, j] = 1
            basket[s, j] = baskets[s]
            units[s, j] = amount
            continue
        units[s, j] += amount
        before = np.int64(last[s, j])
        if now > before:
            shift = np.int64(baskets[s]) - np.int64(basket[s, j])
            kept = (np.int64(bits[s, j]) << shift) & 0xFFFFFFFF if shift < 32 else 0
            bits[s, j] = kept | 1
            weight[s, j] = weight[s, j] * 2.0 ** ((before - now) / half_life_s) + 1.0
            n[s, j] += 1
            last[s, j] = now
            basket[s, j] = baskets[s]
        elif now < before and now != np.int64(first[s, j]):
            n[s, j] += 1
            weight[s, j] += 2.0 ** ((now - before) / half_life_s)
            first[s, j] = min(now, np.int64(first[s, j]))
        if n[s, j] > 1:
            # Gaps between ordered times add up to the span: exact, also with late lines, where a running mean is not.
            gap[s, j] = (np.int64(last[s, j]) - np.int64(first[s, j])) / 86400.0 / (np.int64(n[s, j]) - 1)


@dataclass(frozen=True)
class Repertoire(Aggregation):
    """Per-product statistics of the `size` products that matter most to a customer."""

    size: int = 32
    half_life_days: float = 60.0

    def fields(self) -> list[Field]:
        """A column a statistic, `size` long, and the customer's basket counter."""
        k = self.size
        return [
            Field("product", "u8", k),
            Field("last_s", "u4", k),
            Field("first_s", "u4", k),
            Field("n", "u4", k),
            Field("gap_days", "f4", k),
            Field("weight", "f4", k),
            Field("bits", "u4", k),
            Field("basket", "u4", k),
            Field("units", "f4", k),
            Field("baskets", "u4"),
            Field("basket_s", "u4"),
        ]

    def update(self, state: State, slots: Slots, columns: Columns) -> None:
        """Applies order lines."""
        _update(
            state["product"],
            state["last_s"],
            state["first_s"],
            state["n"],
            state["gap_days"],
            state["weight"],
            state["bits"],
            state["basket"],
            state["units"],
            state["baskets"],
            state["basket_s"],
            slots,
            columns["kind"],
            columns["event_time_ms"],
            columns["product"],
            columns["quantity"],
            self.mask,
            self.half_life_days * _DAY_S,
        )

    def read(self, state: State, slots: Slots, as_of_ms: Times) -> dict[str, NDArray[np.float64]]:
        """How many products and baskets there are; the table itself is read by `features.vectors.reorder`."""
        return {
            f"{self.name}_products": (state["product"][slots] != 0).sum(axis=1).astype(np.float64),
            f"{self.name}_baskets": state["baskets"][slots].astype(np.float64),
        }

    def describe(self) -> dict[str, str]:
        """Two columns."""
        return {
            f"{self.name}_products": f"{self.doc}: how many are held, at most {self.size}",
            f"{self.name}_baskets": "baskets so far",
        }
