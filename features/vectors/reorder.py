"""Reorder vectors: a row a product of the customer's repertoire; and beside them, what each customer bought lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times, kernel
from features.table import EntityTable
from features.vectors.own import baskets_behind, fill_numbers, of_last

#: What is read, as view.aggregation: a model that was trained on these refuses others.
READS = (
    "customer_orders.orders",
    "customer_orders.spend",
    "customer_orders.order",
    "customer_orders.gap",
    "customer_orders.recent_orders",
    "customer_repertoire.repertoire",
    "customer_repertoire.purchases",
)

#: Numeric features in column order, with what each means.
FEATURES: dict[str, str] = {
    "product_orders": "orders with this product",
    "product_share": "share of the customer's orders with this product",
    "product_days_since": "days since this product was last bought",
    "product_gap_days": "mean days between purchases of this product, since it has been held",
    "product_due": "days since last bought over the product's own mean gap",
    "product_weight": "orders with this product, decayed (half-life 60 days)",
    "product_orders_since": "orders since this product was last bought",
    "product_in_last_5": "how many of the last 5 orders had this product",
    "product_in_last_10": "how many of the last 10 orders had this product",
    "product_units": "mean units an order with this product",
    "product_age_days": "days since this product was first bought, since it has been held (noon of that day)",
    "customer_orders": "orders of the customer",
    "customer_days_since": "days since the customer's last order",
    "customer_gap_days": "mean days between the customer's orders",
    "customer_gap_std": "deviation of the days between the customer's orders",
    "customer_due": "days since the last order over the customer's own mean gap",
    "customer_recent_orders": "orders of the customer, decayed (half-life 30 days)",
    "customer_order_value": "mean value of the customer's orders",
    "customer_age_days": "days since the customer's first order",
    "product_place": "place among the customer's products by decayed weight, 1 is the strongest; equal ones share it",
    "product_weight_share": "percent of the decayed weight of all the customer's products that is this one's",
    "repertoire_products": "products that are held of the customer",
    "repertoire_basket": "products an order, of those that are held",
    "repertoire_again": "percent of the purchases of products that are held that were not the first of theirs",
    "product_place_orders": "place among the customer's products by orders with them, decayed ones where equal",
    "product_place_shop_7d": "place among the customer's products by their lines in the shop over 7 days",
    "product_place_shop_28d": "place among the customer's products by their lines in the shop over 28 days",
    "shop_ppm_7d": "its order lines of the 7 days before today, of a million that the shop usually has in as many",
    "shop_ppm_28d": "its order lines of the 28 days before today, of a million that the shop usually has in as many",
    "shop_ppm_84d": "its order lines of the 84 days before today, of a million that the shop usually has in as many",
    "shop_trend_28d": "logarithm of its lines over 7 days over those of 28, both of a thousand, plus 2",
    "shop_trend_84d": "logarithm of its lines over 28 days over those of 84, both of a thousand, plus 2",
    "shop_again": "order lines of this product a customer who ever bought it, until the end of yesterday",
}

#: Joined features: of the product, whoever bought it. `reorder_rows` leaves them unknown; who knows them puts them in
#: with `join`, as training and evaluation do (`export/datasets/popularity.py`).
JOINED = tuple(name for name in FEATURES if name.startswith("shop_"))
_JOINED = [list(FEATURES).index(name) for name in JOINED]
#: Columns that are the place of others among a customer's products, as pairs of columns.
_PLACES = tuple(
    (list(FEATURES).index(f"shop_ppm_{days}d"), list(FEATURES).index(f"product_place_shop_{days}d")) for days in (7, 28)
)
_UNKNOWN = np.array([*_JOINED, *(place for _, place in _PLACES)])


@dataclass(frozen=True, slots=True)
class ReorderRows:
    """Rows of many customers, grouped by customer.

    Args:
        customer: index into the slots that were asked for, int64 of shape (n,).
        product: product ids, uint64 of shape (n,).
        features: float32 of shape (n, 33), columns as `FEATURES`; NaN is unknown.
        recent: the latest purchases of each customer that was asked for, newest first: product ids, uint64 of shape
            (c, 16), 0 where there is none.
        age_days: of those, float32 of shape (c, 16), NaN where there is none.
    """

    customer: NDArray[np.int64]
    product: NDArray[np.uint64]
    features: NDArray[np.float32]
    recent: NDArray[np.uint64]
    age_days: NDArray[np.float32]


@kernel
def _compare(out: Any, begin: int, end: int, orders: Any, unknown: Any) -> None:
    """What a product is among those of its customer, rows `begin` to `end`, by the weights as they are told."""
    weights, bought = 0.0, 0.0
    for row in range(begin, end):
        weights += out[row, 5]
        bought += out[row, 0]
    for row in range(begin, end):
        stronger, oftener = 0, 0
        for other in range(begin, end):
            if out[other, 5] > out[row, 5]:
                stronger += 1
            if out[other, 0] > out[row, 0] or (out[other, 0] == out[row, 0] and out[other, 5] > out[row, 5]):
                oftener += 1
        out[row, 19] = stronger + 1
        out[row, 24] = oftener + 1
        out[row, 20] = 100.0 * out[row, 5] / max(weights, 1e-30)
        out[row, 21] = end - begin
        out[row, 22] = bought / max(orders, 1)
        out[row, 23] = 100.0 * (bought - (end - begin)) / bought
        for c in unknown:
            out[row, c] = np.nan


@kernel
def _place(customer: Any, out: Any, of: int, into: int) -> None:
    """The place of each row's column `of` among the rows of its customer, 1 for the largest; NaN where unknown."""
    begin = 0
    for end in range(1, out.shape[0] + 1):
        if end < out.shape[0] and customer[end] == customer[begin]:
            continue
        for row in range(begin, end):
            larger = 0
            for other in range(begin, end):
                if out[other, of] > out[row, of]:
                    larger += 1
            out[row, into] = larger + 1 if out[row, of] == out[row, of] else np.nan
        begin = end


@kernel
def _assemble(
    slots: Any,
    as_of: Any,
    baskets: Any,
    number: Any,
    product: Any,
    last: Any,
    strength: Any,
    units: Any,
    first_day: Any,
    n: Any,
    past: Any,
    basket: Any,
    customer: Any,
    half_life_days: float,
    unknown: Any,
    out_customer: Any,
    out_product: Any,
    out: Any,
) -> int:
    row = 0
    for i in range(slots.shape[0]):
        s = slots[i]
        now = as_of[i] // 1000
        total = np.int64(baskets[s])
        begin = row
        for j in range(product.shape[1]):
            if product[s, j] == 0:
                break
            behind = baskets_behind(number[s], basket[s, j])
            out_customer[row] = i
            out_product[row] = product[s, j]
            fill_numbers(
                now,
                total,
                behind,
                last[s, j],
                strength[s, j],
                first_day[s, j],
                n[s, j],
                past[s, j],
                half_life_days,
                out[row],
            )
            first: Any = np.int64(first_day[s, j]) * 86400 + 43200
            out[row, 8] = of_last(10, np.int64(past[s, j]), behind)
            out[row, 9] = units[s, j] / max(np.int64(n[s, j]), 1)
            out[row, 10] = max(now - first, 0) / 86400.0
            for c in range(customer.shape[1]):
                out[row, 11 + c] = customer[i, c]
            row += 1
        _compare(out, begin, row, total, unknown)
    return row


def _customer_columns(customers: EntityTable, slots: Slots, as_of_ms: Times) -> NDArray[np.float64]:
    orders = customers.read("customer_orders", slots, as_of_ms)
    since, gap = orders["order_last_age_days"], orders["gap_mean_days"]
    placed = np.maximum(orders["orders"], 1.0)
    columns = [
        orders["orders"],
        since,
        gap,
        orders["gap_std_days"],
        since / np.maximum(gap, 1.0),
        orders["recent_orders"],
        orders["spend"] / placed,
        orders["order_first_age_days"],
    ]
    return np.column_stack(columns)


def reorder_rows(customers: EntityTable, slots: Slots, as_of_ms: Times) -> ReorderRows:
    """Assembles the rows of the customers at `slots` as of event times `as_of_ms` (both of shape (c,))."""
    columns = _customer_columns(customers, slots, as_of_ms)
    purchases, held, at = customers.part("customer_repertoire", "purchases", slots, as_of_ms)
    recent, age_days = purchases.sequence(held, at, as_of_ms)
    repertoire, state, slots = customers.part("customer_repertoire", "repertoire", slots, as_of_ms)
    most = len(slots) * repertoire.size
    out_customer = np.empty(most, np.int64)
    out_product = np.empty(most, np.uint64)
    out = np.empty((most, len(FEATURES)), np.float32)
    n = _assemble(
        slots,
        as_of_ms,
        state["baskets"],
        state["number"],
        state["product"],
        state["last_s"],
        state["strength"],
        state["units"],
        state["first_day"],
        state["n"],
        state["past"],
        state["basket"],
        columns,
        repertoire.half_life_days,
        _UNKNOWN,
        out_customer,
        out_product,
        out,
    )
    return ReorderRows(out_customer[:n], out_product[:n], out[:n], recent, age_days.astype(np.float32))


def join(customer: NDArray[np.int64], features: NDArray[np.float32], joined: NDArray[np.float32]) -> None:
    """Puts joined features into rows, with what follows of them; in place.

    Args:
        customer: of each row, equal ones side by side, int64 of shape (n,).
        features: of the rows, float32 of shape (n, 33).
        joined: the columns `JOINED`, float32 of shape (n, 6); NaN is unknown.
    """
    features[:, _JOINED] = joined
    for of, into in _PLACES:
        _place(customer, features, of, into)
