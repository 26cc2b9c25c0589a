"""The topology: which topics there are, how they are keyed, and what each feeds.

    orders ──┬─ customer_orders, customer_repertoire ──► reorder, next-best-offer
             └─ one record a product line ──► demand ─┬─ item_demand ──► stockout ──► supply-alerts
                                                      └─ product_demand ──► reorder, next-best-offer
    clicks ──── customer_clicks ──► next-best-offer
    inventory ─ item_stock ──► stockout
    catalog, offers: read whole by every worker

Topics of one `copartition` group have the same number of partitions and the same partitioner (murmur2), so that all
that is known of one entity meets in one worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stream.events import (
    ClickEvent,
    DemandEvent,
    FeatureVector,
    InventoryEvent,
    NextBestOffers,
    Offer,
    OrderEvent,
    Product,
    ReorderScores,
    StockoutScore,
    SupplyAlert,
)

Direction = Literal["in", "internal", "out"]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic and its part in the flow.

    Args:
        name: on the broker.
        direction: `in` (others write it), `internal` (Tidecast writes and reads it) or `out`.
        key: what the record key is.
        record: the type of its records; None where records are others' bytes.
        doc: one sentence.
        copartition: `customer`, `item` or None; equal ones have equal partition counts.
        compacted: the last record a key is kept for ever, and all others for `keep_days` at least.
        models: which models score the entity that a record touches.
    """

    name: str
    direction: Direction
    key: str
    record: Any
    doc: str
    copartition: Literal["customer", "item"] | None = None
    compacted: bool = False
    keep_days: int = 0
    models: tuple[str, ...] = ()


REORDER, STOCKOUT, NEXT_BEST_OFFER = "reorder", "stockout", "next-best-offer"

ORDERS = Topic(
    "orders",
    "in",
    "customer_id",
    OrderEvent,
    "Orders, cancellations and returns with their product lines.",
    copartition="customer",
    models=(REORDER, NEXT_BEST_OFFER),
)
CLICKS = Topic(
    "clicks",
    "in",
    "customer_id",
    ClickEvent,
    "What customers do on the site, and the offers they are shown.",
    copartition="customer",
    models=(NEXT_BEST_OFFER,),
)
DEMAND = Topic(
    "demand",
    "internal",
    "location:sku",
    DemandEvent,
    "One record an order line: the repartition from customers to items.",
    copartition="item",
    models=(STOCKOUT,),
)
INVENTORY = Topic(
    "inventory",
    "in",
    "location:sku",
    InventoryEvent,
    "Counts, deliveries, adjustments and purchase orders of items.",
    copartition="item",
    models=(STOCKOUT,),
)
CATALOG = Topic("catalog", "in", "sku", Product, "Product names, prices and lead times.", compacted=True)
OFFERS = Topic("offers", "in", "offer_id", Offer, "Offers: product, discount, margin, validity.", compacted=True)
REORDER_SCORES = Topic(
    "reorder-scores", "out", "customer_id", ReorderScores, "What each customer is likely to buy again."
)
NEXT_BEST_OFFERS = Topic("next-best-offers", "out", "customer_id", NextBestOffers, "Which offers to show a customer.")
STOCKOUT_SCORES = Topic(
    "stockout-scores", "out", "location:sku", StockoutScore, "Will an item run out, and how much to order."
)
SUPPLY_ALERTS = Topic(
    "supply-alerts", "out", "location:sku", SupplyAlert, "Items at risk: raised, escalated, resolved.", compacted=True
)
FEATURE_LOG = Topic(
    "feature-log",
    "out",
    "customer_id or location:sku",
    FeatureVector,
    "A share of the feature vectors that were scored, for `tidecast parity`.",
    compacted=True,  # so that a tombstone erases an entity
    keep_days=7,
)
DEAD_LETTERS = Topic(
    "dead-letters", "out", "the original key", None, "Records that could not be taken in, with their original bytes."
)

#: What a worker consumes with its group.
CONSUMED = (ORDERS, CLICKS, DEMAND, INVENTORY)
#: What every worker reads whole.
REFERENCE = (CATALOG, OFFERS)
#: What a worker publishes, beside `demand`.
PUBLISHED = (REORDER_SCORES, NEXT_BEST_OFFERS, STOCKOUT_SCORES, SUPPLY_ALERTS, FEATURE_LOG, DEAD_LETTERS)
TOPICS: dict[str, Topic] = {t.name: t for t in (*CONSUMED, *REFERENCE, *PUBLISHED)}


def partitions_of(topic: Topic, partitions: int) -> int:
    """How many partitions a topic is made with: reference topics need one.

    >>> partitions_of(CATALOG, 8), partitions_of(ORDERS, 8)
    (1, 8)
    """
    return 1 if topic in REFERENCE else partitions
