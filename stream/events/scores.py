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


#: What a customer is to the shop: see `stream.scorers.segments`.
Segment = Literal["new", "loyal", "at_risk", "lost"]


class ReorderProduct(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How likely one product is bought again within 7, 14 and 30 days, and when."""

    sku: Id
    name: str | None
    p_7d: Probability
    p_14d: Probability
    p_30d: Probability
    next_days: Annotated[
        QuantityOrZero | None,
        Meta(description="mean days from as_of_ms until it is bought again; null: the model tells none"),
    ] = None
    reasons: list[Reason]


class ReorderScores(_Score, frozen=True, kw_only=True, tag="reorder_scores"):
    """Topic `reorder-scores`: the products a customer is most likely to buy again, best first."""

    customer_id: Id
    products: list[ReorderProduct]
    p_active_30d: Annotated[
        Probability | None, Meta(description="the customer orders anything within 30 days; null: the model tells none")
    ] = None
    segment: Annotated[
        Segment | None, Meta(description="by p_active_30d and the number of orders; null: not known")
    ] = None
    reasons: Annotated[list[Reason], Meta(description="of the first product")]


class NextHours(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whether an item in stock, whose sales are told by the hour, runs out within the next opening hours of the day."""

    p_out_1h: Annotated[Probability, Meta(description="out of stock within the next opening hour")]
    p_out_2h: Probability
    p_out_3h: Probability
    p_out_4h: Probability
    reasons: Annotated[list[Reason], Meta(description="contributions to -log(1 - p_out_4h)")]


class StockoutScore(_Score, frozen=True, kw_only=True, tag="stockout_score"):
    """Topic `stockout-scores`: will this item run out before an order placed now could arrive?"""

    location: Location
    sku: Id
    name: str | None
    p_stockout: Annotated[
        Probability | None,
        Meta(
            description="more is asked for within the lead time than is on hand and arriving; "
            "null: the stock was never counted"
        ),
    ]
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
    expected_lost_sales: Annotated[
        QuantityOrZero | None, Meta(description="units over the lead time that the stock cannot serve; null: unknown")
    ] = None
    p_empty: Annotated[
        Probability | None,
        Meta(
            description="the shelf is empty at some time within the lead time, before a delivery that is on its way as "
            "well; 1: it is empty now; null: the stock was never counted"
        ),
    ] = None
    next_hours: Annotated[
        NextHours | None,
        Meta(description="null: out of stock, closed, no sales by the hour, or the model tells nothing of them"),
    ] = None


class OfferScore(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An offer with the chance that the customer takes it, and what showing it is expected to earn."""

    offer_id: Id
    sku: Id
    title: str
    p_response: Probability
    expected_margin: Amount
    propensity: Annotated[Share, Meta(description="probability with which the policy put it at this place")]
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
    p_empty: Annotated[
        Probability | None, Meta(description="as in stockout-scores; null: an earlier version wrote it")
    ] = None
