"""Topics that Tidecast publishes: scores that explain themselves, and supply alerts."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from stream.events.base import Amount, EventTimeMs, Id, Location, QuantityOrZero, Share

Probability = Annotated[float, Meta(ge=0, le=1)]


class Reason(msgspec.Struct, frozen=True, gc=False):
    """What moved a score: a feature, its value (null: unknown) and its contribution in log-odds or log-units."""

    feature: str
    value: float | None
    contribution: float


class SourceOffset(msgspec.Struct, frozen=True, gc=False):
    """The newest input record of the entity that the score reflects, on one topic."""

    topic: str
    partition: int
    offset: int


class _Score(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", gc=False):
    model: str
    version: str
    as_of_ms: Annotated[EventTimeMs, Meta(description="event time as of which the features were read")]
    fallback: Annotated[str | None, Meta(description="null for the model's own score; else which rule stood in")]
    feature_time_ms: Annotated[
        dict[str, int], Meta(description="freshness: newest event time in each feature view; 0 is none")
    ]
    source: Annotated[list[SourceOffset], Meta(min_length=1)]


class ReorderProduct(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How likely one product is bought again within 7, 14 and 30 days."""

    sku: Id
    name: str | None
    p_7d: Probability
    p_14d: Probability
    p_30d: Probability
    reasons: list[Reason]


class ReorderScores(_Score, frozen=True, kw_only=True, tag="reorder_scores"):
    """Topic `reorder-scores`: the products a customer is most likely to buy again, best first."""

    customer_id: Id
    products: list[ReorderProduct]
    reasons: Annotated[list[Reason], Meta(description="of the first product")]


class StockoutScore(_Score, frozen=True, kw_only=True, tag="stockout_score"):
    """Topic `stockout-scores`: will this item run out before an order placed now could arrive?"""

    location: Location
    sku: Id
    name: str | None
    p_stockout: Annotated[Probability | None, Meta(description="null: the stock was never counted")]
    on_hand: Annotated[float | None, Meta(description="units; null: never counted")]
    arriving: Annotated[QuantityOrZero, Meta(description="units on order, due within the lead time")]
    lead_time_days: Annotated[float, Meta(gt=0)]
    days_of_cover: Annotated[float | None, Meta(description="on hand over median daily demand; null: unknown")]
    demand_p10: QuantityOrZero
    demand_p50: QuantityOrZero
    demand_p90: QuantityOrZero
    suggested_order_quantity: QuantityOrZero
    service_level: Probability
    simulated_stock: bool
    reasons: list[Reason]


class OfferScore(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An offer with the chance that the customer takes it, and what showing it is expected to earn."""

    offer_id: Id
    sku: Id
    title: str
    p_response: Probability
    expected_margin: Amount
    propensity: Annotated[Share, Meta(description="probability that the policy put this offer first in the list")]
    reasons: list[Reason]
    simulated: bool = False


class NextBestOffers(_Score, frozen=True, kw_only=True, tag="next_best_offers"):
    """Topic `next-best-offers`: the offers to show this customer now, best first."""

    customer_id: Id
    offers: list[OfferScore]
    reasons: Annotated[list[Reason], Meta(description="of the first offer")]


class SupplyAlert(_Score, frozen=True, kw_only=True, tag="supply_alert"):
    """Topic `supply-alerts`: an upsert of an item's whole alert state; `sequence` rises with its changes."""

    location: Location
    sku: Id
    name: str | None
    status: Literal["raised", "escalated", "resolved"]
    severity: Literal["none", "warning", "critical"]
    sequence: Annotated[int, Meta(ge=1)]
    raised_at_ms: EventTimeMs
    p_stockout: Probability
    on_hand: float | None
    days_of_cover: float | None
    suggested_order_quantity: QuantityOrZero
    simulated_stock: bool
    reasons: list[Reason]
