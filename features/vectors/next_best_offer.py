"""Next-best-offer vectors: a customer's recent purchases and views, the products that it buys, and a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.aggregations.base import Slots, Times
from features.table import EntityTable
from features.vectors.own import own_products

#: What is read, as view.aggregation: a model that was trained on these refuses others.
READS = (
    "customer_clicks.recent_views",
    "customer_orders.orders",
    "customer_orders.spend",
    "customer_orders.order",
    "customer_orders.recent_orders",
    "customer_repertoire.purchases",
    "customer_repertoire.repertoire",
    "customer_session.viewed",
)

#: Numeric features in column order, with what each means.
FEATURES: dict[str, str] = {
    "customer_orders": "orders of the customer",
    "customer_days_since": "days since the customer's last order",
    "customer_order_value": "mean value of the customer's orders",
    "customer_recent_orders": "orders of the customer, decayed (half-life 30 days)",
    "customer_recent_views": "product pages opened, decayed (half-life 7 days)",
    "repertoire_products": "products that are held of the customer",
    "repertoire_basket": "products an order, of those that are held",
    "repertoire_again": "percent of the purchases of products that are held that were not the first of theirs",
}


@dataclass(frozen=True, slots=True)
class OfferRows:
    """Rows of customers; purchases come first in the sequences, then views.

    Args:
        features: float32 of shape (n, 8), columns as `FEATURES`; NaN is unknown.
        product: product ids, uint64 of shape (n, 32), 0 where there is none.
        age_days: float32 of shape (n, 32), NaN where there is none.
        viewed: 1 for views and carts, 0 for purchases, float32 of shape (n, 32).
        own_product: the products that the customer buys, uint64 of shape (n, 32), 0 where there is none.
        own: float32 of shape (n, 32, 8), columns as `features.vectors.own.OWN`; NaN is unknown, or no product.
    """

    features: NDArray[np.float32]
    product: NDArray[np.uint64]
    age_days: NDArray[np.float32]
    viewed: NDArray[np.float32]
    own_product: NDArray[np.uint64]
    own: NDArray[np.float32]


def offer_rows(customers: EntityTable, slots: Slots, as_of_ms: Times) -> OfferRows:
    """Assembles the rows of the customers at `slots` as of event times `as_of_ms` (both of shape (n,))."""
    orders = customers.read("customer_orders", slots, as_of_ms)
    clicks = customers.read("customer_clicks", slots, as_of_ms)
    own_product, own, baskets = own_products(customers, slots, as_of_ms)
    held = np.count_nonzero(own_product, axis=1).astype(np.float64)
    bought = np.where(own_product != 0, own[:, :, 0], 0.0).sum(axis=1, dtype=np.float64)
    numbers = np.column_stack(
        [
            orders["orders"],
            orders["order_last_age_days"],
            orders["spend"] / np.maximum(orders["orders"], 1.0),
            orders["recent_orders"],
            clicks["recent_views"],
            held,
            bought / np.maximum(baskets, 1.0),
            100.0 * (bought - held) / np.maximum(bought, 1.0),
        ]
    )
    recent, state, at = customers.part("customer_repertoire", "purchases", slots, as_of_ms)
    purchased, purchase_age = recent.sequence(state, at, as_of_ms)
    recent, state, at = customers.part("customer_session", "viewed", slots, as_of_ms)
    viewed, viewed_age = recent.sequence(state, at, as_of_ms)
    flags = np.concatenate([np.zeros(purchased.shape), np.ones(viewed.shape)], axis=1)
    return OfferRows(
        features=numbers.astype(np.float32),
        product=np.concatenate([purchased, viewed], axis=1),
        age_days=np.concatenate([purchase_age, viewed_age], axis=1).astype(np.float32),
        viewed=flags.astype(np.float32),
        own_product=own_product,
        own=own,
    )
